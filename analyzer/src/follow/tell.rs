//! How connections end, and what a partition has to say when a tick ends or the capture is over.

use tidegauge_ebpf::stamp::Stamp;
use tidegauge_ebpf::tcp::connection::flag;

use super::record::{Telling, record, record_of_attempt};
use super::{Closed, Follower, Said};
use crate::batch::{Cut, Turn};
use crate::flow_record::CloseCause;

/// How long a closed connection waits for late segments before it is told.
pub(super) const LINGER_NS: u64 = 2_000_000_000;
/// How long it is remembered then, so that late segments are still known; after that its place goes to the next new
/// connection, before any place that was never used: what is used again is in the caches.
const REST_NS: u64 = 3_000_000_000;
/// How many closed connections ahead the lines are asked for of one that will be told or given away.
const CLOSED_AHEAD: usize = 8;

impl Follower {
    /// A connection is over, or gives its place up: tells it, once.
    pub(super) fn end(&mut self, place: u32, telling: Telling) {
        let (connection, _) = self.table.pair(place);
        let told = connection.flags & flag::TOLD != 0;
        let closed = connection.flags & flag::CLOSED != 0;
        connection.flags |= flag::CLOSED | flag::TOLD;
        let Some((slot, story)) = self.table.story(place) else { return };
        if told {
            return;
        }
        let app = self.layers.close(slot, telling.told_ns, &mut self.sums);
        self.endings.connection(self.table.connection(place), story, app.as_ref());
        if self.records {
            // What was closed before is told as it closed.
            let cause = telling.cause.filter(|_| !closed);
            let connection = self.table.connection(place);
            self.told.push(record(connection, story, app, Telling { cause, ..telling }));
        }
    }

    /// What a partition does when a tick ends, and what it has to say until then.
    pub fn cut(&mut self, cut: &Cut) -> Said {
        match cut.turn {
            Turn::TickEnds { end_ns, .. } => {
                self.layers.tick(end_ns, &mut self.sums);
                let watched = self.watch.tell(&self.table, end_ns);
                self.tell_closed(end_ns);
                Said { watched, ..self.said() }
            }
            Turn::JumpBack { .. } => self.said(),
        }
    }

    fn said(&mut self) -> Said {
        let layers = if self.sums.is_empty() { None } else { Some(std::mem::take(&mut self.sums)) };
        let (told, mut misfits) = (std::mem::take(&mut self.told), std::mem::take(&mut self.misfits));
        misfits.watches_given_up += self.watch.take_given_up() + self.endings.take_given_up();
        Said { layers, told, misfits, watched: None, impairments: self.endings.take() }
    }

    /// Tells the connections that closed long enough ago, and gives the places of those told long ago away.
    fn tell_closed(&mut self, now_ns: u64) {
        while let Some(closed) = self.closed.pop_front_if(|closed| closed.due_ns <= now_ns) {
            self.look_at_closed(self.closed.get(CLOSED_AHEAD));
            if !self.is_still(closed) {
                continue;
            }
            self.end(closed.place, Telling { told_ns: now_ns, cause: None });
            if self.table.is_wanted(closed.place) {
                continue;
            }
            // Where there is no room its place is found by the hand that goes round.
            if self.resting.len() < self.resting.capacity() {
                self.resting.push_back(Closed { due_ns: closed.due_ns + REST_NS, ..closed });
            }
        }
        while let Some(closed) = self.resting.pop_front_if(|closed| closed.due_ns <= now_ns) {
            self.look_at_closed(self.resting.get(CLOSED_AHEAD));
            if self.is_still(closed) {
                self.table.offer(closed.place);
            }
        }
    }

    /// Has the lines fetched of a connection whose turn comes soon.
    fn look_at_closed(&self, closed: Option<&Closed>) {
        if let Some(closed) = closed {
            self.table.prefetch_connection(closed.place);
        }
    }

    /// Whether the connection that closed is still the one in its place, and closed.
    fn is_still(&self, closed: Closed) -> bool {
        let connection = self.table.connection(closed.place);
        connection.fingerprint == closed.fingerprint && !connection.is_open()
    }

    /// The capture is over: what is left to say, connections in the order of their first packets.
    pub fn finish(&mut self, now_ns: u64, last: Stamp) -> Said {
        let watched = self.watch.tell(&self.table, now_ns);
        for place in 0..self.table.connections().len() as u32 {
            let connection = self.table.connection(place);
            if connection.fingerprint != 0 && connection.flags & flag::TOLD == 0 {
                self.end(place, Telling { told_ns: now_ns, cause: None });
            }
        }
        for over in self.half_open.waiting() {
            let cause = if over.attempt.waiting(last) { CloseCause::Open } else { CloseCause::TimedOut };
            self.told.push(record_of_attempt(&over, Telling { told_ns: now_ns, cause: None }, cause));
        }
        self.layers.finish(now_ns, &mut self.sums);
        Said { watched, ..self.said() }
    }
}
