//! `loss`: payload that has to be sent again.
//!
//! Fault: a link, queue or radio that drops packets, before this capture or behind it.
//! Measured: payload segments sent again or overtaken, of all payload segments (feature model, `loss_ratio`: > 5 % for
//! 60 s), in slots of five seconds over a minute; the sum, since tshark's rules call much of what is sent again
//! overtaken. Who sends it again, and whether the original was seen: a hole before it says that it was lost before it
//! came here, none that it was lost behind.
//! Ordinary traffic does not trigger it: a burst of loss, a probe for bandwidth, a capture's own gaps are over within
//! seconds or send nothing again; here both halves of the minute and most of its slots must have it. Four times the
//! share is told after two whole slots with many segments in each.
//! Thresholds: the model's 5 % and 60 s; 200 segments, of which 5 % are ten.
//! What would fool it: lasting reordering (paths in parallel), which slows TCP down like loss does; a mirror that shows
//! each packet twice and out of turn, which the first cause says at about half.

use tidegauge_ebpf::listener::ListenerCounter;

use super::Evidence;
use crate::fact::Fact;
use crate::feature::ratio;
use crate::history::{Remembered, SLOT_S};
use crate::incident::{Finding, Kind, Severity};

/// Payload segments that each of the two slots must have for loss to be told early.
const SEVERE_SEGMENTS_MIN: u64 = 100;
/// Of the limit, what the last ten seconds must have for loss to go on.
const NOW_SHARE: f64 = 0.5;
/// Share of the slots that must have some.
const SLOTS_SHARE: f64 = 0.75;
/// Shares of all segments between which it may be that the capture has each packet twice.
const TWICE: std::ops::Range<f64> = 0.4..0.55;
/// Holes per segment sent again, from which on and up to which the loss is before us or behind.
const HOLES_BEFORE: f64 = 0.2;
const HOLES_BEHIND: f64 = 0.05;
/// Share above which a direction is the one.
const ONE_WAY: f64 = 0.8;

/// A minute's loss.
struct Loss {
    share: f64,
    segments: u64,
    again: u64,
    seconds: u32,
    limit: f64,
}

/// Judges the last minute.
pub(super) fn detect(evidence: &Evidence<'_>) -> Option<Finding> {
    let config = evidence.config;
    let ten_seconds = |counter| evidence.sliding.ten_seconds(counter);
    let now = ratio(
        ten_seconds(ListenerCounter::RetransmitOrReordered),
        ten_seconds(ListenerCounter::PayloadSegments),
    )?;
    if now < NOW_SHARE * config.loss_share {
        return None;
    }
    let loss = severe(evidence).or_else(|| lasting(evidence))?;
    let again = evidence.history.recent(Fact::SentAgain);
    let by_listener = ratio(evidence.history.recent(Fact::ListenerSentAgain), again).unwrap_or(0.0);
    let holes = ratio(evidence.history.recent(Fact::Hole), again).unwrap_or(0.0);
    let unseen = ratio(evidence.history.recent(Fact::AckedUnseen), again).unwrap_or(0.0);
    let late = ratio(evidence.history.recent(Fact::AnswerAgainLate), again).unwrap_or(0.0);
    let severity = if loss.share >= 2.0 * config.loss_share { Severity::P2 } else { Severity::P3 };
    let port = evidence.listener.port;
    Some(Finding {
        rule: format!(
            "share of payload segments sent again or overtaken > {} for {} s",
            loss.limit, loss.seconds
        ),
        measured: loss.share,
        unit: "share of payload segments",
        limit: loss.limit,
        facts: vec![
            ("payload_segments", loss.segments as f64),
            ("sent_again_or_overtaken", loss.again as f64),
            ("share_by_listener", by_listener),
            ("holes_per_sent_again", holes),
            ("acked_unseen_per_sent_again", unseen),
            ("answered_again_after_the_ack_per_sent_again", late),
        ],
        window_s: f64::from(loss.seconds),
        cause: causes(evidence, &loss, by_listener, holes),
        next: vec![
            format!("ss -tin 'sport = :{port} or dport = :{port}' | grep -o 'retrans:[^ ]*'"),
            "nstat -az TcpRetransSegs TcpExtTCPLostRetransmit TcpExtTCPTimeouts TcpExtTCPDSACKRecv"
                .to_owned(),
            "ip -s -s link; tc -s qdisc".to_owned(),
            format!("mtr -rnzc 100 -T -P {port} {}", evidence.listener.address),
        ],
        ..Finding::bare(Kind::Loss, severity)
    })
}

/// The model's row.
fn lasting(evidence: &Evidence<'_>) -> Option<Loss> {
    let (config, seconds) = (evidence.config, u64::from(evidence.config.loss_s));
    let again = evidence.history.sum(Remembered::SentAgain, seconds);
    let segments = evidence.history.sum(Remembered::PayloadSegments, seconds);
    let share = ratio(again, segments)?;
    if share <= config.loss_share || segments < config.loss_segments_min {
        return None;
    }
    let slots = |remembered| -> Vec<u64> { evidence.history.slots(remembered, seconds).collect() };
    let (again_by_slot, segments_by_slot) =
        (slots(Remembered::SentAgain), slots(Remembered::PayloadSegments));
    let lossy = again_by_slot.iter().filter(|count| **count != 0).count();
    let half = again_by_slot.len().div_ceil(2);
    let is_lossy = |slots: std::ops::Range<usize>| {
        let sum = |counts: &[u64]| counts.get(slots.clone()).unwrap_or_default().iter().sum::<u64>();
        ratio(sum(&again_by_slot), sum(&segments_by_slot)).is_some_and(|share| share > config.loss_share)
    };
    let lasts = lossy as f64 >= SLOTS_SHARE * again_by_slot.len() as f64
        && is_lossy(0..half)
        && is_lossy(again_by_slot.len() - half..again_by_slot.len());
    lasts.then_some(Loss { share, segments, again, seconds: config.loss_s, limit: config.loss_share })
}

/// So much that nobody waits a minute. Half of all segments is what two copies of each look like: that waits.
fn severe(evidence: &Evidence<'_>) -> Option<Loss> {
    let config = evidence.config;
    let slots = |remembered| evidence.history.slots(remembered, 2 * SLOT_S);
    let (mut again, mut segments) = (0, 0);
    for (slot_again, slot_segments) in slots(Remembered::SentAgain).zip(slots(Remembered::PayloadSegments)) {
        let share = ratio(slot_again, slot_segments)?;
        if slot_segments < SEVERE_SEGMENTS_MIN || share <= config.loss_severe_share || share >= TWICE.start {
            return None;
        }
        again += slot_again;
        segments += slot_segments;
    }
    let share = ratio(again, segments)?;
    Some(Loss { share, segments, again, seconds: 2 * SLOT_S as u32, limit: config.loss_severe_share })
}

fn causes(evidence: &Evidence<'_>, loss: &Loss, by_listener: f64, holes: f64) -> Vec<String> {
    let socket = evidence.socket();
    let (sender, receiver) = if by_listener >= ONE_WAY {
        (format!("the listener {socket}"), "its clients".to_owned())
    } else if by_listener <= 1.0 - ONE_WAY {
        ("its clients".to_owned(), format!("the listener {socket}"))
    } else {
        ("either end".to_owned(), "the other".to_owned())
    };
    let Loss { again, .. } = loss;
    let way = format!("from {sender} to {receiver}");
    let place = if holes >= HOLES_BEFORE {
        format!(
            "loss {way}, between the sender and this capture: {holes:.2} holes seen for each of {again} segments sent again"
        )
    } else if holes <= HOLES_BEHIND {
        format!("loss {way}, behind this capture: the originals of {again} segments sent again came by here")
    } else {
        format!(
            "loss {way}, on both sides of this capture or in bursts before it: {holes:.2} holes seen for each of {again} segments sent again"
        )
    };
    let mut causes = vec![place];
    if TWICE.contains(&loss.share) {
        let share = loss.share * 100.0;
        causes.insert(
            0,
            format!("the capture may show each packet twice: {share:.0} % of the segments are copies"),
        );
    }
    causes.push(
        "a queue that overflows under its own bulk traffic: look at the drops of qdiscs and links".to_owned(),
    );
    causes
}

#[cfg(test)]
mod tests {
    use super::super::testing::Listener;
    use super::*;

    /// Slots of so many segments each, of which so many are sent again, and holes.
    fn slots_with(slots: &[(u64, u32)], holes: u32) -> Listener {
        let mut listener = Listener::default();
        for (segments, again) in slots {
            listener.count(ListenerCounter::PayloadSegments, *segments);
            listener.count(ListenerCounter::RetransmitOrReordered, u64::from(*again));
            listener.facts(Fact::SentAgain, *again);
            listener.facts(Fact::ListenerSentAgain, *again);
            listener.facts(Fact::Hole, holes);
            listener.pass(SLOT_S);
        }
        listener
    }

    fn slots(slots: &[(u64, u32)]) -> Listener {
        slots_with(slots, 0)
    }

    #[test]
    fn twice_the_limit_for_a_minute_is_loss_behind_us() {
        let found = detect(&slots(&[(500, 50); 13]).evidence()).unwrap();
        assert_eq!((found.kind, found.severity), (Kind::Loss, Severity::P2));
        assert!(
            found.cause[0].contains("behind this capture") && found.cause[0].contains("from the listener")
        );
        assert_eq!(found.next.len(), 4);
    }

    #[test]
    fn holes_say_that_it_was_lost_before_us() {
        let found = detect(&slots_with(&[(500, 50); 13], 30).evidence()).unwrap();
        assert!(found.cause[0].contains("between the sender and this capture"), "{:?}", found.cause);
    }

    #[test]
    fn a_burst_is_not_and_neither_is_a_short_transfer() {
        let mut burst = [(500, 2); 13];
        burst[6] = (500, 450);
        assert_eq!(detect(&slots(&burst).evidence()), None);
        assert_eq!(detect(&slots(&[(500, 50); 4]).evidence()), None);
        assert_eq!(detect(&slots(&[(10, 1); 13]).evidence()), None, "too few segments");
        assert_eq!(detect(&slots(&[(500, 24); 13]).evidence()), None, "below the limit");
    }

    #[test]
    fn a_third_is_told_after_ten_seconds_and_a_half_may_be_a_mirror() {
        let found = detect(&slots(&[(500, 0), (500, 160), (500, 160)]).evidence()).unwrap();
        assert_eq!(found.window_s, 10.0);
        assert_eq!(detect(&slots(&[(500, 0), (500, 250), (500, 250)]).evidence()), None);
    }
}
