//! Tables and lists for `RESULTS.md`, and the verdict.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::compare::{Difference, Speaker, Tally, What};
use super::judgement::Judgement;
use super::reason::Reason;
use super::{Capture, Group};
use crate::table::Table;

/// What precision and recall must not fall below, for each judgement that is promised, without differences whose reason
/// stands in the packets: copies of captured packets are told apart on purpose. The table shows both.
pub const SHARE_MIN: f64 = 0.99;
/// Packets named for each reason of a capture; `--json` has all of them.
const PACKETS_NAMED_MAX: usize = 40;

/// The judgements that fall short in a group, in words; empty where all is well.
pub fn shortcomings(group: &Group) -> Vec<String> {
    let mut short: Vec<String> = group.failed.clone();
    for judgement in Judgement::PROMISED {
        let tally = group.tallies.of(judgement);
        for (name, share) in
            [("precision", tally.precision_unexplained()), ("recall", tally.recall_unexplained())]
        {
            if share < SHARE_MIN {
                short.push(format!("{}: {judgement}: {name} {}", group.title, decimal(share)));
            }
        }
    }
    short
}

/// Everything about a group, as markdown.
pub fn markdown(group: &Group) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_group(&mut text, group);
    text
}

fn write_group(text: &mut String, group: &Group) -> fmt::Result {
    let differing = group.captures.iter().filter(|capture| !capture.compared.differences.is_empty()).count();
    writeln!(text, "### {}\n", group.title)?;
    writeln!(
        text,
        "{} captures, {} TCP segments; {differing} captures with any difference.\n",
        group.captures.len(),
        group.segments
    )?;
    writeln!(text, "{}", judgement_table(group))?;
    writeln!(
        text,
        "tshark has no word for a packet captured twice; its column says what the headers leave no doubt of.\n"
    )?;
    let (equal, unequal) = numbers(group);
    writeln!(text, "Duplicate ACKs that both count with the same number: {equal} of {}.\n", equal + unequal)?;
    if differing > 0 {
        writeln!(text, "{}", capture_table(group))?;
        writeln!(text, "Every difference (capture, packets, what, who alone says so, why):\n")?;
        for capture in &group.captures {
            write_differences(text, capture)?;
        }
        writeln!(text)?;
    }
    match &group.connections {
        Some(connections) => writeln!(text, "{}", connections.markdown())?,
        None => writeln!(text, "- not compared with tcptrace: it is not installed")?,
    }
    for failed in &group.failed {
        writeln!(text, "- not compared: {failed}")?;
    }
    Ok(())
}

/// Both programs' counts over all captures of the group, and how far they agree.
fn judgement_table(group: &Group) -> Table {
    let header = [
        "judgement",
        "tshark",
        "tidegauge",
        "both",
        "precision",
        "recall",
        "precision, unexplained only",
        "recall, unexplained only",
    ];
    let mut table = Table::new(&header);
    for judgement in Judgement::ALL {
        let tally = group.tallies.of(judgement);
        // Of packets captured twice, what the headers say by themselves.
        let by_tshark = tally.both + tally.only_tshark;
        table.row(vec![
            judgement.name().to_owned(),
            by_tshark.to_string(),
            (tally.both + tally.only_tidegauge).to_string(),
            tally.both.to_string(),
            decimal(tally.precision()),
            decimal(tally.recall()),
            decimal(tally.precision_unexplained()),
            decimal(tally.recall_unexplained()),
        ]);
    }
    table
}

/// One row per capture with any difference: for each judgement, what only tidegauge and what only tshark says.
fn capture_table(group: &Group) -> Table {
    let differing: Vec<Judgement> = Judgement::ALL
        .into_iter()
        .filter(|judgement| group.tallies.of(*judgement).differences() > 0)
        .collect();
    let titles = differing.iter().map(|judgement| format!("{judgement} +/-"));
    let header: Vec<String> =
        ["capture", "segments", "unexplained"].into_iter().map(str::to_owned).chain(titles).collect();
    let mut table = Table::new(&header.iter().map(String::as_str).collect::<Vec<_>>());
    for capture in group.captures.iter().filter(|capture| !capture.compared.differences.is_empty()) {
        let compared = &capture.compared;
        let unexplained = compared.differences.iter().filter(|d| d.reason == Reason::Unexplained).count();
        let mut row = vec![capture.name.clone(), compared.segments.to_string(), unexplained.to_string()];
        row.extend(differing.iter().map(|judgement| difference_cell(compared.tallies.of(*judgement))));
        table.row(row);
    }
    table
}

fn difference_cell(tally: &Tally) -> String {
    match (tally.only_tidegauge, tally.only_tshark) {
        (0, 0) => "-".to_owned(),
        (more, less) => format!("+{more} -{less}"),
    }
}

/// Differences of a capture by what they are about and why, with the packets.
fn write_differences(text: &mut String, capture: &Capture) -> fmt::Result {
    let mut kinds: BTreeMap<(What, Speaker, Reason), Vec<&Difference>> = BTreeMap::new();
    for difference in &capture.compared.differences {
        kinds.entry((difference.what, difference.said_by, difference.reason)).or_default().push(difference);
    }
    for ((what, said_by, reason), differences) in kinds {
        let named =
            differences.iter().take(PACKETS_NAMED_MAX).map(|difference| difference.packet.to_string());
        let named = named.collect::<Vec<_>>().join(" ");
        let rest = match differences.len().saturating_sub(PACKETS_NAMED_MAX) {
            0 => String::new(),
            rest => format!(" and {rest} more"),
        };
        let what = match what {
            What::Judgement(judgement) => judgement.name(),
            What::DuplicateAckNumber => "number of the duplicate ACK",
        };
        let speaker = match said_by {
            Speaker::Tidegauge => "tidegauge",
            Speaker::Tshark => "tshark",
            Speaker::Headers => "headers",
        };
        writeln!(text, "- {}: {named}{rest}: {what}, {speaker}: {reason}", capture.name)?;
    }
    Ok(())
}

/// Duplicate ACKs on whose number both agree, and those on which they do not.
fn numbers(group: &Group) -> (u64, u64) {
    let mut numbers = (0, 0);
    for Capture { compared, .. } in &group.captures {
        numbers.0 += compared.numbers_equal;
        numbers.1 +=
            compared.differences.iter().filter(|d| d.what == What::DuplicateAckNumber).count() as u64;
    }
    numbers
}

/// Four digits, rounded down, so that 1.0000 means all.
fn decimal(share: f64) -> String {
    format!("{:.4}", (share * 10_000.0).floor() / 10_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::compare::{Compared, compare};
    use crate::conformance::judgement::Judgements;
    use crate::conformance::ours::{Judged, Said};
    use crate::conformance::reason::Alone;
    use crate::conformance::tshark::Segment;

    /// A hundred segments that tshark calls zero windows, of which tidegauge calls so many the same.
    fn group(agreed: u64) -> Group {
        let judgements: Judgements = [Judgement::ZeroWindow].into_iter().collect();
        let segments: Vec<Segment> = (1..=100)
            .map(|packet| Segment {
                packet,
                seq: packet as u32,
                flags: 0x10,
                judgements,
                ..Segment::default()
            })
            .collect();
        let judged = (1..=agreed).map(|packet| (packet, Judged { judgements, duplicate_ack_number: None }));
        let said = Said { judged: judged.collect(), ..Said::default() };
        let compared: Compared = compare(&segments, &said, &Alone::new());
        let mut group = Group::new("Recorded lines");
        group.tallies.add(&compared.tallies);
        group.segments = compared.segments;
        group.captures.push(Capture { name: "a.pcap".into(), compared });
        group
    }

    #[test]
    fn what_falls_short_is_told_and_what_does_not_is_not() {
        assert!(shortcomings(&group(100)).is_empty());
        assert!(shortcomings(&group(99)).is_empty());
        assert_eq!(shortcomings(&group(98)), ["Recorded lines: zero_window: recall 0.9800"]);
        let mut failed = group(100);
        failed.failed.push("b.pcap: no such file".into());
        assert_eq!(shortcomings(&failed), ["b.pcap: no such file"]);
    }

    #[test]
    fn every_difference_is_listed_with_packet_and_reason() {
        let text = markdown(&group(98));
        assert!(text.contains("- a.pcap: 99 100: zero_window, tshark: unexplained\n"), "{text}");
        assert!(text.contains("1 captures with any difference"), "{text}");
        assert!(markdown(&group(100)).contains("0 captures with any difference"));
    }

    #[test]
    fn shares_are_never_rounded_up() {
        assert_eq!([decimal(1.0), decimal(0.999_99), decimal(0.989_96)], ["1.0000", "0.9999", "0.9899"]);
    }
}
