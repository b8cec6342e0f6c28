//! tidegauge's judgement of what a kernel's TCP sends, against that kernel's own count, on a path that loses and doubles:
//! a small version of `cargo xtask bench conformance`, with the same code.
//!
//! Needs root, tcpdump, tshark, ethtool, `ss` and `nstat`; says so and passes otherwise.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "support/mod.rs"]
#[expect(dead_code, reason = "runs and incidents are other tests'")]
mod support;

use std::process::Command;

use tidegauge_benches::conformance::live::figures::{CALLED_SENT_AGAIN, Outcome, SENT_AGAIN, outcome};
use tidegauge_benches::conformance::live::passage::Class;
use tidegauge_benches::conformance::live::play;
use tidegauge_benches::conformance::live::scene::{SMALL, Scene, Traffic};
use tidegauge_tests::skip::{root_or_skip, skip};

/// Programs that a scene asks.
const TOOLS: [&str; 5] = ["ethtool", "nstat", "ss", "tcpdump", "tshark"];
/// Of the box's draws.
const SEED: u64 = 11;

#[test]
fn what_is_sent_again_is_what_the_kernel_says_it_sent_again() {
    let test = "what_is_sent_again_is_what_the_kernel_says_it_sent_again";
    if !root_or_skip(test) {
        return;
    }
    let missing = |tool: &&str| Command::new(tool).arg("--version").output().is_err();
    if let Some(tool) = TOOLS.iter().copied().find(missing) {
        return skip(test, &format!("needs {tool}"));
    }
    for scene in &SMALL {
        let played = match play(scene, SEED, support::tidegauge()) {
            Ok(played) => played,
            Err(error) if format!("{error:#}").contains("not permitted") => {
                return skip(test, &format!("{error:#}"));
            }
            Err(error) => panic!("{}: {error:#}", scene.name),
        };
        check(scene, &outcome(scene.name, &played).unwrap());
    }
}

fn check(scene: &Scene, outcome: &Outcome) {
    let name = scene.name;
    assert_eq!(outcome.wrong().count(), 0, "{name}: {:?}", outcome.wrong().collect::<Vec<_>>());
    let of = |what: &'static str| outcome.figures.iter().filter(move |figure| figure.what == what);
    let sent_again: f64 = of(SENT_AGAIN).map(|figure| figure.truth).sum();
    assert!(sent_again > 3.0, "{name}: a scene worth the name: {sent_again}");
    for figure in of(SENT_AGAIN) {
        assert_eq!(figure.tshark, Some(figure.truth), "{name}: {figure:?}");
    }
    // One segment at a time: nothing newer is near, by which Wireshark's rule would call it overtaken.
    if matches!(scene.traffic, Traffic::Ask { .. }) {
        for figure in of(CALLED_SENT_AGAIN) {
            assert_eq!(figure.tidegauge, Some(figure.truth), "{name}: {figure:?}");
        }
    }
    for (side, scores) in &outcome.scores {
        for (class, score) in scores {
            println!("{name}: from the {side}: {class:?}: {score:?}");
            match class {
                Class::Bare | Class::New | Class::Doubled => {
                    assert_eq!(score.tidegauge, score.segments, "{name}, {side}: {class:?}: {score:?}");
                }
                Class::SentAgain | Class::Overtaken => {
                    assert!(score.tidegauge >= score.tshark, "{name}, {side}: {class:?}: {score:?}");
                }
            }
        }
    }
}
