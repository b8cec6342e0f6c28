//! One line a second for a person who watches.

use tidegauge_ebpf::counter::Counter;

use super::cost::cost_in_short;
use super::report::grouped;
use crate::cost::Cost;
use crate::quality::{Quality, Verdict};
use crate::window::Window;

/// What the last second was like, how well it was seen and what that cost; at most `columns` wide, because a line
/// that wraps cannot be overwritten. The most important comes first.
pub fn status_line(
    second: &Window,
    open_incidents: usize,
    quality: &Quality,
    cost: Option<&Cost>,
    columns: usize,
) -> String {
    let verdict = match quality.verdict {
        Verdict::Complete => "complete",
        Verdict::Degraded => "degraded",
        Verdict::Blind => "BLIND",
    };
    let mut parts = vec![
        format!("{} pkt/s", grouped(second.totals.get(Counter::Packets))),
        format!("{} SYN/s", grouped(second.totals.get(Counter::Syn))),
        format!("{open_incidents} {}", if open_incidents == 1 { "incident" } else { "incidents" }),
        verdict.to_owned(),
    ];
    parts.extend(cost.map(cost_in_short));
    if !quality.why.is_empty() {
        parts.push(quality.why.join("; "));
    }
    parts.join("  ").chars().take(columns).collect()
}
