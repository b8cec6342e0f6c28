//! Webhooks: in time, in order, once each, whatever the receiver does.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::support::{Hook, Run, eventually, line, nobody, skip, webhook};

const LATENCY_MAX: Duration = Duration::from_millis(100);

#[test]
fn an_incident_is_told_in_less_than_a_tenth_of_a_second() {
    let hook = Hook::new();
    let spool = tempfile::tempdir().unwrap();
    let mut run = Run::start(&format!("spool_dir = {:?}\n{}", spool.path(), hook.table("ops")));
    let mut took = Vec::new();
    for number in 0..40 {
        let told = Instant::now();
        run.tell(&line(&format!("i{number}"), "opened", "P1"));
        let posts = hook.wait(number + 1);
        took.push(posts[number].at - told);
        std::thread::sleep(Duration::from_millis(10));
    }
    took.sort();
    println!("line to webhook: median {:?}, 95 % {:?}, longest {:?}", took[20], took[38], took[39]);
    // The machine may be busy with other tests: half of them, which says as much.
    assert!(took[20] < LATENCY_MAX, "{took:?}");
    let post = &hook.posts()[0];
    assert_eq!((post.path.as_str(), post.body.as_str()), ("/in", line("i0", "opened", "P1").trim_end()));
    assert_eq!(post.headers["content-type"], "application/json");
    assert_eq!(run.end(Duration::from_secs(5)), 0);
}

#[test]
fn what_came_while_it_was_down_is_told_in_order_and_once() {
    let address = nobody();
    let spool = tempfile::tempdir().unwrap();
    let mut run = Run::start(&format!("spool_dir = {:?}\n{}", spool.path(), webhook("ops", address)));
    for number in 0..200 {
        run.tell(&line(&format!("i{number}"), "opened", "P2"));
    }
    eventually("all wait", || run.count(0, "waiting") == 200);
    eventually("it is tried again", || run.count(0, "retried") > 1);
    let hook = Hook::at(&address.to_string(), |_| 200);
    let keys: Vec<_> = hook.wait(200).iter().map(|post| post.key().to_owned()).collect();
    assert_eq!(keys, (0..200).map(|number| format!("run/i{number}/0")).collect::<Vec<_>>());
    eventually("nothing waits", || run.count(0, "waiting") == 0);
    eventually("it is said to be over", || run.said().len() > 1);
    let said = run.said();
    assert_eq!(said.len(), 2, "once when it begins and once when it is over: {said:?}");
    assert!(said[0].starts_with("ops (webhook): cannot be told") && said[1].ends_with("is told again"));
    assert_eq!(run.end(Duration::from_secs(5)), 0);
    assert_eq!(std::fs::read_dir(spool.path().join("ops")).unwrap().count(), 1, "the lock only");
}

#[test]
fn what_an_earlier_run_could_not_tell_comes_first() {
    let address = nobody();
    let spool = tempfile::tempdir().unwrap();
    let settings = format!("spool_dir = {:?}\n{}", spool.path(), webhook("ops", address));
    let mut first = Run::named(&settings, "first");
    for number in 0..20 {
        first.tell(&line(&format!("i{number}"), "opened", "P2"));
    }
    eventually("all wait", || first.count(0, "waiting") == 20);
    assert_eq!(first.end(Duration::from_millis(300)), 20);
    // Its sender lives on in this process, and holds the directory: a copy is what a new process finds.
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("ops")).unwrap();
    for entry in std::fs::read_dir(spool.path().join("ops")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.path().join("ops").join(path.file_name().unwrap())).unwrap();
    }
    let hook = Hook::new();
    let settings = format!("spool_dir = {:?}\n{}", copy.path(), hook.table("ops"));
    let mut second = Run::named(&settings, "second");
    second.tell(&line("new", "opened", "P1"));
    let keys: Vec<_> = hook.wait(21).iter().map(|post| post.key().to_owned()).collect();
    let expected = (0..20).map(|number| format!("first/i{number}/0")).chain(["second/new/0".to_owned()]);
    assert_eq!(keys, expected.collect::<Vec<_>>());
    assert_eq!(second.count(0, "found"), 20);
    assert_eq!(second.end(Duration::from_secs(5)), 0);
}

#[test]
fn one_that_hangs_holds_up_no_other() {
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let hook = Hook::new();
    let hung = webhook("hung", hanging.local_addr().unwrap());
    let mut run = Run::start(&format!("{hung}timeout_ms = 60000\n{}", hook.table("ops")));
    let started = Instant::now();
    for number in 0..500 {
        run.tell(&line(&format!("i{number}"), "opened", "P1"));
    }
    assert_eq!(hook.wait(500).len(), 500);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!((run.count(0, "waiting"), run.count(0, "delivered")), (500, 0));
    let started = Instant::now();
    assert_eq!(run.end(Duration::from_millis(200)), 500);
    assert!(started.elapsed() < Duration::from_secs(2), "nor the end");
}

#[test]
fn answers_are_understood() {
    // The first is busy, the second is told to be wrong and dropped, the third passes.
    let hook = Hook::at("127.0.0.1:0", |before| [503, 429, 200, 400, 200][before.min(4)]);
    let mut run = Run::start(&hook.table("ops"));
    for id in ["a", "b", "c"] {
        run.tell(&line(id, "opened", "P1"));
    }
    let keys: Vec<_> = hook.wait(5).iter().map(|post| post.key().to_owned()).collect();
    assert_eq!(keys, ["run/a/0", "run/a/0", "run/a/0", "run/b/0", "run/c/0"]);
    eventually("the last is told", || run.count(0, "delivered") == 2);
    assert_eq!((run.count(0, "refused"), run.count(0, "retried")), (1, 2));
    assert_eq!(run.end(Duration::from_secs(5)), 0);
}

#[test]
fn a_storm_is_some_messages_and_one_sum() {
    let hook = Hook::new();
    let settings = hook.table("ops").replace("10000", "20");
    let mut run = Run::start(&settings);
    for number in 0..1_000 {
        run.tell(&line(&format!("i{number}"), "opened", "P2"));
    }
    assert_eq!(run.end(Duration::from_secs(10)), 0);
    let posts = hook.posts();
    // The bucket fills while lines are taken, half a token a second.
    assert!((21..=23).contains(&posts.len()), "{}", posts.len());
    let sum = posts.last().unwrap().json();
    assert_eq!((&sum["event"], sum["more"].as_u64()), (&"more".into(), Some(1_001 - posts.len() as u64)));
}

/// What `program` says of a signature over `text`.
fn judged(program: &str, args: &[&str], text: &[u8]) -> Option<String> {
    let mut child =
        Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn signatures_are_those_that_others_make() {
    let hook = Hook::new();
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "0123456789abcdef-secret\n").unwrap();
    let template = r#"{"text": {{ text }}, "severity": {{ severity }}, "addr": {{ incident.target.addr }}}"#;
    let settings = format!(
        "{}secret_file = {secret:?}\ntemplate = '{template}'\nheaders = {{ X-Team = \"net\" }}\nbearer_file = {secret:?}\n",
        hook.table("ops")
    );
    let mut run = Run::start(&settings);
    run.tell(&line("a", "opened", "P1"));
    let post = hook.wait(1).remove(0);
    assert_eq!((&post.json()["addr"], &post.json()["severity"]), (&"10.0.0.1".into(), &"P1".into()));
    assert_eq!(post.headers["x-team"], "net");
    assert_eq!(post.headers["authorization"], "Bearer 0123456789abcdef-secret");
    let signed = format!("{}.{}", post.headers["x-tidegauge-timestamp"], post.body);
    let signature = post.headers["x-tidegauge-signature"].strip_prefix("sha256=").unwrap();
    let python = "import hmac,sys;print(hmac.new(b'0123456789abcdef-secret',sys.stdin.buffer.read(),'sha256').hexdigest())";
    let openssl = ["dgst", "-sha256", "-hmac", "0123456789abcdef-secret"];
    let said = [
        judged("python3", &["-c", python], signed.as_bytes()),
        judged("openssl", &openssl, signed.as_bytes()),
    ];
    for said in said.iter().flatten() {
        assert!(said.trim().ends_with(signature), "{said} and not {signature}");
    }
    if said.iter().all(Option::is_none) {
        skip("signatures_are_those_that_others_make", "neither python3 nor openssl is here");
    }
    assert_eq!(run.end(Duration::from_secs(5)), 0);
}
