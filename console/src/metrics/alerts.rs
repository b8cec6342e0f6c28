//! How those fare who are told: of incidents, a series for each receiver of the file, which has sixteen at most; and of these
//! numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::family::{Families, Kind, Number, Series};
use crate::alert::{Counts, Health, ReceiverHealth};
use crate::otlp::Counts as OtlpCounts;

/// One of the counts.
type Counted = fn(&Counts) -> &AtomicU64;

/// What may become of a message: each message that was taken, or found on disk, is one of these or waits.
const OUTCOMES: [(&str, Counted); 5] = [
    ("delivered", |counts| &counts.delivered),
    ("dropped_full", |counts| &counts.dropped_full),
    ("dropped_old", |counts| &counts.dropped_old),
    ("refused", |counts| &counts.refused),
    ("torn", |counts| &counts.torn),
];

impl Families<'_> {
    pub(super) fn alerts(&mut self, alerts: &Health) {
        let receivers = alerts.receivers();
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let outcomes = receivers.iter().flat_map(|receiver| {
            OUTCOMES.map(|(outcome, count)| {
                let labels = [("receiver", receiver.name.clone().into()), ("outcome", outcome.into())];
                Series::of(labels, Number::Count(of(count(&receiver.counts))))
            })
        });
        let help = "Messages to a receiver of alerts, by what became of them";
        self.add("alert_messages", help, Kind::Counter, outcomes);
        let sums = |count: Counted| {
            let all = receivers.iter();
            all.map(move |receiver| (receiver.name.clone(), of(count(&receiver.counts))))
        };
        let help = "Attempts to tell a receiver that failed and are made again";
        self.counters("alert_retries", help, "receiver", sums(|counts| &counts.retried));
        let help = "Messages that an earlier run could not tell and left on disk";
        self.counters("alert_messages_found", help, "receiver", sums(|counts| &counts.found));
        let help = "Messages that could not be kept on disk, only in memory";
        self.counters("alert_messages_unkept", help, "receiver", sums(|counts| &counts.unkept));
        let levels = |level: fn(&ReceiverHealth) -> f64| {
            receivers
                .iter()
                .map(move |receiver: &Arc<ReceiverHealth>| (receiver.name.clone(), level(receiver)))
        };
        let help = "Messages that wait to be told";
        let waiting = levels(|receiver| receiver.counts.waiting.load(Ordering::Relaxed) as f64);
        self.gauges("alert_messages_waiting", help, "receiver", waiting);
        let help = "Whether the newest attempt to tell it did not fail";
        let up = levels(|receiver| f64::from(!receiver.is_down.load(Ordering::Relaxed)));
        self.gauges("alert_receiver_up", help, "receiver", up);
        let help = "From a line's arrival to the newest delivery";
        let took = levels(|receiver| receiver.counts.latest_us.load(Ordering::Relaxed) as f64 / 1e6);
        self.gauges("alert_latest_delivery_seconds", help, "receiver", took);
        let desk = alerts.desk_counts();
        let untold = [
            ("consequence", desk.consequences),
            ("forgotten", desk.forgotten),
            ("not_understood", desk.not_understood),
            ("quiet", desk.quiet),
            ("summed", desk.summed),
        ];
        let help = "Incidents and changes that were not told one by one, by reason; quiet ones are told later if they last";
        self.counters("alert_untold", help, "reason", untold);
        let lost = of(&alerts.feed.not_taken);
        self.counter("alert_lines_lost", "Lines of the run that came too fast for alerts", Some(lost));
    }

    pub(super) fn otlp(&mut self, counts: &OtlpCounts) {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let outcomes =
            [("delivered", &counts.delivered), ("failed", &counts.failed), ("refused", &counts.refused)];
        let outcomes = outcomes.map(|(outcome, count)| (outcome, of(count)));
        let help = "Exports by OTLP, by what became of them; each has all numbers up to its time";
        self.counters("otlp_exports", help, "outcome", outcomes);
        let help = "Attempts to export by OTLP that failed and were made again";
        self.counter("otlp_retries", help, Some(of(&counts.retried)));
        let help = "Points that the OTLP receiver took the rest without";
        self.counter("otlp_points_rejected", help, Some(of(&counts.points_rejected)));
    }
}
