//! The clock of a pcapng interface: ticks of its resolution to nanoseconds since the epoch.
//!
//! Resolution and offset come from the file and may be anything; results saturate at 0 and `u64::MAX`.

const NS_PER_S: i128 = 1_000_000_000;

/// `if_tsresol` and `if_tsoffset` of one interface.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    scale: Scale,
    offset_s: i64,
}

/// One tick, relative to a nanosecond.
#[derive(Clone, Copy, Debug)]
enum Scale {
    /// Ticks of 2^-n seconds.
    Binary(u8),
    /// That many ticks are one nanosecond.
    Finer(u64),
    /// A tick is that many nanoseconds.
    Coarser(u64),
}

impl Clock {
    /// What an interface without the options has: microseconds since the epoch.
    pub(super) const MICROSECONDS: Self = Self { scale: Scale::Coarser(1_000), offset_s: 0 };

    /// Takes an `if_tsresol` value: the top bit tells powers of two from powers of ten.
    pub(super) fn set_resolution(&mut self, tsresol: u8) {
        let exponent = tsresol & 0x7f;
        self.scale = if tsresol & 0x80 != 0 {
            Scale::Binary(exponent)
        } else if exponent <= 9 {
            Scale::Coarser(10_u64.pow(u32::from(9 - exponent)))
        } else {
            // Ticks so fine that all of u64 is less than a nanosecond: dividing by the maximum gives the zero.
            Scale::Finer(10_u64.checked_pow(u32::from(exponent - 9)).unwrap_or(u64::MAX))
        };
    }

    /// Takes an `if_tsoffset` value: seconds to add to every time.
    pub(super) fn set_offset_s(&mut self, offset_s: i64) {
        self.offset_s = offset_s;
    }

    #[inline]
    pub(super) fn ns(self, ticks: u64) -> u64 {
        let ns = match self.scale {
            Scale::Binary(exponent) => binary_ns(ticks, exponent),
            Scale::Finer(ticks_per_ns) => ticks / ticks_per_ns,
            Scale::Coarser(ns_per_tick) => ticks.saturating_mul(ns_per_tick),
        };
        if self.offset_s == 0 { ns } else { shifted_ns(ns, self.offset_s) }
    }
}

fn binary_ns(ticks: u64, exponent: u8) -> u64 {
    let ns = (u128::from(ticks) * NS_PER_S.unsigned_abs()) >> exponent;
    u64::try_from(ns).unwrap_or(u64::MAX)
}

fn shifted_ns(ns: u64, offset_s: i64) -> u64 {
    let shifted = i128::from(ns) + i128::from(offset_s) * NS_PER_S;
    u64::try_from(shifted.max(0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(tsresol: u8, offset_s: i64) -> Clock {
        let mut clock = Clock::MICROSECONDS;
        clock.set_resolution(tsresol);
        clock.set_offset_s(offset_s);
        clock
    }

    #[test]
    fn powers_of_ten_meet_the_nanosecond_from_both_sides() {
        assert_eq!(Clock::MICROSECONDS.ns(1_500_000), 1_500_000_000);
        assert_eq!(clock(0, 0).ns(3), 3_000_000_000);
        assert_eq!(clock(6, 0).ns(3), 3_000);
        assert_eq!(clock(9, 0).ns(3), 3);
        assert_eq!(clock(12, 0).ns(3_999), 3);
        assert_eq!(clock(28, 0).ns(u64::MAX), 1);
        assert_eq!(clock(127, 0).ns(u64::MAX - 1), 0);
    }

    #[test]
    fn powers_of_two_keep_all_bits() {
        assert_eq!(clock(0x80, 0).ns(2), 2_000_000_000);
        assert_eq!(clock(0x80 | 10, 0).ns(1_024 + 512), 1_500_000_000);
        assert_eq!(clock(0x80 | 32, 0).ns((1_700_000_000 << 32) | (1 << 31)), 1_700_000_000_500_000_000);
        assert_eq!(clock(0xff, 0).ns(u64::MAX), 0);
    }

    #[test]
    fn offsets_shift_both_ways() {
        assert_eq!(clock(6, 10).ns(1), 10_000_001_000);
        assert_eq!(clock(6, -1).ns(1_500_000), 500_000_000);
    }

    #[test]
    fn nothing_overflows() {
        for tsresol in 0..=u8::MAX {
            for offset_s in [i64::MIN, -1, 0, 1, i64::MAX] {
                for ticks in [0, 1, u64::MAX] {
                    clock(tsresol, offset_s).ns(ticks);
                }
            }
        }
        assert_eq!(clock(0, i64::MAX).ns(u64::MAX), u64::MAX);
        assert_eq!(clock(6, i64::MIN).ns(1), 0);
        assert_eq!(clock(0x80, 0).ns(u64::MAX), u64::MAX);
    }
}
