//! What only sources of whole packets tell: the full TCP judgement, round trips by segment and ACK, the layers above.

use tidegauge_ebpf::histogram::Histogram;
use tidegauge_ebpf::tcp::mark;

use crate::follow::Misfits;
use crate::layer::LayerSums;

/// Sums of an interval. They add in any order and grouping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// Segments by mark, in the order of [`mark::NAMES`]; super-frames that were sent again count as their segments.
    pub marks: [u64; mark::COUNT],
    /// From a segment to its ACK by the listener and back, microseconds (Karn's rule).
    pub ack_listener_us: Histogram,
    /// The same by the listener's peer.
    pub ack_peer_us: Histogram,
    /// What was read above TCP, UDP, ICMP and ARP.
    pub layers: LayerSums,
    /// Connections without a record, and told early.
    pub misfits: Misfits,
}

impl Truth {
    /// Adds another interval's or partition's.
    pub fn merge(&mut self, other: &Self) {
        for (own, more) in self.marks.iter_mut().zip(&other.marks) {
            *own = own.saturating_add(*more);
        }
        self.ack_listener_us.merge(&other.ack_listener_us);
        self.ack_peer_us.merge(&other.ack_peer_us);
        self.layers.merge(&other.layers);
        self.misfits.merge(other.misfits);
    }

    /// Makes estimates of the judgements that were counted on one in `one_in` flows. What layers say stays what was seen.
    pub fn scale(&mut self, one_in: u32) {
        self.marks.iter_mut().for_each(|count| *count = count.saturating_mul(one_in.into()));
    }

    /// Segments with this mark, one bit of [`mark`].
    pub const fn get(&self, mark: u32) -> u64 {
        self.marks[mark.trailing_zeros() as usize % mark::COUNT]
    }

    /// Counts the marks of a segment that stands for `segments`.
    #[inline]
    pub fn count(&mut self, marks: u32, segments: u32) {
        let mut rest = marks;
        while rest != 0 {
            let place = rest.trailing_zeros() as usize;
            let amount = if (1 << place) & SENT_AGAIN != 0 { segments } else { 1 };
            if let Some(count) = self.marks.get_mut(place) {
                *count += u64::from(amount);
            }
            rest &= rest - 1;
        }
    }
}

/// Marks of what was sent again: all segments of a super-frame were.
const SENT_AGAIN: u32 =
    mark::RETRANSMISSION | mark::FAST_RETRANSMISSION | mark::SPURIOUS_RETRANSMISSION | mark::OUT_OF_ORDER;
