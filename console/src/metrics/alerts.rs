//! How those fare who are told of incidents: a series for each receiver of the file, which has sixteen at most.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::MetricType;

use super::encode::{Writer, counter};
use crate::alert::{Counts, Health};

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

impl Writer<'_> {
    pub(super) fn alerts(&mut self, alerts: &Health) -> fmt::Result {
        let receivers = alerts.receivers();
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let help = "Messages to a receiver of alerts, by what became of them";
        let mut family = self.family("alert_messages", help, MetricType::Counter)?;
        for receiver in &receivers {
            for (outcome, count) in OUTCOMES {
                let labels = [("receiver", receiver.name.as_str()), ("outcome", outcome)];
                counter(&mut family.encode_family(&labels)?, of(count(&receiver.counts)))?;
            }
        }
        let sums = |count: Counted| -> Vec<(&str, u64)> {
            let all = receivers.iter();
            all.map(|receiver| (receiver.name.as_str(), of(count(&receiver.counts)))).collect()
        };
        let help = "Attempts to tell a receiver that failed and are made again";
        self.counters("alert_retries", help, "receiver", &sums(|counts| &counts.retried))?;
        let help = "Messages that an earlier run could not tell and left on disk";
        self.counters("alert_messages_found", help, "receiver", &sums(|counts| &counts.found))?;
        let help = "Messages that could not be kept on disk, only in memory";
        self.counters("alert_messages_unkept", help, "receiver", &sums(|counts| &counts.unkept))?;
        let levels = |level: &dyn Fn(&Counts) -> f64| -> Vec<(&str, f64)> {
            receivers.iter().map(|receiver| (receiver.name.as_str(), level(&receiver.counts))).collect()
        };
        let waiting = levels(&|counts| of(&counts.waiting) as f64);
        self.gauges("alert_messages_waiting", "Messages that wait to be told", "receiver", &waiting)?;
        let is_up =
            |receiver: &crate::alert::ReceiverHealth| f64::from(!receiver.is_down.load(Ordering::Relaxed));
        let up: Vec<_> = receivers.iter().map(|one| (one.name.as_str(), is_up(one))).collect();
        self.gauges(
            "alert_receiver_up",
            "Whether the newest attempt to tell it did not fail",
            "receiver",
            &up,
        )?;
        let help = "From a line's arrival to the newest delivery";
        let took = levels(&|counts| of(&counts.latest_us) as f64 / 1e6);
        self.gauges("alert_latest_delivery_seconds", help, "receiver", &took)?;
        let desk = alerts.desk_counts();
        let untold = [
            ("consequence", desk.consequences),
            ("forgotten", desk.forgotten),
            ("not_understood", desk.not_understood),
            ("quiet", desk.quiet),
            ("summed", desk.summed),
        ];
        let help = "Incidents and changes that were not told one by one, by reason; quiet ones are told later if they last";
        self.counters("alert_untold", help, "reason", &untold)?;
        let lost = of(&alerts.feed.not_taken);
        self.counter("alert_lines_lost", "Lines of the run that came too fast for alerts", Some(lost))
    }
}
