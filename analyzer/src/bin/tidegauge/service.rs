//! `serve` under systemd (`Type=notify`): ready with the run's first line, alive as long as lines come, so that a run that is
//! stuck is noticed, too. Without systemd nothing of this happens; and one that does not read holds nothing up.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::time::{ClockId, clock_gettime};
use tidegauge_console::feed::Feed;
use tidegauge_console::line::{Event, Line};

use super::page;

/// Where systemd listens.
const SOCKET: &str = "NOTIFY_SOCKET";

/// Lines that may wait; what does not fit was a sign of life as good as the others.
const LINES_MAX: usize = 64;

/// Signs of life come no closer than this.
const ALIVE_EVERY: Duration = Duration::from_secs(1);

/// Whoever wants to know how the service is; nobody, where it is none.
pub(crate) struct Service(Option<Arc<Notify>>);

/// The way to tell systemd.
struct Notify {
    socket: UnixDatagram,
    systemd: SocketAddr,
    /// Whether it was said that this does not work.
    is_failing: AtomicBool,
}

impl Service {
    /// Tells systemd of the run whose lines the feed brings, in a thread that ends with it.
    pub(crate) fn tell(feed: &mut Feed) -> anyhow::Result<Self> {
        let Some(path) = std::env::var_os(SOCKET) else { return Ok(Self(None)) };
        let notify = Arc::new(Notify::to(&path).context("cannot tell systemd anything")?);
        let (lines, _) = feed.subscribe(LINES_MAX);
        let service = Self(Some(Arc::clone(&notify)));
        thread::Builder::new()
            .name("service".into())
            .spawn(move || listen(&lines, &notify))
            .context("cannot start a thread")?;
        Ok(service)
    }

    /// Thresholds are about to be read again.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let now_us = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={now_us}"));
    }

    /// The run is asked to end.
    pub(crate) fn stopping(&self) {
        self.say("STOPPING=1");
    }

    fn say(&self, state: &str) {
        if let Some(notify) = &self.0 {
            notify.say(state);
        }
    }
}

impl Notify {
    /// To systemd at a path, or at an abstract name, which begins with `@`.
    fn to(path: &OsStr) -> io::Result<Self> {
        let systemd = match path.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(path)?,
        };
        let socket = UnixDatagram::unbound()?;
        // Whoever does not read must not hold us up.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, systemd, is_failing: AtomicBool::new(false) })
    }

    /// Whether it was taken. Where it was not, that is said once, and systemd judges us by what it knows.
    fn say(&self, state: &str) -> bool {
        let sent = self.socket.send_to_addr(state.as_bytes(), &self.systemd);
        let was_failing = self.is_failing.swap(sent.is_err(), Ordering::Relaxed);
        if let (Err(error), false) = (&sent, was_failing) {
            page::say(format_args!("systemd does not take what it is told of the service: {error}"));
        }
        sent.is_ok()
    }
}

fn listen(lines: &Receiver<Arc<Line>>, notify: &Notify) {
    // What systemd did not take is told with the next line: it waits for this.
    let mut is_told_ready = false;
    let mut alive = Instant::now();
    for line in lines {
        if !is_told_ready || line.event == Event::Reload {
            is_told_ready = notify.say("READY=1");
        }
        if line.event == Event::Summary {
            page::say(format_args!("the run is over: {}", in_short(&line)));
        }
        if alive.elapsed() >= ALIVE_EVERY {
            alive = Instant::now();
            notify.say("WATCHDOG=1");
            if line.event == Event::Window {
                notify.say(&format!("STATUS={}", in_short(&line)));
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
