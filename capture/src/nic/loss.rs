//! Frames that the NIC lost before any program could see them, by the name under which they are counted.
//!
//! They are told in several places, and drivers fold one into another: the link's `rx_missed_errors`, `rx_fifo_errors`
//! and `rx_over_errors` are often the same number, and a driver's own statistics have it again, per queue and in all.
//! So places are never added: the largest of them is the loss. It is at least so much, and no frame is counted twice.
//! `rx_dropped` is not among them: the stack counts frames there that nobody wanted. What looks like a loss and is in
//! no row here is told by its name, and not counted.

use std::collections::BTreeMap;
use std::io;

use super::ethtool::Ethtool;
use super::netlink::{LinkStatistics, link};
use crate::interface::Interface;

/// The names that a place has in the statistics.
enum Place {
    /// One name for all.
    Whole(&'static str),
    /// One name for each queue, whose number is between these; they are added.
    Queues(&'static str, &'static str),
}

/// Where lost frames are counted. From the kernel's documentation (networking/statistics, the drivers' pages) and the
/// drivers' sources. A driver that has a sum beside its queues has two rows: virtio_net has `rx_drops` and `rx0_drops`.
const LOST: [Place; 15] = [
    // rtnetlink's, of any driver (linux/if_link.h).
    Place::Whole("link.rx_over_errors"),
    Place::Whole("link.rx_fifo_errors"),
    Place::Whole("link.rx_missed_errors"),
    // mlx5: no buffer posted; the port's own buffer full.
    Place::Whole("rx_out_of_buffer"),
    Place::Whole("rx_discards_phy"),
    // ixgbe, igb, e1000e, atlantic.
    Place::Whole("rx_missed_errors"),
    Place::Whole("rx_no_dma_resources"),
    Place::Whole("rx_fifo_errors"),
    // i40e, ice: of the port.
    Place::Whole("port.rx_dropped"),
    Place::Whole("rx_dropped.nic"),
    // veth, and virtio_net before Linux 6.4; virtio_net since.
    Place::Queues("rx_queue_", "_drops"),
    Place::Queues("rx", "_drops"),
    // ena, virtio_net: all queues.
    Place::Whole("rx_overruns"),
    Place::Whole("rx_drops"),
    // bnxt.
    Place::Whole("rx_total_discard_pkts"),
];
/// What the name of a loss has in it, in drivers that are not known here.
const SUSPICIOUS: [&str; 6] = ["discard", "drop", "miss", "no_buf", "out_of_buf", "overflow"];

/// Counts of losses by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Names that are known to count frames the NIC lost; those of the link begin with `link.`.
    pub known: BTreeMap<String, u64>,
    /// Names that sound like it. Whether these frames were lost, or counted elsewhere too, is not known.
    pub other: BTreeMap<String, u64>,
}

/// Loss since it was opened.
pub struct NicLoss {
    interface: Interface,
    /// `None` where the driver has no statistics of its own.
    ethtool: Option<Ethtool>,
    last: Losses,
    since: Losses,
}

impl Losses {
    /// What an interface lost since it was made.
    ///
    /// # Errors
    /// Where the link, or a driver that has statistics, does not answer.
    pub fn of(interface: &Interface) -> io::Result<Self> {
        Self::read(interface, with_statistics(&interface.name).as_mut())
    }

    fn read(interface: &Interface, ethtool: Option<&mut Ethtool>) -> io::Result<Self> {
        let LinkStatistics { rx_over_errors, rx_fifo_errors, rx_missed_errors, .. } =
            link(interface.index)?.statistics;
        let mut losses = Self::default();
        losses.sort("link.rx_over_errors", rx_over_errors);
        losses.sort("link.rx_fifo_errors", rx_fifo_errors);
        losses.sort("link.rx_missed_errors", rx_missed_errors);
        if let Some(ethtool) = ethtool {
            ethtool.statistics()?.into_iter().for_each(|(name, value)| losses.sort(name, value));
        }
        Ok(losses)
    }

    fn sort(&mut self, name: &str, value: u64) {
        if place_of(name).is_some() {
            self.known.insert(name.to_owned(), value);
        } else if is_suspicious(name) {
            self.other.insert(name.to_owned(), value);
        }
    }

    /// Frames lost, at the least: the place that counts most of them.
    pub fn frames(&self) -> u64 {
        let mut places = [0_u64; LOST.len()];
        for (name, frames) in &self.known {
            if let Some(place) = place_of(name) {
                places[place] = places[place].saturating_add(*frames);
            }
        }
        places.into_iter().max().unwrap_or_default()
    }
}

impl NicLoss {
    /// Begins to count; `None` where not even the link is told.
    pub fn open(interface: &Interface) -> Option<Self> {
        let mut ethtool = with_statistics(&interface.name);
        let last = Losses::read(interface, ethtool.as_mut()).ok()?;
        Some(Self { interface: interface.clone(), ethtool, last, since: Losses::default() })
    }

    /// Frames lost since then; `None` where it is not told any more.
    pub fn frames(&mut self) -> Option<u64> {
        self.by_name().map(Losses::frames)
    }

    /// The same by name; `None` where it is not told any more. Costs two requests to the kernel.
    pub fn by_name(&mut self) -> Option<&Losses> {
        let now = Losses::read(&self.interface, self.ethtool.as_mut()).ok()?;
        add_growth(&mut self.since.known, &self.last.known, &now.known);
        add_growth(&mut self.since.other, &self.last.other, &now.other);
        self.last = now;
        Some(&self.since)
    }
}

/// A way to ask the driver for its statistics, where it has some.
fn with_statistics(name: &str) -> Option<Ethtool> {
    let mut ethtool = Ethtool::open(name).ok()?;
    let has_some = ethtool.statistics().is_ok();
    has_some.then_some(ethtool)
}

/// What was counted between two readings. A name that is new (a queue more) begins with this reading, and a count that
/// is less than before was set to zero in between.
fn add_growth(since: &mut BTreeMap<String, u64>, last: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>) {
    for (name, now) in now {
        let Some(last) = last.get(name) else { continue };
        let growth = now.checked_sub(*last).unwrap_or(*now);
        if growth != 0 {
            *since.entry(name.clone()).or_default() += growth;
        }
    }
}

/// The row that a name belongs to. What XDP programs dropped on purpose is not lost.
fn place_of(name: &str) -> Option<usize> {
    LOST.iter().position(|place| match place {
        Place::Whole(whole) => name == *whole,
        Place::Queues(begins, ends) => name
            .strip_prefix(begins)
            .and_then(|rest| rest.strip_suffix(ends))
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())),
    })
}

fn is_suspicious(name: &str) -> bool {
    let is_ours = !name.contains("tx") && !name.contains("xdp");
    is_ours && SUSPICIOUS.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(counts: &[(&str, u64)]) -> Losses {
        let mut losses = Losses::default();
        counts.iter().for_each(|(name, value)| losses.sort(name, *value));
        losses
    }

    #[test]
    fn names_of_lost_frames_are_known_and_others_are_not() {
        let known = ["rx_queue_3_drops", "rx3_drops", "rx_drops", "rx_out_of_buffer", "link.rx_fifo_errors"];
        for name in known {
            assert!(place_of(name).is_some(), "{name}");
        }
        for other in
            ["rx_queue_0_xdp_drops", "rx_packets", "tx_queue_0_drops", "rx_no_buffer_count", "rx0_xdp_drops"]
        {
            assert_eq!(place_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_sum_and_its_queues_are_one_loss() {
        // virtio_net of Linux 6.18.
        let virtio = [("rx_drops", 12), ("rx0_drops", 5), ("rx1_drops", 7), ("rx_xdp_drops", 99)];
        assert_eq!(losses(&virtio).frames(), 12);
        // A driver that the link counts as well.
        let twice = [("link.rx_missed_errors", 40), ("link.rx_fifo_errors", 40), ("rx_missed_errors", 41)];
        assert_eq!(losses(&twice).frames(), 41);
    }

    #[test]
    fn what_only_sounds_like_a_loss_is_told_apart() {
        let found =
            losses(&[("rx_no_buffer_count", 3), ("tx_dropped", 9), ("rx_xdp_drops", 9), ("rx_bytes", 1)]);
        assert_eq!((found.frames(), found.other.len()), (0, 1));
        assert_eq!(found.other["rx_no_buffer_count"], 3);
    }

    #[test]
    fn counts_that_begin_again_or_are_new_take_nothing_from_the_past() {
        let mut since = BTreeMap::new();
        let map = |counts: &[(&str, u64)]| losses(counts).known;
        add_growth(&mut since, &map(&[("rx0_drops", 10)]), &map(&[("rx0_drops", 15), ("rx1_drops", 500)]));
        assert_eq!(since, map(&[("rx0_drops", 5)]));
        add_growth(&mut since, &map(&[("rx0_drops", 15)]), &map(&[("rx0_drops", 2)]));
        assert_eq!(since, map(&[("rx0_drops", 7)]));
    }
}
