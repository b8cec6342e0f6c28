//! How fast an address may ask: a bucket for each, of a bounded number.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::limits::ADDRESSES_MAX;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

/// Buckets of addresses.
#[derive(Debug)]
pub(super) struct Rates {
    burst: f64,
    per_s: f64,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

impl Rates {
    pub(super) fn new(burst: f64, per_s: f64) -> Self {
        Self { burst, per_s, buckets: Mutex::default() }
    }

    /// Whether this address may ask once more; takes one if so.
    pub(super) fn take(&self, address: IpAddr, now: Instant) -> bool {
        self.change(address, now, 1.0)
    }

    /// Whether it could.
    pub(super) fn has(&self, address: IpAddr, now: Instant) -> bool {
        self.change(address, now, 0.0)
    }

    fn change(&self, address: IpAddr, now: Instant, by: f64) -> bool {
        let address = network(address);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= ADDRESSES_MAX && !buckets.contains_key(&address) {
            forget(&mut buckets);
        }
        let bucket = buckets.entry(address).or_insert(Bucket { left: self.burst, at: now });
        let saved = now.saturating_duration_since(bucket.at).as_secs_f64() * self.per_s;
        *bucket = Bucket { left: (bucket.left + saved).min(self.burst), at: now };
        let enough = bucket.left >= 1.0;
        if enough {
            bucket.left -= by;
        }
        enough
    }
}

/// A quarter of them, those that were longest silent: not one for each new address.
fn forget(buckets: &mut HashMap<IpAddr, Bucket>) {
    let mut times: Vec<Instant> = buckets.values().map(|bucket| bucket.at).collect();
    let (_, &mut limit, _) = times.select_nth_unstable(ADDRESSES_MAX / 4);
    buckets.retain(|_, bucket| bucket.at > limit);
}

/// One host has a /64 of IPv6 at least.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_asks_too_fast_waits_and_others_do_not() {
        let rates = Rates::new(2.0, 1.0);
        let now = Instant::now();
        let [one, other]: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        assert!(rates.take(one, now) && rates.take(one, now) && !rates.take(one, now));
        assert!(rates.take(other, now) && !rates.has(one, now));
        assert!(rates.take(one, now + Duration::from_secs(1)));
    }

    #[test]
    fn addresses_are_bounded_and_a_network_of_ipv6_is_one() {
        let rates = Rates::new(1.0, 1.0);
        let start = Instant::now();
        for number in 0..10_000_u32 {
            let at = start + Duration::from_micros(number.into());
            rates.take(IpAddr::V4(number.into()), at);
        }
        assert!(rates.buckets.lock().unwrap().len() <= ADDRESSES_MAX);
        assert!(
            rates.take("fd00::1".parse().unwrap(), start) && !rates.take("fd00::2".parse().unwrap(), start)
        );
    }
}
