//! The sums of one interval and one shard: counts, histograms, and their form in the output contract.
//!
//! `merge` is associative and commutative, of fixed size, and allocates nothing; so sums of shards, ticks and files
//! are added in any order. Built by [`super::Layers`] and [`super::arp`], printed by the summary and by windows.

use serde_json::{Map, Value, json};
use tidegauge_ebpf::histogram::Histogram;

use super::counter::{Group, LayerCounter};
use super::record::alert_name;
use super::version::{Version, Versions};
use crate::summary::Quantiles;
use crate::time::timestamp;

/// Times are in microseconds, of clocks that are no coarser.
const RESOLUTION_US: u32 = 1;

/// Alert descriptions are one byte.
const DESCRIPTIONS: usize = 256;

/// HTTP methods told apart (RFC 9110 section 9, RFC 5789, WebDAV as one); others count as the last.
pub const METHODS: [&str; 10] =
    ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PATCH", "other"];

/// All that was seen in an interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerSums {
    counts: [u64; LayerCounter::ALL.len()],
    /// Alerts in the clear by description (RFC 8446 section 6).
    pub alert_descriptions: [u32; DESCRIPTIONS],
    /// Requests by place in [`METHODS`].
    pub methods: [u64; METHODS.len()],
    /// Versions seen.
    pub versions: Versions,
    /// From the client's first byte to the ServerHello.
    pub tls_hello_us: Histogram,
    /// From the first application data of the client to the first of the server, up to TLS 1.2 (in 1.3 it cannot be
    /// told from the encrypted handshake).
    pub tls_ttfb_us: Histogram,
    /// From the first byte of a request to the first of its response.
    pub http_latency_us: Histogram,
    /// From query to response.
    pub dns_latency_us: Histogram,
    /// From echo request to reply.
    pub icmp_rtt_us: Histogram,
    /// Earliest notAfter among the certificates seen, seconds since the epoch.
    pub certificate_expires_soonest_s: Option<i64>,
}

impl Default for LayerSums {
    fn default() -> Self {
        Self {
            counts: [0; LayerCounter::ALL.len()],
            alert_descriptions: [0; DESCRIPTIONS],
            methods: [0; METHODS.len()],
            versions: Versions::default(),
            tls_hello_us: Histogram::default(),
            tls_ttfb_us: Histogram::default(),
            http_latency_us: Histogram::default(),
            dns_latency_us: Histogram::default(),
            icmp_rtt_us: Histogram::default(),
            certificate_expires_soonest_s: None,
        }
    }
}

impl LayerSums {
    /// Counts one.
    #[inline]
    pub const fn count(&mut self, counter: LayerCounter) {
        self.add(counter, 1);
    }

    /// Counts several.
    #[inline]
    pub const fn add(&mut self, counter: LayerCounter, more: u64) {
        self.counts[counter as usize] += more;
    }

    /// The value of a counter.
    pub const fn get(&self, counter: LayerCounter) -> u64 {
        self.counts[counter as usize]
    }

    /// A certificate that ends at `not_after_s`, seen at `now_ns`.
    pub(super) fn certificate(&mut self, not_after_s: i64, now_ns: u64) {
        self.count(LayerCounter::TlsCertificates);
        if not_after_s < i64::try_from(now_ns / 1_000_000_000).unwrap_or(i64::MAX) {
            self.count(LayerCounter::TlsCertificatesExpired);
        }
        self.certificate_expires_soonest_s =
            [self.certificate_expires_soonest_s, Some(not_after_s)].into_iter().flatten().min();
    }

    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| *count == 0) && self.versions == Versions::default()
    }

    /// Adds another interval's or shard's sums.
    pub fn merge(&mut self, other: &Self) {
        let own = self.counts.iter_mut().chain(&mut self.methods);
        for (own, more) in own.zip(other.counts.iter().chain(&other.methods)) {
            *own += more;
        }
        for (own, more) in self.alert_descriptions.iter_mut().zip(&other.alert_descriptions) {
            *own = own.saturating_add(*more);
        }
        self.versions.merge(&other.versions);
        self.tls_hello_us.merge(&other.tls_hello_us);
        self.tls_ttfb_us.merge(&other.tls_ttfb_us);
        self.http_latency_us.merge(&other.http_latency_us);
        self.dns_latency_us.merge(&other.dns_latency_us);
        self.icmp_rtt_us.merge(&other.icmp_rtt_us);
        let soonest = [self.certificate_expires_soonest_s, other.certificate_expires_soonest_s];
        self.certificate_expires_soonest_s = soonest.into_iter().flatten().min();
    }

    /// The objects of the output contract: `tls`, `http`, `dns`, `icmp`, `quic`, `arp`, `streams`, `icmp_rtt_ms` and
    /// `version_entropy` (bits; `null` where no version was seen).
    pub fn json(&self) -> Map<String, Value> {
        let mut all: Map<String, Value> = Group::ALL
            .iter()
            .map(|group| (group.name().to_owned(), Value::Object(self.group_json(*group))))
            .collect();
        all.insert("icmp_rtt_ms".into(), milliseconds(&self.icmp_rtt_us));
        all.insert("version_entropy".into(), json!(self.versions.entropy_bits()));
        all
    }

    fn group_json(&self, group: Group) -> Map<String, Value> {
        let counters = LayerCounter::ALL.iter().filter(|counter| counter.group() == group);
        let mut object: Map<String, Value> =
            counters.map(|counter| (counter.name().to_owned(), json!(self.get(*counter)))).collect();
        match group {
            Group::Tls => self.add_tls(&mut object),
            Group::Http => {
                let methods = METHODS.iter().zip(self.methods).filter(|(_, count)| *count != 0);
                object.insert(
                    "methods".into(),
                    methods.map(|(name, count)| ((*name).to_owned(), json!(count))).collect(),
                );
                object.insert("latency_ms".into(), milliseconds(&self.http_latency_us));
            }
            Group::Dns => {
                object.insert("latency_ms".into(), milliseconds(&self.dns_latency_us));
            }
            Group::Arp | Group::Icmp | Group::Logins | Group::Quic | Group::Streams => {}
        }
        if matches!(group, Group::Tls | Group::Http | Group::Quic) {
            object.insert("versions".into(), self.versions_json(group));
        }
        object
    }

    fn add_tls(&self, object: &mut Map<String, Value>) {
        let hellos = self.get(LayerCounter::TlsClientHellos) + self.get(LayerCounter::TlsServerHellos);
        object.insert("hellos".into(), json!(hellos));
        let described = self.alert_descriptions.iter().enumerate().filter(|(_, count)| **count != 0);
        let described = described.map(|(code, count)| (alert_name(code as u8), json!(count)));
        object.insert("alert_descriptions".into(), described.collect());
        object.insert("hello_ms".into(), milliseconds(&self.tls_hello_us));
        object.insert("ttfb_ms".into(), milliseconds(&self.tls_ttfb_us));
        let soonest = self.certificate_expires_soonest_s.and_then(|seconds| u64::try_from(seconds).ok());
        let soonest = soonest.and_then(|seconds| seconds.checked_mul(1_000_000_000)).map(timestamp);
        object.insert("expires_soonest".into(), json!(soonest));
    }

    fn versions_json(&self, group: Group) -> Value {
        let of_group = |version: &&Version| version.group() == group && self.versions.get(**version) != 0;
        let seen = Version::ALL.iter().filter(of_group);
        seen.map(|version| (version.name().to_owned(), json!(self.versions.get(*version)))).collect()
    }
}

fn milliseconds(histogram: &Histogram) -> Value {
    json!(Quantiles::of_us(histogram, RESOLUTION_US))
}
