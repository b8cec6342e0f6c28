//! What the page's server takes and keeps at most, and how often that was not enough.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

/// Connections at the same time: two of each of 200 open pages, one for news and one for what it asks, and some more. With
/// them a process stays below 1,024 files, which is what it may have by default.
pub const CONNECTIONS_MAX: usize = 448;
/// Connections at the same time from one address, beyond loopback.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 64;
/// Bytes of a request's head.
pub const HEAD_BYTES_MAX: usize = 16 * 1_024;
/// Lines of a request's head.
pub const HEAD_LINES_MAX: usize = 64;
/// Bytes of a request's body; only the login has one.
pub const BODY_BYTES_MAX: usize = 4_096;
/// For a request's head, and between requests.
pub const HEAD_TIME_MAX: Duration = Duration::from_secs(15);
/// For the TLS handshake.
pub const TLS_TIME_MAX: Duration = Duration::from_secs(10);
/// For a client that takes no more bytes.
pub const WRITE_TIME_MAX: Duration = Duration::from_secs(30);
/// Bytes that the kernel keeps for a client that does not read (it doubles them).
pub const SEND_BUFFER_BYTES: u32 = 64 * 1_024;
/// Requests that an address may save up.
pub const REQUESTS_BURST_MAX: f64 = 800.0;
/// Requests per second of an address.
pub const REQUESTS_PER_S_MAX: f64 = 100.0;
/// Wrong tokens that an address may save up.
pub const WRONG_TOKENS_BURST_MAX: f64 = 10.0;
/// Wrong tokens per second of an address.
pub const WRONG_TOKENS_PER_S_MAX: f64 = 0.2;
/// Addresses that are remembered; of more, those that were longest silent are forgotten.
pub const ADDRESSES_MAX: usize = 4_096;
/// Browsers that are logged in; of more, the oldest is logged out.
pub const SESSIONS_MAX: usize = 256;
/// How long a login lasts.
pub const SESSION_TIME_MAX: Duration = Duration::from_secs(12 * 3_600);
/// Messages that wait for a client of `/api/events`; with more it is let go.
pub const EVENTS_QUEUE_MAX: usize = 64;
/// Points in a `window` message; where there are more, the client is told to ask for the board again.
pub const POINTS_TOLD_MAX: usize = 120;
/// Listeners that are told of a window: those with most packets.
pub const LISTENERS_TOLD_MAX: usize = 32;
/// Incidents in a board: the newest.
pub const INCIDENTS_TOLD_MAX: usize = 200;
/// Flows that are kept for the table: the newest.
pub const FLOWS_MAX: usize = 4_096;
/// Flows in an answer.
pub const FLOWS_TOLD_MAX: usize = 200;
/// Bytes of evidence that are read at once.
pub const EVIDENCE_CHUNK_BYTES: usize = 64 * 1_024;

/// How often something was not taken.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections that were closed at once: too many.
    pub connections_refused: AtomicU64,
    /// Requests that came too fast.
    pub requests_refused: AtomicU64,
    /// Requests with a wrong token or none.
    pub tokens_refused: AtomicU64,
    /// Requests for another host's name.
    pub hosts_refused: AtomicU64,
    /// Clients of `/api/events` that did not keep up.
    pub clients_dropped: AtomicU64,
    /// Clients of `/api/events` now.
    pub clients: AtomicU64,
}

/// One more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counts {
    /// All of them, as the page shows them.
    pub(super) fn told(&self) -> Value {
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        json!({
            "clients": number(&self.clients),
            "clients_dropped": number(&self.clients_dropped),
            "connections_refused": number(&self.connections_refused),
            "requests_refused": number(&self.requests_refused),
            "tokens_refused": number(&self.tokens_refused),
            "hosts_refused": number(&self.hosts_refused),
        })
    }
}
