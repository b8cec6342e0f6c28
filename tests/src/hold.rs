//! Clients that stay: connections opened at a rate, asked now and then over HTTP/1.1, probed by the kernel's keep-alive
//! when they are silent, and opened again when the server goes away.
//!
//! A thread for each connection: that is simple, and good for some thousands. The wait before a connection is opened again is
//! drawn evenly from two seconds, as clients that are not to come all at once do it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{SockRef, TcpKeepalive};

use crate::client::open;
use crate::pacing::Pacer;
use crate::random::Random;

/// Silence after which the kernel probes.
const PROBE_AFTER: Duration = Duration::from_secs(1);
/// From one question to the next.
const ASK_EVERY: Duration = Duration::from_secs(3);
/// Longest wait before a connection that broke is opened again.
const AGAIN_MAX: Duration = Duration::from_secs(2);
/// A client does next to nothing.
const STACK_BYTES: usize = 128 << 10;
const REQUEST: &[u8] = b"GET /512 HTTP/1.1\r\nHost: lab.invalid\r\n\r\n";

/// Connections that are held.
#[derive(Clone, Debug)]
pub struct Hold {
    /// Who is asked.
    pub target: SocketAddr,
    /// Own addresses, taken in turn; empty leaves the choice to the kernel.
    pub sources: Vec<IpAddr>,
    /// Connections at a time.
    pub connections: u64,
    /// Opened per second at first.
    pub rate_per_s: u64,
    /// How long in all.
    pub duration: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Held {
    /// Connections opened, those opened again among them.
    pub opened: AtomicU64,
    /// Attempts that failed.
    pub failed: AtomicU64,
    /// Connections that broke.
    pub broken: AtomicU64,
    /// Questions that were answered.
    pub answered: AtomicU64,
}

/// Holds the connections until the time is over.
///
/// # Errors
/// Where the threads cannot be had.
pub fn hold(load: &Hold) -> Result<Held> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("allow as many sockets as may be")?;
    let pacer = Pacer::new(load.rate_per_s, 0, 0);
    let held = Held::default();
    let started = Instant::now();
    thread::scope(|scope| -> Result<()> {
        for index in 0..load.connections {
            let due = Duration::from_nanos(pacer.due_at_ns(index));
            thread::sleep(due.saturating_sub(started.elapsed()));
            let held = &held;
            let client = move || one(load, index, started, held);
            thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, client)?;
        }
        Ok(())
    })?;
    Ok(held)
}

/// One client, from its first connection to the end of the time.
fn one(load: &Hold, index: u64, started: Instant, held: &Held) {
    let mut random = Random::new(index);
    let source = load.sources.get(index as usize % load.sources.len().max(1)).copied();
    let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
    let is_over = || started.elapsed() >= load.duration;
    while !is_over() {
        match open(load.target, source) {
            Ok(stream) => {
                count(&held.opened);
                if ask(stream, is_over, || _ = count(&held.answered)).is_err() {
                    count(&held.broken);
                }
            }
            Err(_) => _ = count(&held.failed),
        }
        if !is_over() {
            let share = (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
            thread::sleep(AGAIN_MAX.mul_f64(share));
        }
    }
}

/// Asks again and again over one connection. An error is its end.
fn ask(mut stream: TcpStream, is_over: impl Fn() -> bool, answered: impl Fn()) -> io::Result<()> {
    SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(PROBE_AFTER))?;
    stream.set_read_timeout(None)?;
    let mut answer = [0; 2_048];
    while !is_over() {
        stream.write_all(REQUEST)?;
        if stream.read(&mut answer)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answered();
        wait(&stream)?;
    }
    Ok(())
}

/// Waits for the next question, and notices at once where the server closes.
fn wait(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(ASK_EVERY))?;
    let read = stream.read(&mut [0; 2_048]);
    stream.set_read_timeout(None)?;
    match read {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        // The rest of an answer that came in two parts.
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}
