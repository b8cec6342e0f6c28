//! Frames that the NIC lost before any program could see them.
//!
//! They are told in several places, and drivers fold one into another: the link's `rx_missed_errors`, `rx_fifo_errors`
//! and `rx_over_errors` are often the same number, and a driver's own statistics have it again, per queue and in all.
//! So places are never added: the largest of them is the loss. It is at least so much, and no frame is counted twice.
//! `rx_dropped` is not among them: the stack counts frames there that nobody wanted.

use super::ethtool::Ethtool;
use super::netlink::{LinkStatistics, link};
use crate::interface::Interface;

/// Names in a driver's statistics that count lost frames: how they begin and end. Each row is a place of its own, in
/// which names are added (queues). From the kernel's documentation of the drivers and their sources.
const LOST: [(&str, &str); 12] = [
    // mlx5: no buffer posted; the port's own buffer full.
    ("rx_out_of_buffer", ""),
    ("rx_discards_phy", ""),
    // ixgbe, igb, e1000e, atlantic.
    ("rx_missed_errors", ""),
    ("rx_no_dma_resources", ""),
    ("rx_fifo_errors", ""),
    // i40e, ice: of the port.
    ("port.rx_dropped", ""),
    ("rx_dropped.nic", ""),
    // virtio_net, veth: by queue.
    ("rx_queue_", "_drops"),
    ("rx", "_drops"),
    // ena.
    ("rx_overruns", ""),
    ("rx_drops", ""),
    // bnxt.
    ("rx_total_discard_pkts", ""),
];

/// Loss since it was opened.
pub struct NicLoss {
    interface: Interface,
    ethtool: Option<Ethtool>,
    before: Places,
}

/// The places' counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Places {
    link: [u64; 3],
    driver: [u64; LOST.len()],
}

impl NicLoss {
    /// Begins to count; `None` where not even the link is told.
    pub fn open(interface: &Interface) -> Option<Self> {
        let ethtool = Ethtool::open(&interface.name).ok();
        let mut loss = Self { interface: interface.clone(), ethtool, before: Places::default() };
        loss.before = loss.places()?;
        Some(loss)
    }

    /// Frames lost since then; `None` where it is not told any more.
    pub fn frames(&mut self) -> Option<u64> {
        let (now, before) = (self.places()?, self.before);
        let link = now.link.into_iter().zip(before.link);
        let driver = now.driver.into_iter().zip(before.driver);
        link.chain(driver).map(|(now, before)| now.saturating_sub(before)).max()
    }

    fn places(&mut self) -> Option<Places> {
        let LinkStatistics { rx_over_errors, rx_fifo_errors, rx_missed_errors, .. } =
            link(self.interface.index).ok()?.statistics;
        let mut places =
            Places { link: [rx_over_errors, rx_fifo_errors, rx_missed_errors], ..Places::default() };
        let statistics = self.ethtool.as_mut().and_then(|ethtool| ethtool.statistics().ok());
        for (name, value) in statistics.into_iter().flatten() {
            if let Some(place) = place_of(name) {
                places.driver[place] = places.driver[place].saturating_add(value);
            }
        }
        Some(places)
    }
}

/// The row that a name belongs to. What XDP programs dropped on purpose is not lost.
fn place_of(name: &str) -> Option<usize> {
    if name.contains("xdp") || name.contains("tx") {
        return None;
    }
    LOST.iter().position(|(begins, ends)| {
        if ends.is_empty() { name == *begins } else { name.starts_with(begins) && name.ends_with(ends) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_lost_frames_are_known_and_others_are_not() {
        let place = |name| place_of(name).map(|place| LOST[place].0);
        assert_eq!(place("rx_queue_3_drops"), Some("rx_queue_"));
        assert_eq!(place("rx_out_of_buffer"), Some("rx_out_of_buffer"));
        for other in ["rx_queue_0_xdp_drops", "rx_packets", "tx_queue_0_drops", "rx_no_buffer_count"] {
            assert_eq!(place(other), None, "{other}");
        }
    }
}
