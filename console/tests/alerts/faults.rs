//! Killed while it writes, and disks that are full: what can be kept is kept, what is lost is counted, all is said once.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::support::{Hook, Run, eventually, line, nobody, skip, webhook};

const SPOOL: &str = "TIDEGAUGE_TEST_SPOOL";
/// Where the child's receiver is.
const RECEIVER: &str = "TIDEGAUGE_TEST_RECEIVER";
const SECONDS: Duration = Duration::from_secs(10);

/// Not a test of its own: the process that others kill. Tells of incidents without end.
#[test]
fn child_that_is_killed() {
    let Some(spool) = std::env::var_os(SPOOL) else { return };
    let receiver = std::env::var(RECEIVER).unwrap().parse().unwrap();
    let settings = format!("spool_dir = {:?}\n{}", Path::new(&spool), webhook("ops", receiver));
    let mut run = Run::start(&settings);
    for number in 0..5_000 {
        run.tell(&line(&format!("i{number}"), "opened", "P2"));
        println!("told {number}");
        std::thread::sleep(Duration::from_millis(2));
    }
    std::thread::sleep(Duration::from_secs(60));
}

/// A process that has told of so many incidents, and was killed.
fn killed_after(count: usize, spool: &Path, receiver: SocketAddr) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "faults::child_that_is_killed", "--nocapture"])
        .env(SPOOL, spool)
        .env(RECEIVER, receiver.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(
        lines.map_while(Result::ok).filter(|line| line.starts_with("told")).take(count).count(),
        count
    );
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The run after it: what it found on disk.
fn next_run(spool: &Path, hook: &Hook) -> usize {
    let mut run = Run::named(&format!("spool_dir = {spool:?}\n{}", hook.table("ops")), "next");
    let found = run.count(0, "found");
    assert!(run.count(0, "torn") <= 1, "only one can be half-written");
    assert_eq!(run.end(SECONDS), 0);
    found as usize
}

#[test]
fn killed_while_it_writes() {
    for round in 0..8_usize {
        let spool = tempfile::tempdir().unwrap();
        let count = 40 + 37 * round;
        killed_after(count, spool.path(), nobody());
        let hook = Hook::new();
        let found = next_run(spool.path(), &hook);
        let keys: Vec<_> = hook.posts().iter().map(|post| post.key().to_owned()).collect();
        assert_eq!(keys, (0..found).map(|number| format!("run/i{number}/0")).collect::<Vec<_>>());
        println!("killed after {count} incidents: {found} were on disk and are told");
        // What was on its way from the line to the file; the machine may be busy.
        assert!(found * 2 > count, "{found} of {count}");
    }
}

#[test]
fn killed_while_it_tells() {
    for round in 0..4_usize {
        let (spool, hook) = (tempfile::tempdir().unwrap(), Hook::new());
        let count = 50 + 41 * round;
        killed_after(count, spool.path(), hook.address);
        let found = next_run(spool.path(), &hook);
        let mut keys: Vec<_> = hook.posts().iter().map(|post| post.key().to_owned()).collect();
        let posts = keys.len();
        keys.dedup();
        // At most the one that was told and not yet forgotten comes twice, one after the other.
        assert!(posts - keys.len() <= 1, "{posts} posts of {} messages", keys.len());
        assert_eq!(keys, (0..keys.len()).map(|number| format!("run/i{number}/0")).collect::<Vec<_>>());
        println!(
            "killed after {count} incidents: {} told, {found} of them after it, {posts} posts",
            keys.len()
        );
        assert!(keys.len() * 2 > count, "{} of {count}", keys.len());
    }
}

/// A very small disk that is gone afterwards; `None` where it cannot be had.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(test: &str, size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"])
            .arg(dir.path())
            .stderr(Stdio::null())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(dir));
        }
        skip(test, "needs root, to mount a small disk");
        None
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Takes all room that is left.
    fn fill(&self) {
        let _ = std::fs::write(self.path("filler"), vec![0; 8 << 20]);
    }

    fn free(&self) {
        std::fs::remove_file(self.path("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_holds_up_nothing_and_is_said_once() {
    let Some(disk) = SmallDisk::new("a_full_disk_holds_up_nothing_and_is_said_once", "256k") else { return };
    let (hook, address) = (Hook::new(), nobody());
    let eve = disk.path("eve.json");
    let settings = format!(
        "spool_dir = {:?}\n{}{}[[eve]]\nname = \"eve\"\npath = {eve:?}\nlimit = {{ burst = 1000 }}\n",
        disk.path("spool"),
        hook.table("ops"),
        webhook("down", address),
    );
    let mut run = Run::start(&settings);
    run.tell(&line("before", "opened", "P1"));
    eventually("the file has a line", || run.count(2, "delivered") == 1);
    disk.fill();
    for number in 0..50 {
        run.tell(&line(&format!("i{number}"), "opened", "P1"));
    }
    hook.wait(51);
    assert!(run.count(0, "unkept") > 0 && run.count(1, "unkept") > 0);
    eventually("the file is given up for now", || run.count(2, "retried") > 0);
    let text = std::fs::read_to_string(&eve).unwrap();
    assert!(text.ends_with('\n') && text.lines().all(|line| line.ends_with('}')), "whole lines only");
    let said = run.said();
    let of = |who: &str| said.iter().filter(|text| text.starts_with(who)).count();
    assert_eq!((of("ops (disk)"), of("down (disk)"), of("eve (eve)")), (1, 1, 1), "{said:?}");
    disk.free();
    let is_kept = |text: &String| text == "down (disk): what waits is kept on disk again";
    eventually("what waits is brought to the disk", || run.said().iter().any(is_kept));
    eventually("the file is whole", || run.count(2, "delivered") == 51);
    let late = Hook::at(&address.to_string(), |_| 200);
    let keys: BTreeSet<_> = late.wait(51).iter().map(|post| post.key().to_owned()).collect();
    assert_eq!((keys.len(), late.posts().len()), (51, 51), "once each, from memory and from disk");
    assert_eq!(std::fs::read_to_string(&eve).unwrap().lines().count(), 51);
    assert_eq!(run.end(SECONDS), 0);
}

#[test]
fn what_has_no_room_goes_by_severity_and_is_said_once() {
    let spool = tempfile::tempdir().unwrap();
    let address = nobody();
    let settings = format!("spool_dir = {:?}\nspool_mib_max = 1\n{}", spool.path(), webhook("ops", address));
    let mut run = Run::start(&settings);
    for number in 0..2_000 {
        let severity = if number % 10 == 0 { "P1" } else { "P3" };
        run.tell(&line(&format!("i{number}"), "opened", severity));
        if number % 500 == 499 {
            let kept = |run: &Run| run.count(0, "waiting") + run.count(0, "dropped_full");
            eventually("all are taken", || kept(&run) == number + 1);
        }
    }
    let dropped = run.count(0, "dropped_full");
    assert!(dropped > 0);
    let bytes: u64 = std::fs::read_dir(spool.path().join("ops"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(bytes <= 1 << 20, "{bytes}");
    assert_eq!(
        run.said().iter().filter(|text| text.starts_with("ops (room)")).count(),
        1,
        "{:?}",
        run.said()
    );
    let hook = Hook::at(&address.to_string(), |_| 200);
    let posts = hook.wait(2_000 - dropped as usize);
    let worst = posts.iter().filter(|post| post.json()["severity"] == "P1").count();
    assert_eq!(worst, 200, "all P1");
    assert_eq!(run.end(SECONDS), 0);
}
