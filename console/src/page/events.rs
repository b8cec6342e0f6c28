//! `/api/events`: what is new, to all who listen. One `window` message per second at most, incidents as they come.
//!
//! A message is made once, whatever the number of clients. Who does not take its messages is let go and counted: it asks
//! for the board when it comes back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, error::TrySendError};

use super::countries::Countries;
use super::flows::Flows;
use super::heat::Heat;
use super::limits::{Counts, EVENTS_QUEUE_MAX, POINTS_TOLD_MAX, count};
use super::told;
use crate::alert::Health;
use crate::board::SharedBoard;
use crate::feed::Losses;
use crate::line::{Event, Line};

/// Between `window` messages.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How long the board may take for the last lines.
const BOARD_PATIENCE: Duration = Duration::from_secs(5);

/// What is kept for the page besides the board, and who listens.
#[derive(Debug)]
pub(super) struct Hub {
    board: SharedBoard,
    clients: Mutex<Vec<mpsc::Sender<Bytes>>>,
    heat: Mutex<Heat>,
    flows: Mutex<Flows>,
    counts: Arc<Counts>,
    losses: [Arc<Losses>; 2],
    alerts: Option<Health>,
    /// The newest graph of the run.
    graph: Mutex<Option<Arc<Line>>>,
    /// Goes up with every line but flows: what was made of the board before is old.
    pub(super) changes: AtomicU64,
}

impl Hub {
    pub(super) fn new(
        board: SharedBoard,
        counts: Arc<Counts>,
        losses: [Arc<Losses>; 2],
        alerts: Option<Health>,
        countries: Option<Arc<Countries>>,
    ) -> Self {
        let (clients, flows, graph) = Default::default();
        let heat = Mutex::new(Heat::new(countries));
        Self { board, clients, heat, flows, counts, losses, alerts, graph, changes: AtomicU64::new(0) }
    }

    /// Somebody who listens from now on.
    pub(super) fn subscribe(&self) -> mpsc::Receiver<Bytes> {
        let (queue, messages) = mpsc::channel(EVENTS_QUEUE_MAX);
        // Tells the browser that it is connected.
        let _ = queue.try_send(Bytes::from_static(b"retry: 2000\n\n"));
        let mut clients = lock(&self.clients);
        clients.push(queue);
        self.counts.clients.store(clients.len() as u64, Ordering::Relaxed);
        messages
    }

    /// Keeps connections from looking dead.
    pub(super) fn keep_alive(&self) {
        self.send(&Bytes::from_static(b": still here\n\n"));
    }

    pub(super) fn heat(&self) -> Value {
        lock(&self.heat).told()
    }

    pub(super) fn flows(&self, words: &str) -> Value {
        lock(&self.flows).found(words)
    }

    /// What talks to what, if the run tells it.
    pub(super) fn graph(&self) -> Value {
        lock(&self.graph).as_ref().map_or(Value::Null, |line| line.json.clone())
    }

    /// What was not taken, on the way here and from here on.
    pub(super) fn served(&self) -> Value {
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut told = self.counts.told();
        told["lines_not_understood"] = json!(number(&self.losses[0].not_understood));
        told["lines_not_taken"] = json!(number(&self.losses[1].not_taken));
        told["alerts"] = self.alerts.as_ref().map_or(Value::Null, Health::json);
        told
    }

    /// Takes lines until the run is over; to be called in a thread of its own.
    pub(super) fn keep(&self, lines: &Receiver<Arc<Line>>) {
        let mut told_until_ns = i64::MIN;
        let mut due = Instant::now();
        loop {
            match lines
                .recv_timeout(due.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)))
            {
                Ok(line) => self.take(&line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if Instant::now() >= due {
                self.tell_windows(&mut told_until_ns);
                due = Instant::now() + TELL_EVERY;
            }
        }
        let started = Instant::now();
        while !self.board.look().is_over && started.elapsed() < BOARD_PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.changes.fetch_add(1, Ordering::Relaxed);
        self.tell_windows(&mut told_until_ns);
        self.send(&message("over", &json!({})));
    }

    fn take(&self, line: &Arc<Line>) {
        match line.event {
            Event::Flow => {
                lock(&self.heat).take(line);
                return lock(&self.flows).take(line);
            }
            Event::Judgement => return,
            Event::Window => lock(&self.heat).take(line),
            Event::Incident => {
                lock(&self.heat).take(line);
                self.send(&message("incident", &told::incident(&line.json)));
            }
            Event::Reload => self.send(&message("thresholds", &told::thresholds(&line.json))),
            Event::Graph => {
                lock(&self.heat).take(line);
                *lock(&self.graph) = Some(Arc::clone(line));
            }
            Event::Source | Event::Summary => {}
        }
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// The newest window, and the points since the last time.
    fn tell_windows(&self, told_until_ns: &mut i64) {
        let board = self.board.look();
        let Some(newest) = board.points().next_back().map(|point| point.ts_ns) else { return };
        if newest == *told_until_ns {
            return;
        }
        let new = board.points().rev().take_while(|point| point.ts_ns > *told_until_ns);
        let mut points: Vec<Value> = new.take(POINTS_TOLD_MAX + 1).map(told::point).collect();
        points.reverse();
        let window = board.window.clone();
        let (windows, histograms) = (board.windows, board.recent.json());
        drop(board);
        *told_until_ns = newest;
        let ask_again = points.len() > POINTS_TOLD_MAX;
        if ask_again {
            points.clear();
        }
        let window = window.map(|line| told::window(&line.json));
        self.send(&message(
            "window",
            &json!({
                "window": window, "points": points, "ask_again": ask_again, "windows": windows,
                "histograms": histograms, "served": self.served(),
            }),
        ));
    }

    fn send(&self, message: &Bytes) {
        let mut clients = lock(&self.clients);
        clients.retain(|client| match client.try_send(message.clone()) {
            Ok(()) => true,
            Err(TrySendError::Closed(_)) => false,
            Err(TrySendError::Full(_)) => {
                count(&self.counts.clients_dropped);
                false
            }
        });
        self.counts.clients.store(clients.len() as u64, Ordering::Relaxed);
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn message(event: &str, json: &Value) -> Bytes {
    // JSON has no line ends outside strings, and escapes those within.
    Bytes::from(format!("event: {event}\ndata: {json}\n\n"))
}
