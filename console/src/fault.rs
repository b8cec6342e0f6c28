//! Faults of whoever tells others: each is said when it begins and when it is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// Says something to whoever runs the program.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// A fault that did not come again for so long is over.
const SETTLED: Duration = Duration::from_secs(5);

/// A fault that is said when it begins and when it is over, and not in between; one that comes and goes has not gone.
pub(crate) struct Fault {
    say: Say,
    who: String,
    is_said: bool,
    latest: Instant,
    /// What is said when it is over for long enough.
    over: Option<&'static str>,
}

impl Fault {
    pub(crate) fn new(say: &Say, who: String) -> Self {
        Self { say: Arc::clone(say), who, is_said: false, latest: Instant::now(), over: None }
    }

    /// It is somebody else's from now on.
    pub(crate) fn is_of(&mut self, who: String) {
        self.who = who;
    }

    /// It goes on.
    pub(crate) fn is(&mut self, what: &str) {
        (self.latest, self.over) = (Instant::now(), None);
        if !self.is_said {
            (self.say)(&format!("{}: {what}", self.who));
        }
        self.is_said = true;
    }

    /// It does not.
    pub(crate) fn is_over(&mut self, what: &'static str) {
        if self.is_said {
            self.over = Some(what);
            self.settle();
        }
    }

    /// To be called now and then.
    pub(crate) fn settle(&mut self) {
        if let Some(what) = self.over.filter(|_| self.latest.elapsed() >= SETTLED) {
            (self.say)(&format!("{}: {what}", self.who));
            (self.is_said, self.over) = (false, None);
        }
    }
}
