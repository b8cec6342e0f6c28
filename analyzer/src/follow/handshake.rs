//! How connections begin: SYN, SYN-ACK, the ACK that completes a handshake or the RST that ends it, and a place for what
//! begins.

use tidegauge_ebpf::attempt::{Answer, Asked, Handshake, Reset};
use tidegauge_ebpf::event::{self, Outcome};
use tidegauge_ebpf::sequence::is_after;
use tidegauge_ebpf::tcp::connection::{clock_us, flag};
use tidegauge_ebpf::tcp::opening::Opening;
use tidegauge_ebpf::tcp::{Judged, mark};

use super::endings::{TOLD_OF, is_long};
use super::half_open::Over;
use super::record::{Ends, Telling, record_of_attempt};
use super::table::Admitted;
use super::{Follower, Verdict, seen};
use crate::digest::Digest;
use crate::fact::{Fact, Facts};
use crate::flow_record::CloseCause;

/// A TCP header without options.
const HEADER_BYTES: u16 = 20;

/// All that says that a segment was sent before.
const SENT_AGAIN: u32 = mark::BEHIND
    | mark::FAST_RETRANSMISSION
    | mark::SPURIOUS_RETRANSMISSION
    | mark::SYN_RETRANSMISSION
    | mark::SYN_ACK_RETRANSMISSION;

impl Follower {
    pub(super) fn asked(&mut self, digest: &Digest, packet_number: u64) -> Verdict {
        if let Some(place) = self.table.find(digest.hash)
            && self.table.connection(place).asked_so(digest.key.sender(), &digest.packet.segment)
            && !self.half_open.knows(digest.hash)
        {
            // The attempt is forgotten, its connection is not.
            let marks = mark::RETRANSMISSION | mark::SYN_RETRANSMISSION;
            self.count_late(digest, marks);
            let outcome = Outcome { events: event::SYN_AGAIN | event::LISTENER_KNOWN, ..Outcome::default() };
            return Verdict { outcome, judged: Judged { marks, ..Judged::default() }, facts: Facts::NONE };
        }
        let (told, told_ns) = (&mut self.told, digest.ts_ns);
        let tell = |over: Over| {
            let waits = over.attempt.waiting(digest.now());
            let cause = if waits { CloseCause::Evicted } else { CloseCause::TimedOut };
            told.push(record_of_attempt(&over, Telling { told_ns, cause: None }, cause));
        };
        let (asked, mut marks) = self.half_open.ask(digest, packet_number, tell);
        let events = match asked {
            Asked::First { lost } => event::ATTEMPTED | if lost { event::ATTEMPT_LOST } else { 0 },
            // The kernel program, which cannot tell, counts a copy as sent again.
            Asked::Again if marks & mark::CAPTURED_TWICE != 0 => 0,
            Asked::Again => event::SYN_AGAIN,
            Asked::Crossed => event::SYN_CROSSED,
        };
        if matches!(asked, Asked::First { .. })
            && let Some(place) = self.table.find(digest.hash)
        {
            marks |= mark::REUSED_PORTS;
            self.end(place, Telling { told_ns, cause: Some(CloseCause::ReusedPorts) });
        }
        if matches!(asked, Asked::Again) {
            self.count_late(digest, marks);
        }
        let outcome = Outcome { events: events | event::LISTENER_KNOWN, ..Outcome::default() };
        let mut facts = Facts::NONE;
        let packet = &digest.packet;
        let from_itself =
            packet.source == packet.destination && packet.source_port == packet.destination_port;
        facts.set_if(from_itself, Fact::Land);
        let header_bytes = packet.payload_offset.wrapping_sub(packet.transport_offset);
        let is_bare = events & event::ATTEMPTED != 0 && header_bytes == HEADER_BYTES;
        facts.set_if(is_bare, Fact::BareSyn);
        Verdict { outcome, judged: Judged { marks, ..Judged::default() }, facts }
    }

    pub(super) fn answered(&mut self, digest: &Digest) -> Verdict {
        let (answer, mut marks) = self.half_open.answer(digest);
        let mut outcome =
            Outcome { events: event::LISTENER_KNOWN | event::FROM_LISTENER, ..Outcome::default() };
        match answer {
            Answer::First { elapsed, refused, .. } => {
                outcome.events |= event::ANSWERED | event::HANDSHAKE_TRIP;
                outcome.events |= if refused { event::REFUSED_ANSWERED } else { 0 };
                (outcome.elapsed, outcome.round_trip) = (elapsed, elapsed);
                if self.half_open.is_joined(digest.hash) {
                    let late = self.answered_late(digest);
                    // What the attempt says of its being sent again stands.
                    marks |= if marks & mark::BEHIND == 0 { late } else { late & !SENT_AGAIN };
                    self.count_late(digest, marks);
                }
            }
            Answer::Again => self.answered_again(digest, marks),
            Answer::Unasked => {
                outcome.events |= event::ANSWERED_UNASKED;
                if marks == 0
                    && let Some(place) = self.table.find(digest.hash)
                {
                    let connection = self.table.pair(place).0;
                    let (sender, now_us) = (digest.key.sender(), clock_us(digest.ts_ns));
                    marks = connection.answer_anew(sender, &digest.packet.segment, now_us);
                }
            }
        }
        let mut facts = Facts::NONE;
        // The connection is open for all that was seen, and its listener does not know.
        let late = marks & mark::SYN_ACK_RETRANSMISSION != 0 && self.table.find(digest.hash).is_some();
        facts.set_if(late, Fact::AnswerAgainLate);
        Verdict { outcome, judged: Judged { marks, ..Judged::default() }, facts }
    }

    /// A SYN-ACK with the number of the one before, or the first one of an attempt that is over.
    fn answered_again(&mut self, digest: &Digest, marks: u32) {
        if marks & (mark::CAPTURED_TWICE | mark::REUSED_PORTS) == 0
            && let Some(place) = self.table.find(digest.hash)
        {
            let (sender, now_us) = (digest.key.sender(), clock_us(digest.ts_ns));
            self.table.pair(place).0.answer_again(sender, &digest.packet.segment, now_us);
            self.count_late(digest, marks);
        }
    }

    /// A SYN or SYN-ACK whose connection has begun: counted with what is told of it.
    fn count_late(&mut self, digest: &Digest, marks: u32) {
        let Some(place) = self.table.find(digest.hash).filter(|_| marks & mark::CAPTURED_TWICE == 0) else {
            return;
        };
        let (connection, story) = self.table.pair(place);
        if connection.flags & flag::TOLD == 0 {
            connection.count_late(story, digest.key.sender(), &seen(digest), marks);
        }
    }

    /// The first answer to a SYN behind which a segment came that begins a connection: its own, overtaken by its answer's
    /// first payload, or what an older one between the same ports left, which is over now.
    #[cold]
    fn answered_late(&mut self, digest: &Digest) -> u32 {
        let Some(place) = self.table.find(digest.hash) else {
            self.half_open.part(digest.hash);
            return 0;
        };
        let connection = self.table.pair(place).0;
        let (sender, now_us) = (digest.key.sender(), clock_us(digest.ts_ns));
        let marks = connection.answer_anew(sender, &digest.packet.segment, now_us);
        if marks & mark::REUSED_PORTS != 0 {
            self.end(place, Telling { told_ns: digest.ts_ns, cause: Some(CloseCause::ReusedPorts) });
            self.half_open.part(digest.hash);
        }
        marks
    }

    /// Whoever resets an attempt, it is known from it who was asked. Says whether there was one.
    pub(super) fn reset(&mut self, digest: &Digest, verdict: &mut Verdict) -> bool {
        let mut ended = None;
        let reset = self.half_open.reset(digest, |over| ended = Some(over));
        let (told, marks, cause) = match reset {
            Reset::Refused => {
                (event::REFUSED | event::FROM_LISTENER, mark::RESET_REFUSED, CloseCause::Refused)
            }
            Reset::RefusedAgain => (event::FROM_LISTENER, mark::RESET_REFUSED, CloseCause::Refused),
            Reset::Aborted => {
                (event::ABORTED | event::FROM_LISTENER, mark::RESET_ABORTED, CloseCause::ResetByResponder)
            }
            Reset::Withdrawn => (event::ABORTED, mark::RESET_ABORTED, CloseCause::ResetByInitiator),
            // The guess by port numbers stands.
            Reset::Unrelated => return false,
        };
        verdict.outcome.events = told | event::LISTENER_KNOWN;
        verdict.judged.marks |= marks;
        if let Some(over) = ended {
            let telling = Telling { told_ns: digest.ts_ns, cause: None };
            self.told.push(record_of_attempt(&over, telling, cause));
        }
        true
    }

    /// The ACK that ends a handshake: the connection begins.
    pub(super) fn completed(
        &mut self,
        digest: &Digest,
        handshake: &Handshake,
        opening: &Opening,
        known: Option<u32>,
        outcome: &mut Outcome,
    ) -> Option<u32> {
        outcome.elapsed = digest.now().since(handshake.asked);
        outcome.events |= event::LISTENER_KNOWN;
        outcome.events |= if handshake.answer_seen { event::COMPLETED } else { event::COMPLETED_ONE_SIDED };
        if handshake.answer_precise {
            outcome.round_trip = outcome.elapsed.saturating_sub(handshake.answered_after);
            outcome.events |= event::HANDSHAKE_TRIP;
        }
        if handshake.initiator == digest.key.sender() as u8 {
            outcome.events &= !event::FROM_LISTENER;
        }
        let place = match known {
            Some(place) => self.renew(place, digest),
            None => self.admit(digest, true, outcome)?,
        };
        let [asked, answered] = opening.next_sequences();
        let next = [Some(asked), Some(answered).filter(|_| handshake.answer_seen)];
        self.begin(place, digest, opening.first_packet, next);
        let (connection, story) = self.table.pair(place);
        connection.establish(story, handshake, opening, outcome.elapsed, clock_us(digest.ts_ns));
        if is_long(story) {
            connection.flags |= TOLD_OF;
        }
        Some(place)
    }

    /// A segment that completes no handshake, of a connection that is not open: one that ended, or one that begins with
    /// what its SYN or SYN-ACK told, if any.
    pub(super) fn joined(
        &mut self,
        digest: &Digest,
        packet_number: u64,
        known: Option<u32>,
        outcome: &mut Outcome,
    ) -> Option<u32> {
        let told = self.half_open.join(digest).filter(|(attempt, _)| known.is_none() || attempt.is_asked());
        let place = match known {
            Some(place) if told.is_none() => return Some(place),
            Some(place) => self.renew(place, digest),
            None => self.admit(digest, false, outcome)?,
        };
        self.begin(place, digest, packet_number, [None; 2]);
        if let Some((attempt, opening)) = told {
            let (connection, story) = self.table.pair(place);
            connection.join(&attempt, &opening, digest.now(), clock_us(digest.ts_ns));
            story.first_ns = opening.first_ns;
            // A SYN-ACK that nobody asked for has no number.
            story.first_packet = if opening.first_packet == 0 { packet_number } else { opening.first_packet };
        }
        Some(place)
    }

    /// Ends a connection where another one begins between the same ends.
    fn renew(&mut self, place: u32, digest: &Digest) -> u32 {
        self.end(place, Telling { told_ns: digest.ts_ns, cause: Some(CloseCause::ReusedPorts) });
        self.make_story(digest);
        if !self.table.renew(place) {
            self.misfits.stories_refused += 1;
        }
        place
    }

    /// Finds a place for the digest's flow.
    pub(super) fn admit(&mut self, digest: &Digest, proven: bool, outcome: &mut Outcome) -> Option<u32> {
        let hash = digest.hash;
        let telling = |cause| Telling { told_ns: digest.ts_ns, cause };
        let place = match self.table.admit(hash, proven, digest.now()) {
            Admitted::Free(place) => {
                outcome.events |= event::FLOW_ADMITTED;
                place
            }
            Admitted::Reused(place) => {
                outcome.events |= event::FLOW_ADMITTED;
                self.end(place, telling(None));
                place
            }
            Admitted::Evicted(place) => {
                outcome.events |= event::FLOW_EVICTED;
                self.end(place, telling(Some(CloseCause::Evicted)));
                place
            }
            Admitted::Refused => return None,
        };
        self.make_story(digest);
        if !self.table.settle(hash, place) {
            self.misfits.stories_refused += 1;
        }
        Some(place)
    }

    /// Where all stories are in use, tells one that is over, so that the next connection gets one.
    fn make_story(&mut self, digest: &Digest) {
        if !self.table.needs_story() {
            return;
        }
        if let Some(place) = self.table.story_to_tell(digest.now()) {
            self.misfits.told_early += 1;
            self.end(place, Telling { told_ns: digest.ts_ns, cause: None });
            self.table.release_story(place);
        }
    }

    pub(super) fn begin(&mut self, place: u32, digest: &Digest, packet_number: u64, next: [Option<u32>; 2]) {
        let ends = Ends::of(&digest.packet, digest.key.sender());
        let (connection, story) = self.table.pair(place);
        (connection.addresses, connection.ports) = (ends.addresses, ends.ports);
        story.begin(digest.ts_ns, packet_number);
        if let Some((slot, _)) = self.table.story(place) {
            self.layers.open(slot, next);
        }
    }
}

/// A SYN-ACK with another number than the one before: whoever answers forgot that one, or there are several. Held against
/// the old number, as Wireshark does; what follows is held against the new one.
pub(super) const fn answered_anew(before: u32, sequence: u32) -> u32 {
    let held_against = if is_after(sequence, before) {
        mark::LOST_SEGMENT
    } else {
        mark::RETRANSMISSION | mark::SYN_ACK_RETRANSMISSION
    };
    mark::REUSED_PORTS | held_against
}
