//! What may go wrong around `serve`: disks that are full, a service manager that does not read, a kill at any time, a clock
//! that jumps. The run goes on, what is on disk is whole, and each fault is said once.

use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tidegauge_tests::skip::root_or_skip;

use crate::served::{Served, demo};
use crate::support::{run, tidegauge};

const PATIENCE: Duration = Duration::from_secs(25);

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < PATIENCE, "not so after {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A disk of 256 KiB that is gone afterwards.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let none = None::<&str>;
        mount(none, dir.path(), Some("tmpfs"), MsFlags::empty(), Some("size=256k")).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Takes all room that is left.
    fn fill(&self) {
        let _ = std::fs::write(self.path("filler"), vec![0; 1 << 20]);
    }

    fn free(&self) {
        std::fs::remove_file(self.path("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

/// Length of a capture file's header, and of the header of a record.
const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;
/// From one repetition of the capture to the next.
const DEMO_S: i64 = 12;

/// Adds the capture's records to a file, each moved by so many seconds, which are made of where in the file it is.
fn add_records(bytes: &mut Vec<u8>, moved_s: impl Fn(usize) -> i64) {
    let mut demo = std::fs::read(demo()).unwrap();
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let mut at = FILE_HEADER;
    while at + RECORD_HEADER <= demo.len() {
        let second = i64::from(word(&demo, at)) + moved_s(at);
        demo[at..at + 4].copy_from_slice(&u32::try_from(second).unwrap().to_le_bytes());
        at += RECORD_HEADER + word(&demo, at + 8) as usize;
    }
    let from = if bytes.is_empty() { 0 } else { FILE_HEADER };
    bytes.extend_from_slice(&demo[from..]);
}

/// The capture several times, one after the other: more than is read ahead, so that much of it is told before its end.
fn long_capture(times: std::ops::Range<i64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    times.for_each(|time| add_records(&mut bytes, |_| time * DEMO_S));
    bytes
}

/// The text of a metrics file, which is whole: its last family is there to the last series.
fn whole_metrics(path: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let last = text.lines().last().unwrap_or_default();
    assert!(text.ends_with('\n') && last.starts_with("tidegauge_listeners_replaced_total"), "{text}");
    text
}

#[test]
fn metrics_on_a_full_disk_stay_as_they_were_and_it_is_said_once() {
    if !root_or_skip("metrics_on_a_full_disk_stay_as_they_were_and_it_is_said_once") {
        return;
    }
    let disk = SmallDisk::new();
    let file = disk.path("metrics.prom");
    let mut served = Served::start(&["--metrics-file", &file], &["read", "-"]);
    assert!(!whole_metrics(&file).contains("tidegauge_packets_total"));
    disk.fill();
    served.input().write_all(&std::fs::read(demo()).unwrap()).unwrap();
    served.wait_until_over();
    let mut said = served.hear();
    while !said.contains("cannot write metrics") {
        said = served.hear();
    }
    assert!(said.contains(&file) && said.contains("No space left"), "{said}");
    // Longer than two more tries.
    std::thread::sleep(Duration::from_millis(2_500));
    assert!(!whole_metrics(&file).contains("tidegauge_packets_total"), "as it was");
    assert!(!Path::new(&format!("{file}.unfinished")).exists(), "what was begun takes no room");
    disk.free();
    eventually("metrics are written again", || whole_metrics(&file).contains("tidegauge_packets_total{"));
    let ended = served.end_by(Signal::SIGTERM);
    let count = ended.stderr.matches("cannot write metrics").count();
    assert_eq!((ended.code, count), (Some(0), 1), "{}", ended.stderr);
}

/// What others tell a service manager.
const OTHER: &[u8] = b"X_OTHER=1";

/// Tells it until it takes no more; how many that were. A sender's own bound may come first, so there are several.
fn fill(path: &Path) -> usize {
    let mut waiting = 0;
    loop {
        let other = UnixDatagram::unbound().unwrap();
        other.set_nonblocking(true).unwrap();
        let taken = std::iter::from_fn(|| other.send_to(OTHER, path).ok()).count();
        if taken == 0 {
            return waiting;
        }
        waiting += taken;
    }
}

#[test]
fn a_service_manager_that_does_not_read_holds_nothing_up_and_it_is_said_once() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("notify");
    let never_reads = UnixDatagram::bind(&path).unwrap();
    fill(&path);
    let mut command = Command::new(tidegauge());
    command.env("NOTIFY_SOCKET", &path);
    let served = Served::by(command, &[], &["read", &demo()]);
    served.wait_until_over();
    let since = Instant::now();
    let ended = served.end_by(Signal::SIGTERM);
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    let count = ended.stderr.matches("systemd does not take what it is told").count();
    assert_eq!((ended.code, count), (Some(0), 1), "{}", ended.stderr);
    drop(never_reads);
}

#[test]
fn ready_is_told_as_soon_as_it_is_taken() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    let waiting = fill(&path);
    let mut command = Command::new(tidegauge());
    command.env("NOTIFY_SOCKET", &path);
    let mut served = Served::by(command, &[], &["read", "-"]);
    let mut input = served.input();
    input.write_all(&long_capture(0..6)).unwrap();
    assert!(served.hear().contains("systemd does not take"), "the first line cannot be told");
    let mut buffer = [0; 256];
    let mut next = || {
        let count = systemd.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    (0..waiting).for_each(|_| assert_eq!(next().as_bytes(), OTHER));
    input.write_all(&long_capture(6..12)[FILE_HEADER..]).unwrap();
    drop(input);
    assert_eq!(next(), "READY=1");
    served.end_by(Signal::SIGTERM);
}

/// Kills everything while it writes, and looks at what is left.
#[test]
fn what_a_killed_service_left_on_disk_is_whole() {
    let bytes = long_capture(0..8);
    for eighths in [5, 6, 8] {
        let dir = TempDir::new().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let (file, history, evidence) = (path("metrics.prom"), path("history"), path("evidence"));
        let options = ["--metrics-file", file.as_str(), "--history", history.as_str()];
        let mut served = Served::start(&options, &["read", "--evidence", evidence.as_str(), "-"]);
        let mut input = served.input();
        // Without an end.
        input.write_all(&bytes[..bytes.len() / 8 * eighths]).unwrap();
        eventually("a window", || served.http().get("/api/board", &[]).json()["windows"].as_u64() > Some(2));
        served.signal(Signal::SIGKILL);
        // The run, which is alone now, has nobody to tell.
        drop(input);
        served.end_by(Signal::SIGKILL);
        whole_metrics(&file);
        let told = run(Command::new(tidegauge()).args(["history", &history, "--json"]));
        assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""), "killed at {eighths}");
        assert!(told.stdout.lines().filter(|line| line.contains("\"event\":\"window\"")).count() > 2);
        for packets in std::fs::read_dir(&evidence).unwrap().flatten().map(|entry| entry.path()) {
            if packets.extension().is_some_and(|end| end == "pcapng") {
                let read = run(Command::new(tidegauge()).args(["read", "--json"]).arg(&packets));
                assert_eq!(read.code, Some(0), "{}: {}", packets.display(), read.stderr);
            }
        }
        // The next one goes on there.
        let options = ["--no-page", "--metrics-file", file.as_str(), "--history", history.as_str()];
        let next = run(Command::new(tidegauge()).arg("serve").args(options).args(["read", &demo()]));
        assert_eq!(next.code, Some(0), "{}", next.stderr);
    }
}

#[test]
fn a_clock_that_jumps_ends_nothing() {
    for seconds in [-86_400, -30, 900] {
        let dir = TempDir::new().unwrap();
        let history = dir.path().join("history").to_str().unwrap().to_owned();
        let mut served = Served::start(&["--history", &history], &["read", "-"]);
        let half = std::fs::read(demo()).unwrap().len() / 2;
        let mut bytes = Vec::new();
        add_records(&mut bytes, |at| if at > half { seconds } else { 0 });
        served.input().write_all(&bytes).unwrap();
        let board = served.wait_until_over();
        assert_eq!(board["summary"]["packets"], 16_771, "{seconds}: {:#}", board["summary"]);
        let states = board["incidents"].as_array().unwrap().iter().map(|one| one["state"].as_str());
        assert!(states.clone().count() > 0 && states.clone().all(|state| state == Some("closed")));
        for place in [
            "/api/heat",
            "/api/graph",
            "/metrics",
            "/api/history?from=2026-11-23T15:00:00Z&to=2026-11-23T16:00:00Z",
        ] {
            assert_eq!(served.http().get(place, &[]).status, 200, "{seconds}: {place}");
        }
        let ended = served.end_by(Signal::SIGTERM);
        assert_eq!(ended.code, Some(0), "{seconds}: {}", ended.stderr);
        let told = run(Command::new(tidegauge()).args(["history", &history]));
        assert_eq!(told.code, Some(0), "{}", told.stderr);
    }
}
