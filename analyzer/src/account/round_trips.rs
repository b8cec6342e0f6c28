//! Round trips by place over the whole run: per listener, and per network of its peers.
//!
//! Limits: [`PLACES_MAX`] of each, 2 KiB apiece; the first ones that come keep theirs, and samples of others are
//! counted ([`RoundTrips::untold`]).

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use tidegauge_ebpf::flow::prefix_of;
use tidegauge_ebpf::histogram::Histogram;

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

type Places = HashMap<u64, Box<PlaceRtt>, BuildHasherDefault<Hashed>>;

/// All of them.
#[derive(Default)]
pub struct RoundTrips {
    listeners: Places,
    networks: Places,
    untold: u64,
}

impl RoundTrips {
    /// A round trip to the end that sent the digest's ACK.
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
        if let Some(place) = places.get_mut(&key) {
            place.ack_us.record(us);
        } else if places.len() < PLACES_MAX {
            let mut place =
                Box::new(PlaceRtt { address: ip_addr(address), port, ack_us: Histogram::default() });
            place.ack_us.record(us);
            places.insert(key, place);
        } else {
            self.untold += 1;
        }
    }

    /// Adds another worker's.
    pub fn merge(&mut self, other: Self) {
        self.untold += other.untold;
        let pairs = [(&mut self.listeners, other.listeners), (&mut self.networks, other.networks)];
        for (own, more) in pairs {
            for (key, place) in more {
                if let Some(known) = own.get_mut(&key) {
                    known.ack_us.merge(&place.ack_us);
                } else if own.len() < PLACES_MAX {
                    own.insert(key, place);
                } else {
                    self.untold += place.ack_us.count();
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
    let mut counted: Vec<_> = places.values().map(|place| (place.ack_us.count(), &**place)).collect();
    counted.sort_by(|a, b| b.0.cmp(&a.0).then((a.1.address, a.1.port).cmp(&(b.1.address, b.1.port))));
    counted.into_iter().map(|(_, place)| place).collect()
}
