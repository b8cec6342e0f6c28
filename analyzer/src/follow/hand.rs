//! A hand that goes round a pool and looks for a place that gives way.
//!
//! A full pool in which nothing does costs every packet of a connection that has no place [`STEPS`] looks at memory. So a
//! hand that went all the way round and found nothing rests for [`REST`] of packet time: until then nothing falls silent
//! that matters, and what closes meanwhile is told to the table by itself.

use tidegauge_ebpf::limits::stamp_units_of_ms;
use tidegauge_ebpf::stamp::Stamp;

/// Places it looks at for each that is needed.
pub(super) const STEPS: usize = 32;
/// How long it rests.
const REST: u32 = stamp_units_of_ms(1_000);

/// Where it is.
#[derive(Debug, Default)]
pub(super) struct Hand {
    next: u32,
    /// Places in a row that did not give way, and since when it rests.
    in_vain: usize,
    rests: Option<Stamp>,
}

impl Hand {
    /// A place among so many that gives way, if one is found.
    pub(super) fn find<R>(
        &mut self,
        len: usize,
        now: Stamp,
        mut gives_way: impl FnMut(u32) -> Option<R>,
    ) -> Option<R> {
        if self.rests.is_some_and(|since| now.since(since) < REST) {
            return None;
        }
        self.rests = None;
        for _ in 0..STEPS.min(len) {
            let place = self.next;
            self.next = if place as usize + 1 < len { place + 1 } else { 0 };
            let found = gives_way(place);
            if found.is_some() {
                self.in_vain = 0;
                return found;
            }
            self.in_vain += 1;
        }
        if self.in_vain >= len {
            (self.in_vain, self.rests) = (0, Some(now));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rests_after_a_round_in_vain() {
        let (mut hand, mut looks, start) = (Hand::default(), 0, Stamp(7));
        for _ in 0..100 {
            assert_eq!(
                hand.find(100, start, |_| {
                    looks += 1;
                    None::<u32>
                }),
                None
            );
        }
        // Four times 32 are more than 100.
        assert_eq!(looks, 128);
        assert_eq!(hand.find(100, Stamp(7 + REST - 1), Some), None);
        assert_eq!(hand.find(100, Stamp(7 + REST), Some), Some(28));
    }

    #[test]
    fn it_goes_round_and_finds_what_gives_way() {
        let mut hand = Hand::default();
        let mut found = Vec::new();
        for _ in 0..8 {
            found.extend(hand.find(50, Stamp(0), |place| (place % 40 == 3).then_some(place)));
        }
        // From 4 to 35 there is none: two of the eight find nothing, and so does the last.
        assert_eq!(found, [3, 43, 3, 43, 3]);
    }
}
