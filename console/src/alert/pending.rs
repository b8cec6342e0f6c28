//! The order in which messages wait, and which go first when there are too many: the oldest of the least severe.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::message::{Message, Severity};

/// Messages that may wait for one receiver, wherever they are.
pub(super) const MESSAGES_MAX: usize = 10_000;
/// Bytes of messages in memory, as they would be on disk (taken apart they are some times that); more of them are read
/// back from there.
pub(super) const MEMORY_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// One that waits.
pub(super) struct Entry {
    pub(super) seq: u64,
    pub(super) severity: Severity,
    pub(super) bytes: u64,
    /// Then it is too old.
    pub(super) until: Instant,
    /// In memory, if it is.
    pub(super) message: Option<Arc<Message>>,
    /// On disk.
    pub(super) is_kept: bool,
}

/// Those that wait, oldest first.
pub(super) struct Pending {
    entries: VecDeque<Entry>,
    bytes: u64,
    bytes_max: u64,
    memory_bytes: u64,
}

impl Pending {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, bytes_max, memory_bytes: 0 }
    }

    /// What is beyond it goes with the next message.
    pub(super) fn limit(&mut self, bytes_max: u64) {
        self.bytes_max = bytes_max;
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn front(&self) -> Option<&Entry> {
        self.entries.front()
    }

    /// Puts one at the end; what has to go for it is returned, and may be itself.
    pub(super) fn push(&mut self, mut entry: Entry) -> Vec<Entry> {
        if entry.is_kept && self.memory_bytes + entry.bytes > MEMORY_BYTES_MAX {
            entry.message = None;
        }
        self.bytes += entry.bytes;
        self.memory_bytes += entry.in_memory();
        self.entries.push_back(entry);
        let mut gone = Vec::new();
        while self.bytes > self.bytes_max || self.entries.len() > MESSAGES_MAX {
            gone.extend(self.drop_one(|_| true));
        }
        while self.memory_bytes > MEMORY_BYTES_MAX {
            if let Some(kept) = self.entries.iter_mut().find(|entry| entry.is_kept && entry.message.is_some())
            {
                self.memory_bytes -= kept.in_memory();
                kept.message = None;
                continue;
            }
            gone.extend(self.drop_one(|entry| entry.message.is_some()));
        }
        gone
    }

    fn drop_one(&mut self, may_go: impl Fn(&Entry) -> bool) -> Option<Entry> {
        let least = self.entries.iter().filter(|entry| may_go(entry)).map(|entry| entry.severity).max()?;
        let at = self.entries.iter().position(|entry| entry.severity == least && may_go(entry))?;
        self.take(at)
    }

    fn take(&mut self, at: usize) -> Option<Entry> {
        let entry = self.entries.remove(at)?;
        self.bytes -= entry.bytes;
        self.memory_bytes -= entry.in_memory();
        Some(entry)
    }

    /// It is told, or given up; `None` where it is gone already.
    pub(super) fn remove(&mut self, seq: u64) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.seq == seq)?;
        self.take(at)
    }

    /// What waited too long.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Entry> {
        let mut gone = Vec::new();
        while let Some(at) = self.entries.iter().position(|entry| entry.until <= now) {
            gone.extend(self.take(at));
        }
        gone
    }

    /// Those that are in memory only.
    pub(super) fn unkept(&self) -> Vec<(u64, Arc<Message>)> {
        let unkept = self.entries.iter().filter(|entry| !entry.is_kept);
        unkept.filter_map(|entry| Some((entry.seq, Arc::clone(entry.message.as_ref()?)))).collect()
    }

    /// It is on disk now; `false` where it is told or gone meanwhile.
    pub(super) fn kept(&mut self, seq: u64) -> bool {
        let entry = self.entries.iter_mut().find(|entry| entry.seq == seq);
        entry.map(|entry| entry.is_kept = true).is_some()
    }
}

impl Entry {
    fn in_memory(&self) -> u64 {
        if self.message.is_some() { self.bytes } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn entry(seq: u64, severity: Severity, until: Instant) -> Entry {
        let message = Some(Arc::new(Message::test("run", 1)));
        Entry { seq, severity, bytes: 10, until, message, is_kept: true }
    }

    #[test]
    fn the_oldest_of_the_least_severe_goes_first() {
        let mut pending = Pending::new(30);
        let later = Instant::now() + Duration::from_secs(60);
        let mut gone = Vec::new();
        use Severity::{P1, P2, P3};
        for (seq, severity) in [(1, P1), (2, P3), (3, P2), (4, P3), (5, P1), (6, P1), (7, P3)] {
            gone.extend(pending.push(entry(seq, severity, later)).iter().map(|entry| entry.seq));
        }
        assert_eq!(gone, [2, 4, 3, 7], "and what is less than all that waits goes itself");
        assert_eq!(pending.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1, 5, 6]);
        gone.clear();
        gone.extend(pending.push(entry(8, P1, later)).iter().map(|entry| entry.seq));
        assert_eq!(gone, [1]);
    }

    #[test]
    fn what_is_old_goes() {
        let now = Instant::now();
        let mut pending = Pending::new(1_000);
        pending.push(entry(1, Severity::P1, now));
        pending.push(entry(2, Severity::P1, now + Duration::from_secs(1)));
        assert_eq!(pending.expire(now).len(), 1);
        assert_eq!(pending.front().map(|entry| entry.seq), Some(2));
    }
}
