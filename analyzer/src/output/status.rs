//! One line a second for a person who watches.

use tidegauge_ebpf::counter::Counter;

use super::Source;
use super::report::grouped;
use crate::window::Window;

/// What the last second was like, and what is in force.
pub fn status_line(second: &Window, open_incidents: usize, source: &Source) -> String {
    let count = |counter| grouped(second.totals.get(counter));
    format!(
        "{} {}  {} packets/s  asked {}  answered {}  completed {}  refused {}  incidents {open_incidents}",
        source.kind,
        source.mode,
        count(Counter::Packets),
        count(Counter::Attempted),
        count(Counter::Answered),
        count(Counter::Completed),
        count(Counter::Refused),
    )
}
