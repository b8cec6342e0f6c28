//! Metrics by OTLP/HTTP: all of them, once in a while, to a collector or whoever takes its protocol.
//!
//! One thread, one request at a time, nothing that waits: each request has the sums up to its time, so what a receiver missed
//! is in the next one. A receiver that is down, hangs or refuses holds up nobody; it is said once and counted. In JSON, which
//! the protocol has beside Protobuf: it takes no further crate.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use thiserror::Error;
use ureq::Agent;

use crate::fault::{Fault, Say};
use crate::http::{Answer, HttpUrl, agent, why_none};
use crate::metrics::Metrics;

/// Where receivers take metrics, unless the address says another place.
const PATH: &str = "/v1/metrics";
/// Longest time of a request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts of one export after the first, as far as there is time until the next one.
const RETRIES_MAX: u32 = 2;
/// Pause before the first of them; twice as long before the next.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest wait at the end: for the run's last lines, and for the last export.
const END_WAIT: Duration = Duration::from_secs(2);

/// What became of exports.
#[derive(Debug, Default)]
pub struct Counts {
    /// Taken, if only in part.
    pub delivered: AtomicU64,
    /// Given up: nobody answered, or with an error that may pass.
    pub failed: AtomicU64,
    /// Given up: the receiver will not have them.
    pub refused: AtomicU64,
    /// Attempts that failed and were made again.
    pub retried: AtomicU64,
    /// Points that the receiver would not have of exports that it took.
    pub points_rejected: AtomicU64,
}

/// Where to, how often, and with what.
#[derive(Clone)]
pub struct Settings {
    /// The receiver; with no path, `/v1/metrics` there.
    pub url: HttpUrl,
    /// Names and values of headers, such as one that tells who we are.
    pub headers: Vec<(String, String)>,
    /// From one export to the next.
    pub interval: Duration,
}

/// Why metrics cannot be exported.
#[derive(Debug, Error)]
pub enum OtlpError {
    /// The host's certificate authorities.
    #[error("{0}")]
    Certificates(String),
    /// The system has no more threads.
    #[error("cannot start a thread")]
    Thread(#[from] io::Error),
}

/// Exports at work.
pub struct Otlp {
    metrics: Metrics,
    /// Dropped at the end.
    go_on: Sender<()>,
    thread: JoinHandle<()>,
}

impl Otlp {
    /// Begins to export.
    ///
    /// # Errors
    /// Where certificates or a thread cannot be had.
    pub fn start(settings: &Settings, metrics: Metrics, say: &Say) -> Result<Self, OtlpError> {
        let timeout = TIMEOUT.min(settings.interval);
        let agent = agent(settings.url.is_https(), None, timeout).map_err(OtlpError::Certificates)?;
        let counts = Arc::new(Counts::default());
        metrics.set_otlp(Arc::clone(&counts));
        let (go_on, end) = channel();
        let url = address(&settings.url);
        let mut exporter = Exporter {
            down: Fault::new(say, format!("OTLP ({url})")),
            partial: Fault::new(say, format!("OTLP ({url})")),
            agent,
            url,
            settings: settings.clone(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            metrics: metrics.clone(),
            counts,
            end,
            not_before: Instant::now(),
        };
        let thread = thread::Builder::new().name("otlp".into()).spawn(move || exporter.run())?;
        Ok(Self { metrics, go_on, thread })
    }

    /// After the run's end: exports what came to be. A receiver that hangs is left alone after a while.
    pub fn finish(self) {
        self.metrics.wait_over(END_WAIT);
        drop(self.go_on);
        let since = Instant::now();
        while !self.thread.is_finished() && since.elapsed() < END_WAIT {
            thread::sleep(END_WAIT / 100);
        }
    }
}

/// The thread's own.
struct Exporter {
    agent: Agent,
    url: String,
    settings: Settings,
    host: String,
    metrics: Metrics,
    counts: Arc<Counts>,
    end: Receiver<()>,
    down: Fault,
    partial: Fault,
    /// The receiver asked to be left alone until then.
    not_before: Instant,
}

/// Why an attempt failed.
enum Failure {
    /// The next one may not; not earlier than this, if the receiver said so.
    Passing(String, Option<Duration>),
    Lasting(String),
}

impl Exporter {
    fn run(&mut self) {
        let mut next = Instant::now() + self.settings.interval;
        loop {
            let goes_on = self.goes_on_until(next);
            next = (next + self.settings.interval).max(Instant::now());
            if Instant::now() >= self.not_before
                && let Some(body) = self.metrics.otlp(&self.host)
            {
                self.export(&gzip(&body), next);
            }
            if !goes_on {
                return;
            }
            self.down.settle();
            self.partial.settle();
        }
    }

    /// Waits; whether the run goes on.
    fn goes_on_until(&self, then: Instant) -> bool {
        let wait = then.saturating_duration_since(Instant::now());
        self.end.recv_timeout(wait) == Err(RecvTimeoutError::Timeout)
    }

    /// One export, with what attempts it takes until the next is due.
    fn export(&mut self, body: &[u8], next: Instant) {
        let mut retries_left = RETRIES_MAX;
        let mut pause = PAUSE;
        loop {
            match self.attempt(body) {
                Ok(()) => {
                    add(&self.counts.delivered, 1);
                    return self.down.is_over("takes metrics again");
                }
                Err(Failure::Lasting(why)) => {
                    add(&self.counts.refused, 1);
                    return self.down.is(&format!("does not take metrics: {why}"));
                }
                Err(Failure::Passing(why, after)) => {
                    let then = Instant::now() + after.unwrap_or(pause);
                    if retries_left == 0 || then >= next || !self.goes_on_until(then) {
                        self.not_before = after.map_or(self.not_before, |_| then);
                        add(&self.counts.failed, 1);
                        return self.down.is(&format!("cannot be told metrics: {why}"));
                    }
                    add(&self.counts.retried, 1);
                    (retries_left, pause) = (retries_left - 1, pause * 2);
                }
            }
        }
    }

    fn attempt(&mut self, body: &[u8]) -> Result<(), Failure> {
        let mut request = self
            .agent
            .post(&self.url)
            .header("Content-Type", "application/json")
            .header("Content-Encoding", "gzip");
        for (name, value) in &self.settings.headers {
            request = request.header(name, value);
        }
        let answer = request.send(body).map_err(|error| Failure::Passing(why_none(&error), None))?;
        let answer = Answer::read(answer);
        if answer.status.is_success() {
            self.look_for_rejected(&answer.body);
            return Ok(());
        }
        // These alone are for another attempt, as the protocol has it.
        let is_passing = matches!(answer.status.as_u16(), 429 | 502 | 503 | 504);
        let why = answer.why();
        Err(if is_passing { Failure::Passing(why, answer.after) } else { Failure::Lasting(why) })
    }

    /// What a receiver took may be less than all of it.
    fn look_for_rejected(&mut self, answer: &str) {
        let answer: Value = serde_json::from_str(answer).unwrap_or_default();
        let partial = &answer["partialSuccess"];
        let rejected = &partial["rejectedDataPoints"];
        // A number of 64 bits is a string in this form, and some write a number.
        let rejected = rejected.as_str().and_then(|count| count.parse().ok()).or_else(|| rejected.as_u64());
        let Some(rejected) = rejected.filter(|count| *count > 0) else {
            return self.partial.is_over("takes all metrics again");
        };
        add(&self.counts.points_rejected, rejected);
        let why = partial["errorMessage"].as_str().unwrap_or("it does not say why");
        self.partial.is(&format!("does not take all metrics: {rejected} points rejected: {why}"));
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// Where to post to.
fn address(url: &HttpUrl) -> String {
    let url = url.0.as_str();
    let host = url.split_once("://").map_or(url, |(_, host)| host);
    match host.split_once('/') {
        None | Some((_, "")) => format!("{}{PATH}", url.trim_end_matches('/')),
        Some(_) => url.to_owned(),
    }
}

/// Names are repeated for each point: a twentieth of it is left.
fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(text.as_bytes());
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_without_a_path_has_the_usual_one() {
        let of = |text: &str| address(&HttpUrl::try_from(text.to_owned()).unwrap());
        assert_eq!(of("http://a:4318"), "http://a:4318/v1/metrics");
        assert_eq!(of("http://a:4318/"), "http://a:4318/v1/metrics");
        assert_eq!(of("https://[::1]/otlp/v1/metrics"), "https://[::1]/otlp/v1/metrics");
    }
}
