//! Histograms of a run, or of two beside each other: as SVG without a script, and as rows of text.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::text::number;
use crate::histogram::{Histogram, Histograms};

/// Width and height of what is drawn in, and room around it for words.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 110.0;
const LEFT: f64 = 64.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 20.0;
/// Every so many bounds are told, from the third on: the model's 10 K and 58 K, and the one next to 100 ms, are among them.
const TOLD_EVERY: usize = 3;
const TOLD_FROM: usize = 2;

/// Every histogram that any of the runs has: `name`, `svg`, and `rows` of a bucket with the values of each run.
pub(super) fn all(runs: &[&Histograms]) -> Vec<Value> {
    let mut methods: Vec<&String> = runs.iter().flat_map(|run| run.rtt_ms.keys()).collect();
    methods.sort_unstable();
    methods.dedup();
    let none = Histogram::default();
    let of_method = |method: &String| {
        let histograms: Vec<_> = runs.iter().map(|run| run.rtt_ms.get(method).unwrap_or(&none)).collect();
        one(&format!("round trips by {method}, ms"), &histograms, 0.0)
    };
    let mut all: Vec<Value> = methods.into_iter().filter_map(of_method).collect();
    let rwnd: Vec<_> = runs.iter().map(|run| &run.rwnd_bytes).collect();
    // A bound of bytes is the last below the one that people know.
    all.extend(one("receive windows, bytes", &rwnd, 1.0));
    all
}

/// One of each run; `None` where they have nothing, or bounds that differ.
fn one(name: &str, runs: &[&Histogram], above: f64) -> Option<Value> {
    let measured = || runs.iter().filter(|run| run.count() > 0);
    let le = &measured().next()?.le;
    if measured().any(|run| run.le != *le) {
        return None;
    }
    let bound = |place: usize| le.get(place).map_or_else(String::new, |le| number(le + above));
    let range = |place: usize| match place {
        0 => format!("below {}", bound(0)),
        last if last == le.len() => format!("{} and more", bound(last - 1)),
        _ => format!("{} to {}", bound(place - 1), bound(place)),
    };
    let share = |run: &Histogram, place: usize| {
        let count = run.counts.get(place).copied().unwrap_or_default();
        (count, count as f64 / run.count().max(1) as f64)
    };
    let rows = (0..=le.len()).filter(|place| runs.iter().any(|run| share(run, *place).0 > 0)).map(|place| {
        let values = runs.iter().map(|run| {
            let (count, share) = share(run, place);
            format!("{} ({})", number(count as f64), percent(share))
        });
        json!([range(place), values.collect::<Vec<_>>()])
    });
    let told = runs.iter().map(|run| match run.count() {
        0 => "not measured".to_owned(),
        count => format!("{}, mean {}", number(count as f64), number(run.sum / count as f64)),
    });
    let bounds: Vec<String> = (0..le.len()).map(bound).collect();
    let shares: Vec<Vec<f64>> =
        runs.iter().map(|run| (0..=le.len()).map(|place| share(run, place).1).collect()).collect();
    Some(json!({
        "name": name,
        "svg": svg(name, &bounds, &shares),
        "rows": rows.collect::<Vec<_>>(),
        "told": told.collect::<Vec<_>>(),
    }))
}

/// To a tenth; what is there at all is not 0 %.
fn percent(share: f64) -> String {
    let tenths = (share * 1_000.0).round() / 10.0;
    if share > 0.0 && tenths == 0.0 {
        return "under 0.1 %".to_owned();
    }
    let text = format!("{tenths:.1}");
    format!("{} %", text.trim_end_matches(".0"))
}

/// Bars of shares over the same buckets, those of several runs beside each other.
fn svg(name: &str, bounds: &[String], runs: &[Vec<f64>]) -> String {
    let most = runs.iter().flatten().fold(0.0_f64, |most, share| most.max(*share)).max(f64::MIN_POSITIVE);
    let wide = WIDTH / (bounds.len() + 1) as f64;
    let bar_wide = (wide - 2.0) / runs.len() as f64;
    let (width, height) = (LEFT + WIDTH + 8.0, TOP + HEIGHT + BOTTOM);
    let ground = TOP + HEIGHT;
    let mut svg = String::new();
    // Writing to a string cannot fail.
    let _ =
        write!(svg, r#"<svg viewBox="0 0 {width} {height}" role="img" aria-label="histogram of {name}">"#);
    for (share, y) in [(0.0, ground), (most, TOP)] {
        let percent = percent(share);
        let _ = write!(
            svg,
            r#"<line class="grid" x1="{LEFT}" x2="{}" y1="{y}" y2="{y}"/><text x="{}" y="{}" text-anchor="end">{percent}</text>"#,
            LEFT + WIDTH,
            LEFT - 6.0,
            y + 4.0
        );
    }
    for (run, shares) in runs.iter().enumerate() {
        for (place, share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
            let x = LEFT + place as f64 * wide + 1.0 + run as f64 * bar_wide;
            // What is there at all is to be seen.
            let high = (share / most * HEIGHT).max(1.5);
            let y = ground - high;
            let _ = write!(
                svg,
                r#"<rect class="bar c{run}" x="{x:.1}" y="{y:.1}" width="{bar_wide:.1}" height="{high:.1}"/>"#
            );
        }
    }
    for (place, bound) in bounds.iter().enumerate().skip(TOLD_FROM).step_by(TOLD_EVERY) {
        let x = LEFT + (place + 1) as f64 * wide;
        let _ = write!(svg, r#"<text x="{x:.1}" y="{}" text-anchor="middle">{bound}</text>"#, ground + 14.0);
    }
    svg.push_str("</svg>");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rwnd(counts: [u64; 3]) -> Histograms {
        let rwnd_bytes = Histogram { le: vec![10_239.0, 65_535.0], counts: counts.into(), sum: 600.0 };
        Histograms { rwnd_bytes, ..Histograms::default() }
    }

    #[test]
    fn two_runs_stand_beside_each_other_by_their_shares() {
        let told = all(&[&rwnd([1, 3, 0]), &rwnd([0, 2, 0])]);
        assert_eq!(told.len(), 1);
        let rows = json!([
            ["below 10,240", ["1 (25 %)", "0 (0 %)"]],
            ["10,240 to 65,536", ["3 (75 %)", "2 (100 %)"]]
        ]);
        assert_eq!(told[0]["rows"], rows);
        assert_eq!(told[0]["told"], json!(["4, mean 150", "2, mean 300"]));
        let svg = told[0]["svg"].as_str().unwrap();
        assert_eq!((svg.matches("bar c0").count(), svg.matches("bar c1").count()), (2, 1));
    }

    #[test]
    fn a_share_is_not_nothing_for_being_small() {
        assert_eq!([0.0, 0.000_1, 0.511, 1.0].map(percent), ["0 %", "under 0.1 %", "51.1 %", "100 %"]);
    }

    #[test]
    fn what_was_not_measured_is_not_drawn() {
        assert!(all(&[&Histograms::default(), &Histograms::default()]).is_empty());
        let told = all(&[&rwnd([0, 2, 0]), &Histograms::default()]);
        assert_eq!(told[0]["told"][1], "not measured");
    }
}
