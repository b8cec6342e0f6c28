//! Never a storm: a token bucket for each receiver, and the sum of what it did not let through.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::desk::nanoseconds;
use super::message::{Message, Severity, What, rfc3339};
use super::settings::Limit;

/// A sum waits for more.
const SUM_AFTER: SignedDuration = SignedDuration::from_secs(10);
/// Incidents that a sum names.
const IDS_MAX: usize = 20;
/// Kinds that a sum names.
const KINDS_MAX: usize = 32;

/// So many at once, and so many a minute after that.
pub(super) struct Bucket {
    burst: f64,
    per_s: f64,
    tokens: f64,
    filled: Timestamp,
}

impl Bucket {
    pub(super) fn new(limit: Limit, now: Timestamp) -> Self {
        let burst = limit.burst.get() as f64;
        Self { burst, per_s: limit.per_minute.get() as f64 / 60.0, tokens: burst, filled: now }
    }

    /// The same with another limit.
    pub(super) fn limited(self, limit: Limit) -> Self {
        let fresh = Self::new(limit, self.filled);
        Self { tokens: self.tokens.min(fresh.burst), ..fresh }
    }

    pub(super) fn take(&mut self, now: Timestamp) -> bool {
        // A clock that was set back fills nothing.
        let passed_s = now.duration_since(self.filled).as_secs_f64().max(0.0);
        self.tokens = (self.tokens + passed_s * self.per_s).min(self.burst);
        self.filled = now;
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

/// What a receiver was not told one by one.
#[derive(Default)]
pub(super) struct More {
    since: Option<Timestamp>,
    sums: u32,
    count: u64,
    by_severity: [u64; 3],
    by_kind: BTreeMap<String, u64>,
    ids: Vec<String>,
}

impl More {
    pub(super) fn add(&mut self, id: &str, kind: &str, severity: Severity, now: Timestamp) {
        self.since.get_or_insert(now);
        self.count += 1;
        self.by_severity[severity.index()] += 1;
        if self.ids.len() < IDS_MAX {
            self.ids.push(id.to_owned());
        }
        if self.by_kind.len() < KINDS_MAX || self.by_kind.contains_key(kind) {
            *self.by_kind.entry(kind.to_owned()).or_default() += 1;
        }
    }

    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        // A clock that was set back delays nothing.
        self.since.is_some_and(|since| now.duration_since(since).abs() >= SUM_AFTER)
    }

    /// The sum, if there is something; then it begins anew.
    pub(super) fn message(&mut self, run: &str, now: Timestamp) -> Option<Message> {
        let since = self.since?;
        let sums = self.sums + 1;
        let sum = std::mem::replace(self, Self { sums, ..Self::default() });
        let worst = Severity::ALL.into_iter().find(|severity| sum.by_severity[severity.index()] > 0)?;
        let id = format!("more-{sums:04}");
        let kinds: Vec<String> = sum.by_kind.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let text = format!(
            "{} more incidents or changes that were not told one by one: {}",
            sum.count,
            kinds.join(", ")
        );
        let [p1, p2, p3] = sum.by_severity;
        let (ts, since) = (rfc3339(nanoseconds(now)), rfc3339(nanoseconds(since)));
        let json = json!({
            "ts": ts, "event": "more", "id": id, "kind": "more", "state": "opened", "severity": worst.name(),
            "opened_ts": since, "updated_ts": ts, "closed_ts": null, "target": null, "rule": "too many messages at once",
            "measured": sum.count, "unit": "incidents", "limit": null, "sources": { "top": [] },
            "cause": [text], "next": [], "more": sum.count, "by_severity": { "P1": p1, "P2": p2, "P3": p3 },
            "by_kind": sum.by_kind, "ids": sum.ids,
        });
        Some(Message::other(What::More, format!("{run}/{id}/0"), worst, json, nanoseconds(now)))
    }
}
