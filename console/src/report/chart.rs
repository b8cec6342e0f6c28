//! A chart as SVG, without a script: lines over time, gaps where nothing is known, bands where incidents were open.

use std::fmt::Write as _;

use super::text::number;

/// Width and height of what is drawn in, and room around it for words.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 120.0;
const LEFT: f64 = 64.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 20.0;

/// A line of a chart.
pub(super) struct Curve<'a> {
    /// What it is.
    pub(super) name: &'static str,
    /// Its times, as shares of the time drawn (0 to 1).
    pub(super) at: &'a [f64],
    /// A value for each of them.
    pub(super) values: Vec<Option<f64>>,
}

/// When something was wrong, as shares of the time drawn (0 to 1).
pub(super) struct Band {
    pub(super) from: f64,
    pub(super) to: f64,
    /// In which run, where there are two: the first one's are above.
    pub(super) run: Option<usize>,
}

/// Draws lines over one time, from zero to the highest value. Lines differ by dashes, not by colour alone.
pub(super) fn svg(name: &str, curves: &[Curve<'_>], bands: &[Band]) -> String {
    let highest =
        curves.iter().flat_map(|curve| &curve.values).flatten().fold(0.0_f64, |most, value| most.max(*value));
    let top = if highest > 0.0 { highest } else { 1.0 };
    let (width, height) = (LEFT + WIDTH + 8.0, TOP + HEIGHT + BOTTOM);
    let mut svg = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        svg,
        r#"<svg viewBox="0 0 {width} {height}" role="img" aria-label="{name}, highest {}">"#,
        number(highest)
    );
    for Band { from, to, run } in bands {
        let (x, wide) = (LEFT + from * WIDTH, ((to - from) * WIDTH).max(1.5));
        let (y, high) = match run {
            None => (TOP, HEIGHT),
            Some(run) => (TOP + *run as f64 * HEIGHT / 2.0, HEIGHT / 2.0),
        };
        let _ = write!(svg, r#"<rect class="band" x="{x:.1}" y="{y}" width="{wide:.1}" height="{high}"/>"#);
    }
    for (share, value) in [(0.0, 0.0), (0.5, top / 2.0), (1.0, top)] {
        let y = TOP + HEIGHT * (1.0 - share);
        let _ = write!(
            svg,
            r#"<line class="grid" x1="{LEFT}" x2="{}" y1="{y:.1}" y2="{y:.1}"/><text x="{}" y="{:.1}" text-anchor="end">{}</text>"#,
            LEFT + WIDTH,
            LEFT - 6.0,
            y + 4.0,
            number(value)
        );
    }
    for (place, curve) in curves.iter().enumerate() {
        let _ = write!(svg, r#"<path class="curve c{place}" d="{}"/>"#, path(curve.at, &curve.values, top));
    }
    svg.push_str("</svg>");
    svg
}

/// Moves where a gap was, lines elsewhere; a value alone between gaps is a dot.
fn path(shares: &[f64], values: &[Option<f64>], top: f64) -> String {
    let mut path = String::new();
    let mut is_drawing = false;
    for (place, (share, value)) in shares.iter().zip(values).enumerate() {
        let Some(value) = value else {
            is_drawing = false;
            continue;
        };
        let (x, y) = (LEFT + share * WIDTH, TOP + HEIGHT * (1.0 - value / top));
        let _ = write!(path, "{}{x:.1} {y:.1}", if is_drawing { 'L' } else { 'M' });
        let is_alone = !is_drawing && values.get(place + 1).is_none_or(Option::is_none);
        if is_alone {
            path.push_str("h1");
        }
        is_drawing = true;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_a_gap() {
        let drawn = path(&[0.0, 0.25, 0.5, 0.75, 1.0], &[Some(1.0), Some(2.0), None, Some(0.0), None], 2.0);
        assert_eq!(drawn, "M64.0 68.0L244.0 8.0M604.0 128.0h1");
    }
}
