//! Distinct sources from the packet logic's registers: HyperLogLog (Flajolet et al. 2007) with linear counting for
//! small sets. 128 registers: standard error 9.2 %.

use tidegauge_ebpf::limits::DISTINCT_REGISTERS;
use tidegauge_ebpf::listener::{Askers, DISTINCT_BANKS, DISTINCT_WORDS};

/// One period's registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distinct {
    registers: [u8; DISTINCT_REGISTERS],
}

impl Default for Distinct {
    fn default() -> Self {
        Self { registers: [0; DISTINCT_REGISTERS] }
    }
}

impl Distinct {
    /// Both periods of a listener: sources of the last one to two seconds.
    pub fn of(row: &Askers) -> Self {
        let mut sketch = Self::default();
        let newest = newest_period(&row.distinct_periods);
        for bank in 0..DISTINCT_BANKS {
            // The other bank may be of long ago: only the period right before the newest still counts.
            if newest.wrapping_sub(row.distinct_periods[bank]) > 1 {
                continue;
            }
            let words = &row.distinct[bank * DISTINCT_WORDS..(bank + 1) * DISTINCT_WORDS];
            for (own, word) in sketch.registers.as_chunks_mut::<8>().0.iter_mut().zip(words) {
                let registers = word.to_le_bytes();
                for place in 0..8 {
                    own[place] = own[place].max(registers[place]);
                }
            }
        }
        sketch
    }

    /// The union with another sketch.
    pub fn merge(&mut self, other: &Self) {
        for (own, register) in self.registers.iter_mut().zip(&other.registers) {
            *own = (*own).max(*register);
        }
    }

    /// The number of distinct sources, about.
    pub fn estimate(&self) -> u64 {
        let registers = DISTINCT_REGISTERS as f64;
        let free = self.registers.iter().filter(|register| **register == 0).count();
        let harmonic: f64 = self.registers.iter().map(|register| f64::powi(2.0, -i32::from(*register))).sum();
        let raw = 0.7213 / (1.0 + 1.079 / registers) * registers * registers / harmonic;
        if raw <= 2.5 * registers && free > 0 {
            return (registers * (registers / free as f64).ln()).round() as u64;
        }
        raw.round() as u64
    }
}

fn newest_period(periods: &[u32; DISTINCT_BANKS]) -> u32 {
    periods.iter().copied().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegauge_ebpf::flow::pair_hash;
    use tidegauge_ebpf::listener::ListenerRow;
    use tidegauge_ebpf::packet::ipv4_mapped;
    use tidegauge_ebpf::stamp::Stamp;

    #[test]
    fn estimates_stay_within_three_standard_errors() {
        for count in [0_u32, 1, 10, 100, 1_000, 100_000] {
            let mut row = ListenerRow::default();
            for source in 0..count {
                row.askers.record(pair_hash(ipv4_mapped(source), 1, 7), 64, Stamp(0));
            }
            let estimate = Distinct::of(&row.askers).estimate() as f64;
            assert!((estimate - f64::from(count)).abs() <= 0.28 * f64::from(count), "{count}: {estimate}");
        }
    }

    #[test]
    fn a_period_long_ago_does_not_count() {
        let mut row = ListenerRow::default();
        for source in 0..1_000 {
            row.askers.record(pair_hash(ipv4_mapped(source), 1, 7), 64, Stamp(0));
        }
        row.askers.record(pair_hash(ipv4_mapped(1), 1, 7), 64, Stamp(9 << 20));
        assert_eq!(Distinct::of(&row.askers).estimate(), 1);
    }
}
