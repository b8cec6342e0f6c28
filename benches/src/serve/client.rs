//! Those who look: pages as browsers have them open, and a scraper. Plain HTTP/1.1 from addresses of 127.0.0.0/8, one for each
//! page, as limits are by address.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use super::PORT;

/// Nothing takes longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// What an open page asks for besides news, and how often.
const ASKED: [(&str, u64); 2] = [("/api/heat", 3), ("/api/flows?q=", 5)];
/// Threads that ask for all pages.
const ASKING: usize = 4;
/// Pages are opened so fast.
const OPEN_EVERY: Duration = Duration::from_millis(10);

/// Address of a page or scraper.
fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::from(0x7f00_0100 + number as u32)
}

fn dial(number: usize) -> io::Result<TcpStream> {
    let fd = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&fd, &SocketAddrV4::new(address(number), 0))?;
    connect(&fd, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, PORT))?;
    let stream = TcpStream::from(fd);
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn ask(stream: &mut TcpStream, path: &str) -> io::Result<()> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\n\r\n")
}

/// A body of known length, or in chunks.
fn answer(from: &mut BufReader<TcpStream>) -> Result<Vec<u8>> {
    let mut length = None;
    let mut is_chunked = false;
    let mut status = String::new();
    from.read_line(&mut status).context("read a status")?;
    ensure!(status.contains(" 200 "), "answered {}", status.trim());
    loop {
        let mut line = String::new();
        from.read_line(&mut line).context("read a head")?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = Some(value.trim().parse::<u64>()?);
        }
        is_chunked |= line == "transfer-encoding: chunked";
    }
    let mut body = Vec::new();
    match length {
        Some(length) => {
            from.take(length).read_to_end(&mut body)?;
        }
        None if is_chunked => chunks(from, &mut body)?,
        None => {}
    }
    Ok(body)
}

fn chunks(from: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> Result<()> {
    loop {
        let mut size = String::new();
        from.read_line(&mut size)?;
        let size = u64::from_str_radix(size.trim(), 16).context("read a chunk's size")?;
        from.take(size).read_to_end(body)?;
        from.read_line(&mut String::new())?;
        if size == 0 {
            return Ok(());
        }
    }
}

/// One answer, over a connection of its own.
pub(super) fn get(number: usize, path: &str) -> Result<String> {
    let mut stream = dial(number)?;
    ask(&mut stream, path)?;
    Ok(String::from_utf8(answer(&mut BufReader::new(stream))?)?)
}

/// The sum of a counter's series in Prometheus' text.
pub(super) fn sum(metrics: &str, name: &str) -> f64 {
    let of_name = metrics.lines().filter(|line| line.starts_with(name));
    // Of none it is 0, where `sum` would say -0.
    of_name
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .fold(0.0, |sum, value| sum + value)
}

/// What a scraper saw.
#[derive(Debug, Default)]
pub(super) struct Scrapes {
    pub(super) ms: Vec<f64>,
    pub(super) bytes_max: usize,
    pub(super) failed: u64,
}

/// Asks for metrics once a second, so long.
pub(super) fn scrape(duration: Duration) -> Scrapes {
    let mut scrapes = Scrapes::default();
    let started = Instant::now();
    for second in 1.. {
        let asked = Instant::now();
        match get(1, "/metrics") {
            Ok(text) => {
                scrapes.ms.push(asked.elapsed().as_secs_f64() * 1e3);
                scrapes.bytes_max = scrapes.bytes_max.max(text.len());
            }
            Err(_) => scrapes.failed += 1,
        }
        thread::sleep(Duration::from_secs(second).saturating_sub(started.elapsed()));
        if started.elapsed() >= duration {
            break;
        }
    }
    scrapes
}

/// What pages got.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) failed: u64,
}

#[derive(Debug, Default)]
struct Counts {
    messages: AtomicU64,
    bytes: AtomicU64,
    failed: AtomicU64,
    is_over: AtomicBool,
}

/// Pages that are open: each with a connection for news, and one that stays open for what it asks.
pub(super) struct Clients {
    counts: Arc<Counts>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    /// Opens them one after the other; each begins with the board, as pages do.
    pub(super) fn open(pages: usize) -> Result<Self> {
        let counts = Arc::new(Counts::default());
        let mut threads = Vec::new();
        let mut asking: Vec<Vec<(usize, BufReader<TcpStream>)>> = (0..ASKING).map(|_| Vec::new()).collect();
        for page in 0..pages {
            // 1 is the scraper.
            let number = page + 2;
            match open(number) {
                Ok((news, stream)) => {
                    let of_page = Arc::clone(&counts);
                    let listener = thread::Builder::new().stack_size(64 << 10);
                    threads.push(listener.spawn(move || listen(news, &of_page))?);
                    asking[page % ASKING].push((number, stream));
                }
                // Not let in, or let go at once.
                Err(_) => _ = counts.failed.fetch_add(1, Ordering::Relaxed),
            }
            thread::sleep(OPEN_EVERY);
        }
        for pages in asking.into_iter().filter(|pages| !pages.is_empty()) {
            let counts = Arc::clone(&counts);
            threads.push(thread::spawn(move || poll(pages, &counts)));
        }
        Ok(Self { counts, threads })
    }

    /// What comes from now on counts; what failed before does, too.
    pub(super) fn begin(&self) {
        self.counts.messages.store(0, Ordering::Relaxed);
        self.counts.bytes.store(0, Ordering::Relaxed);
    }

    /// Closes them.
    pub(super) fn end(self) -> Heard {
        let Self { counts, threads } = self;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let heard = Heard {
            messages: count(&counts.messages),
            bytes: count(&counts.bytes),
            failed: count(&counts.failed),
        };
        counts.is_over.store(true, Ordering::Relaxed);
        // A thread that failed has said so in the counts, or is a fault of ours that they show as nothing heard.
        threads.into_iter().for_each(|thread| _ = thread.join());
        heard
    }
}

/// A page: its news, and what it asks by after its board has come.
fn open(number: usize) -> Result<(TcpStream, BufReader<TcpStream>)> {
    let mut news = dial(number)?;
    ask(&mut news, "/api/events")?;
    let mut stream = BufReader::new(dial(number)?);
    ask(stream.get_mut(), "/api/board")?;
    answer(&mut stream)?;
    Ok((news, stream))
}

/// Takes news until it is over.
fn listen(stream: TcpStream, counts: &Counts) {
    let mut from = BufReader::new(stream);
    let mut line = Vec::new();
    while !counts.is_over.load(Ordering::Relaxed) {
        line.clear();
        match from.read_until(b'\n', &mut line) {
            Ok(1..) => {
                counts.bytes.fetch_add(line.len() as u64, Ordering::Relaxed);
                counts.messages.fetch_add(u64::from(line.starts_with(b"event: window")), Ordering::Relaxed);
            }
            // Let go, or nothing for longer than it may take.
            Ok(0) | Err(_) => {
                counts.failed.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
    }
}

/// Asks for pages what they ask, each at its time, evenly spread.
fn poll(mut pages: Vec<(usize, BufReader<TcpStream>)>, counts: &Counts) {
    let started = Instant::now();
    let step = Duration::from_secs(1) / pages.len() as u32;
    for second in 0_u64.. {
        for (place, (number, stream)) in pages.iter_mut().enumerate() {
            if counts.is_over.load(Ordering::Relaxed) {
                return;
            }
            for (path, _) in
                ASKED.iter().filter(|(_, every_s)| (second + place as u64).is_multiple_of(*every_s))
            {
                if ask(stream.get_mut(), path).is_err() || answer(stream).is_err() {
                    counts.failed.fetch_add(1, Ordering::Relaxed);
                    if let Ok(again) = dial(*number) {
                        *stream = BufReader::new(again);
                    }
                }
            }
            let due = Duration::from_secs(second) + step * (place as u32 + 1);
            thread::sleep(due.saturating_sub(started.elapsed()));
        }
    }
}
