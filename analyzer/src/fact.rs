//! Facts: what a packet says that is counted by whom it concerns, beside the packet logic's own counters.
//!
//! Only sources of whole packets tell them. A packet has each fact at most once, so that counts of messages are "at
//! least so many" where several came in one segment; the sums of [`crate::layer::LayerSums`] are exact.
//! Set by [`crate::follow`], counted by [`crate::account`], read by detectors out of windows.

use tidegauge_ebpf::event::{self, Outcome};
use tidegauge_ebpf::tcp::mark;

macro_rules! facts {
    ($($(#[doc = $doc:literal])* $variant:ident = $text:literal,)*) => {
        /// One fact; its number is its bit and its place in [`FactCounts`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Fact { $($(#[doc = $doc])* $variant,)* }

        impl Fact {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Snake-case name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

facts! {
    /// Payload or FIN sent again, or overtaken: on lossy paths tshark's rules call much of the first the second.
    SentAgain = "sent_again",
    /// A full-size segment sent again: what a path with a smaller MTU does not let through.
    FullSizeAgain = "full_size_again",
    /// A window of zero.
    ZeroWindow = "zero_window",
    /// A window filled to its end.
    WindowFull = "window_full",
    /// A connection's end: FIN both ways, or RST.
    Closed = "closed",
    /// The initiator's first payload.
    Spoke = "spoke",
    /// A connection of a protocol that asks for a password ended with little said; or a login was refused in the clear.
    BriefLogin = "brief_login",
    /// A form with another password than the last one of these two hosts.
    PasswordSent = "password_sent",
    /// A request head begun and not complete, or a request's body that comes in small pieces.
    HeadOpened = "head_opened",
    /// Such a head is complete, or its connection over.
    HeadDone = "head_done",
    /// A request.
    Request = "request",
    /// A response.
    Response = "response",
    /// A response with status 5xx.
    ServerError = "server_error",
    /// A response with status 408: the server gave up waiting for a request.
    RequestTimeout = "request_timeout",
    /// A ClientHello.
    Hello = "hello",
    /// A TLS handshake that a fatal alert ended.
    HelloFailed = "hello_failed",
    // Slow performance kinds.
    /// What [`Fact::SentAgain`] says, by the listener.
    ListenerSentAgain = "listener_sent_again",
    /// A segment beyond the expected number: what is before it was lost before it came here, or is late.
    Hole = "hole",
    /// Of handshakes that failed, those over the protocol version.
    VersionRefused = "version_refused",
    /// Of these, those over a certificate.
    CertificateRefused = "certificate_refused",
    // Observations.
    /// Of what [`Fact::SentAgain`] says, what was overtaken and not sent again.
    Overtaken = "overtaken",
    /// The same acknowledgment again.
    DuplicateAck = "duplicate_ack",
    /// A SYN-ACK by it that nobody asked for.
    AnswerUnasked = "answer_unasked",
    // What tells causes apart.
    /// An ACK of what was never seen here: it was not captured.
    AckedUnseen = "acked_unseen",
    /// A SYN-ACK sent again.
    AnswerAgain = "answer_again",
    /// Of these, one after the ACK that completes its handshake was seen: the listener has not taken it.
    AnswerAgainLate = "answer_again_late",
    /// An ARP packet whose sender's address was another host's before.
    AddressMoved = "address_moved",
    /// An ARP reply that nobody asked for.
    AddressUnasked = "address_unasked",
    /// An ICMP echo request.
    EchoAsked = "echo_asked",
    /// A RST to a segment that was the first of its connection, and no SYN.
    ProbeReset = "probe_reset",
    /// A first SYN without any option: no system's stack sends such.
    BareSyn = "bare_syn",
    /// Of a connection that nothing else is known of: no handshake, no answer yet.
    Stray = "stray",
    /// Of these, a RST.
    StrayRst = "stray_rst",
    /// Of these, with FIN.
    StrayFin = "stray_fin",
    /// A SYN-ACK that nobody asked for.
    UnaskedAnswer = "unasked_answer",
    /// A SYN from its own destination.
    Land = "land",
    /// An ARP request.
    AddressAsked = "address_asked",
    /// A DNS query.
    Query = "query",
    /// A DNS response.
    QueryAnswered = "query_answered",
    /// A DNS response with any code but 0.
    QueryFailed = "query_failed",
    // What comes to hosts.
    /// Of the stray segments, one of which nothing at all is known: its connection begins with it.
    StrayNew = "stray_new",
    /// A connection that began so is answered for the first time.
    StrayAnswered = "stray_answered",
    /// The first fragment of a segment without SYN. (Later ones have no header of TCP, and are counted by target.)
    FirstFragment = "first_fragment",
    /// An ICMP error: it quotes what it is about.
    IcmpError = "icmp_error",
    /// Of these, one that says that its destination cannot be reached.
    Unreachable = "unreachable",
    /// A DNS response that says that the server failed.
    ServerFailed = "server_failed",
    /// A DNS response that says that there is no such name, for the first time of that name and asker.
    NameMissed = "name_missed",
    /// A name that was just said to be missing is found under another ending.
    NameFound = "name_found",
}

/// A packet's facts, or which ones somebody counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts(u64);

const _: () = assert!(Fact::ALL.len() <= 64);

impl Facts {
    /// None.
    pub const NONE: Self = Self(0);
    /// Those counted by listener.
    pub const OF_LISTENER: Self = Self((1 << Fact::Stray as u8) - 1);
    /// Those counted by the host that they come to, or that is asked.
    pub const OF_HOST: Self = Self(!Self::OF_LISTENER.0);

    /// Those told of segments, and not of datagrams, messages or ARP.
    pub const OF_SEGMENTS: Self = Self(
        Self::OF_LISTENER.0
            | 1 << Fact::Stray as u8
            | 1 << Fact::StrayRst as u8
            | 1 << Fact::StrayFin as u8
            | 1 << Fact::UnaskedAnswer as u8
            | 1 << Fact::Land as u8
            | 1 << Fact::StrayNew as u8
            | 1 << Fact::StrayAnswered as u8
            | 1 << Fact::FirstFragment as u8,
    );

    /// Adds one.
    #[inline]
    pub const fn set(&mut self, fact: Fact) {
        self.0 |= 1 << fact as u8;
    }

    /// Adds one where it holds.
    #[inline]
    pub const fn set_if(&mut self, holds: bool, fact: Fact) {
        self.0 |= (holds as u64) << fact as u8;
    }

    /// Whether one is there.
    pub const fn has(self, fact: Fact) -> bool {
        self.0 & 1 << fact as u8 != 0
    }

    /// Those that are in both.
    #[inline]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that are in either.
    #[inline]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether there is none.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What the judgement and the handshake's events already say.
    #[inline]
    pub fn of_judgement(marks: u32, outcome: &Outcome) -> Self {
        let mut facts = Self::NONE;
        let handshake = mark::SYN_RETRANSMISSION | mark::SYN_ACK_RETRANSMISSION;
        let again = marks & (mark::RETRANSMISSION | mark::OUT_OF_ORDER) != 0 && marks & handshake == 0;
        facts.set_if(again, Fact::SentAgain);
        facts.set_if(again && outcome.has(event::FROM_LISTENER), Fact::ListenerSentAgain);
        facts.set_if(again && marks & mark::RETRANSMISSION == 0, Fact::Overtaken);
        facts.set_if(marks & mark::DUPLICATE_ACK != 0, Fact::DuplicateAck);
        facts.set_if(marks & mark::LOST_SEGMENT != 0, Fact::Hole);
        facts.set_if(marks & mark::ACKED_UNSEEN != 0, Fact::AckedUnseen);
        facts.set_if(marks & mark::SYN_ACK_RETRANSMISSION != 0, Fact::AnswerAgain);
        facts.set_if(marks & mark::ZERO_WINDOW != 0, Fact::ZeroWindow);
        facts.set_if(marks & mark::WINDOW_FULL != 0, Fact::WindowFull);
        facts.set_if(outcome.has(event::ANSWERED_UNASKED), Fact::UnaskedAnswer);
        facts.set_if(outcome.has(event::ANSWERED_UNASKED), Fact::AnswerUnasked);
        facts
    }
}

/// How often each fact was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactCounts([u32; Fact::ALL.len()]);

impl Default for FactCounts {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl FactCounts {
    /// Nothing.
    pub const EMPTY: Self = Self([0; Fact::ALL.len()]);

    /// Counts a packet's facts.
    #[inline]
    pub fn count(&mut self, facts: Facts) {
        let mut rest = facts.0;
        while rest != 0 {
            if let Some(count) = self.0.get_mut(rest.trailing_zeros() as usize) {
                *count = count.saturating_add(1);
            }
            rest &= rest - 1;
        }
    }

    /// One fact's count.
    pub const fn get(&self, fact: Fact) -> u64 {
        self.0[fact as usize] as u64
    }

    /// Adds another interval's or shard's.
    pub fn merge(&mut self, other: &Self) {
        for (own, more) in self.0.iter_mut().zip(other.0) {
            *own = own.saturating_add(more);
        }
    }

    /// Makes estimates of those that were counted on one in `one_in` flows.
    pub fn scale(&mut self, facts: Facts, one_in: u32) {
        for (fact, count) in Fact::ALL.iter().zip(&mut self.0) {
            if facts.has(*fact) {
                *count = count.saturating_mul(one_in);
            }
        }
    }

    /// Takes an interval that is over away from a sum that has it.
    pub fn subtract(&mut self, gone: &Self) {
        for (own, gone) in self.0.iter_mut().zip(gone.0) {
            *own = own.saturating_sub(gone);
        }
    }

    /// All facts together.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|count| u64::from(*count)).sum()
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|count| *count == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fact_is_counted_by_one_kind_of_owner() {
        for fact in Fact::ALL {
            let mut facts = Facts::NONE;
            facts.set(*fact);
            let owners = [Facts::OF_LISTENER, Facts::OF_HOST];
            assert_eq!(owners.iter().filter(|owner| !facts.and(**owner).is_empty()).count(), 1);
            let mut counts = FactCounts::default();
            counts.count(facts);
            assert_eq!(counts.get(*fact), 1, "{}", fact.name());
            let mut sum = counts;
            sum.merge(&counts);
            sum.subtract(&counts);
            assert_eq!(sum, counts);
        }
    }
}
