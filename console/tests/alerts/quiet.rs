//! Quiet hours and restarts: what is held back is told once, when the hours are over, by whichever run is there then.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::support::{Hook, Run, eventually, line};

const QUIET: &str =
    "[[route]]\nreceivers = [\"ops\"]\nquiet = { from = \"00:00\", to = \"24:00\", zone = \"UTC\" }\n";

fn settings(spool: &Path, hook: &Hook, routes: &str) -> String {
    format!("spool_dir = {spool:?}\n{}{routes}", hook.table("ops"))
}

/// An incident at a target of its own.
fn at(host: u8, id: &str, state: &str) -> String {
    line(id, state, "P2").replace("10.0.0.1", &format!("10.0.0.{host}"))
}

/// Names of incidents that are held on disk.
fn held(spool: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(spool.join("ops/held.json")).unwrap_or_default();
    let key = |line: &str| serde_json::from_str::<Value>(line).unwrap()["key"].as_str().unwrap().to_owned();
    text.lines().map(key).collect()
}

#[test]
fn what_is_held_back_outlives_restarts_and_is_told_once() {
    let (spool, hook) = (tempfile::tempdir().unwrap(), Hook::new());
    let night = settings(spool.path(), &hook, QUIET);
    let mut run = Run::named(&night, "evening");
    for (host, id) in [(1, "lasts"), (2, "short"), (3, "again")] {
        run.tell(&at(host, id, "opened"));
    }
    run.tell(&at(2, "short", "closed"));
    // On disk while it runs: a process that is killed leaves it there.
    eventually("two are held", || held(spool.path()) == ["evening/again/0", "evening/lasts/0"]);
    run.alerts.as_ref().unwrap().ending();
    for (host, id) in [(1, "lasts"), (3, "again")] {
        run.tell(&at(host, id, "closed"));
    }
    assert_eq!(run.end(Duration::from_secs(5)), 0);
    assert_eq!(held(spool.path()).len(), 2, "the run is over, they need not be");

    let mut run = Run::named(&night, "night");
    run.tell(&at(3, "again", "opened"));
    eventually("this run knows one of them", || held(spool.path()) == ["evening/lasts/0", "night/again/0"]);
    assert_eq!(run.end(Duration::from_secs(5)), 0);
    assert_eq!(hook.posts().len(), 0, "it is quiet");

    let mut run = Run::named(&settings(spool.path(), &hook, ""), "morning");
    let posts = hook.wait(2);
    let keys: Vec<_> = posts.iter().map(|post| post.key()).collect();
    assert_eq!(keys, ["evening/lasts/0", "night/again/0"]);
    let post = posts[0].json();
    assert_eq!((&post["state"], &post["run_ended"]), (&"opened".into(), &true.into()));
    eventually("nothing is held", || held(spool.path()).is_empty());
    assert_eq!(run.end(Duration::from_secs(5)), 0);
    let mut run = Run::named(&settings(spool.path(), &hook, ""), "noon");
    run.tell(&at(9, "last", "opened"));
    assert_eq!(hook.wait(3)[2].key(), "noon/last/0", "once");
    assert_eq!(run.end(Duration::from_secs(5)), 0);
}

#[test]
fn what_is_over_before_a_restart_is_not_told() {
    let (spool, hook) = (tempfile::tempdir().unwrap(), Hook::new());
    let mut run = Run::named(&settings(spool.path(), &hook, QUIET), "evening");
    run.tell(&at(1, "short", "opened"));
    eventually("it is held", || held(spool.path()).len() == 1);
    run.tell(&at(1, "short", "closed"));
    eventually("it is over", || held(spool.path()).is_empty());
    assert_eq!(run.end(Duration::from_secs(5)), 0);
    let mut run = Run::named(&settings(spool.path(), &hook, ""), "morning");
    run.tell(&at(2, "other", "opened"));
    assert_eq!(hook.wait(1)[0].key(), "morning/other/0");
    assert_eq!(run.end(Duration::from_secs(5)), 0);
}
