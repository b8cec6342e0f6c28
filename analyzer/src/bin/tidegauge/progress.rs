//! How far captures are read: a bar on standard error, where that is a terminal.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Drawings per second at most.
const DRAWINGS_PER_S: u8 = 4;
/// A capture that is read sooner than this needs no bar.
const QUIET: Duration = Duration::from_millis(500);
const KNOWN: &str =
    "{bar:30} {percent} %  {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {eta} left";
const UNKNOWN: &str = "{binary_bytes} read  {binary_bytes_per_sec}";

/// A bar, or nothing where nobody would see it.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    /// Bytes of the captures before the current one.
    before_bytes: u64,
}

impl Progress {
    /// A bar over so many bytes (`None`: from a pipe, nobody knows), unless standard error is no terminal, or lines
    /// of standard output would be torn by it.
    pub(crate) fn new(total_bytes: Option<u64>, lines: bool) -> Self {
        if !io::stderr().is_terminal() || (lines && io::stdout().is_terminal()) {
            return Self { bar: None, before_bytes: 0 };
        }
        let target = ProgressDrawTarget::stderr_with_hz(DRAWINGS_PER_S);
        let bar = ProgressBar::with_draw_target(total_bytes, target);
        let template = if total_bytes.is_some() { KNOWN } else { UNKNOWN };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar: Some(bar), before_bytes: 0 }
    }

    /// So many bytes of the current capture are read.
    pub(crate) fn at(&self, offset_bytes: u64) {
        if let Some(bar) = self.bar.as_ref().filter(|bar| bar.elapsed() > QUIET) {
            bar.set_position(self.before_bytes + offset_bytes);
        }
    }

    /// The current capture is read, and had so many bytes.
    pub(crate) const fn next(&mut self, offset_bytes: u64) {
        self.before_bytes += offset_bytes;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
