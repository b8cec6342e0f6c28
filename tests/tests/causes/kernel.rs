//! The same with real kernels: an application that takes connections too slowly, one that does not read, and one that
//! sends slowly, at three ports of one server, recorded there. The kernel's own counters say that it was so.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;
use tidegauge_tests::kernel_tcp::Counters;
use tidegauge_tests::netns::Side;
use tidegauge_tests::recorder::Recorder;
use tidegauge_tests::skip::lab_or_skip;

use super::{assert_denied, closed, told};

/// Failing handshakes are judged over a minute's slots.
const LASTS: Duration = Duration::from_secs(72);
const BACKLOG: i32 = 8;
const TAKES: Duration = Duration::from_millis(500);
const ASKS: Duration = Duration::from_millis(100);
const GIVES_UP: Duration = Duration::from_secs(6);
/// Ports.
const NOT_TAKEN: u16 = 8_080;
const NOT_READ: u16 = 8_081;
const SLOW: u16 = 8_082;

fn at(port: u16) -> SocketAddr {
    SocketAddr::new(tidegauge_tests::netns::SERVER_V4.into(), port)
}

fn listen(port: u16) -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&at(port).into()).unwrap();
    socket.listen(BACKLOG).unwrap();
    socket.into()
}

/// Takes two connections a second.
fn take_slowly(listener: &TcpListener, until: Instant) {
    listener.set_nonblocking(true).unwrap();
    while Instant::now() < until {
        if let Ok((mut stream, _)) = listener.accept() {
            let mut request = [0; 64];
            let _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
            let _ = stream.read(&mut request).and_then(|_| stream.write_all(b"hello"));
        }
        thread::sleep(TAKES);
    }
}

/// Asks ten times a second, and gives each up after six seconds.
fn ask(until: Instant) {
    let mut open: Vec<(Instant, Socket, bool)> = Vec::new();
    while Instant::now() < until {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&at(NOT_TAKEN).into());
        open.push((Instant::now(), socket, false));
        for (_, socket, sent) in &mut open {
            *sent = *sent || socket.send(b"a request").is_ok();
        }
        open.retain(|(since, ..)| since.elapsed() < GIVES_UP);
        thread::sleep(ASKS);
    }
}

/// Sends a hundred bytes now and then.
fn send_slowly(listener: &TcpListener, until: Instant) {
    let (mut stream, _) = listener.accept().unwrap();
    while Instant::now() < until && stream.write_all(&[b'.'; 100]).is_ok() {
        thread::sleep(Duration::from_millis(200));
    }
}

/// All three, until the time is over.
fn play(
    listeners: [TcpListener; 3],
    uploads: TcpStream,
    downloads: TcpStream,
    asks: impl FnOnce(Instant) + Send,
) {
    let until = Instant::now() + LASTS;
    let over = AtomicBool::new(false);
    let [not_taken, not_read, slow] = &listeners;
    thread::scope(|scope| {
        scope.spawn(|| take_slowly(not_taken, until));
        scope.spawn(|| send_slowly(slow, until));
        scope.spawn(|| {
            // Held, and not read.
            let held = not_read.accept().unwrap();
            thread::sleep(until.saturating_duration_since(Instant::now()));
            over.store(true, Ordering::Relaxed);
            drop(held);
        });
        scope.spawn(|| {
            let mut uploads = uploads;
            uploads.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
            while !over.load(Ordering::Relaxed) {
                let _ = uploads.write(&[b'.'; 65_536]);
            }
        });
        scope.spawn(|| {
            let mut downloads = downloads;
            while downloads.read(&mut [0; 4_096]).is_ok_and(|read| read != 0) {}
        });
        asks(until);
    });
}

fn at_port(lines: &[Value], port: u16) -> Vec<&Value> {
    lines.iter().filter(|line| line["event"] == "incident" && line["target"]["port"] == port).collect()
}

#[test]
fn kernels_that_do_not_take_do_not_read_and_send_slowly() {
    let Some(lab) = lab_or_skip("kernels_that_do_not_take_do_not_read_and_send_slowly") else { return };
    let directory = TempDir::new().unwrap();
    let recorder = Recorder::start(&lab, Side::Server, directory.path(), 0).unwrap();
    let before = Counters::of(&lab, Side::Server).unwrap();
    let listeners = lab.inside(Side::Server, || [NOT_TAKEN, NOT_READ, SLOW].map(listen)).unwrap();
    let connect = |port| TcpStream::connect(at(port)).unwrap();
    let (uploads, downloads) = lab.inside(Side::Client, || (connect(NOT_READ), connect(SLOW))).unwrap();
    play(listeners, uploads, downloads, |until| lab.inside(Side::Client, || ask(until)).unwrap());
    let overflows =
        Counters::of(&lab, Side::Server).unwrap().since(&before).get("TcpExtListenOverflows").unwrap();
    assert!(overflows > 0, "the kernel says that the queue was never full");
    let lines = told(&recorder.finish().unwrap());

    let failing = closed(&lines, "handshake_failure");
    assert_eq!(failing.len(), 1);
    assert_eq!(failing[0]["causes"][0]["cause"], "accept_queue_full", "{:#}", failing[0]);
    assert_denied(&failing[0], "refused");
    let unread = closed(&lines, "zero_window");
    assert_eq!(unread.len(), 1);
    assert_eq!(unread[0]["causes"][0]["cause"], "receiver_not_reading", "{:#}", unread[0]);
    assert_denied(&unread[0], "slow_sender");
    assert_eq!(at_port(&lines, SLOW), Vec::<&Value>::new(), "a slow sender is no trouble");
}
