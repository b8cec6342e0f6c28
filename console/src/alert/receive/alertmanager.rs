//! The Alertmanager: alerts with labels. It forgets what it is not told again, so what is open is told again in time, and
//! ends by itself when we do.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use ureq::Agent;

use super::{Failure, http};
use crate::alert::desk::nanoseconds;
use crate::alert::message::{Change, Message, Severity, What, rfc3339};
use crate::alert::settings::AlertmanagerSettings;
use crate::http::agent;

/// Open alerts that are told again; more end by themselves.
const OPEN_MAX: usize = 1_024;
/// After so many times of telling again an alert ends.
const LIFE: i32 = 4;

/// One receiver.
pub(crate) struct Alertmanager {
    agent: Agent,
    url: String,
    labels: BTreeMap<String, String>,
    resend: Duration,
    open: BTreeMap<String, Message>,
    told: Instant,
}

impl Alertmanager {
    pub(super) fn new(settings: &AlertmanagerSettings) -> Result<Self, String> {
        let timeout = Duration::from_millis(settings.timeout_ms.get());
        let ca_file = settings.ca_file.as_ref().map(AsRef::as_ref);
        Ok(Self {
            agent: agent(settings.url.is_https(), ca_file, timeout)?,
            url: format!("{}/api/v2/alerts", settings.url.0.trim_end_matches('/')),
            labels: settings.labels.clone(),
            resend: Duration::from_secs(settings.resend_s.get()),
            open: BTreeMap::new(),
            told: Instant::now(),
        })
    }

    /// What is open goes on being told again.
    pub(super) fn succeed(&mut self, before: Self) {
        (self.open, self.told) = (before.open, before.told);
    }

    pub(super) fn tell(&mut self, message: &Message) -> Result<(), Failure> {
        let now = Timestamp::now();
        let mut alerts = vec![self.alert(message, message.severity, message.change == Change::Closed, now)];
        if let Some(before) = message.severity_before {
            // To it an alert is its labels: the one of the other severity is over.
            alerts.push(self.alert(message, before, true, now));
        }
        self.post(&alerts)?;
        let id = message.text("id").to_owned();
        if message.change == Change::Closed || message.what != What::Incident {
            self.open.remove(&id);
        } else if self.open.len() < OPEN_MAX || self.open.contains_key(&id) {
            self.open.insert(id, message.clone());
        }
        Ok(())
    }

    /// How long nothing has to be told again.
    pub(super) fn look(&self) -> Duration {
        if self.open.is_empty() { Duration::MAX } else { self.resend.saturating_sub(self.told.elapsed()) }
    }

    /// Tells again what is open, if it is time.
    pub(super) fn resend(&mut self) -> Option<Result<(), String>> {
        if !self.look().is_zero() {
            return None;
        }
        let now = Timestamp::now();
        let alerts: Vec<Value> =
            self.open.values().map(|message| self.alert(message, message.severity, false, now)).collect();
        self.told = Instant::now();
        Some(self.post(&alerts).map_err(|failure| failure.why().to_owned()))
    }

    fn post(&self, alerts: &[Value]) -> Result<(), Failure> {
        let body = Value::from(alerts.to_vec()).to_string();
        http::judge(self.agent.post(&self.url).header("Content-Type", "application/json").send(body))
    }

    fn alert(&self, message: &Message, severity: Severity, is_over: bool, now: Timestamp) -> Value {
        // Captures may be of other clocks than ours; an alert of tomorrow is none.
        let opened = message.text("opened_ts").parse::<Timestamp>().unwrap_or(now).min(now);
        let life = SignedDuration::try_from(self.resend).unwrap_or_default() * LIFE;
        let ends = if is_over { now } else { now.checked_add(life).unwrap_or(now) };
        let mut labels: BTreeMap<&str, String> =
            self.labels.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        labels.extend([
            ("alertname", format!("tidegauge_{}", message.text("kind"))),
            ("incident", message.text("id").to_owned()),
            ("priority", severity.name().to_owned()),
            ("run", message.key.split('/').next().unwrap_or_default().to_owned()),
            ("severity", ["critical", "warning", "info"][severity.index()].to_owned()),
            ("target", message.target()),
        ]);
        let next: Vec<&str> =
            message.json["next"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        json!({
            "labels": labels,
            "annotations": { "summary": message.summary(), "rule": message.text("rule"), "next": next.join("\n") },
            "startsAt": rfc3339(nanoseconds(opened)),
            "endsAt": rfc3339(nanoseconds(ends)),
        })
    }
}
