//! Frames that a CPU's backlog had no room for, behind the driver and before rings and generic XDP (RPS, virtual
//! interfaces). Native XDP and AF_XDP have seen them before.
//!
//! The kernel counts them per CPU for all interfaces and namespaces together, and once more in `rx_dropped` of the
//! interface, where it also counts frames that nobody wanted. Both are bounds from above, and the lesser one is told: an
//! interface lost at most so many here.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use super::netlink::link;
use crate::interface::Interface;

const FILE: &str = "/proc/net/softnet_stat";
/// Columns of a CPU's line: frames it took, frames it had no room for, times it had to stop with frames left, its number
/// (Linux 5.10).
const PROCESSED: usize = 0;
const DROPPED: usize = 1;
const SQUEEZED: usize = 2;
const CPU: usize = 12;

/// A CPU's counts, which begin again after 2^32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Frames taken.
    pub processed: u32,
    /// Frames for which there was no room.
    pub dropped: u32,
    /// Times the CPU's time for receiving was over with frames left.
    pub squeezed: u32,
}

/// The CPUs' counts since boot, by CPU.
///
/// # Errors
/// Where the file cannot be read.
pub fn backlogs() -> io::Result<BTreeMap<u32, Backlog>> {
    Ok(backlogs_of(&fs::read_to_string(FILE)?))
}

/// The same of the file's text. What is no line of it is left out.
pub fn backlogs_of(text: &str) -> BTreeMap<u32, Backlog> {
    let of_line = |(row, line): (usize, &str)| {
        let columns: Vec<u32> =
            line.split_whitespace().map_while(|column| u32::from_str_radix(column, 16).ok()).collect();
        let cpu = columns.get(CPU).copied().or_else(|| u32::try_from(row).ok())?;
        let column = |index: usize| columns.get(index).copied();
        let backlog =
            Backlog { processed: column(PROCESSED)?, dropped: column(DROPPED)?, squeezed: column(SQUEEZED)? };
        Some((cpu, backlog))
    };
    text.lines().enumerate().filter_map(of_line).collect()
}

/// Loss of an interface since it was opened.
pub struct SoftnetLoss {
    interface: Interface,
    last: BTreeMap<u32, Backlog>,
    /// Of all interfaces.
    dropped: u64,
    rx_dropped_before: u64,
}

impl SoftnetLoss {
    /// Begins to count; `None` where it is not told.
    pub fn open(interface: &Interface) -> Option<Self> {
        Some(Self {
            interface: interface.clone(),
            last: backlogs().ok()?,
            dropped: 0,
            rx_dropped_before: link(interface.index).ok()?.statistics.rx_dropped,
        })
    }

    /// Frames lost since then, at most; `None` where it is not told any more.
    pub fn frames(&mut self) -> Option<u64> {
        let now = backlogs().ok()?;
        let rx_dropped = link(self.interface.index).ok()?.statistics.rx_dropped;
        self.dropped += growth(&self.last, &now);
        self.last.extend(now);
        Some(self.dropped.min(rx_dropped.saturating_sub(self.rx_dropped_before)))
    }
}

/// Frames dropped between two readings. A CPU that is new begins with this one.
fn growth(last: &BTreeMap<u32, Backlog>, now: &BTreeMap<u32, Backlog>) -> u64 {
    let of_cpu = |(cpu, now): (&u32, &Backlog)| {
        last.get(cpu).map_or(0, |last| u64::from(now.dropped.wrapping_sub(last.dropped)))
    };
    now.iter().map(of_cpu).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn this_kernel_tells_of_every_cpu() {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        assert!(backlogs().expect("procfs is mounted").len() >= cpus.min(2));
    }

    #[test]
    fn lines_are_read_by_their_cpu() {
        let text = "028d0810 00000007 00000030 0 0 0 0 0 0 5e6a 0 0 00000000 0 0\n\
                    007a0b1b 00000001 00000022 0 0 0 0 0 0 0 0 0 00000003 0 0\n";
        let backlogs = backlogs_of(text);
        assert_eq!(backlogs[&0], Backlog { processed: 0x028d_0810, dropped: 7, squeezed: 0x30 });
        assert_eq!(backlogs[&3].dropped, 1);
        // Before Linux 5.10 the line was the number.
        assert_eq!(backlogs_of("1 2 3\n4 5 6\n").keys().collect::<Vec<_>>(), [&0, &1]);
    }

    #[test]
    fn counts_that_begin_again_and_new_cpus_take_nothing_from_the_past() {
        let of = |counts: &[(u32, u32)]| {
            let backlog = |dropped| Backlog { dropped, ..Backlog::default() };
            counts.iter().map(|(cpu, dropped)| (*cpu, backlog(*dropped))).collect()
        };
        assert_eq!(growth(&of(&[(0, u32::MAX), (1, 4)]), &of(&[(0, 2), (1, 4), (2, 900)])), 3);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "[0-9a-f \n]{0,200}") {
            let _ = backlogs_of(&text);
        }
    }
}
