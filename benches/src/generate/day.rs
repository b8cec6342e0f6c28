//! `day`: 24 hours at 100,000 listeners, an ordinary day of a large site, as fast as it can be read.
//!
//! Half of the connections go to a thousand busy listeners, the rest to all of them alike, so that each is seen and
//! most are forgotten in between. The rate follows the clock: three times as high at noon as at midnight, minute by
//! minute, with nights in which nothing fails. Nothing here is an attack or a fault: whatever is told of it is a false
//! alarm.

use std::io::{self, Write};

use super::population;
use super::sink::Sink;
use super::timeline::Timeline;
use crate::rng::Rng;
use crate::wire::Addresses;

/// Listeners: addresses of 198.18.0.0/15 (RFC 2544) by ports.
const HOSTS: u64 = 25_000;
const PORTS: [u16; 4] = [443, 80, 5432, 6379];
/// Those that half of the connections go to.
const BUSY: u64 = 1_000;
const DAY_US: u64 = 24 * 3_600 * 1_000_000;
const MINUTES: u64 = 24 * 60;
const PACKETS_PER_TCP_FLOW: u64 = 25;
/// UDP conversations among all, per million.
const UDP_PER_MILLION: u64 = 242_000;

/// About `packets` packets, evenly enough that a day is what they last.
pub(super) fn day<W: Write>(packets: u64, rng: &mut Rng, sink: &mut Sink<W>) -> io::Result<()> {
    let mut timeline = Timeline::default();
    let mut numbers = [0, 0];
    let weights: u64 = (0..MINUTES).map(weight).sum();
    let mut owed = 0;
    for minute in 0..MINUTES {
        owed += packets / PACKETS_PER_TCP_FLOW * weight(minute);
        let (flows, from_us) = (owed / weights, minute * (DAY_US / MINUTES));
        owed %= weights;
        let mut starts_us: Vec<_> = (0..flows).map(|_| from_us + rng.range(0, DAY_US / MINUTES)).collect();
        starts_us.sort_unstable();
        for start_us in starts_us {
            begin(&mut timeline, &mut numbers, start_us, rng, sink);
            timeline.drain(start_us, sink)?;
        }
    }
    sink.truth.udp_flows = numbers[1];
    timeline.drain(u64::MAX, sink)
}

/// A TCP conversation, and now and then a UDP one beside it; `numbers` counts both.
fn begin<W: Write>(
    timeline: &mut Timeline,
    numbers: &mut [u64; 2],
    start_us: u64,
    rng: &mut Rng,
    sink: &mut Sink<W>,
) {
    while rng.chance(UDP_PER_MILLION) {
        timeline.start(population::udp(numbers[1], start_us, rng), sink);
        numbers[1] += 1;
    }
    // Each listener once a round, so that all are seen; the busy ones at random in between.
    let round = numbers[0] / 2 % (HOSTS * PORTS.len() as u64);
    let listener = if numbers[0].is_multiple_of(2) { round } else { rng.range(0, BUSY) };
    let (host, port) = (listener % HOSTS, PORTS[(listener / HOSTS) as usize]);
    let mut path = population::path(numbers[0], port, rng);
    if let Addresses::V4(client, _) = path.addresses {
        let host = host as u16 + 1;
        path.addresses =
            Addresses::V4(client, [198, 18 + (host >> 15) as u8, (host >> 8) as u8, host as u8].into());
    }
    timeline.start(population::tcp_on(path, start_us, rng), sink);
    numbers[0] += 1;
}

/// How busy a minute is, per mille of the busiest: a third at midnight, all at noon, in straight lines.
const fn weight(minute: u64) -> u64 {
    let from_midnight = if minute < MINUTES / 2 { minute } else { MINUTES - minute };
    333 + from_midnight * 667 / (MINUTES / 2)
}
