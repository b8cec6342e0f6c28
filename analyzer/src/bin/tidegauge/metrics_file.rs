//! `serve --metrics-file FILE`: what Prometheus would scrape, as a file that is replaced once a second, for node_exporter's
//! textfile collector or any server of files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use tidegauge_console::metrics::Metrics;

use super::page;

/// How often the file is replaced.
const EVERY: Duration = Duration::from_secs(1);

/// Longest wait for a run's last lines to be counted.
const LAST_LINES: Duration = Duration::from_secs(2);

/// A file that is kept up to date.
pub(crate) struct MetricsFile {
    metrics: Metrics,
    path: PathBuf,
    written: Instant,
    /// Whether it was said that it cannot be written.
    is_failing: bool,
}

impl MetricsFile {
    /// Writes it for the first time: what cannot be written is said before anything runs.
    pub(crate) fn create(path: &Path, metrics: Metrics) -> anyhow::Result<Self> {
        replace(path, &metrics.text())
            .with_context(|| format!("cannot write metrics to {}", path.display()))?;
        Ok(Self { metrics, path: path.to_owned(), written: Instant::now(), is_failing: false })
    }

    /// To be called often: writes when it is time. A failure is said once, and again after a success.
    pub(crate) fn tick(&mut self) {
        if self.written.elapsed() >= EVERY {
            self.write();
        }
    }

    /// Writes what came to be, once the run has ended and its last lines are taken: the file stays, and says so.
    pub(crate) fn finish(&mut self) {
        self.metrics.wait_over(LAST_LINES);
        self.write();
    }

    fn write(&mut self) {
        self.written = Instant::now();
        match replace(&self.path, &self.metrics.text()) {
            Ok(()) => self.is_failing = false,
            Err(error) if !self.is_failing => {
                self.is_failing = true;
                page::say(format_args!(
                    "cannot write metrics to {}, which stay as they were: {error}",
                    self.path.display()
                ));
            }
            Err(_) => {}
        }
    }
}

/// Whoever reads sees the old file or the new one, never a part.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".unfinished");
    let beside = PathBuf::from(beside);
    let replaced = fs::write(&beside, text).and_then(|()| fs::rename(&beside, path));
    if replaced.is_err() {
        // What was begun would take the room of others.
        let _ = fs::remove_file(&beside);
    }
    replaced
}
