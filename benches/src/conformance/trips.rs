//! Round trips one by one, as the rules of tcptrace and of tidegauge find them in the segments that tshark lists, and what
//! the rules differ in.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

/// One round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trip {
    /// The ACK that ended it, by its number in the capture.
    pub packet: u64,
    /// Microseconds.
    pub us: i64,
    /// What was acknowledged was a SYN or SYN-ACK.
    pub of_syn: bool,
}

/// How many are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Kinds {
    /// Both find it, of the same segment.
    pub same: u64,
    /// Both find one at the same ACK, of different segments.
    pub of_other_segment: u64,
    /// Only tcptrace: of a SYN or SYN-ACK; tidegauge tells those of the handshake.
    pub of_syn: u64,
    /// Only tcptrace: while tidegauge timed another segment, or none behind something sent again or lost.
    pub not_timed: u64,
    /// Only tidegauge: an ACK of more than the segment that was timed, or beyond the end of any.
    pub of_more: u64,
}

impl Kinds {
    /// Adds those of a capture.
    pub fn add(&mut self, theirs: &[Trip], ours: &[Trip]) {
        let mut ours: BTreeMap<u64, i64> = ours.iter().map(|trip| (trip.packet, trip.us)).collect();
        for trip in theirs {
            let kind = match ours.remove(&trip.packet) {
                Some(us) if us == trip.us => &mut self.same,
                Some(_) => &mut self.of_other_segment,
                None if trip.of_syn => &mut self.of_syn,
                None => &mut self.not_timed,
            };
            *kind += 1;
        }
        self.of_more += ours.len() as u64;
    }

    /// In words.
    pub fn write(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "Round trips by the rules of both, one by one: {} the same; {} at the same ACK, of another segment; only \
             tcptrace's {} of SYNs and SYN-ACKs, which tidegauge tells of the handshake, and {} of segments that tidegauge \
             did not time, because it times one at a time and the newest; only tidegauge's {}, to an ACK that also \
             acknowledges later ones.\n",
            self.same, self.of_other_segment, self.of_syn, self.not_timed, self.of_more
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_trip_is_of_one_kind() {
        let trip = |packet, us, of_syn| Trip { packet, us, of_syn };
        let theirs = [trip(1, 5, true), trip(2, 5, false), trip(3, 5, false), trip(4, 5, false)];
        let ours = [trip(2, 5, false), trip(3, 6, false), trip(9, 5, false)];
        let mut kinds = Kinds::default();
        kinds.add(&theirs, &ours);
        assert_eq!(kinds, Kinds { same: 1, of_other_segment: 1, of_syn: 1, not_timed: 1, of_more: 1 });
    }
}
