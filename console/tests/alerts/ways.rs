//! The journal, the Alertmanager's API, files and programs.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use serde_json::Value;

use super::support::{Hook, Run, eventually, line};

const SECONDS: Duration = Duration::from_secs(5);

#[test]
fn the_journal_gets_fields() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let journal = UnixDatagram::bind(&path).unwrap();
    journal.set_read_timeout(Some(SECONDS)).unwrap();
    let mut run = Run::start(&format!("[[journald]]\nname = \"journal\"\nsocket = {path:?}\n"));
    run.tell(&line("a", "opened", "P1"));
    let mut bytes = vec![0; 1 << 16];
    let length = journal.recv(&mut bytes).unwrap();
    let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
    let fields: Vec<_> = text.lines().collect();
    assert!(fields[0].starts_with("MESSAGE=P1 syn_flood opened: 10.0.0.1:80/tcp"), "{text}");
    for field in ["PRIORITY=2", "SYSLOG_IDENTIFIER=tidegauge", "TIDEGAUGE_ID=a", "TIDEGAUGE_STATE=opened"] {
        assert!(fields.contains(&field), "{field} in {text}");
    }
    assert_eq!(
        fields.last(),
        Some(&format!("TIDEGAUGE_INCIDENT={}", line("a", "opened", "P1").trim_end()).as_str())
    );
    assert_eq!(run.end(SECONDS), 0);
}

#[test]
fn an_alertmanager_is_told_again_until_it_is_over() {
    let server = Hook::new();
    let table = format!(
        "[[alertmanager]]\nname = \"am\"\nurl = \"http://{}/\"\nresend_s = 1\nlabels = {{ site = \"here\" }}\n",
        server.address
    );
    let mut run = Run::start(&table);
    let alerts = |index: usize| server.wait(index + 1)[index].json();
    run.tell(&line("a", "opened", "P2"));
    let first = alerts(0);
    let labels = &first[0]["labels"];
    assert_eq!(
        (&labels["alertname"], &labels["severity"]),
        (&"tidegauge_syn_flood".into(), &"warning".into())
    );
    assert_eq!((&labels["site"], &labels["target"]), (&"here".into(), &"10.0.0.1:80/tcp".into()));
    assert_eq!(server.posts()[0].path, "/api/v2/alerts");
    let again = alerts(1);
    assert_eq!(again[0]["labels"], *labels);
    let time = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(time(&again[0]["endsAt"]) > time(&first[0]["endsAt"]), "it lives longer");
    assert!(time(&first[0]["endsAt"]) > jiff::Timestamp::now(), "longer than until the next time");
    let before = server.posts().len();
    run.tell(&line("a", "updated", "P1"));
    // Among those that are told again.
    let of = |wanted: usize| {
        let mut found = None;
        eventually("it is told", || {
            found = server.posts()[before..]
                .iter()
                .map(super::support::Post::json)
                .find(|alerts| alerts.as_array().unwrap().len() == wanted);
            found.is_some()
        });
        found.unwrap()
    };
    let changed = of(2);
    assert_eq!(
        (&changed[0]["labels"]["priority"], &changed[1]["labels"]["priority"]),
        (&"P1".into(), &"P2".into())
    );
    assert!(time(&changed[1]["endsAt"]) <= jiff::Timestamp::now(), "the one of P2 is over");
    run.tell(&line("a", "closed", "P1"));
    assert_eq!(run.end(SECONDS), 0);
    let last = server.posts().last().unwrap().json();
    assert_eq!(last[0]["labels"]["priority"], "P1");
    assert!(time(&last[0]["endsAt"]) <= jiff::Timestamp::now());
}

#[test]
fn programs_and_files_are_told_in_order() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let (eve, told) = (dir.path().join("eve.json"), dir.path().join("told"));
    let program = dir.path().join("hook");
    std::fs::write(&program, "#!/bin/sh\necho \"$TIDEGAUGE_KEY $TIDEGAUGE_STATE\" >> \"$1\"\n").unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut run = Run::start(&format!(
        "[[eve]]\nname = \"eve\"\npath = {eve:?}\n[[exec]]\nname = \"hook\"\nprogram = {program:?}\nargs = [{told:?}]\n"
    ));
    for (state, severity) in [("opened", "P2"), ("updated", "P2"), ("updated", "P1"), ("closed", "P1")] {
        run.tell(&line("a", state, severity));
    }
    assert_eq!(run.end(SECONDS), 0);
    let told = std::fs::read_to_string(told).unwrap();
    assert_eq!(told, "run/a/0 opened\nrun/a/1 updated\nrun/a/2 closed\n");
    let events = std::fs::read_to_string(eve).unwrap();
    let signatures: Vec<_> = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["alert"]["signature"].clone())
        .collect();
    assert_eq!(
        signatures,
        ["tidegauge syn_flood opened", "tidegauge syn_flood updated", "tidegauge syn_flood closed"]
    );
}
