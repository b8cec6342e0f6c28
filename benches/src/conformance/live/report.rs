//! Tables of the live scenes.

use std::fmt::Write;

use super::figures::Outcome;
use super::passage::{Class, Score, Scores};
use crate::table::{Table, figure};

/// What did not come out as it must, in words.
pub fn shortcomings(outcomes: &[Outcome]) -> Vec<String> {
    let wrong = outcomes.iter().flat_map(|outcome| outcome.wrong().map(move |figure| (outcome, figure)));
    wrong
        .map(|(outcome, figure)| {
            let ours = figure.tidegauge.unwrap_or_default();
            format!(
                "{}: {}: {}: the kernel says {}, tidegauge {ours}",
                outcome.scene, figure.side, figure.what, figure.truth
            )
        })
        .collect()
}

/// Everything as markdown.
pub fn markdown(outcomes: &[Outcome]) -> String {
    let mut text = String::from("### Live, in induced trouble, beside the kernel\n\n");
    let _ = writeln!(text, "{}", figure_table(outcomes));
    let _ = writeln!(text, "Reasons:\n");
    let mut known: Vec<(&str, &str)> = Vec::new();
    for figure in outcomes.iter().flat_map(|outcome| &outcome.figures) {
        if !figure.reason.is_empty() && !known.contains(&(figure.what, figure.reason)) {
            known.push((figure.what, figure.reason));
        }
    }
    for (what, reason) in known {
        let _ = writeln!(text, "- {what}: {reason}");
    }
    let _ = writeln!(
        text,
        "\nWhat arrived, packet by packet, by the box's record: segments of each class, and how many of them each reader \
         calls what they were. A doubled one is right as captured twice, sent again, overtaken or repeated ACK.\n"
    );
    let _ = writeln!(text, "{}", score_table(outcomes));
    text
}

/// Figures that are not zero all over.
fn figure_table(outcomes: &[Outcome]) -> Table {
    let header = ["scene", "of", "figure", "by the kernel", "kernel", "tidegauge", "tshark", "difference"];
    let mut table = Table::new(&header);
    for outcome in outcomes {
        for line in &outcome.figures {
            let (ours, theirs) = (line.tidegauge, line.tshark);
            if line.truth == 0.0 && ours.unwrap_or(0.0) == 0.0 && theirs.unwrap_or(0.0) == 0.0 {
                continue;
            }
            let difference = ours.map(|ours| ours - line.truth);
            table.row(vec![
                outcome.scene.clone(),
                line.side.to_owned(),
                line.what.to_owned(),
                line.truth_name.to_owned(),
                number(Some(line.truth)),
                number(ours),
                number(theirs),
                number(difference),
            ]);
        }
    }
    table
}

fn number(value: Option<f64>) -> String {
    match value {
        Some(value) if value.fract() == 0.0 => format!("{value}"),
        Some(value) if value < 0.0 => format!("-{}", figure(Some(-value))),
        other => figure(other),
    }
}

fn score_table(outcomes: &[Outcome]) -> Table {
    let mut table = Table::new(&["scene", "from", "class", "segments", "tidegauge right", "tshark right"]);
    let mut all = Scores::new();
    for outcome in outcomes {
        for (side, scores) in &outcome.scores {
            for (class, score) in scores {
                let sum = all.entry(*class).or_default();
                *sum = add(*sum, *score);
                table.row(score_row(&outcome.scene, side, *class, *score));
            }
        }
    }
    for (class, score) in all {
        table.row(score_row("all", "both", class, score));
    }
    table
}

fn score_row(scene: &str, side: &str, class: Class, score: Score) -> Vec<String> {
    let class = match class {
        Class::Bare => "bare",
        Class::New => "new",
        Class::SentAgain => "sent again",
        Class::Overtaken => "overtaken",
        Class::Doubled => "doubled",
    };
    let Score { segments, tidegauge, tshark } = score;
    let mut row = vec![scene.to_owned(), side.to_owned(), class.to_owned()];
    row.extend([segments, tidegauge, tshark].map(|count| count.to_string()));
    row
}

const fn add(left: Score, right: Score) -> Score {
    Score {
        segments: left.segments + right.segments,
        tidegauge: left.tidegauge + right.tidegauge,
        tshark: left.tshark + right.tshark,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::live::figures::Figure;

    fn outcome(tidegauge: f64, reason: &'static str) -> Outcome {
        let figure = Figure {
            side: "server",
            what: "sent again",
            truth_name: "TcpRetransSegs",
            truth: 7.0,
            tidegauge: Some(tidegauge),
            tshark: Some(7.0),
            reason,
        };
        let score = Score { segments: 3, tidegauge: 2, tshark: 1 };
        Outcome {
            scene: "bulk".into(),
            figures: vec![figure],
            scores: vec![("server", [(Class::SentAgain, score)].into())],
        }
    }

    #[test]
    fn only_what_must_be_equal_falls_short() {
        assert!(shortcomings(&[outcome(7.0, ""), outcome(6.0, "another thing")]).is_empty());
        assert_eq!(
            shortcomings(&[outcome(6.0, "")]),
            ["bulk: server: sent again: the kernel says 7, tidegauge 6"]
        );
    }

    #[test]
    fn tables_have_differences_reasons_and_sums() {
        let text = markdown(&[outcome(6.0, "another thing"), outcome(7.0, "")]);
        assert!(text.contains("| -1 |") || text.contains("         -1 |"), "{text}");
        assert!(text.contains("- sent again: another thing\n"), "{text}");
        assert!(text.lines().any(|line| line.starts_with("| all ") && line.contains(" 6 ")), "{text}");
    }
}
