//! Round trips by method, by listener and by the networks of their peers.

use std::collections::BTreeMap;

use serde::Serialize;
use tidegauge_ebpf::counter::{Counter, Counters};

use super::Quantiles;
use crate::account::{PlaceRtt, RoundTrips};
use crate::truth::Truth;

/// Clock of round trips in all sources: stamp units are 1.024 us.
const RTT_RESOLUTION_US: u32 = 1;
/// Listeners and networks named, those with most samples.
const PLACES_NAMED: usize = 10;

/// Round trips with the method that measured them. Each runs from where we look to one end and back.
#[derive(Clone, Debug, Serialize)]
pub struct RttSummary {
    /// SYN to SYN-ACK: to the listener and back.
    #[serde(flatten)]
    pub handshake: Quantiles,
    /// `handshake_listener` (SYN to SYN-ACK), `handshake_peer` (SYN-ACK to ACK), `timestamps_listener` and
    /// `timestamps_peer` (payload until that end echoed its timestamp, RFC 7323), and where whole packets are seen
    /// `ack_listener` and `ack_peer` (payload until that end acknowledged it, Karn's rule).
    pub by_method: BTreeMap<&'static str, Quantiles>,
    /// To listeners and back by `ack_listener`, those with most samples; `null` where the source does not tell.
    pub by_listener: Option<Vec<PlaceRttSummary>>,
    /// To the networks of their peers and back by `ack_peer`: /24 of IPv4, /48 of IPv6.
    pub by_peer_prefix: Option<Vec<PlaceRttSummary>>,
    /// Round trips of places beyond those that are kept.
    pub places_untold: Option<u64>,
    /// Round trips that ended when no precise clock reading was left in its tick: in no quantile.
    pub untimed: u64,
}

/// Round trips of one place.
#[derive(Clone, Debug, Serialize)]
pub struct PlaceRttSummary {
    /// Address of the listener, or the network with its length.
    pub addr: String,
    /// Port of the listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Milliseconds.
    #[serde(flatten)]
    pub ms: Quantiles,
}

impl RttSummary {
    /// The round trips of any totals.
    pub fn of(totals: &Counters, truth: Option<&Truth>) -> Self {
        let quantiles = |histogram| Quantiles::of_us(histogram, RTT_RESOLUTION_US);
        let mut by_method = BTreeMap::from([
            ("handshake_listener", quantiles(&totals.handshake_us)),
            ("handshake_peer", quantiles(&totals.handshake_ack_us)),
            ("timestamps_listener", quantiles(&totals.echo_listener_us)),
            ("timestamps_peer", quantiles(&totals.echo_peer_us)),
        ]);
        if let Some(truth) = truth {
            by_method.insert("ack_listener", quantiles(&truth.ack_listener_us));
            by_method.insert("ack_peer", quantiles(&truth.ack_peer_us));
        }
        Self {
            handshake: quantiles(&totals.handshake_us),
            by_method,
            by_listener: None,
            by_peer_prefix: None,
            places_untold: None,
            untimed: totals.get(Counter::RoundTripsUntimed),
        }
    }

    /// Adds those by place.
    pub fn add_places(&mut self, round_trips: &RoundTrips) {
        let named = |places: Vec<&PlaceRtt>| {
            Some(places.into_iter().take(PLACES_NAMED).map(PlaceRttSummary::of).collect())
        };
        self.by_listener = named(round_trips.listeners());
        self.by_peer_prefix = named(round_trips.networks());
        self.places_untold = Some(round_trips.untold());
    }
}

impl PlaceRttSummary {
    fn of(place: &PlaceRtt) -> Self {
        let ms = Quantiles::of_us(&place.ack_us, RTT_RESOLUTION_US);
        let PlaceRtt { address, port, .. } = *place;
        if port != 0 {
            return Self { addr: address.to_string(), port: Some(port), ms };
        }
        let length = if address.is_ipv4() { 24 } else { 48 };
        Self { addr: format!("{address}/{length}"), port: None, ms }
    }
}
