//! The Debian package as a user meets it: installed below a directory, run, read about, completed, started as its unit starts
//! it, and removed.
//!
//! Needs dpkg and root; the unit's test a lab and setpriv. Says so and passes otherwise.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod installed;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "events are other tests'")]
mod support;
mod unit;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use installed::Installed;
use nix::sys::signal::Signal;
use support::run;
use tempfile::TempDir;
use tidegauge_tests::netns::SERVER_IFACE;
use tidegauge_tests::skip::{lab_or_skip, skip};
use unit::{NOBODY, Service, words};

const UNIT: &str = "usr/lib/systemd/system/tidegauge@.service";
const THRESHOLDS: &str = "etc/tidegauge/tidegauge.toml";

/// Beyond this `systemd-analyze security` (tenths, 100 is the worst) would say "medium".
const EXPOSURE_MAX: &str = "35";

fn has(program: &str) -> bool {
    run(Command::new("sh").args(["-c", &format!("command -v {program}")])).code == Some(0)
}

#[test]
fn what_is_installed_runs_is_documented_and_goes_again() {
    let Some(installed) = Installed::or_skip("what_is_installed_runs_is_documented_and_goes_again") else {
        return;
    };
    let program = installed.path("usr/bin/tidegauge");
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/demo.pcap");
    let ran = run(Command::new(&program).args(["read", "--fail-on", "p2"]).arg(demo));
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stdout.contains("P2 syn_flood at 10.77.0.2:80/tcp"), "{}", ran.stdout);
    let ran = run(Command::new(&program).args(["config", "check"]).arg(installed.path(THRESHOLDS)));
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);

    for (shell, completion) in [
        ("bash", "usr/share/bash-completion/completions/tidegauge"),
        ("fish", "usr/share/fish/vendor_completions.d/tidegauge.fish"),
        ("zsh", "usr/share/zsh/vendor-completions/_tidegauge"),
    ] {
        let text = fs::read_to_string(installed.path(completion)).unwrap();
        assert!(text.contains("metrics-file") && text.contains("backtest"), "{shell}");
        if has(shell) {
            let ran = run(Command::new(shell).arg("-n").arg(installed.path(completion)));
            assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{shell}");
        }
    }
    for (page, word) in
        [("tidegauge", "serve"), ("tidegauge-live", "--source"), ("tidegauge-serve", "--metrics-file")]
    {
        let page = installed.path("usr/share/man/man1").join(format!("{page}.1.gz"));
        assert!(page.exists(), "{}", page.display());
        if has("man") {
            let mut man = Command::new("man");
            man.args(["--warnings", "-l"])
                .arg(&page)
                .env("MANPAGER", "cat")
                .env("MANWIDTH", "80")
                .env("LC_ALL", "C.UTF-8");
            let ran = run(&mut man);
            assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
            assert!(ran.stdout.contains(word), "{}", ran.stdout);
        }
    }

    fs::write(installed.path(THRESHOLDS), "# mine\n").unwrap();
    let ran = installed.dpkg(&["--remove", "tidegauge"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(!program.exists() && installed.path(THRESHOLDS).exists(), "configuration outlives removal");
    let ran = installed.dpkg(&["--purge", "tidegauge"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let left =
        run(Command::new("find").arg(installed.path("")).args(["-type", "f", "-not", "-path", "*/dpkg/*"]));
    assert_eq!(left.stdout, "");
}

#[test]
fn what_configuration_says_outlives_an_upgrade() {
    let Some(installed) = Installed::or_skip("what_configuration_says_outlives_an_upgrade") else { return };
    fs::write(installed.path(THRESHOLDS), "# mine\n").unwrap();
    let ran = installed.dpkg(&["--install", installed::package().to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(fs::read_to_string(installed.path(THRESHOLDS)).unwrap(), "# mine\n");
}

#[test]
fn systemd_takes_the_unit_and_finds_it_locked_in() {
    let test = "systemd_takes_the_unit_and_finds_it_locked_in";
    let Some(installed) = Installed::or_skip(test) else { return };
    if !has("systemd-analyze") {
        skip(test, "needs systemd-analyze");
        return;
    }
    // The program and the manual page are not where the unit has them.
    let directory = TempDir::new().unwrap();
    let unit = directory.path().join("tidegauge@.service");
    let text = fs::read_to_string(installed.path(UNIT)).unwrap();
    let text = text.replace("/usr/bin/tidegauge", installed.path("usr/bin/tidegauge").to_str().unwrap());
    fs::write(&unit, text.replace("Documentation=man:tidegauge(1)\n", "")).unwrap();
    let ran = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=yes", &format!("--threshold={EXPOSURE_MAX}")]).arg(&unit);
    let ran = run(&mut security);
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
}

#[test]
fn the_units_command_is_ready_alive_reloaded_and_ended_without_roots_rights() {
    let test = "the_units_command_is_ready_alive_reloaded_and_ended_without_roots_rights";
    let Some(installed) = Installed::or_skip(test) else { return };
    if !has("setpriv") {
        skip(test, "needs setpriv");
        return;
    }
    let Some(lab) = lab_or_skip(test) else { return };
    let text = fs::read_to_string(installed.path(UNIT)).unwrap();
    let directory = TempDir::new().unwrap();
    std::os::unix::fs::chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    // The root that it was installed to is its maker's alone; a user without rights has to get there.
    let root = installed.path("");
    fs::set_permissions(&root, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (program, etc) = (installed.path("usr/bin/tidegauge"), installed.path("etc/tidegauge"));
    let words = words(&text, "", &program, SERVER_IFACE, &etc, directory.path());
    let mut service = Service::start(&lab, &text, &words);
    service.wait_for("READY=1");
    service.wait_for("WATCHDOG=1");
    service.wait_for("STATUS=");
    // The run drops its rights once all is open; who serves it has none from the start.
    assert_eq!(service.rights(), ["0000000000000000"], "of all its threads");
    // A run that is stuck is no sign of life.
    service.signal_run(Signal::SIGSTOP);
    assert!(!service.says_within(Duration::from_secs(4), "WATCHDOG=1"), "nobody sees that the run is stuck");
    service.signal_run(Signal::SIGCONT);
    service.wait_for("WATCHDOG=1");
    service.signal(Signal::SIGHUP);
    service.wait_for("RELOADING=1");
    service.wait_for("READY=1");
    service.signal(Signal::SIGTERM);
    service.wait_for("STOPPING=1");
    let ran = service.ended();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("the run is over: "), "{}", ran.stderr);
    let metrics = fs::read_to_string(directory.path().join("metrics.prom")).unwrap();
    assert!(
        metrics.contains("tidegauge_run_up{source=\"vb\"} 0") && metrics.contains("kind=\"xdp\""),
        "{metrics}"
    );
    assert!(directory.path().join("baselines.json").exists(), "what was learnt is kept");
}
