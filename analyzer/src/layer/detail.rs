//! Details of connections that are worth a description: names and counts that do not fit into a slot.
//!
//! Two tables of fixed capacity, of which memory is touched as they fill. A connection that finds its table full is
//! counted and stays without.

use super::record::{AlertRecord, HttpRecord, TlsRecord, alert_name};
use super::version::Version;

/// One connection in eight may be TLS and described: of a million connections with a scan among them few are, and 125
/// thousand of them take 24 MiB.
const CONNECTIONS_PER_TLS: usize = 8;
/// One in four may be HTTP: these are small.
const CONNECTIONS_PER_HTTP: usize = 4;
/// A small shard still has room for these.
const DETAILS_MIN: usize = 64;
/// Bytes kept of a server name: few are longer, though 253 may be.
const SNI_BYTES: usize = 80;
/// Bytes kept of an application protocol: those registered have at most 24 and mostly 2 or 8.
const ALPN_BYTES: usize = 11;
/// Length of a fingerprint: 10 + 1 + 12 + 1 + 12.
pub(super) const JA4_BYTES: usize = 36;

/// A string of at most `BYTES` bytes; what is longer was cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<const BYTES: usize> {
    len: u8,
    bytes: [u8; BYTES],
}

impl<const BYTES: usize> Default for Text<BYTES> {
    fn default() -> Self {
        Self { len: 0, bytes: [0; BYTES] }
    }
}

impl<const BYTES: usize> Text<BYTES> {
    /// The first bytes of any.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut text = Self::default();
        for (place, byte) in text.bytes.iter_mut().zip(bytes) {
            *place = *byte;
            text.len += 1;
        }
        text
    }

    /// Bytes that are no printable ASCII become dots: they are somebody else's.
    fn string(&self) -> Option<String> {
        let bytes = self.bytes.get(..usize::from(self.len))?;
        let printable = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' };
        (!bytes.is_empty()).then(|| bytes.iter().map(printable).collect())
    }
}

/// Of a TLS connection; version numbers are those on the wire, 0 where unknown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TlsDetail {
    pub(super) sni: Text<SNI_BYTES>,
    pub(super) alpn: Text<ALPN_BYTES>,
    pub(super) alpn_offered: Text<ALPN_BYTES>,
    pub(super) ja4: Text<JA4_BYTES>,
    pub(super) cipher: Option<u16>,
    pub(super) version: u16,
    pub(super) version_offered: u16,
    pub(super) hello_us: Option<u32>,
    pub(super) ttfb_us: Option<u32>,
    /// Level, description, direction.
    pub(super) alert: Option<(u8, u8, u8)>,
    pub(super) not_after_s: Option<i64>,
}

impl TlsDetail {
    pub(super) fn record(&self) -> TlsRecord {
        let version = |number| (number != 0).then(|| Version::of_tls(number).name().to_owned());
        TlsRecord {
            version: version(self.version),
            version_offered: version(self.version_offered),
            sni: self.sni.string(),
            alpn: self.alpn.string(),
            alpn_offered: self.alpn_offered.string(),
            cipher: self.cipher,
            ja4: self.ja4.string(),
            hello_us: self.hello_us,
            ttfb_us: self.ttfb_us,
            alert: self.alert.map(|(level, description, from)| AlertRecord {
                fatal: level == 2,
                description: alert_name(description),
                from_initiator: from == 0,
            }),
            certificate_not_after_s: self.not_after_s,
        }
    }
}

/// Of an HTTP/1 connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HttpDetail {
    pub(super) requests: u32,
    pub(super) responses: u32,
    pub(super) status_4xx: u32,
    pub(super) status_5xx: u32,
    pub(super) last_status: u16,
    latencies: u32,
    latency_sum_us: u64,
    latency_min_us: u32,
    latency_max_us: u32,
}

impl HttpDetail {
    pub(super) fn latency(&mut self, us: u32) {
        self.latency_min_us = if self.latencies == 0 { us } else { self.latency_min_us.min(us) };
        self.latency_max_us = self.latency_max_us.max(us);
        self.latency_sum_us += u64::from(us);
        self.latencies = self.latencies.saturating_add(1);
    }

    pub(super) fn record(&self) -> HttpRecord {
        let measured = self.latencies != 0;
        HttpRecord {
            requests: self.requests,
            responses: self.responses,
            last_status: (self.last_status != 0).then_some(self.last_status),
            status_4xx: self.status_4xx,
            status_5xx: self.status_5xx,
            latency_min_us: measured.then_some(self.latency_min_us),
            latency_mean_us: measured.then(|| self.latency_sum_us as f64 / f64::from(self.latencies)),
            latency_max_us: measured.then_some(self.latency_max_us),
        }
    }
}

/// Entries with numbers, as many as the capacity.
pub(super) struct Table<T> {
    entries: Vec<T>,
    free: Vec<u32>,
}

impl<T: Default> Table<T> {
    fn new(capacity: usize) -> Self {
        Self { entries: Vec::with_capacity(capacity), free: Vec::with_capacity(capacity) }
    }

    pub(super) fn allocated_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<T>() + self.free.capacity() * size_of::<u32>()
    }

    /// A fresh entry, if one is free.
    pub(super) fn acquire(&mut self) -> Option<u32> {
        if let Some(number) = self.free.pop() {
            *self.get_mut(number)? = T::default();
            return Some(number);
        }
        let number = u32::try_from(self.entries.len()).ok()?;
        if self.entries.len() == self.entries.capacity() {
            return None;
        }
        self.entries.push(T::default());
        Some(number)
    }

    pub(super) fn release(&mut self, number: u32) {
        if (number as usize) < self.entries.len() {
            self.free.push(number);
        }
    }

    pub(super) fn get(&self, number: u32) -> Option<&T> {
        self.entries.get(number as usize)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.entries.get_mut(number as usize)
    }
}

/// Both tables.
pub(super) struct Details {
    pub(super) tls: Table<TlsDetail>,
    pub(super) http: Table<HttpDetail>,
}

impl Details {
    pub(super) fn new(connections: u32) -> Self {
        let share = |per: usize| (connections as usize / per).max(DETAILS_MIN);
        Self { tls: Table::new(share(CONNECTIONS_PER_TLS)), http: Table::new(share(CONNECTIONS_PER_HTTP)) }
    }
}
