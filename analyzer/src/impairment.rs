//! What single connections suffered from, gathered by listener as they end: of each kind how many connections, and the
//! one that had most of it. Names whom the counts of listeners do not name.
//!
//! Only sources of whole packets tell it. Noted by [`crate::follow`] in a bounded list, handed on in windows, read by
//! [`crate::observation`]. What is open when the run ends is told then.

use std::net::IpAddr;

use crate::window::ListenerKey;

/// A time from which on an answer, a question or a round trip is late, microseconds. A second is the longest that people
/// wait without a break in their thought (Miller 1968), the first timeout of a SYN (RFC 6298), and longer than a
/// satellite's 600 ms.
pub const LATE_US: u32 = 1_000_000;

/// What a connection suffers from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Impairment {
    /// Segments sent again; how many.
    SentAgain,
    /// Segments that were overtaken; how many.
    Overtaken,
    /// ACKs that say the same again; how many.
    DuplicateAck,
    /// Zero windows; how many.
    ZeroWindow,
    /// Windows filled; how many.
    WindowFull,
    /// A round trip of the handshake; microseconds.
    LongRoundTrip,
    /// The answer to the first question, or to any request, beyond the round trip; microseconds.
    LateAnswer,
    /// The first question, after the handshake; microseconds.
    LateQuestion,
    /// A fatal TLS alert; 1.
    HelloFailed,
    /// Responses 5xx; how many.
    ServerError,
}

/// What it is noted by.
pub type ImpairmentKey = (ListenerKey, Impairment);

/// Impairments of connections that ended.
pub type Impairments = Vec<(ImpairmentKey, Worst)>;

/// Connections at one listener with the same impairment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Worst {
    /// How many.
    pub connections: u64,
    /// Of the one that has most: how much.
    pub most: u64,
    /// Its client.
    pub client: Option<IpAddr>,
    /// Whether the listener sent most of it, or is the end that took so long; else the client.
    pub by_listener: bool,
    /// An alert's name, or a status.
    pub what: Option<Box<str>>,
    /// The server name that was asked for.
    pub name: Option<Box<str>>,
}

impl Worst {
    /// One connection.
    pub const fn one(most: u64, client: IpAddr, by_listener: bool) -> Self {
        Self { connections: 1, most, client: Some(client), by_listener, what: None, name: None }
    }

    /// Adds others of the same listener and kind.
    pub fn merge(&mut self, other: &Self) {
        let connections = self.connections.saturating_add(other.connections);
        if other.rank() > self.rank() {
            self.clone_from(other);
        }
        self.connections = connections;
    }

    /// Most first; what follows tells those apart that have as much, so that any order gives the same.
    fn rank(&self) -> impl Ord + '_ {
        (self.most, self.client, self.by_listener, &self.what, &self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_connection_stands_in_whatever_order() {
        let one = |most, host| Worst::one(most, IpAddr::from([192, 0, 2, host]), host == 2);
        let all = [one(3, 1), one(5, 2), one(5, 1)];
        let sum = |order: [usize; 3]| {
            let mut sum = Worst::default();
            order.iter().for_each(|place| sum.merge(&all[*place]));
            sum
        };
        let first = sum([0, 1, 2]);
        assert_eq!((first.connections, first.most, first.by_listener), (3, 5, true));
        assert_eq!([sum([2, 1, 0]), sum([1, 0, 2])], [first.clone(), first]);
    }
}
