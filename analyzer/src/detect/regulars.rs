//! Sources that are busy at a listener while nothing is wrong: proxies, gateways, a load balancer's checks. Bounded:
//! [`REGULARS_MAX`], the oldest gives way.

use std::net::IpAddr;

/// Sources remembered.
const REGULARS_MAX: usize = 64;

/// Such sources.
#[derive(Clone, Debug, Default)]
pub struct Regulars {
    known: Vec<IpAddr>,
    next: usize,
}

impl Regulars {
    /// Learns those of `sources`, the busiest first, that have made at least `attempts_min` attempts.
    pub fn learn(&mut self, sources: &[(IpAddr, u32)], attempts_min: u64) {
        for (source, _) in sources.iter().take_while(|(_, attempts)| u64::from(*attempts) >= attempts_min) {
            if self.has(*source) {
                continue;
            }
            if self.known.len() < REGULARS_MAX {
                self.known.push(*source);
            } else {
                self.known[self.next] = *source;
                self.next = (self.next + 1) % REGULARS_MAX;
            }
        }
    }

    /// Whether it is one.
    pub fn has(&self, source: IpAddr) -> bool {
        self.known.contains(&source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busy_are_known_and_the_oldest_forgotten() {
        let source = |number: u8| IpAddr::from([10, 0, 0, number]);
        let mut regulars = Regulars::default();
        regulars.learn(&[(source(1), 90), (source(2), 7)], 8);
        assert!(regulars.has(source(1)) && !regulars.has(source(2)));
        (3..=66).for_each(|number| regulars.learn(&[(source(number), 8)], 8));
        assert!(!regulars.has(source(1)) && regulars.has(source(66)));
    }
}
