//! Settings that are read again while alerts are at work.

use std::time::Duration;

use super::support::{Hook, Run, eventually, line, nobody, webhook};

const SECONDS: Duration = Duration::from_secs(5);

/// Waits until the desk goes by the settings: a receiver of that name is told of the next incident.
fn names(run: &Run) -> Vec<String> {
    let health = run.alerts.as_ref().unwrap().health().json();
    let name = |one: &serde_json::Value| one["name"].as_str().unwrap().to_owned();
    health["receivers"].as_array().unwrap().iter().map(name).collect()
}

#[test]
fn what_waits_is_told_where_the_new_file_says() {
    let (spool, hook) = (tempfile::tempdir().unwrap(), Hook::new());
    let dir = format!("spool_dir = {:?}\n", spool.path());
    let mut run = Run::start(&(dir.clone() + &webhook("ops", nobody())));
    for number in 0..3 {
        run.tell(&line(&format!("i{number}"), "opened", "P2"));
    }
    eventually("they wait", || run.count(0, "waiting") == 3 && run.count(0, "retried") > 4);
    run.reload(&(dir.clone() + &hook.table("ops"))).unwrap();
    let keys: Vec<_> = hook.wait(3).iter().map(|post| post.key().to_owned()).collect();
    assert_eq!(keys, ["run/i0/0", "run/i1/0", "run/i2/0"]);
    // A pager that is added hears of what is still open with its next word, and others hear nothing twice.
    let pager = Hook::new();
    run.reload(&(dir.clone() + &hook.table("ops") + &pager.table("pager"))).unwrap();
    eventually("the desk knows the pager", || {
        run.tell(&line("i1", "updated", "P2"));
        !pager.posts().is_empty()
    });
    assert_eq!((names(&run), pager.wait(1)[0].key()), (vec!["ops".into(), "pager".into()], "run/i1/0"));
    run.tell(&line("i1", "closed", "P2"));
    assert_eq!((hook.wait(4)[3].key(), pager.wait(2)[1].key()), ("run/i1/1", "run/i1/1"));
    assert_eq!(run.end(SECONDS), 0);
    assert_eq!((hook.posts().len(), pager.posts().len()), (4, 2));
}

#[test]
fn who_is_not_in_the_file_is_told_nothing_and_what_waits_for_them_stays() {
    let (spool, hook, address) = (tempfile::tempdir().unwrap(), Hook::new(), nobody());
    let dir = format!("spool_dir = {:?}\n", spool.path());
    let both = dir.clone() + &hook.table("ops") + &webhook("down", address);
    let mut run = Run::start(&both);
    run.tell(&line("a", "opened", "P2"));
    hook.wait(1);
    eventually("one waits", || run.count(1, "waiting") == 1);
    run.reload(&(dir + &hook.table("ops"))).unwrap();
    assert_eq!(names(&run), ["ops"]);
    let late = Hook::at(&address.to_string(), |_| 204);
    run.tell(&line("b", "opened", "P2"));
    hook.wait(2);
    // Its threads have to let the directory go first.
    eventually("it is there again", || run.reload(&both).is_ok());
    assert_eq!(late.wait(1)[0].key(), "run/a/0");
    run.tell(&line("b", "closed", "P2"));
    hook.wait(3);
    assert_eq!(run.end(SECONDS), 0);
    assert_eq!(late.posts().len(), 1, "of b it was told nothing");
}

#[test]
fn settings_that_cannot_be_change_nothing() {
    let (spool, hook) = (tempfile::tempdir().unwrap(), Hook::new());
    let right = format!("spool_dir = {:?}\n{}", spool.path(), hook.table("ops"));
    let mut run = Run::start(&right);
    let ca = "[[webhook]]\nname = \"other\"\nurl = \"https://a.example/\"\nca_file = \"/no/such/file\"\n";
    for (wrong, why) in [
        (right.replace("ops", "ops\nname = 1"), "line"),
        (right.clone() + ca, "/no/such/file"),
        (hook.table("ops"), "another spool_dir wants a restart"),
    ] {
        let error = run.reload(&wrong).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    run.tell(&line("a", "opened", "P2"));
    assert_eq!(hook.wait(1)[0].key(), "run/a/0");
    assert_eq!((names(&run), run.end(SECONDS)), (vec!["ops".to_owned()], 0));
}
