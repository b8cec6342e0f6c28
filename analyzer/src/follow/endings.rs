//! What a partition notes of connections that end ([`crate::impairment`]): out of their stories, and of what was read above
//! them. Once for each connection; those to which nothing happened are not looked at.
//!
//! Limit: [`NOTED_MAX`] kinds and listeners between two ticks; what finds no place is counted.

use std::collections::BTreeMap;

use tidegauge_ebpf::tcp::connection::{Connection, Story, Tally, flag};
use tidegauge_ebpf::tcp::mark;

use super::table::index_of;
use crate::digest::Digest;
use crate::impairment::{Impairment, ImpairmentKey, Impairments, LATE_US, Worst};
use crate::layer::AppRecord;
use crate::window::{ListenerKey, ip_addr};

/// Kinds and listeners noted in a tick.
const NOTED_MAX: usize = 256;
/// Marks of which a connection's story is told.
pub(super) const NOTED: u32 = mark::BEHIND | mark::DUPLICATE_ACK | mark::ZERO_WINDOW | mark::WINDOW_FULL;
/// A bit of [`Connection::flags`] beside [`flag`]: it has one of [`NOTED`], or a long round trip.
pub(super) const TOLD_OF: u16 = 1 << 13;

const TALLIES: [(Impairment, Tally); 5] = [
    (Impairment::SentAgain, Tally::Retransmission),
    (Impairment::Overtaken, Tally::OutOfOrder),
    (Impairment::DuplicateAck, Tally::DuplicateAck),
    (Impairment::ZeroWindow, Tally::ZeroWindow),
    (Impairment::WindowFull, Tally::WindowFull),
];

/// Whether a half of the handshake took long, and not because it was lost.
pub(super) fn is_long(story: &Story) -> bool {
    story.listener_us.max(story.peer_us) >= LONG_US && story.handshake_again == [0; 2]
}

/// Round trips from here on are long: a satellite takes 600 ms, no cable more than 400.
const LONG_US: u32 = 800_000;

/// All that is noted in a tick.
#[derive(Debug, Default)]
pub(super) struct Endings {
    noted: BTreeMap<ImpairmentKey, Worst>,
    given_up: u64,
}

/// Who is who.
struct Ends {
    listener: ListenerKey,
    /// Side of the client.
    client: usize,
}

impl Ends {
    fn of(connection: &Connection) -> Self {
        let client = if connection.flags & flag::HANDSHAKE != 0 {
            index_of(connection.initiator())
        } else {
            usize::from(connection.ports[0] < connection.ports[1])
        };
        let address = ip_addr(connection.addresses[1 - client]);
        Self { listener: ListenerKey { address, port: connection.ports[1 - client] }, client }
    }
}

impl Endings {
    /// A connection is over.
    #[inline]
    pub(super) fn connection(&mut self, connection: &Connection, story: &Story, app: Option<&AppRecord>) {
        if connection.flags & TOLD_OF != 0 {
            self.story(connection, story);
        }
        if let Some(app) = app {
            self.app(connection, story, app);
        }
    }

    /// The initiator's first payload, which may be late: what it thought over, or waited for elsewhere.
    pub(super) fn first_question(&mut self, connection: &Connection, story: &Story, digest: &Digest) {
        let since_us = digest.ts_ns.saturating_sub(story.first_ns) / 1_000;
        let handshake_us = u64::from(story.listener_us) + u64::from(story.peer_us);
        let thought_us = since_us.saturating_sub(handshake_us);
        let listener = &connection.directions[1 - index_of(connection.initiator())];
        // Where there is no story, what stands in for it is some other connection's.
        let is_known = connection.story != 0 && handshake_us != 0 && story.handshake_again == [0; 2];
        if thought_us >= u64::from(LATE_US) && is_known && listener.payload_bytes == 0 {
            self.note(connection, Impairment::LateQuestion, thought_us, |_| false);
        }
    }

    #[cold]
    fn story(&mut self, connection: &Connection, story: &Story) {
        for (impairment, tally) in TALLIES {
            let counts = [0, 1].map(|side| story.details[side].get(tally));
            let all = u64::from(counts[0]) + u64::from(counts[1]);
            self.note(connection, impairment, all, |client| counts[1 - client] > counts[client]);
        }
        if is_long(story) {
            let to_listener = story.listener_us >= story.peer_us;
            let longest = story.listener_us.max(story.peer_us);
            self.note(connection, Impairment::LongRoundTrip, longest.into(), |_| to_listener);
        }
    }

    #[inline]
    fn app(&mut self, connection: &Connection, story: &Story, app: &AppRecord) {
        let http = app.http.as_ref();
        let waits = [app.ttfb_us, http.and_then(|http| http.latency_max_us)];
        let waited_us = waits.into_iter().flatten().max().unwrap_or_default();
        let beyond_us = waited_us.saturating_sub(story.listener_us);
        if beyond_us >= LATE_US {
            self.note(connection, Impairment::LateAnswer, beyond_us.into(), |_| true);
        }
        if let Some(http) = http.filter(|http| http.status_5xx != 0) {
            let noted = self.note(connection, Impairment::ServerError, http.status_5xx.into(), |_| true);
            describe(noted, http.last_status.map(|status| status.to_string()), None);
        }
        let Some(tls) = &app.tls else { return };
        if let Some(alert) = tls.alert.as_ref().filter(|alert| alert.fatal) {
            let noted = self.note(connection, Impairment::HelloFailed, 1, |_| !alert.from_initiator);
            describe(noted, Some(alert.description.clone()), tls.sni.clone());
        }
    }

    /// Notes an impairment, unless there is none; what is noted of it is returned where this connection is the worst so far.
    fn note(
        &mut self,
        connection: &Connection,
        impairment: Impairment,
        most: u64,
        by_listener: impl Fn(usize) -> bool,
    ) -> Option<&mut Worst> {
        if most == 0 {
            return None;
        }
        let Ends { listener, client } = Ends::of(connection);
        let key = (listener, impairment);
        if self.noted.len() >= NOTED_MAX && !self.noted.contains_key(&key) {
            self.given_up += 1;
            return None;
        }
        let one = Worst::one(most, ip_addr(connection.addresses[client]), by_listener(client));
        let worst = self.noted.entry(key).or_default();
        worst.merge(&one);
        (worst.most == one.most && worst.client == one.client).then_some(worst)
    }

    /// What was noted since this was last asked.
    pub(super) fn take(&mut self) -> Impairments {
        std::mem::take(&mut self.noted).into_iter().collect()
    }

    /// Impairments since this was last asked that found no place.
    pub(super) const fn take_given_up(&mut self) -> u64 {
        std::mem::replace(&mut self.given_up, 0)
    }
}

/// Adds words to what was noted.
fn describe(noted: Option<&mut Worst>, what: Option<String>, name: Option<String>) {
    if let Some(noted) = noted {
        (noted.what, noted.name) = (what.map(Into::into), name.map(Into::into));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_place_is_counted() {
        let mut endings = Endings::default();
        for port in 0..300 {
            let connection = Connection { ports: [port, 60_000], ..Connection::default() };
            endings.note(&connection, Impairment::SentAgain, 2, |_| true);
        }
        assert_eq!(endings.take().len(), NOTED_MAX);
        assert_eq!((endings.take_given_up(), endings.take().len()), (300 - NOTED_MAX as u64, 0));
    }
}
