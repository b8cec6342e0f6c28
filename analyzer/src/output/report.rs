//! The readable report: the worst first, aligned, coloured where the writer keeps colour (it strips it when piped).

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use serde_json::Value;
use tidegauge_capture::confine::Confined;

use super::numbers::numbers;
use super::{Gap, PinState, Setup, Source};
use crate::cause::{Ranked, Sign};
use crate::closing::{Closing, closing};
use crate::evidence::{Kept, Totals};
use crate::incident::{Finding, Incident, Severity, State};
use crate::quality::{Quality, Verdict};
use crate::remedy;
use crate::summary::Summary;
use crate::time::timestamp;

/// Source networks named in a line.
const PREFIXES_IN_LINE: usize = 3;
/// Ranked causes told as text.
const CAUSES_SHOWN: usize = 2;
/// Sources named in a line.
const SOURCES_IN_LINE: usize = 5;
/// Width of the labels in front of values.
const LABEL_WIDTH: usize = 11;

pub(super) const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GREEN: Style = AnsiColor::Green.on_default();

const fn style_of(severity: Severity) -> Style {
    match severity {
        Severity::P1 => AnsiColor::Red.on_default().bold(),
        Severity::P2 => AnsiColor::Yellow.on_default().bold(),
        Severity::P3 => AnsiColor::Cyan.on_default().bold(),
    }
}

pub(super) fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Writes `label  value`, indented.
fn field(text: &mut String, label: &str, value: impl std::fmt::Display) {
    let label = styled(DIM, format_args!("{label:LABEL_WIDTH$}"));
    // Writing to a string cannot fail.
    let _ = writeln!(text, "    {label} {value}");
}

/// What is an estimate, and how good: handshakes as asked and completed, with their 95 % intervals.
fn sampling_line(sampling: &Value) -> Option<String> {
    let error = |counter: &str| Some(grouped(sampling["error_95"][counter].as_f64()?.round() as u64));
    Some(format!(
        "overload: as few as one flow in {} followed, counts scaled; attempted +-{}, completed +-{} (95 %)",
        sampling["one_in_max"],
        error("attempted")?,
        error("completed")?,
    ))
}

/// The whole report of a run that is over.
pub fn report(
    summary: &Summary,
    incidents: &[Incident],
    evidence: Option<&Totals>,
    source: &Source,
) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}  {}", styled(BOLD, "tidegauge"), source.name);
    field(&mut text, "source", source_line(source));
    for line in setup_lines(&source.setup) {
        field(&mut text, "", line);
    }
    let packets = format!("{} packets, {} bytes", grouped(summary.packets), grouped(summary.bytes));
    field(&mut text, "traffic", format_args!("{packets} in {:.3} s", summary.duration_s));
    for note in &summary.quality.notes {
        field(&mut text, "", note);
    }
    if let (Some(first), Some(last)) = (&summary.first_ts, &summary.last_ts) {
        field(&mut text, "time", format_args!("{first} to {last}"));
    }
    field(&mut text, "quality", quality_line(&summary.quality));
    if let Some(line) = summary.sampling.as_ref().and_then(sampling_line) {
        field(&mut text, "sampling", line);
    }
    if let Some(totals) = evidence {
        field(&mut text, "evidence", evidence_totals(totals));
    }
    text.push('\n');
    if incidents.is_empty() {
        let _ = writeln!(text, "{}", styled(GREEN, "no incident"));
    }
    let mut worst_first: Vec<_> = incidents.iter().collect();
    worst_first.sort_by_key(|incident| (incident.worst_severity, incident.opened_ns));
    for incident in worst_first {
        text.push_str(&incident_block(incident));
    }
    super::observations::lines(&mut text, summary, source);
    text.push('\n');
    numbers(&mut text, summary);
    if let Some(host) = &summary.host {
        let _ = writeln!(text, "host           {}", super::host::line(host));
    }
    if let Some(cost) = &summary.cost {
        text.push_str(&super::cost::cost_lines(cost));
    }
    text
}

fn source_line(source: &Source) -> String {
    match &source.egress {
        Some(egress) => format!("{} {} ({}); egress: {egress}", source.kind, source.mode, source.why),
        None => format!("{} {} ({})", source.kind, source.mode, source.why),
    }
}

/// The rights that were given up, and what became of pinned state: a line each.
pub fn setup_lines(setup: &Setup) -> Vec<String> {
    let confined = setup.confined.as_ref().map(|Confined { capabilities, landlock, seccomp }| {
        format!("confined: capabilities {capabilities}; landlock {landlock}; seccomp {seccomp}")
    });
    let pinned = setup.pin.as_ref().map(|PinState { dir, state, why, gap }| {
        let why = why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        let gap = gap.map(|Gap { lasted_ns, packets, .. }| {
            format!(", {} packets in the {:.3} s between the runs", grouped(packets), lasted_ns as f64 / 1e9)
        });
        format!("pinned in {dir}: {state}{why}{}", gap.unwrap_or_default())
    });
    let workers = setup.workers.map(|workers| format!("workers: {workers}"));
    workers.into_iter().chain(confined).chain(pinned).collect()
}

/// One line on what was not seen.
pub fn quality_line(quality: &Quality) -> String {
    let verdict = match quality.verdict {
        Verdict::Complete => styled(GREEN, "complete"),
        Verdict::Degraded => styled(style_of(Severity::P2), "degraded"),
        Verdict::Blind => styled(style_of(Severity::P1), "blind"),
    };
    let why = if quality.why.is_empty() { String::new() } else { format!(": {}", quality.why.join("; ")) };
    let mut parts = vec![format!("{verdict}{why}")];
    let line = |name: &str, reason: &str, count: &u64| format!("{} {name} ({reason})", grouped(*count));
    parts.extend(quality.dropped.iter().map(|(place, count)| match count {
        Some(count) => line("dropped", place, count),
        None => format!("dropped unknown ({place})"),
    }));
    parts.extend(quality.malformed.iter().map(|(reason, count)| line("malformed", reason, count)));
    parts.extend(quality.unsupported.iter().map(|(reason, count)| line("not read", reason, count)));
    if quality.truncated != 0 {
        parts.push(format!("{} shortened by snap length", grouped(quality.truncated)));
    }
    parts.join(", ")
}

/// An incident as a block of lines.
pub fn incident_block(incident: &Incident) -> String {
    let finding = &incident.peak;
    let mut text = String::new();
    let severity = match incident.state {
        State::Closed => incident.worst_severity,
        State::Opened | State::Updated => finding.severity,
    };
    let severity = styled(style_of(severity), format_args!("{severity:?}"));
    let name = styled(BOLD, finding.kind.name());
    let _ = writeln!(text, "{severity} {name} at {}  {}", incident.target, state_words(incident));
    let baseline = finding.baseline.map_or("not known yet".to_owned(), |usual| format!("{usual:.0}"));
    field(
        &mut text,
        "measured",
        format_args!(
            "{} {} (limit {}, usual {baseline})",
            number(finding.measured),
            finding.unit,
            number(finding.limit)
        ),
    );
    field(&mut text, "rule", &finding.rule);
    let facts: Vec<_> =
        finding.facts.iter().map(|(name, value)| format!("{name} {}", number(*value))).collect();
    field(&mut text, "facts", facts.join(", "));
    if let Some(sources) = sources_line(finding) {
        field(&mut text, "sources", sources);
    }
    for (index, cause) in finding.cause.iter().enumerate() {
        field(&mut text, if index == 0 { "cause" } else { "" }, cause);
    }
    if let Some(because) = &incident.because_of {
        field(&mut text, "because", format_args!("of {}: {}", because.id, because.why));
    }
    let likely = incident.causes.iter().filter(|ranked| ranked.score > 0.0).take(CAUSES_SHOWN);
    for (index, ranked) in likely.enumerate() {
        field(&mut text, if index == 0 { "likely" } else { "" }, cause_line(ranked));
    }
    if let Some(closing) = closing(incident) {
        field(&mut text, "in all", closing_line(&closing, finding.unit));
    }
    if let Some(kept) = &incident.evidence {
        field(&mut text, "evidence", evidence_line(kept));
    }
    for (index, command) in remedy::next(incident).iter().enumerate() {
        field(&mut text, if index == 0 { "next" } else { "" }, format_args!("$ {command}"));
    }
    if let Some(mitigation) = remedy::mitigation(incident, None) {
        field(&mut text, "mitigation", mitigation.why);
        mitigation.nftables.lines().for_each(|line| field(&mut text, "", line));
    }
    text
}

/// A ranked cause with its evidence.
fn cause_line(ranked: &Ranked) -> String {
    let words = |signs: &[Sign]| {
        let signs = signs.iter().map(|sign| format!("{} ({})", sign.what, number(sign.measured)));
        signs.collect::<Vec<_>>().join("; ")
    };
    let mut line = format!(
        "{} ({}, {:.2}): {}",
        ranked.cause.name(),
        ranked.cause.layer().name(),
        ranked.score,
        words(&ranked.signs_for)
    );
    if !ranked.signs_against.is_empty() {
        let _ = write!(line, "; against it: {}", words(&ranked.signs_against));
    }
    line
}

/// What an incident came to.
fn closing_line(closing: &Closing, unit: &str) -> String {
    let mut line = format!("mean {} {unit} over {:.1} s", number(closing.mean), closing.duration_s);
    if let (Some(count), Some(unit)) = (closing.volume.count, closing.volume.unit) {
        let _ = write!(line, ", {} {unit}", grouped(count));
    }
    if let Some(bytes) = closing.volume.bytes {
        let _ = write!(line, ", {} bytes", grouped(bytes));
    }
    if let Some(share) = closing.share_served {
        let _ = write!(line, ", {:.1} % served", share * 100.0);
    }
    line
}

/// The file with an incident's packets, and what it holds.
fn evidence_line(kept: &Kept) -> String {
    let mut line =
        format!("{}: {} packets, {} bytes", kept.path.display(), grouped(kept.packets), grouped(kept.bytes));
    if kept.packets_not_kept != 0 {
        let _ = write!(line, "; {} more did not fit", grouped(kept.packets_not_kept));
    }
    if let Some(fault) = &kept.fault {
        let _ = write!(line, "; {fault}");
    }
    line
}

/// What came of all evidence, in a line.
pub fn evidence_totals(totals: &Totals) -> String {
    let mut parts = vec![format!("{} files, {} packets", grouped(totals.files), grouped(totals.packets))];
    let mut part = |count: u64, what: &str| {
        if count != 0 {
            parts.push(format!("{} {what}", grouped(count)));
        }
    };
    part(totals.packets_not_kept, "packets did not fit");
    part(totals.frames_not_remembered, "frames were not kept for the time before");
    part(totals.incidents_without_file, "incidents found no file");
    part(totals.files_removed, "files were removed to make room");
    part(totals.faults, "files could not be written");
    parts.join(", ")
}

/// The end of an incident on one line.
pub fn incident_line(incident: &Incident) -> String {
    let finding = &incident.peak;
    format!(
        "{} {} at {} closed {}: lasted {:.1} s, peak {} {}",
        styled(style_of(incident.worst_severity), format_args!("{:?}", incident.worst_severity)),
        styled(BOLD, finding.kind.name()),
        incident.target,
        timestamp(incident.updated_ns),
        incident.lasted_ns() as f64 / 1e9,
        number(finding.measured),
        finding.unit
    )
}

fn state_words(incident: &Incident) -> String {
    let opened = timestamp(incident.opened_ns);
    match incident.state {
        State::Opened => format!("opened {opened}"),
        State::Updated => format!("since {opened}, updated {}", timestamp(incident.updated_ns)),
        State::Closed => {
            format!("opened {opened}, lasted {:.1} s, closed", incident.lasted_ns() as f64 / 1e9)
        }
    }
}

fn sources_line(finding: &Finding) -> Option<String> {
    let distinct = finding.distinct_sources?;
    let mut line = format!("about {}", grouped(distinct));
    if let Some(spoofed) = finding.spoofed_estimate {
        let _ = write!(line, ", probably forged: {:.0} %", spoofed * 100.0);
    }
    let top = finding.top_sources.iter().take(SOURCES_IN_LINE);
    let top: Vec<_> = top.map(|(address, attempts)| format!("{address} ({attempts}/s)")).collect();
    if !top.is_empty() {
        let _ = write!(line, "; busiest: {}", top.join(", "));
    }
    let prefixes = finding.top_prefixes.iter().take(PREFIXES_IN_LINE);
    let prefixes: Vec<_> =
        prefixes.map(|(prefix, attempts)| format!("{} ({attempts}/s)", network(*prefix))).collect();
    if !prefixes.is_empty() {
        let _ = write!(line, "; networks: {}", prefixes.join(", "));
    }
    if let Some(classes) = finding.ttl_classes {
        let _ = write!(line, "; TTL classes: {classes}");
    }
    Some(line)
}

/// A source network with its length.
fn network(prefix: std::net::IpAddr) -> String {
    format!("{prefix}/{}", if prefix.is_ipv4() { 24 } else { 48 })
}

/// A whole number with thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index != 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A measured number: whole where it is large, with three decimals where it is small.
fn number(value: f64) -> String {
    if value >= 100.0 || value.fract() == 0.0 { grouped(value.round() as u64) } else { format!("{value:.3}") }
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_apart() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
