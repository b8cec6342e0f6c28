//! Who is told what.

use super::*;
use jiff::SignedDuration;

use crate::alert::message::What;

fn settings(rest: &str) -> Settings {
    let text = format!(
        "[[webhook]]\nname = \"one\"\nurl = \"http://a/\"\n[[webhook]]\nname = \"two\"\nurl = \"http://b/\"\n{rest}"
    );
    Settings::from_toml(&text).unwrap()
}

fn desk_of(settings: &Settings) -> Desk {
    Desk::new("run".into(), settings, BTreeMap::new(), noon())
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn noon() -> Timestamp {
    at("2026-01-10T12:00:00Z")
}

fn line(id: &str, state: &str, severity: &str) -> Arc<Line> {
    of(id, state, severity, "null")
}

fn of(id: &str, state: &str, severity: &str, because: &str) -> Arc<Line> {
    let text = format!(
        r#"{{"ts":"2026-01-10T12:00:00Z","event":"incident","id":"{id}","kind":"loss","state":"{state}","severity":"{severity}","target":{{"addr":"10.0.0.1","port":80,"proto":"tcp"}},"because_of":{because}}}"#
    );
    Arc::new(Line::parse(&text).unwrap())
}

/// Receiver, key without the run, change and severity.
fn short(messages: &[Addressed]) -> Vec<String> {
    let of = |(index, message): &Addressed| {
        let key = message.key.strip_prefix("run/").unwrap();
        format!("{index} {key} {} {}", message.change.name(), message.severity.name())
    };
    messages.iter().map(of).collect()
}

fn nothing() -> Vec<String> {
    Vec::new()
}

#[test]
fn one_message_for_each_change() {
    let mut desk = desk_of(&settings("[[route]]\nreceivers = [\"one\"]\n"));
    let mut take = |state, severity| short(&desk.take(&line("a", state, severity), noon()));
    assert_eq!(take("opened", "P3"), ["0 a/0 opened P3"]);
    assert_eq!(take("updated", "P3"), nothing());
    assert_eq!(take("updated", "P1"), ["0 a/1 updated P1"]);
    assert_eq!(take("updated", "P1"), nothing());
    assert_eq!(take("closed", "P1"), ["0 a/2 closed P1"]);
    assert_eq!(take("closed", "P1"), nothing(), "it is known to be over");
}

#[test]
fn routes_choose_and_what_was_told_is_followed() {
    let routes = "[[route]]\nreceivers = [\"one\"]\nseverities = [\"P1\"]\n\
                  [[route]]\nreceivers = [\"two\"]\nkinds = [\"loss\"]\ntargets = [\"10.0.0.0/8\"]\n";
    let mut desk = desk_of(&settings(routes));
    let mut take = |state, severity| short(&desk.take(&line("a", state, severity), noon()));
    assert_eq!(take("opened", "P2"), ["1 a/0 opened P2"]);
    assert_eq!(take("updated", "P1"), ["0 a/1 opened P1", "1 a/1 updated P1"], "new to the first");
    assert_eq!(take("updated", "P3"), ["0 a/2 updated P3", "1 a/2 updated P3"], "it was told of P1");
    assert_eq!(take("closed", "P3"), ["0 a/3 closed P3", "1 a/3 closed P3"]);
    let other = "[[route]]\nreceivers = [\"one\"]\ntargets = [\"10.0.0.1:443\"]\n";
    let mut desk = desk_of(&settings(other));
    assert_eq!(short(&desk.take(&line("a", "opened", "P1"), noon())), nothing());
    assert_eq!(short(&desk.take(&line("a", "closed", "P1"), noon())), nothing());
}

#[test]
fn consequences_are_not_told_alone() {
    let because = "{\"id\":\"b\",\"why\":\"x\"}";
    let mut desk = desk_of(&settings("[[route]]\nreceivers = [\"one\"]\n"));
    assert_eq!(short(&desk.take(&of("a", "opened", "P2", because), noon())), nothing());
    assert_eq!(desk.counts.consequences, 1);
    assert_eq!(short(&desk.take(&of("a", "closed", "P2", because), noon())), nothing());
    // Told before it was known to be one: its end is told as well.
    assert_eq!(short(&desk.take(&line("c", "opened", "P2"), noon())).len(), 1);
    assert_eq!(short(&desk.take(&of("c", "closed", "P2", because), noon())), ["0 c/1 closed P2"]);
    let all = Settings { consequences: true, ..settings("") };
    let mut desk = desk_of(&all);
    assert_eq!(short(&desk.take(&of("a", "opened", "P2", because), noon())).len(), 2);
}

#[test]
fn a_storm_is_some_messages_and_a_sum() {
    let text = "[[webhook]]\nname = \"one\"\nurl = \"http://a/\"\nlimit = { burst = 5, per_minute = 60 }\n";
    let mut desk = desk_of(&Settings::from_toml(text).unwrap());
    let mut told = 0;
    for number in 0..1_000 {
        told += desk.take(&line(&format!("i{number}"), "opened", "P3"), noon()).len();
    }
    assert_eq!((told, desk.counts.summed), (5, 995));
    let later = |seconds| noon() + SignedDuration::from_secs(seconds);
    assert_eq!(short(&desk.tick(later(9))), nothing());
    let sum = desk.tick(later(10));
    assert_eq!(sum.len(), 1);
    let message = &sum[0].1;
    assert_eq!((message.what, message.key.as_str()), (What::More, "run/more-0001/0"));
    assert_eq!((&message.json["more"], &message.json["by_kind"]["loss"]), (&995.into(), &995.into()));
    assert!(message.summary().starts_with("P3 995 more incidents"), "{}", message.summary());
    assert_eq!(short(&desk.tick(later(30))), nothing(), "once");
    // What was told is told to be over, what was summed is not; one that becomes worse is told.
    let mut take = |id, state, severity| short(&desk.take(&line(id, state, severity), later(30)));
    assert_eq!(take("i0", "closed", "P3"), ["0 i0/1 closed P3"]);
    assert_eq!(take("i900", "closed", "P3"), nothing());
    assert_eq!(take("i901", "updated", "P3"), nothing());
    assert_eq!(take("i901", "updated", "P1"), ["0 i901/1 opened P1"]);
}

#[test]
fn flapping_is_no_way_around_the_limit() {
    let text = "[[webhook]]\nname = \"one\"\nurl = \"http://a/\"\nlimit = { burst = 3, per_minute = 1 }\n";
    let mut desk = desk_of(&Settings::from_toml(text).unwrap());
    let mut told = 0;
    for number in 0..100 {
        let severity = if number % 2 == 0 { "P1" } else { "P2" };
        told += desk.take(&line("a", "updated", severity), noon()).len();
    }
    assert_eq!(told, 3);
    assert_eq!(short(&desk.take(&line("a", "closed", "P1"), noon())).len(), 1);
}

#[test]
fn in_quiet_hours_the_worst_is_told_and_what_is_still_there_afterwards() {
    let quiet = "[[route]]\nreceivers = [\"one\"]\n\
                 quiet = { from = \"22:00\", to = \"07:00\", zone = \"Europe/Berlin\" }\n";
    let mut desk = desk_of(&settings(quiet));
    let (night, morning) = (at("2026-01-10T23:00:00Z"), at("2026-01-11T06:00:00Z"));
    assert_eq!(short(&desk.take(&line("short", "opened", "P2"), night)), nothing());
    assert_eq!(short(&desk.take(&line("long", "opened", "P2"), night)), nothing());
    assert_eq!(short(&desk.take(&line("worst", "opened", "P1"), night)), ["0 worst/0 opened P1"]);
    assert_eq!(short(&desk.take(&line("short", "closed", "P2"), night)), nothing());
    assert_eq!(short(&desk.take(&line("long", "updated", "P3"), night)), nothing());
    assert_eq!(short(&desk.tick(night)), nothing());
    assert_eq!(short(&desk.tick(morning)), ["0 long/1 opened P3"], "as it is now");
    assert_eq!(short(&desk.tick(morning)), nothing());
    assert_eq!(short(&desk.take(&line("long", "closed", "P3"), morning)), ["0 long/2 closed P3"]);
    // One that becomes P1 in the night is not held any longer.
    assert_eq!(short(&desk.take(&line("grows", "opened", "P2"), night)), nothing());
    assert_eq!(short(&desk.take(&line("grows", "updated", "P1"), night)), ["0 grows/1 opened P1"]);
    assert_eq!(short(&desk.tick(morning)), nothing());
}

#[test]
fn what_is_in_the_morning_as_it_was_in_the_evening_is_no_news() {
    let quiet = "[[route]]\nreceivers = [\"one\"]\nseverities = [\"P1\", \"P2\"]\n\
                 quiet = { from = \"22:00\", to = \"07:00\", zone = \"Europe/Berlin\" }\n";
    let mut desk = desk_of(&settings(quiet));
    let (night, morning) = (at("2026-01-10T23:00:00Z"), at("2026-01-11T06:00:00Z"));
    for (severity, told) in [("P1", 1), ("P2", 0), ("P1", 0)] {
        assert_eq!(desk.take(&line("a", "updated", severity), night).len(), told, "{severity}");
    }
    // Held as P2, and of no interest since.
    for severity in ["P2", "P3"] {
        assert_eq!(short(&desk.take(&line("b", "updated", severity), night)), nothing());
    }
    assert_eq!(short(&desk.tick(morning)), nothing());
    assert!(desk.lanes[0].held.is_empty());
}

#[test]
fn what_is_followed_is_bounded() {
    let mut desk = desk_of(&settings(""));
    for number in 0..INCIDENTS_MAX + 10 {
        desk.take(&line(&format!("i{number}"), "opened", "P3"), noon());
    }
    assert_eq!((desk.known.len(), desk.counts.forgotten), (INCIDENTS_MAX, 10));
    let nameless = Arc::new(Line::parse(r#"{"ts":"2026-01-10T12:00:00Z","event":"incident"}"#).unwrap());
    assert_eq!(short(&desk.take(&nameless, noon())), nothing());
    assert_eq!(desk.counts.not_understood, 1);
}
