//! The page of `tidegauge serve`, as the world sees it: a real process, real HTTP and TLS over sockets, a real browser.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod browser;
mod faults;
mod http;
#[path = "../support/load.rs"]
#[expect(dead_code, reason = "others use the rest")]
mod load;
mod mmdb;
mod past;
mod served;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "others use the rest")]
mod support;
mod tls;

use std::io::{BufRead, BufReader, Read, Write};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use served::{Served, demo};
use support::{run, tidegauge};
use tempfile::TempDir;
use tidegauge_tests::netns::{SERVER_IFACE, Side};
use tidegauge_tests::skip::lab_or_skip;

/// Who listen at the same time.
const CLIENTS: usize = 200;
/// For all of them, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(25);

#[test]
fn a_run_that_is_over_is_shown_until_the_end_is_asked_for() {
    let evidence = TempDir::new().unwrap();
    let mut served =
        Served::start(&[], &["read", "--flows", "--evidence", evidence.path().to_str().unwrap(), &demo()]);
    let board = served.wait_until_over();
    assert_eq!(board["points"]["ts_s"].as_array().map(Vec::len), Some(12));
    let incident = &board["incidents"][0];
    assert_eq!((incident["kind"].as_str(), incident["state"].as_str()), (Some("syn_flood"), Some("closed")));
    assert_eq!(incident["steps"].as_array().map(Vec::len), Some(3));
    let id = incident["id"].as_str().unwrap();
    let whole = served.http().get(&format!("/api/incident/{id}"), &[]).json();
    assert!(whole["incident"]["mitigation"]["nftables"].is_string(), "{whole}");
    let packets = served.http().get(&format!("/api/evidence/{id}"), &[]);
    assert_eq!(packets.body[..4], [0x0a, 0x0d, 0x0d, 0x0a], "pcapng");
    assert!(packets.header("content-disposition").unwrap().contains("syn_flood-0001.pcapng"));
    let path = whole["incident"]["evidence"]["path"].as_str().unwrap();
    assert_eq!(packets.body.len() as u64, std::fs::metadata(path).unwrap().len());
    let flows = served.http().get("/api/flows?q=10.77.0.2:80+http", &[]).json();
    assert!(flows["rows"].as_array().map(Vec::len) > Some(50), "{flows}");
    assert!(flows["seen"].as_u64() > Some(500), "{}", flows["seen"]);
    let heat = served.http().get("/api/heat", &[]).json();
    assert_eq!(heat["rows"][0]["name"], "10.77.0.2:80/tcp");
    // It sees the run's end a moment after the page has heard its last line.
    assert!(served.hear().contains("the run is over"));
    let ended = served.end_by(Signal::SIGTERM);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn evidence_is_only_what_the_run_has_named() {
    let served = Served::start(&[], &["read", &demo()]);
    served.wait_until_over();
    for path in [
        "/api/evidence/syn_flood-0001",
        "/api/evidence/..%2f..%2fetc%2fpasswd",
        "/api/evidence/%2fetc%2fpasswd",
    ] {
        assert_eq!(served.http().get(path, &[]).status, 404, "{path}");
    }
    assert_eq!(served.http().get("/api/incident/none", &[]).status, 404);
}

#[test]
fn the_page_lets_browsers_load_nothing_from_elsewhere() {
    let served = Served::start(&[], &["read", &demo()]);
    served.wait_until_over();
    let mut bytes = 0;
    for path in ["/", "/page.js", "/page.css", "/icon.svg", "/api/board"] {
        let answer = served.http().get(path, &[("accept-encoding", "gzip")]);
        assert_eq!(answer.status, 200, "{path}");
        bytes += answer.body.len();
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options").as_deref(), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy").as_deref(), Some("no-referrer"));
    }
    assert!(bytes < 300_000, "{bytes} bytes over the wire");
    let page = served.http().get("/", &[]);
    assert!(String::from_utf8_lossy(&page.body).contains("<h1 id=\"verdict-words\""));
    let tag = page.header("etag").unwrap();
    assert_eq!(served.http().get("/", &[("if-none-match", &tag)]).status, 304);
}

#[test]
fn another_hosts_name_is_refused_on_loopback() {
    let served = Served::start(&[], &["read", &demo()]);
    for host in ["evil.example", "evil.example:7070", "10.77.0.2"] {
        assert_eq!(served.http().get("/api/board", &[("host", host)]).status, 421, "{host}");
    }
    for host in ["localhost", "127.0.0.1:1", "[::1]:7070"] {
        assert_eq!(served.http().get("/api/board", &[("host", host)]).status, 200, "{host}");
    }
    let board = served.wait_until_over();
    assert_eq!(board["served"]["hosts_refused"], 3);
}

#[test]
fn two_hundred_clients_hear_all_and_one_that_never_reads_is_no_hindrance() {
    let mut served = Served::start(&[], &["read", "-"]);
    let never_reads = served.http().events();
    let clients: Vec<_> = (0..CLIENTS).map(|_| served.http().events()).collect();
    let started = Instant::now();
    while served.http().get("/api/board", &[]).json()["served"]["clients"] != CLIENTS + 1 {
        assert!(started.elapsed() < PATIENCE, "some do not get in");
        std::thread::sleep(Duration::from_millis(200));
    }
    let hear = |stream| {
        let events =
            BufReader::new(stream).lines().map_while(Result::ok).filter(|line| line.starts_with("event: "));
        let mut incidents = 0;
        for event in events {
            incidents += u32::from(event == "event: incident");
            if event == "event: over" {
                break;
            }
        }
        incidents
    };
    let listening: Vec<_> =
        clients.into_iter().map(|client| std::thread::spawn(move || hear(client))).collect();
    // Only now there is something to hear.
    served.input().write_all(&std::fs::read(demo()).unwrap()).unwrap();
    let heard: Vec<u32> = listening.into_iter().map(|client| client.join().unwrap()).collect();
    assert_eq!(heard, [3; CLIENTS], "opened, updated, closed");
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    drop(never_reads);
    assert_eq!(served.end_by(Signal::SIGINT).code, Some(0));
}

#[test]
fn what_cannot_be_served_is_said_in_one_line() {
    let dir = TempDir::new().unwrap();
    let short = dir.path().join("short");
    let open = dir.path().join("open");
    for (file, mode, text) in [(&short, 0o600, "short"), (&open, 0o604, "a token of more than sixteen bytes")]
    {
        std::fs::write(file, text).unwrap();
        std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }
    let demo = demo();
    let (short, open) = (short.to_str().unwrap(), open.to_str().unwrap());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let refused: [(&[&str], &str); 6] = [
        (&["--listen", "0.0.0.0:0"], "not loopback"),
        (&["--listen", "[::]:0"], "--token-file"),
        (&["--listen", "127.0.0.1:0", "--token-file", short], "fewer than 16 bytes"),
        (&["--listen", "127.0.0.1:0", "--token-file", open], "chmod 600"),
        (&["--listen", "127.0.0.1:0", "--tls-cert", &demo, "--tls-key", &demo], "demo.pcap"),
        (&["--listen", &taken], "cannot listen"),
    ];
    for (options, why) in refused {
        let mut command = std::process::Command::new(tidegauge());
        let ran = run(command.arg("serve").args(options).args(["read", &demo]));
        assert_eq!(
            (ran.code, ran.stdout.as_str(), ran.stderr.lines().count()),
            (Some(2), "", 1),
            "{}",
            ran.stderr
        );
        assert!(ran.stderr.contains(why), "{}", ran.stderr);
    }
}

#[test]
fn a_run_that_cannot_run_ends_the_page_with_its_code() {
    let mut command = std::process::Command::new(tidegauge());
    let ran = run(command.args(["serve", "--listen", "127.0.0.1:0", "read", "no/such/file.pcap"]));
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("no/such/file.pcap"), "{}", ran.stderr);
}

#[test]
fn answers_without_compression_are_the_same() {
    let served = Served::start(&[], &["read", &demo()]);
    served.wait_until_over();
    let plain = served.http().get("/api/board", &[]);
    assert_eq!(plain.header("content-encoding"), None);
    let mut stream = served.http().events();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
}

#[test]
fn a_hangup_goes_on_to_the_run() {
    let Some(lab) = lab_or_skip("a_hangup_goes_on_to_the_run") else { return };
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("thresholds.toml");
    std::fs::write(&file, "conn_rate_limit_per_s = 400").unwrap();
    let run = ["live", SERVER_IFACE, "--config", file.to_str().unwrap()];
    let served = Served::by(lab.command(Side::Server, tidegauge()), &[], &run);
    let board = || lab.inside(Side::Server, || served.http().get("/api/board", &[]).json()).unwrap();
    let wait_for = |is_it: &dyn Fn(&Value) -> bool| {
        let started = Instant::now();
        while !is_it(&board()) {
            assert!(started.elapsed() < PATIENCE, "{:#}", board()["thresholds"]);
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    wait_for(&|board| board["windows"].as_u64() > Some(0));
    assert_eq!(board()["source"]["source"]["name"], SERVER_IFACE);
    std::fs::write(&file, "conn_rate_limit_per_s = many").unwrap();
    served.signal(Signal::SIGHUP);
    wait_for(&|board| board["thresholds"]["state"] == "kept");
    std::fs::write(&file, "conn_rate_limit_per_s = 300").unwrap();
    served.signal(Signal::SIGHUP);
    wait_for(&|board| board["thresholds"]["state"] == "reloaded");
    let ended = served.end_by(Signal::SIGINT);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}
