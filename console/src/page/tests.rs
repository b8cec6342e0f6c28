//! The server over real sockets, with a feed that the test writes.

use std::io::{BufRead, BufReader, PipeWriter, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A page, and the run's end of the pipe.
struct Served {
    page: Page,
    run: PipeWriter,
}

impl Served {
    fn start() -> Self {
        let (lines, run) = io::pipe().unwrap();
        let mut feed = Feed::default();
        let board = SharedBoard::of(&mut feed).unwrap();
        let metrics = Metrics::of(&mut feed).unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        let options = Options {
            listen,
            token: None,
            tls: None,
            metrics: Some(metrics),
            alerts: None,
            history: None,
            countries: None,
        };
        let page = Page::start(&options, board, &mut feed).unwrap();
        thread::spawn(move || feed.run(&mut BufReader::new(lines)));
        Self { page, run }
    }

    fn ask(&self, path: &str) -> TcpStream {
        let address = self.page.url().trim_start_matches("http://").trim_end_matches('/');
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
        stream
    }

    fn get(&self, path: &str) -> String {
        let mut answer = String::new();
        self.ask(path).read_to_string(&mut answer).unwrap();
        answer
    }

    fn board(&self) -> Value {
        let answer = self.get("/api/board");
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    fn wait_for(&self, is_it: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let board = self.board();
            if is_it(&board) {
                return board;
            }
            assert!(started.elapsed() < PATIENCE, "{board:#}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn incident(&mut self, number: usize, cause: &str) {
        let line = format!(
            r#"{{"ts":"1970-01-01T00:00:01Z","event":"incident","id":"i-{number}","state":"opened","severity":"P2","cause":["{cause}"]}}"#
        );
        writeln!(self.run, "{line}").unwrap();
    }
}

#[test]
fn a_client_that_never_reads_is_let_go_and_holds_nobody_up() {
    let mut served = Served::start();
    let never_reads = served.ask("/api/events");
    let reads = BufReader::new(served.ask("/api/events"));
    served.wait_for(|board| board["served"]["clients"] == 2);
    let messages = EVENTS * 2;
    let reading = thread::spawn(move || {
        reads.lines().map_while(Result::ok).filter(|line| line == "event: incident").take(messages).count()
    });
    let long = "x".repeat(64 * 1_024);
    for number in 0..messages {
        served.incident(number, &long);
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(reading.join().unwrap(), messages, "who reads gets all");
    let board = served.wait_for(|board| board["served"]["clients_dropped"] == 1);
    assert_eq!(board["incidents"].as_array().map(Vec::len), Some(messages.min(limits::INCIDENTS_TOLD_MAX)));
    drop(never_reads);
    served.page.stop();
}

/// More than wait for a client.
const EVENTS: usize = limits::EVENTS_QUEUE_MAX + 16;

#[test]
fn connections_are_bounded_and_those_that_are_there_stay() {
    let served = Served::start();
    let mut held: Vec<_> =
        (0..limits::CONNECTIONS_MAX).map(|_| BufReader::new(served.ask("/api/events"))).collect();
    for stream in &mut held {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        assert_eq!(line, "HTTP/1.1 200 OK\r\n");
    }
    let mut refused = served.ask("/healthz");
    let mut answer = Vec::new();
    // Closed at once: the end, or a reset where the request had arrived.
    let _ = refused.read_to_end(&mut answer);
    assert_eq!(answer, b"");
    held.truncate(10);
    let board = served.wait_until_answered();
    assert!(board["served"]["connections_refused"].as_u64() >= Some(1), "{}", board["served"]);
    served.page.stop();
}

impl Served {
    fn wait_until_answered(&self) -> Value {
        let started = Instant::now();
        loop {
            let mut answer = String::new();
            let read = self.ask("/api/board").read_to_string(&mut answer);
            if let (Ok(_), Some((_, body))) = (read, answer.split_once("\r\n\r\n")) {
                return serde_json::from_str(body).unwrap();
            }
            assert!(started.elapsed() < PATIENCE);
            thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn metrics_are_told_where_somebody_makes_them() {
    let mut served = Served::start();
    writeln!(
        served.run,
        r#"{{"ts":"1970-01-01T00:00:01Z","event":"window","packets":7,"source":{{"name":"eth1"}}}}"#
    )
    .unwrap();
    served.wait_for(|board| board["windows"] == 1);
    let answer = served.get("/metrics");
    assert!(
        answer.contains("text/plain; version=0.0.4") && answer.contains("\ntidegauge_packets_total{"),
        "{answer}"
    );
    served.page.stop();
}

#[test]
fn too_long_heads_and_bodies_are_refused() {
    let served = Served::start();
    let address = served.page.url().trim_start_matches("http://").trim_end_matches('/').to_owned();
    let answer = |request: String| {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // It may be closed before all is sent.
        let _ = stream.write_all(request.as_bytes());
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let long = "x".repeat(limits::HEAD_BYTES_MAX * 2);
    let said = answer(format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\nConnection: close\r\n\r\n"));
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 431"), "{said}");
    let body = "x".repeat(limits::BODY_BYTES_MAX * 2);
    let said = answer(format!(
        "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    ));
    assert!(said.starts_with("HTTP/1.1 413"), "{said}");
    served.page.stop();
}

#[test]
fn who_asks_too_fast_is_told_to_wait() {
    let served = Served::start();
    let refused = (0..limits::REQUESTS_BURST_MAX as usize + 100)
        .map(|_| served.get("/healthz"))
        .find(|answer| answer.starts_with("HTTP/1.1 429"));
    assert!(refused.is_some_and(|answer| answer.contains("retry-after: 1")), "nobody was refused");
    served.page.stop();
}
