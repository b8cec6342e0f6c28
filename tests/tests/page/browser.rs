//! The page in Chromium: `tests/page/check.mjs` drives it by Playwright, and fails where something is not as it should be.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use tidegauge_tests::netns::{SERVER_IFACE, SERVER_V4, Side};
use tidegauge_tests::skip::{lab_or_skip, skip};

use crate::load::{Server, connect, flood};
use crate::served::{Served, demo};
use crate::support::{Ran, tidegauge};
use crate::tls::{Secrets, TOKEN};

/// Where the check and its packages are.
fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("page")
}

/// Whether there is a browser, and what drives it; says what is missing.
fn browser_or_skip(test: &str) -> bool {
    let there =
        |program: &str| Command::new(program).arg("--version").output().is_ok_and(|ran| ran.status.success());
    for program in ["node", "chromium"] {
        if !there(program) {
            skip(test, &format!("needs {program} (cargo xtask setup test)"));
            return false;
        }
    }
    if !directory().join("node_modules/playwright-core").exists() {
        skip(test, "needs its packages (npm ci --prefix tests/page)");
        return false;
    }
    true
}

/// Where pictures go: beside the build, for whoever wants to look.
fn pictures() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let directory =
        test.ancestors().nth(3).expect("tests are in target/<profile>/deps").join("page-pictures");
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

fn check(mut command: Command, what: &str, url: &str) -> Command {
    command.arg(directory().join("check.mjs")).args([what, url]).arg(pictures());
    command
}

fn assert_fine(ran: &Ran) {
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
    println!("{}", ran.stdout);
}

#[test]
fn a_run_that_is_over_in_a_browser() {
    if !browser_or_skip("a_run_that_is_over_in_a_browser") {
        return;
    }
    let evidence = TempDir::new().unwrap();
    let served =
        Served::start(&[], &["read", "--flows", "--evidence", evidence.path().to_str().unwrap(), &demo()]);
    served.wait_until_over();
    assert_fine(&check(Command::new("node"), "over", served.url()).output().unwrap().into());
}

#[test]
fn another_time_in_a_browser() {
    if !browser_or_skip("another_time_in_a_browser") {
        return;
    }
    let directory = TempDir::new().unwrap();
    let countries = crate::past::countries(&directory);
    let history = directory.path().join("history");
    let (history, countries) = (history.to_str().unwrap(), countries.to_str().unwrap());
    let served = Served::start(&["--history", history, "--mmdb", countries], &["read", &demo()]);
    served.wait_until_over();
    assert_fine(&check(Command::new("node"), "past", served.url()).output().unwrap().into());
}

#[test]
fn a_browser_logs_in() {
    if !browser_or_skip("a_browser_logs_in") {
        return;
    }
    let secrets = Secrets::new();
    let served = secrets.serve("127.0.0.1:0");
    assert_fine(
        &check(Command::new("node"), "login", served.url()).env("TOKEN", TOKEN).output().unwrap().into(),
    );
}

#[test]
fn a_flood_is_seen_while_it_lasts() {
    let test = "a_flood_is_seen_while_it_lasts";
    if !browser_or_skip(test) {
        return;
    }
    let Some(lab) = lab_or_skip(test) else { return };
    let target = SocketAddr::from((SERVER_V4, 80));
    let _server = Server::start(&lab, target, &["echo-close"]);
    let served = Served::by(lab.command(Side::Server, tidegauge()), &[], &["live", SERVER_IFACE]);
    let mut browser = check(lab.command(Side::Server, "node"), "live", served.url())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(browser.stdout.take().unwrap());
    let is_over = AtomicBool::new(false);
    let mut stdout = String::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                connect(&lab, target, 100, "2s");
            }
        });
        // Browsers take their time to start; then it has seen that all is quiet, or says what it saw instead.
        said.read_line(&mut stdout).unwrap();
        flood(&lab, target, 5_000, "15s");
        is_over.store(true, Ordering::Relaxed);
    });
    said.read_to_string(&mut stdout).unwrap();
    let output = browser.wait_with_output().unwrap();
    assert_fine(&Ran { stdout, ..output.into() });
}
