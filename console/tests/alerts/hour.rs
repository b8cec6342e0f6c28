//! A receiver that is down for an hour, and nothing is lost.
//!
//! All times are a 360th of what they are by default (pauses between attempts, how long something may wait), so that the
//! hour takes ten seconds; clocks are the real ones. What is not in proportion makes it harder: there are as many messages
//! as the default limit lets through in an hour, and files are brought to the disk as fast or slow as ever.

use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::support::{Hook, Run, eventually, line, nobody};

const HOUR: Duration = Duration::from_secs(10);
/// By default a receiver is told of 20 at once and 30 a minute after that.
const INCIDENTS: usize = 20 + 30 * 60;
/// When whoever watches is restarted.
const RESTART: usize = INCIDENTS / 2;

/// Listens and never answers, until asked to end.
fn hang(address: &str) -> Arc<AtomicBool> {
    let listener = TcpListener::bind(address).unwrap();
    listener.set_nonblocking(true).unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let until = Arc::clone(&is_over);
    thread::spawn(move || {
        let mut kept = Vec::new();
        while !until.load(Ordering::Relaxed) {
            if let Ok((mut stream, _)) = listener.accept() {
                let _ = stream.read(&mut [0; 64]);
                kept.push(stream);
            }
            thread::sleep(Duration::from_millis(5));
        }
    });
    is_over
}

/// Incidents from one place to another of the hour, each open for a moment.
fn tell(run: &mut Run, from: usize, to: usize, began: Instant) {
    for number in from..to {
        run.tell(&line(&format!("i{number}"), "opened", "P2"));
        let due = HOUR.mul_f64((number + 1) as f64 / INCIDENTS as f64);
        thread::sleep(due.saturating_sub(began.elapsed()));
    }
}

#[test]
fn a_receiver_that_is_down_for_an_hour_loses_nothing() {
    let (spool, address) = (tempfile::tempdir().unwrap(), nobody());
    let settings = format!(
        "spool_dir = {:?}\nspool_age_max_s = 240\nretry = {{ first_ms = 1, longest_ms = 83 }}\n\
         [[webhook]]\nname = \"ops\"\nurl = \"http://{address}/\"\ntimeout_ms = 500\nlimit = {{ burst = 10000 }}\n",
        spool.path()
    );
    let began = Instant::now();
    let mut run = Run::start(&settings);
    // Nobody is there; then somebody who hangs; then whoever watches is restarted; then a proxy that has nobody behind it.
    tell(&mut run, 0, INCIDENTS / 4, began);
    let hanging = hang(&address.to_string());
    tell(&mut run, INCIDENTS / 4, RESTART, began);
    hanging.store(true, Ordering::Relaxed);
    let attempts = run.count(0, "retried");
    let waiting = run.end(Duration::from_millis(200));
    assert_eq!((waiting, run.said().len()), (RESTART as u64, 1), "{:?}", run.said());
    // Within one process: the attempt that is being made, and the disk, come to their ends.
    let lock = spool.path().join("ops/lock");
    eventually("the directory is let go", || {
        std::fs::File::options().write(true).open(&lock).is_ok_and(|file| file.try_lock().is_ok())
    });
    let mut run = Run::named(&settings, "next");
    assert_eq!((run.count(0, "found"), run.count(0, "torn")), (RESTART as u64, 0));
    let (first_up, is_up) = (Arc::new(AtomicUsize::new(usize::MAX)), Arc::new(AtomicBool::new(false)));
    let (first, up) = (Arc::clone(&first_up), Arc::clone(&is_up));
    let hook = Hook::at(&address.to_string(), move |before| {
        if !up.load(Ordering::Relaxed) {
            return 503;
        }
        first.fetch_min(before, Ordering::Relaxed);
        204
    });
    tell(&mut run, RESTART, INCIDENTS, began);
    let lasted = began.elapsed();
    assert!(lasted >= HOUR, "{lasted:?}");
    let attempts = attempts + run.count(0, "retried");
    is_up.store(true, Ordering::Relaxed);
    eventually("all are told", || run.count(0, "waiting") == 0 && run.count(0, "taken") > 0);
    let posts = hook.posts();
    let mut keys: Vec<_> =
        posts[first_up.load(Ordering::Relaxed)..].iter().map(|post| post.key().to_owned()).collect();
    let told = keys.len();
    keys.dedup();
    let of = |number| format!("{}/i{number}/0", if number < RESTART { "run" } else { "next" });
    assert_eq!(keys, (0..INCIDENTS).map(of).collect::<Vec<_>>(), "in order, over the restart");
    println!(
        "down for {lasted:?}: {INCIDENTS} messages, {attempts} attempts, {told} deliveries, all told {:?} after it was up",
        began.elapsed() - lasted
    );
    // An hour of pauses of half a minute at most: it is not left alone, and not hammered either.
    assert!((60..1_000).contains(&attempts), "{attempts} attempts");
    for name in ["dropped_full", "dropped_old", "refused", "unkept"] {
        assert_eq!(run.count(0, name), 0, "{name}");
    }
    assert_eq!(run.end(Duration::from_secs(5)), 0);
}
