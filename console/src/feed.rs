//! Lines on their way from a run to all who want them.
//!
//! One thread reads, and never waits for anybody: the run at the other end of the pipe would. Each subscriber has a queue
//! of its own; a line that does not fit is lost to it and counted.

use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use crate::line::{Event, LINE_BYTES_MAX, Line};

/// What was lost on the way; shared with the feed.
#[derive(Debug, Default)]
pub struct Losses {
    /// Lines that did not fit into a subscriber's queue.
    pub not_taken: AtomicU64,
    /// Lines that are none of the contract's.
    pub not_understood: AtomicU64,
}

struct Subscriber {
    queue: SyncSender<Arc<Line>>,
    losses: Arc<Losses>,
    when_full: WhenFull,
    wants: Wants,
}

/// Which lines a subscriber gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wants {
    All,
    /// All but those of connections and of judged segments, which are thousands a second and must not push others out.
    NoFlows,
}

/// What becomes of lines that do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WhenFull {
    Lose,
    /// The other end is a file.
    Wait,
}

/// From one run to many subscribers.
#[derive(Default)]
pub struct Feed {
    subscribers: Vec<Subscriber>,
    losses: Arc<Losses>,
}

impl Feed {
    /// Somebody who wants lines, but those of connections: at most `lines_max` wait for it. When no more come, the run is over.
    pub fn subscribe(&mut self, lines_max: usize) -> (Receiver<Arc<Line>>, Arc<Losses>) {
        self.add(lines_max, WhenFull::Lose, Wants::NoFlows)
    }

    /// The same with lines of connections, which are handed on unread ([`Line::unread`]).
    pub fn subscribe_with_flows(&mut self, lines_max: usize) -> (Receiver<Arc<Line>>, Arc<Losses>) {
        self.add(lines_max, WhenFull::Lose, Wants::All)
    }

    /// The same where lines come from a file, which can wait: none is lost.
    pub fn subscribe_waiting(&mut self, lines_max: usize) -> (Receiver<Arc<Line>>, Arc<Losses>) {
        self.add(lines_max, WhenFull::Wait, Wants::NoFlows)
    }

    fn add(
        &mut self,
        lines_max: usize,
        when_full: WhenFull,
        wants: Wants,
    ) -> (Receiver<Arc<Line>>, Arc<Losses>) {
        let (queue, items) = sync_channel(lines_max);
        let losses = Arc::new(Losses::default());
        self.subscribers.push(Subscriber { queue, losses: Arc::clone(&losses), when_full, wants });
        (items, losses)
    }

    /// Of the feed itself.
    pub fn losses(&self) -> Arc<Losses> {
        Arc::clone(&self.losses)
    }

    /// Reads until the end; to be called in a thread of its own.
    ///
    /// # Errors
    /// Where reading fails.
    pub fn run(mut self, from: &mut impl BufRead) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            if !next_line(from, &mut bytes)? {
                return Ok(());
            }
            let is_of_flow = is_of_flow(&bytes);
            if is_of_flow && self.subscribers.iter().all(|subscriber| subscriber.wants == Wants::NoFlows) {
                continue;
            }
            let read = if is_of_flow { Line::unread } else { Line::parse };
            match std::str::from_utf8(&bytes).ok().and_then(|text| read(text).ok()) {
                Some(line) => self.hand_out(&Arc::new(line)),
                None => _ = self.losses.not_understood.fetch_add(1, Ordering::Relaxed),
            }
        }
    }

    fn hand_out(&mut self, line: &Arc<Line>) {
        let is_of_flow = matches!(line.event, Event::Flow | Event::Judgement);
        self.subscribers.retain(|subscriber| {
            if is_of_flow && subscriber.wants == Wants::NoFlows {
                return true;
            }
            if subscriber.when_full == WhenFull::Wait {
                return subscriber.queue.send(Arc::clone(line)).is_ok();
            }
            match subscriber.queue.try_send(Arc::clone(line)) {
                Ok(()) => true,
                Err(TrySendError::Full(_)) => {
                    subscriber.losses.not_taken.fetch_add(1, Ordering::Relaxed);
                    true
                }
                Err(TrySendError::Disconnected(_)) => false,
            }
        });
    }
}

/// Whether a line is of a connection or a segment, by its beginning: `ts` and `event` come first.
fn is_of_flow(line: &[u8]) -> bool {
    const BEGIN_BYTES: usize = 80;
    let begin = &line[..line.len().min(BEGIN_BYTES)];
    [br#""event":"flow""#.as_slice(), br#""event":"judgement""#.as_slice()]
        .iter()
        .any(|event| begin.windows(event.len()).any(|part| part == *event))
}

/// The next line, without what is beyond the longest that is taken; `false` at the end.
fn next_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<bool> {
    loop {
        let buffer = from.fill_buf()?;
        if buffer.is_empty() {
            return Ok(!line.is_empty());
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let length = end.unwrap_or(buffer.len());
        let room = LINE_BYTES_MAX.saturating_sub(line.len());
        line.extend_from_slice(&buffer[..length.min(room)]);
        from.consume(end.map_or(length, |end| end + 1));
        if end.is_some() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: &str = "{\"ts\":\"1970-01-01T00:00:01Z\",\"event\":\"window\"}\n";

    #[test]
    fn who_does_not_take_loses_and_it_is_counted() {
        let mut feed = Feed::default();
        let (slow, lost) = feed.subscribe(2);
        let (quick, none) = feed.subscribe(100);
        let of_feed = feed.losses();
        let text = WINDOW.repeat(5) + "what?\n";
        let reading = std::thread::spawn(move || feed.run(&mut text.as_bytes()));
        assert_eq!(quick.iter().count(), 5);
        assert_eq!(slow.iter().count(), 2);
        reading.join().unwrap().unwrap();
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        assert_eq!((count(&lost.not_taken), count(&none.not_taken)), (3, 0));
        assert_eq!(count(&of_feed.not_understood), 1);
    }

    #[test]
    fn connections_push_nothing_out() {
        let flow = "{\"ts\":\"1970-01-01T00:00:01Z\",\"event\":\"flow\"}\n";
        let text = flow.repeat(50) + WINDOW;
        let mut feed = Feed::default();
        let (lines, losses) = feed.subscribe(1);
        let (flows, _) = feed.subscribe_with_flows(100);
        feed.run(&mut text.as_bytes()).unwrap();
        assert_eq!((lines.iter().count(), flows.iter().count()), (1, 51));
        assert_eq!(losses.not_taken.load(Ordering::Relaxed), 0);
    }
}
