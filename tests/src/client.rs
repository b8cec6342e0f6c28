//! Real TCP clients on kernel sockets: short connections at a rate, downloads and uploads.
//!
//! A short connection asks, reads the answer to its end and closes after the server did: an orderly FIN on both
//! sides, and no TIME_WAIT on ours, so that thousands per second do not use up the ports. Threads are the limit: at
//! most `workers` connections at a time, and a stalled server makes the load fall below its rate, which the counts show.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use socket2::{Domain, Protocol, Socket, Type};

use crate::pacing::Pacer;
use crate::server;

const TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST: &[u8; 64] = b"GET / HTTP/1.0\r\nHost: lab.invalid\r\nUser-Agent: traffic-lab/1\r\n\r\n";

/// Short connections at a constant rate.
#[derive(Clone, Debug)]
pub struct Load {
    /// Who is asked.
    pub target: SocketAddr,
    /// Own addresses, taken in turn; empty leaves the choice to the kernel.
    pub sources: Vec<IpAddr>,
    /// Connections per second; 0 is as fast as the workers can.
    pub rate_per_s: u64,
    /// How long new connections are started.
    pub duration: Duration,
    /// Connections at a time.
    pub workers: usize,
}

/// How connections ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Begun.
    pub attempted: u64,
    /// Answered to the end and closed in order.
    pub completed: u64,
    /// Refused by a reset in answer to the SYN.
    pub refused: u64,
    /// Not answered in time.
    pub timed_out: u64,
    /// Ended in any other way.
    pub failed: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.attempted += other.attempted;
        self.completed += other.completed;
        self.refused += other.refused;
        self.timed_out += other.timed_out;
        self.failed += other.failed;
    }

    fn count(&mut self, outcome: &io::Result<u64>) {
        self.attempted += 1;
        match outcome.as_ref().map_err(io::Error::kind) {
            Ok(_) => self.completed += 1,
            Err(io::ErrorKind::ConnectionRefused) => self.refused += 1,
            Err(io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => self.timed_out += 1,
            Err(_) => self.failed += 1,
        }
    }
}

/// Runs the load to its end, or until somebody sets `stop`.
///
/// # Errors
/// When a worker panics.
pub fn connect(load: &Load, stop: &AtomicBool) -> Result<Counts> {
    let pacer = Pacer::new(load.rate_per_s, 0, 0);
    let next = AtomicU64::new(0);
    let started = Instant::now();
    let worker = || {
        let mut counts = Counts::default();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let due = Duration::from_nanos(pacer.due_at_ns(index));
            if due >= load.duration || started.elapsed() >= load.duration || stop.load(Ordering::Relaxed) {
                return counts;
            }
            thread::sleep(due.saturating_sub(started.elapsed()));
            let source = load.sources.get(index as usize % load.sources.len().max(1)).copied();
            counts.count(&ask(load.target, source));
        }
    };
    in_parallel(load.workers, worker, |all, one| all.add(one))
}

/// Bytes moved over how many connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transfer {
    /// How the connections ended.
    pub counts: Counts,
    /// Payload bytes of the completed ones.
    pub bytes: u64,
}

/// Downloads once on each of `connections` connections at a time.
///
/// # Errors
/// When a worker panics.
pub fn download(target: SocketAddr, connections: usize) -> Result<Transfer> {
    transfer(connections, || ask(target, None))
}

/// Uploads `bytes` on each of `connections` connections at a time.
///
/// # Errors
/// When a worker panics.
pub fn upload(target: SocketAddr, bytes: u64, connections: usize) -> Result<Transfer> {
    transfer(connections, || {
        let mut stream = open(target, None)?;
        // A slow reader may keep us waiting for longer than a request may take.
        stream.set_write_timeout(None)?;
        server::send(&mut stream, bytes)?;
        stream.shutdown(Shutdown::Write)?;
        stream.set_read_timeout(None)?;
        read_to_end(&mut stream)?;
        Ok(bytes)
    })
}

fn transfer(connections: usize, work: impl Fn() -> io::Result<u64> + Sync) -> Result<Transfer> {
    let one = || {
        let outcome = work();
        let mut transfer = Transfer::default();
        transfer.counts.count(&outcome);
        transfer.bytes = outcome.unwrap_or_default();
        transfer
    };
    in_parallel(connections, one, |all: &mut Transfer, one| {
        all.counts.add(one.counts);
        all.bytes += one.bytes;
    })
}

/// Runs `work` on `workers` threads and adds up what they return.
fn in_parallel<T: Default + Send>(
    workers: usize,
    work: impl Fn() -> T + Sync,
    add: impl Fn(&mut T, T),
) -> Result<T> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(&work)).collect();
        let mut all = T::default();
        for thread in threads {
            add(&mut all, thread.join().map_err(|_| anyhow!("a client thread panicked"))?);
        }
        Ok(all)
    })
}

/// Connects, sends the request, reads the answer to its end; returns its length.
fn ask(target: SocketAddr, source: Option<IpAddr>) -> io::Result<u64> {
    let mut stream = open(target, source)?;
    stream.write_all(REQUEST)?;
    read_to_end(&mut stream)
}

pub(crate) fn open(target: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.connect_timeout(&target.into(), TIMEOUT)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

fn read_to_end(stream: &mut TcpStream) -> io::Result<u64> {
    let mut buffer = [0; 16 * 1_024];
    let mut bytes = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(bytes),
            count => bytes += count as u64,
        }
    }
}
