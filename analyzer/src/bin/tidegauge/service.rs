//! `serve` under systemd (`Type=notify`): ready with the run's first line, alive as long as lines come, so that a run that is
//! stuck is noticed, too. Without systemd nothing of this happens.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use sd_notify::{NotifyState, notify};
use tidegauge_console::feed::Feed;
use tidegauge_console::line::{Event, Line};

/// Where systemd listens.
const SOCKET: &str = "NOTIFY_SOCKET";

/// Lines that may wait; what does not fit was a sign of life as good as the others.
const LINES_MAX: usize = 64;

/// Signs of life come no closer than this.
const ALIVE_EVERY: Duration = Duration::from_secs(1);

/// Tells systemd of the run whose lines the feed brings, in a thread that ends with it.
pub(crate) fn tell(feed: &mut Feed) -> anyhow::Result<()> {
    if std::env::var_os(SOCKET).is_none() {
        return Ok(());
    }
    let (lines, _) = feed.subscribe(LINES_MAX);
    thread::Builder::new()
        .name("service".into())
        .spawn(move || listen(&lines))
        .context("cannot start a thread")?;
    Ok(())
}

/// Thresholds are about to be read again.
pub(crate) fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        say(&[NotifyState::Reloading, now]);
    }
}

/// The run is asked to end.
pub(crate) fn stopping() {
    say(&[NotifyState::Stopping]);
}

fn listen(lines: &Receiver<Arc<Line>>) {
    let mut is_ready = false;
    let mut alive = Instant::now();
    for line in lines {
        if !is_ready || line.event == Event::Reload {
            is_ready = true;
            say(&[NotifyState::Ready]);
        }
        if line.event == Event::Summary {
            eprintln!("tidegauge: the run is over: {}", in_short(&line));
        }
        if alive.elapsed() >= ALIVE_EVERY {
            alive = Instant::now();
            say(&[NotifyState::Watchdog]);
            if line.event == Event::Window {
                say(&[NotifyState::Status(&in_short(&line))]);
            }
        }
    }
}

/// A window or summary in a few words.
fn in_short(line: &Line) -> String {
    let number =
        |path: &str| line.number(path).map_or_else(|| "unknown".to_owned(), |number| number.to_string());
    let quality = line.json["quality"]["verdict"].as_str().unwrap_or("unknown");
    let (packets, attempts) = (number("packets"), number("handshake.attempted"));
    if line.event == Event::Window {
        return format!(
            "packets {packets}, attempts {attempts}, health {}, quality {quality}",
            number("health.score")
        );
    }
    let kinds = line.json["incidents"].as_object().into_iter().flat_map(|kinds| kinds.values());
    let incidents: u64 = kinds.filter_map(serde_json::Value::as_u64).sum();
    let duration_s = line.number("duration_s").unwrap_or_default();
    format!(
        "packets {packets} in {duration_s:.1} s, attempts {attempts}, incidents {incidents}, quality {quality}"
    )
}

/// Whoever does not listen is no reason to end.
fn say(state: &[NotifyState<'_>]) {
    let _ = notify(state);
}
