//! Sums of a listener since the run began, and what there is to tell of them.
//!
//! Part of what the engine remembers of a listener: one that is forgotten for want of room takes its sums along
//! (`listeners_forgotten`). What is told has a floor, for what happens to any traffic at any time is no fault.

use std::net::IpAddr;

use tidegauge_ebpf::limits::HANDSHAKE_TIMEOUT;
use tidegauge_ebpf::listener::ListenerCounter;
use tidegauge_ebpf::stamp::units_to_us;

use super::Observed;
use super::draft::{Draft, Span, second_of};
use crate::fact::Fact;
use crate::impairment::{Impairment, Worst};
use crate::incident::Target;
use crate::window::{ListenerKey, ListenerWindow};

/// Seconds for which an attempt may wait for its answer.
const WAITS_S: u64 = (units_to_us(HANDSHAKE_TIMEOUT) as u64).div_ceil(1_000_000);
/// Seconds of attempts that may still wait, the one that is not over among them.
const YOUNG: usize = WAITS_S as usize + 1;
/// Three segments overtaken, or three duplicate ACKs, are what a sender takes for loss (RFC 5681).
const REORDERED_MIN: u64 = 3;
/// Segments sent again below which it is chance, as is a share below one in a hundred; but for those of which there are
/// so few that one is a third.
const AGAIN_MIN: u64 = 2;
const FEW_SEGMENTS: u64 = 3;
const PER_MILLE_MIN: u64 = 10;
/// Brief logins, and requests given up: a person who mistypes a password does it twice.
const MISUSE_MIN: u64 = 5;
/// SYN-ACKs that nobody asked for: a capture begins within a few handshakes.
pub(super) const UNASKED_MIN: u64 = 10;

macro_rules! sums {
    ($($(#[doc = $doc:literal])* $variant:ident = $of:expr,)*) => {
        /// What is summed.
        #[derive(Clone, Copy, Debug)]
        #[repr(usize)]
        enum Sum { $($(#[doc = $doc])* $variant,)* }

        const SUMS: usize = [$(Sum::$variant,)*].len();

        /// What a window adds.
        #[inline]
        fn of_window(window: &ListenerWindow) -> [u64; SUMS] {
            [$($of(window),)*]
        }
    };
}

macro_rules! counter {
    ($name:ident) => {
        |window: &ListenerWindow| window.get(ListenerCounter::$name)
    };
}

macro_rules! fact {
    ($name:ident) => {
        |window: &ListenerWindow| window.fact(Fact::$name)
    };
}

sums! {
    Segments = counter!(Packets),
    Payload = counter!(PayloadSegments),
    Attempted = counter!(Attempted),
    Answered = counter!(Answered),
    Refused = counter!(Refused),
    Aborted = counter!(Aborted),
    Completed = counter!(Completed),
    OneSided = counter!(CompletedOneSided),
    Lost = counter!(AttemptsLost),
    SynAgain = counter!(SynRetransmission),
    /// Of sources that tell no facts.
    Resent = counter!(RetransmitOrReordered),
    Closed = counter!(ZeroWindow),
    Again = fact!(SentAgain),
    Overtaken = fact!(Overtaken),
    DuplicateAck = fact!(DuplicateAck),
    ZeroWindow = fact!(ZeroWindow),
    WindowFull = fact!(WindowFull),
    Response = fact!(Response),
    ServerError = fact!(ServerError),
    RequestTimeout = fact!(RequestTimeout),
    Hello = fact!(Hello),
    HelloFailed = fact!(HelloFailed),
    BriefLogin = fact!(BriefLogin),
    Ended = fact!(Closed),
    Unasked = fact!(AnswerUnasked),
}

/// How the source sees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seeing {
    /// Whole packets: facts are told.
    pub(crate) whole_packets: bool,
    /// Answers are seen.
    pub(crate) answers_visible: bool,
    /// End of the last window, nanoseconds.
    pub(crate) last_ns: u64,
}

/// One listener's sums.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListenerSums {
    sums: [u64; SUMS],
    spans: [Span; SUMS],
    /// By second modulo [`YOUNG`]: attempts less what became of some, and those answered and not completed.
    young: [(u64, [i64; 2]); YOUNG],
    asker: Option<IpAddr>,
}

impl ListenerSums {
    /// Adds a window.
    pub(crate) fn add(&mut self, window: &ListenerWindow, end_ns: u64) {
        let second = second_of(end_ns);
        let added = of_window(window);
        for ((own, span), more) in self.sums.iter_mut().zip(&mut self.spans).zip(added) {
            if more != 0 {
                *own = own.saturating_add(more);
                span.note(second);
            }
        }
        if window.asker.is_some() {
            self.asker = window.asker;
        }
        let waiting = waiting(&added);
        if waiting != [0; 2] {
            let young = &mut self.young[second as usize % YOUNG];
            if young.0 != second {
                *young = (second, [0; 2]);
            }
            young.1.iter_mut().zip(waiting).for_each(|(own, more)| *own += more);
        }
    }

    const fn get(&self, sum: Sum) -> u64 {
        self.sums[sum as usize]
    }

    /// SYN-ACKs that nobody asked for, by a listener that never said anything.
    pub(crate) const fn unasked(&self) -> u64 {
        if self.get(Sum::Payload) == 0 { self.get(Sum::Unasked) } else { 0 }
    }

    /// Attempts without an answer, and those answered and not completed; without those that may still wait.
    fn failed(&self, seeing: &Seeing) -> [u64; 2] {
        let now = second_of(seeing.last_ns);
        let mut young = [0; 2];
        for (second, counts) in &self.young {
            if second + WAITS_S >= now {
                young.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            }
        }
        let all = waiting(&self.sums);
        [0, 1].map(|kind| (all[kind] - young[kind].max(0)).max(0).cast_unsigned())
    }

    /// What there is to tell; `worst`: of connections that ended.
    pub(crate) fn drafts<'a>(
        &self,
        key: ListenerKey,
        seeing: &Seeing,
        worst: impl Fn(Impairment) -> Option<&'a Worst>,
    ) -> Vec<Draft<'a>> {
        let mut drafts = Vec::new();
        self.attempts(key, seeing, &mut drafts);
        let resent = self.get(Sum::Again).saturating_sub(self.get(Sum::Overtaken));
        let again = if seeing.whole_packets { resent } else { self.get(Sum::Resent) };
        let closed = if seeing.whole_packets { Sum::ZeroWindow } else { Sum::Closed };
        let (payload, segments) = (self.get(Sum::Payload), self.get(Sum::Segments));
        let mut tell =
            |kind, sum: Sum, (count, of): (u64, u64), least: u64, impairment: Option<Impairment>| {
                if count >= least {
                    let draft = Draft::new(kind, Target::Listener(key), count);
                    // What is sent again may be a FIN.
                    let draft = Draft { of: Some(of.max(count)), span: self.spans[sum as usize], ..draft };
                    drafts.push(draft.with_worst(impairment.and_then(&worst)));
                }
            };
        let of_hundred = |of: u64| (of * PER_MILLE_MIN).div_ceil(1_000);
        let again_sum = if seeing.whole_packets { Sum::Again } else { Sum::Resent };
        let least = if payload <= FEW_SEGMENTS { 1 } else { AGAIN_MIN.max(of_hundred(payload)) };
        tell(Observed::Loss, again_sum, (again, payload), least, Some(Impairment::SentAgain));
        let reordered = REORDERED_MIN.max(of_hundred(payload));
        let overtaken = (self.get(Sum::Overtaken), payload);
        tell(Observed::OutOfOrder, Sum::Overtaken, overtaken, reordered, Some(Impairment::Overtaken));
        let duplicate = (self.get(Sum::DuplicateAck), segments);
        let reordered = REORDERED_MIN.max(of_hundred(segments));
        tell(Observed::DuplicateAck, Sum::DuplicateAck, duplicate, reordered, Some(Impairment::DuplicateAck));
        tell(Observed::ZeroWindow, closed, (self.get(closed), segments), 1, Some(Impairment::ZeroWindow));
        let full = (self.get(Sum::WindowFull), payload);
        tell(Observed::WindowFull, Sum::WindowFull, full, REORDERED_MIN, Some(Impairment::WindowFull));
        let failed = self.get(Sum::HelloFailed);
        let hellos = self.get(Sum::Hello).max(failed);
        tell(Observed::TlsFailure, Sum::HelloFailed, (failed, hellos), 1, Some(Impairment::HelloFailed));
        let errors = (self.get(Sum::ServerError), self.get(Sum::Response));
        tell(Observed::HttpErrors, Sum::ServerError, errors, 1, Some(Impairment::ServerError));
        let given_up = (self.get(Sum::RequestTimeout), self.get(Sum::Response));
        tell(Observed::SlowHttp, Sum::RequestTimeout, given_up, MISUSE_MIN, None);
        let ended = self.get(Sum::Ended).max(self.get(Sum::BriefLogin));
        tell(Observed::BruteForce, Sum::BriefLogin, (self.get(Sum::BriefLogin), ended), MISUSE_MIN, None);
        let times = [
            (Observed::HighRtt, Impairment::LongRoundTrip),
            (Observed::SlowAnswer, Impairment::LateAnswer),
            (Observed::LateRequest, Impairment::LateQuestion),
        ];
        let connections = self.get(Sum::Completed) + self.get(Sum::OneSided);
        for (kind, impairment) in times {
            let count = worst(impairment).map_or(0, |worst| worst.connections);
            // Browsers open connections before they need them: those are some of many.
            let least = if impairment == Impairment::LateQuestion { connections.div_ceil(2) } else { 1 };
            tell(kind, Sum::Segments, (count, connections.max(count)), least.max(1), Some(impairment));
        }
        drafts
    }

    /// What became of attempts.
    fn attempts(&self, key: ListenerKey, seeing: &Seeing, drafts: &mut Vec<Draft<'_>>) {
        let attempted = self.get(Sum::Attempted);
        let draft = |kind, sum: Sum, count| {
            let draft = Draft::new(kind, Target::Listener(key), count);
            Draft { of: Some(attempted), span: self.spans[sum as usize], peer: self.asker, ..draft }
        };
        let (refused, again) = (self.get(Sum::Refused), self.get(Sum::SynAgain));
        if refused != 0 {
            // Some systems ask again where they were refused.
            let draft = draft(Observed::ConnectionRefused, Sum::Refused, refused);
            drafts.push(Draft { beside: again, ..draft });
        }
        let [mut unanswered, half_open] = if seeing.answers_visible { self.failed(seeing) } else { [0; 2] };
        let said = self.get(Sum::Answered) + refused + self.get(Sum::OneSided);
        if again != 0 && said == 0 && seeing.answers_visible {
            // Whoever asks again has waited long enough.
            unanswered = attempted;
        }
        if unanswered != 0 {
            let draft = draft(Observed::Unanswered, Sum::Attempted, unanswered);
            drafts.push(Draft { beside: again, ..draft });
        } else if again != 0 && refused == 0 {
            drafts.push(Draft {
                of: Some(attempted + again),
                ..draft(Observed::SynRetransmission, Sum::SynAgain, again)
            });
        }
        // Whoever sends payload has its connection, even where the ACK that completes it was not understood.
        let has_spoken = self.get(Sum::Completed) == 0 && self.get(Sum::Payload) != 0;
        if half_open != 0 && !has_spoken {
            drafts.push(draft(Observed::HandshakeFailure, Sum::Answered, half_open));
        }
    }
}

/// Attempts that are not answered, and those answered that are not completed.
fn waiting(sums: &[u64; SUMS]) -> [i64; 2] {
    let get = |sum: Sum| i64::try_from(sums[sum as usize]).unwrap_or(i64::MAX);
    let gone = get(Sum::Answered) + get(Sum::Refused) + get(Sum::OneSided) + get(Sum::Lost);
    let ended = get(Sum::Completed) + get(Sum::Aborted);
    [get(Sum::Attempted) - gone, get(Sum::Answered) - ended]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn key() -> ListenerKey {
        ListenerKey { address: [192, 0, 2, 7].into(), port: 443 }
    }

    /// What is told of so much at the end of each second, when the last window ends then.
    fn told(seconds: &[(u64, &[(ListenerCounter, u64)])], last_s: u64) -> Vec<(&'static str, u64)> {
        let mut sums = ListenerSums::default();
        for (second, counts) in seconds {
            let mut window = ListenerWindow::default();
            counts.iter().for_each(|(counter, count)| window.counters[*counter as usize] = *count);
            sums.add(&window, second * SECOND_NS);
        }
        let last_ns = last_s * SECOND_NS;
        let seeing = Seeing { whole_packets: false, answers_visible: true, last_ns };
        let drafts = sums.drafts(key(), &seeing, |_| None);
        drafts.iter().map(|draft| (draft.kind.name(), draft.count)).collect()
    }

    #[test]
    fn attempts_that_may_still_be_answered_are_not_told() {
        use ListenerCounter::{Answered, Attempted, Completed, Refused};
        let asked: &[_] = &[(10, &[(Attempted, 2)][..])];
        assert_eq!(told(asked, 12), []);
        assert_eq!(told(asked, 20), [("unanswered", 2)]);
        let late: &[_] = &[(10, &[(Attempted, 1)][..]), (19, &[(Attempted, 3), (Answered, 3)][..])];
        assert_eq!(told(late, 20), [("unanswered", 1)], "three handshakes are under way");
        assert_eq!(told(&[(10, &[(Attempted, 1), (Refused, 1)])], 10), [("connection_refused", 1)]);
        let again = &[(Attempted, 1), (ListenerCounter::SynRetransmission, 2)][..];
        assert_eq!(told(&[(10, again)], 10), [("unanswered", 1)]);
        let open: &[_] = &[(10, &[(Attempted, 2), (Answered, 2), (Completed, 1)][..])];
        assert_eq!(told(open, 20), [("handshake_failure", 1)]);
    }

    #[test]
    fn what_happens_to_any_traffic_is_not_told() {
        use ListenerCounter::{PayloadSegments, RetransmitOrReordered, ZeroWindow};
        let again = |segments, again| {
            told(&[(10, &[(PayloadSegments, segments), (RetransmitOrReordered, again)])], 20)
        };
        assert_eq!(again(6, 5), [("loss", 5)]);
        assert_eq!(again(6, 1), []);
        assert_eq!(again(3, 1), [("loss", 1)]);
        assert_eq!((again(1_000, 9), again(1_000, 10)), (vec![], vec![("loss", 10)]));
        assert_eq!(told(&[(10, &[(ZeroWindow, 1)])], 20), [("zero_window", 1)]);
    }
}
