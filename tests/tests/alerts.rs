//! Alerts of the real program: a run over a recorded flood tells each receiver of each change once, what it could not tell
//! outlives a kill, and `test-alert` says what is wrong.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[expect(dead_code, reason = "events on standard output are other tests'")]
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use support::{Ran, run, tidegauge};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/demo.pcap")
}

/// A web server: key and body of each POST.
fn hook(listener: TcpListener) -> Receiver<(String, Value)> {
    let (told, posts) = channel();
    let server = tiny_http::Server::from_listener(listener, None).unwrap();
    thread::spawn(move || {
        for mut request in server.incoming_requests() {
            let mut body = String::new();
            request.as_reader().read_to_string(&mut body).unwrap();
            let key = request.headers().iter().find(|header| header.field.equiv("Idempotency-Key")).unwrap();
            let post = (key.value.to_string(), serde_json::from_str(&body).unwrap());
            let _ = request.respond(tiny_http::Response::empty(204));
            if told.send(post).is_err() {
                return;
            }
        }
    });
    posts
}

/// A syslog receiver: each message.
fn syslog(listener: TcpListener) -> Receiver<String> {
    let (told, messages) = channel();
    thread::spawn(move || {
        let mut from = BufReader::new(listener.accept().unwrap().0);
        loop {
            let mut length = Vec::new();
            from.read_until(b' ', &mut length).unwrap();
            let Ok(length) = std::str::from_utf8(&length).unwrap().trim().parse::<usize>() else { return };
            let mut message = vec![0; length];
            from.read_exact(&mut message).unwrap();
            told.send(String::from_utf8(message).unwrap()).unwrap();
        }
    });
    messages
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn file(dir: &TempDir, text: &str) -> PathBuf {
    let path = dir.path().join("alerts.toml");
    fs::write(&path, text).unwrap();
    path
}

fn webhook(address: SocketAddr) -> String {
    format!("[[webhook]]\nname = \"ops\"\nurl = \"http://{address}/\"\n")
}

fn serve(alerts: &Path) -> Command {
    let mut command = Command::new(tidegauge());
    command.args(["serve", "--no-page", "--alerts"]).arg(alerts).arg("read").arg(demo());
    command
}

fn says(ran: &Ran, code: i32, words: &str) {
    assert_eq!(ran.code, Some(code), "{ran:?}");
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains(words), "{words}: {ran:?}");
}

#[test]
fn a_flood_is_told_once_by_each_way() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let (eve, told, program) =
        (dir.path().join("eve.json"), dir.path().join("told"), dir.path().join("hook"));
    fs::write(&program, "#!/bin/sh\necho \"$TIDEGAUGE_STATE $TIDEGAUGE_KEY\" >> \"$1\"\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let ((web, web_address), (log, log_address)) = (listener(), listener());
    let (posts, messages) = (hook(web), syslog(log));
    let alerts = file(
        &dir,
        &format!(
            "spool_dir = {:?}\n{}[[syslog]]\nname = \"log\"\naddress = \"{log_address}\"\ntransport = \"tcp\"\n\
             [[eve]]\nname = \"eve\"\npath = {eve:?}\n[[exec]]\nname = \"hook\"\nprogram = {program:?}\nargs = [{told:?}]\n",
            dir.path().join("spool"),
            webhook(web_address),
        ),
    );
    let ran = run(&mut serve(&alerts));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let posts: Vec<_> = posts.try_iter().collect();
    let states: Vec<_> = posts.iter().map(|(_, incident)| incident["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["opened", "closed"], "its update changes no severity");
    assert!(posts[0].0.ends_with("/syn_flood-0001/0") && posts[1].0.ends_with("/syn_flood-0001/1"));
    let messages: Vec<_> = messages.iter().collect();
    assert_eq!(messages.len(), 2);
    assert!(messages[0].contains(" state=\"opened\"") && messages[1].contains(" state=\"closed\""));
    let events: Vec<Value> =
        fs::read_to_string(&eve).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 2);
    assert_eq!((&events[0]["dest_ip"], &events[0]["dest_port"]), (&"10.77.0.2".into(), &80.into()));
    let keys: Vec<_> = posts.iter().map(|(key, _)| key.as_str()).collect();
    let told = fs::read_to_string(&told).unwrap();
    assert_eq!(told, format!("opened {}\nclosed {}\n", keys[0], keys[1]));
}

#[test]
fn what_a_killed_program_could_not_tell_the_next_one_tells() {
    let dir = tempfile::tempdir().unwrap();
    let (down, address) = listener();
    drop(down);
    let spool = dir.path().join("spool");
    let alerts = file(&dir, &format!("spool_dir = {spool:?}\n{}", webhook(address)));
    let mut killed = serve(&alerts).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + PATIENCE;
    let waiting = || {
        let entries = fs::read_dir(spool.join("ops")).ok().into_iter().flatten();
        entries
            .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|is| is == "alert"))
            .count()
    };
    while waiting() < 2 {
        assert!(Instant::now() < until, "nothing waits");
        thread::sleep(Duration::from_millis(5));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let posts = hook(TcpListener::bind(address).unwrap());
    let ran = run(&mut serve(&alerts));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let keys: Vec<_> = posts.try_iter().map(|(key, _)| key).collect();
    let run_of = |key: &str| key.split('/').next().unwrap().to_owned();
    let steps: Vec<_> = keys.iter().map(|key| key.rsplit('/').next().unwrap()).collect();
    assert_eq!(steps, ["0", "1", "0", "1"], "{keys:?}");
    assert!(run_of(&keys[0]) == run_of(&keys[1]) && run_of(&keys[1]) != run_of(&keys[2]), "{keys:?}");
    assert_eq!(waiting(), 0);
}

#[test]
fn a_receiver_that_is_down_does_not_keep_the_run_and_it_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let (down, address) = listener();
    drop(down);
    let mut serving = serve(&file(&dir, &webhook(address)));
    let started = Instant::now();
    let ran = run(&mut serving);
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    assert_eq!(ran.code, Some(0));
    let lines: Vec<_> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("tidegauge: alerts: ops (webhook): cannot be told"), "{lines:?}");
    assert!(
        lines[1].starts_with("tidegauge: alerts: 2 messages could not be told; they are lost"),
        "{lines:?}"
    );
}

#[test]
fn a_file_that_is_read_again_is_in_force_and_a_wrong_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let ((web, address), (down, nobody)) = (listener(), listener());
    drop(down);
    let spool = format!("spool_dir = {:?}\n", dir.path().join("spool"));
    let alerts = file(&dir, &(spool.clone() + &webhook(nobody)));
    let mut command = Command::new(tidegauge());
    command.args(["serve", "--no-page", "--alerts"]).arg(&alerts).args(["read", "-"]);
    let mut serving = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(serving.stderr.take().unwrap()).lines().map_while(Result::ok);
    let hang_up = |serving: &std::process::Child| {
        kill(Pid::from_raw(serving.id() as i32), Signal::SIGHUP).unwrap();
    };
    let mut input = serving.stdin.take().unwrap();
    input.write_all(&fs::read(demo()).unwrap()).unwrap();
    assert!(
        said.next().unwrap().contains("ops (webhook): cannot be told"),
        "the first receiver is not there"
    );
    file(&dir, &(spool.clone() + "[[webhook]]\nname = \"ops\"\n"));
    hang_up(&serving);
    let wrong = said.next().unwrap();
    assert!(wrong.contains("line 2") && wrong.ends_with("who is told stays as it was"), "{wrong}");
    file(&dir, &(spool + &webhook(address)));
    let posts = hook(web);
    hang_up(&serving);
    let right = said.next().unwrap();
    assert!(right.ends_with("alerts.toml was read again: 1 receiver"), "{right}");
    let (key, post) = posts.recv_timeout(PATIENCE).unwrap();
    assert!(
        key.ends_with("/syn_flood-0001/0") && post["state"] == "opened",
        "what waited is told where the new file says"
    );
    drop(input);
    let rest: Vec<_> = said.collect();
    assert_eq!(serving.wait().unwrap().code(), Some(0), "{rest:?}");
    assert!(rest.iter().all(|line| line.contains("is told again")), "{rest:?}");
}

#[test]
fn a_test_is_told_to_be_one_and_what_failed_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let ((web, up), (closed, down)) = (listener(), listener());
    drop(closed);
    let posts = hook(web);
    let log = format!("[[syslog]]\nname = \"log\"\naddress = \"{down}\"\ntransport = \"udp\"\n");
    let two = webhook(up) + &webhook(down).replace("ops", "gone");
    let alerts = file(&dir, &two);
    let test = |rest: &[&str]| {
        run(Command::new(tidegauge()).args(["test-alert", "--alerts"]).arg(&alerts).args(rest))
    };
    says(&test(&[]), 1, "gone (webhook): not told: ");
    says(&test(&["--receiver", "ops"]), 0, "ops (webhook): told in ");
    says(&test(&["--receiver", "pager"]), 2, "no receiver is called pager in ");
    fs::write(&alerts, two.clone() + &log).unwrap();
    says(&test(&["--receiver", "log"]), 0, "log (syslog): sent; UDP does not tell");
    let (_, post) = posts.recv_timeout(PATIENCE).unwrap();
    assert_eq!((&post["event"], &post["test"]), (&"test".into(), &true.into()));
    fs::write(&alerts, format!("{two}[[route]]\nreceivers = [\"pager\"]\n")).unwrap();
    let ran = test(&[]);
    says(&ran, 2, "line 8 (receivers = [\"pager\"]): no receiver is called pager");
    assert_eq!(ran.stderr.lines().count(), 1);
    says(&run(&mut serve(&alerts)), 2, "is not a file of receivers: line 8");
}
