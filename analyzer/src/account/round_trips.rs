//! Round trips by place over the whole run: per listener, and per network of its peers.
//!
//! Limits: [`PLACES_MAX`] of each, 2 KiB apiece; the first ones that come keep theirs, and samples of others are
//! counted ([`RoundTrips::untold`]).

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use tidegauge_capture::memory::prefetch;
use tidegauge_ebpf::flow::prefix_of;
use tidegauge_ebpf::histogram::{Histogram, bucket_of};

use crate::digest::Digest;
use crate::window::ip_addr;

/// Listeners, and networks.
pub const PLACES_MAX: usize = 1_024;

/// Keys are hashes already.
#[derive(Default)]
struct Hashed(u64);

impl std::hash::Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// One place's round trips.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceRtt {
    /// The listener's address, or the network's first one.
    pub address: std::net::IpAddr,
    /// The listener's port; 0 for a network.
    pub port: u16,
    /// Segment to ACK, microseconds: to the listener and back, or to the network and back.
    pub ack_us: Histogram,
}

/// Places by key, and samples on their way to them.
#[derive(Default)]
struct Places {
    index: HashMap<u64, u32, BuildHasherDefault<Hashed>>,
    places: Vec<PlaceRtt>,
    /// Samples whose counts are being fetched: place and microseconds.
    waiting: [Option<(u32, u32)>; WAITING],
    next: usize,
}

/// Samples that wait for memory at a time: of some thousand histograms hardly any count is in the cache.
const WAITING: usize = 8;

impl Places {
    /// The place of a key; a new one is made while there is room.
    fn place(&mut self, key: u64, new: impl FnOnce() -> PlaceRtt) -> Option<u32> {
        if let Some(place) = self.index.get(&key) {
            return Some(*place);
        }
        if self.places.len() == PLACES_MAX {
            return None;
        }
        let place = self.places.len() as u32;
        self.places.push(new());
        self.index.insert(key, place);
        Some(place)
    }

    /// Asks for the count of a sample, and counts the one that has waited longest.
    #[inline]
    fn record(&mut self, place: u32, us: u32) {
        prefetch(&self.places[place as usize].ack_us.buckets[bucket_of(us)]);
        let waited = self.waiting[self.next].replace((place, us));
        self.next = (self.next + 1) % WAITING;
        self.count(waited);
    }

    fn count(&mut self, waited: Option<(u32, u32)>) {
        if let Some((place, us)) = waited {
            self.places[place as usize].ack_us.record(us);
        }
    }

    /// Counts all that wait.
    fn settle(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_iter().for_each(|waited| self.count(waited));
    }
}

/// All of them.
#[derive(Default)]
pub struct RoundTrips {
    listeners: Places,
    networks: Places,
    untold: u64,
}

impl RoundTrips {
    /// A round trip to the end that sent the digest's ACK. It is told from the next [`Self::settle`] on.
    #[inline]
    pub(super) fn record(&mut self, digest: &Digest, by_listener: bool, us: u32) {
        let packet = &digest.packet;
        let (places, key, address, port) = if by_listener {
            (&mut self.listeners, digest.key.source, packet.source, packet.source_port)
        } else {
            let network = prefix_of(packet.source);
            let high = u64::from(network[0]) << 32 | u64::from(network[1]);
            let low = u64::from(network[2]) << 32 | u64::from(network[3]);
            (&mut self.networks, (high ^ low.rotate_left(17)).wrapping_mul(SPREAD), network, 0)
        };
        let new = || PlaceRtt { address: ip_addr(address), port, ack_us: Histogram::default() };
        match places.place(key, new) {
            Some(place) => places.record(place, us),
            None => self.untold += 1,
        }
    }

    /// Samples so far are told from here on.
    pub(super) fn settle(&mut self) {
        self.listeners.settle();
        self.networks.settle();
    }

    /// Adds another worker's.
    pub fn merge(&mut self, mut other: Self) {
        self.settle();
        other.settle();
        self.untold += other.untold;
        let pairs = [(&mut self.listeners, other.listeners), (&mut self.networks, other.networks)];
        for (own, more) in pairs {
            let Places { index, places, .. } = more;
            for (key, place) in index {
                let PlaceRtt { address, port, ack_us } = &places[place as usize];
                let new = || PlaceRtt { address: *address, port: *port, ack_us: Histogram::default() };
                match own.place(key, new) {
                    Some(known) => own.places[known as usize].ack_us.merge(ack_us),
                    None => self.untold += ack_us.count(),
                }
            }
        }
    }

    /// Listeners, those with most samples first.
    pub fn listeners(&self) -> Vec<&PlaceRtt> {
        sorted(&self.listeners)
    }

    /// Networks, /24 of IPv4 and /48 of IPv6, those with most samples first.
    pub fn networks(&self) -> Vec<&PlaceRtt> {
        sorted(&self.networks)
    }

    /// Samples of places that found no room.
    pub const fn untold(&self) -> u64 {
        self.untold
    }
}

/// Spreads addresses over the table.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

fn sorted(places: &Places) -> Vec<&PlaceRtt> {
    let mut counted: Vec<_> = places.places.iter().map(|place| (place.ack_us.count(), place)).collect();
    counted.sort_by(|a, b| b.0.cmp(&a.0).then((a.1.address, a.1.port).cmp(&(b.1.address, b.1.port))));
    counted.into_iter().map(|(_, place)| place).collect()
}
