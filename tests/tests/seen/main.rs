//! As a new user would try it: the package installed on a fresh tree, its unit's command started with the unit's
//! capabilities, a real server flooded; and the incident is seen in each place where a team looks, once in each.
//!
//! Needs root, dpkg and setpriv; Prometheus and its Alertmanager for their part. Says so and passes otherwise.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "../page/http.rs"]
mod http;
#[path = "../package/installed.rs"]
mod installed;
#[path = "../support/load.rs"]
#[expect(dead_code, reason = "downloads are the live tests'")]
mod load;
mod receivers;
#[path = "../prometheus/server.rs"]
#[expect(dead_code, reason = "files are scraped by others")]
mod server;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "events on standard output are other tests'")]
mod support;
#[path = "../package/unit.rs"]
#[expect(dead_code, reason = "runs that are stuck are the package's test")]
mod unit;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Http;
use installed::Installed;
use load::Server;
use nix::sys::signal::Signal;
use receivers::{Alertmanager, Heard, syslog, webhook};
use serde_json::Value;
use server::{Job, Prometheus, program};
use support::{Ran, run};
use tempfile::TempDir;
use tidegauge_tests::netns::{Lab, SERVER_IFACE, SERVER_V4, Side};
use tidegauge_tests::skip::{lab_or_skip, skip};
use unit::{NOBODY, Service, words};

const UNIT: &str = "usr/lib/systemd/system/tidegauge@.service";
/// Where the unit's page is.
const PAGE: Http = Http(SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7070));
const FLOOD_PER_S: u64 = 10_000;
/// As long as two screens of text and a scrape need on a busy machine.
const FLOOD: &str = "8s";
/// A tenth of a second is the goal; a machine that is busy with other tests may take this long.
const WEBHOOK_MAX: Duration = Duration::from_millis(500);

/// The installed service with everybody who is told.
struct Scene<'a> {
    lab: &'a Lab,
    installed: &'a Installed,
    /// What the unit may write to.
    state: TempDir,
    hook: Heard<Value>,
    log: Heard<String>,
}

impl<'a> Scene<'a> {
    fn new(lab: &'a Lab, installed: &'a Installed) -> Self {
        let state = TempDir::new().unwrap();
        std::os::unix::fs::chown(state.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        // The root that it was installed to is its maker's alone; a user without rights has to get there.
        fs::set_permissions(installed.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        let hook = lab.inside(Side::Server, webhook).unwrap();
        let log = lab.inside(Side::Server, syslog).unwrap();
        Self { lab, installed, state, hook, log }
    }

    /// As an administrator would: a file of receivers, the instance's options, and `systemctl start`.
    fn start(&self) -> Service {
        let alerts = format!(
            "spool_dir = {:?}\n[[webhook]]\nname = \"ops\"\nurl = \"http://{}/\"\n\
             [[syslog]]\nname = \"log\"\naddress = \"{}\"\ntransport = \"tcp\"\n",
            self.state.path().join("alerts"),
            self.hook.address(),
            self.log.address(),
        );
        let etc = self.installed.path("etc/tidegauge");
        fs::write(etc.join("alerts.toml"), alerts).unwrap();
        let environment = "TIDEGAUGE_SERVE=\"--alerts /etc/tidegauge/alerts.toml\"\n";
        let unit = fs::read_to_string(self.installed.path(UNIT)).unwrap();
        let program = self.installed.path("usr/bin/tidegauge");
        let words = words(&unit, environment, &program, SERVER_IFACE, &etc, self.state.path());
        let mut service = Service::start(self.lab, &unit, &words);
        service.wait_for("READY=1");
        service
    }

    fn get(&self, path: &str) -> http::Answer {
        self.lab.inside(Side::Server, || PAGE.get(path, &[])).unwrap()
    }

    /// One screen of text of another run on the same interface.
    fn one_screen(&self) -> Ran {
        let mut screen = self.lab.command(Side::Server, self.installed.path("usr/bin/tidegauge"));
        screen.args(["live", SERVER_IFACE, "--source", "ring", "--once"]).env("LANG", "C.UTF-8");
        run(screen.env_remove("LC_ALL"))
    }
}

/// The load ends with this, whatever happens.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// States of incidents that a browser hears of from now on.
fn listen(lab: &Lab) -> Arc<Mutex<Vec<String>>> {
    let stream = lab.inside(Side::Server, || PAGE.events()).unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heard);
    thread::spawn(move || {
        let mut event = String::new();
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if let Some(name) = line.strip_prefix("event: ") {
                event = name.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ").filter(|_| event == "incident") {
                let incident: Value = serde_json::from_str(data).unwrap();
                kept.lock().unwrap().push(format!("{} {}", incident["id"], incident["state"]));
            }
        }
    });
    heard
}

/// Time from a line's own time to here.
fn since(ts: &Value, at: SystemTime) -> Duration {
    let ts: jiff::Timestamp = ts.as_str().unwrap().parse().unwrap();
    let at_ns = at.duration_since(UNIX_EPOCH).unwrap().as_nanos();
    Duration::from_nanos(u64::try_from(at_ns as i128 - ts.as_nanosecond()).unwrap_or(0))
}

/// How often a text has another.
fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

#[test]
fn a_flood_is_seen_once_in_each_place() {
    let test = "a_flood_is_seen_once_in_each_place";
    let Some(installed) = Installed::or_skip(test) else { return };
    if program("setpriv").is_none() {
        skip(test, "needs setpriv");
        return;
    }
    let Some(lab) = lab_or_skip(test) else { return };
    let scene = Scene::new(&lab, &installed);
    let target = SocketAddr::new(IpAddr::V4(SERVER_V4), 80);
    let _server = Server::start(&lab, target, &["echo-close"]);
    let mut service = scene.start();
    let events = listen(&lab);

    let command = |program: &str| -> Command { lab.command(Side::Server, program) };
    let (directory, pager) = (TempDir::new().unwrap(), lab.inside(Side::Server, webhook).unwrap());
    let team = Team::start(test, &command, &installed, &directory, &pager);

    let is_over = AtomicBool::new(false);
    let screen = thread::scope(|scope| {
        let _over = Over(&is_over);
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                load::connect(&lab, target, 100, "2s");
            }
        });
        thread::sleep(Duration::from_secs(4));
        let flood = scope.spawn(|| load::flood(&lab, target, FLOOD_PER_S, FLOOD));
        let screen = scene.one_screen();
        let flood = flood.join().unwrap();
        first_word(&scene, &flood);
        scene.hook.wait_for("the end", |post| post["state"] == "closed");
        screen
    });
    in_terminal(&screen);
    on_page(&scene, &events.lock().unwrap());
    by_receivers(&scene);
    if let Some(team) = &team {
        team.told_once(&pager);
    }
    service.signal(Signal::SIGTERM);
    // What it said meanwhile waits to be heard, as systemd would have: there is room for ten words.
    service.wait_for("STOPPING=1");
    let ran = service.ended();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    in_history(&scene);
}

/// How soon the webhook knew.
fn first_word(scene: &Scene<'_>, flood: &Value) {
    let (at, post) = scene.hook.wait_for("the flood", |post| post["state"] == "opened");
    let took = since(&post["opened_ts"], at);
    println!("opened to webhook: {:.1} ms", took.as_secs_f64() * 1e3);
    let at_ns = at.duration_since(UNIX_EPOCH).unwrap().as_nanos() as f64;
    if let Some(first_ns) = flood["first_packet_ns"].as_f64() {
        println!("first packet of the flood to webhook: {:.0} ms", (at_ns - first_ns) / 1e6);
    }
    assert!(took < WEBHOOK_MAX, "{took:?}");
}

fn in_terminal(screen: &Ran) {
    assert_eq!(screen.code, Some(0), "{}", screen.stderr);
    let text = &screen.stdout;
    // Its severity is this run's own: it began with the flood, and has not seen whether others are served.
    assert_eq!(count(text, "incidents  1 open, 0 closed"), 1, "{text}");
    assert_eq!(
        (count(text, "P1 open") + count(text, "P2 open"), count(text, " open   syn_flood")),
        (1, 1),
        "{text}"
    );
}

fn on_page(scene: &Scene<'_>, events: &[String]) {
    let board = scene.get("/api/board").json();
    let incidents = board["incidents"].as_array().unwrap();
    assert_eq!(incidents.len(), 1, "{incidents:#?}");
    assert_eq!((&incidents[0]["kind"], &incidents[0]["state"]), (&"syn_flood".into(), &"closed".into()));
    let id = incidents[0]["id"].as_str().unwrap();
    let whole = scene.get(&format!("/api/incident/{id}")).json();
    assert!(whole["incident"]["mitigation"]["nftables"].is_string(), "{whole}");
    for state in ["opened", "closed"] {
        let told = events.iter().filter(|event| **event == format!("{:?} {state:?}", id)).count();
        assert_eq!(told, 1, "{state}: {events:?}");
    }
    let metrics = String::from_utf8(scene.get("/metrics").body).unwrap();
    let value = |name: &str| -> f64 {
        let lines: Vec<_> = metrics.lines().filter(|line| line.starts_with(name)).collect();
        lines.iter().filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    };
    assert_eq!(value("tidegauge_incidents_opened_total{"), 1.0, "of all kinds");
    assert_eq!(value("tidegauge_incidents_open{"), 0.0);
}

fn by_receivers(scene: &Scene<'_>) {
    let posts = scene.hook.so_far();
    let states: Vec<_> = posts.iter().map(|(_, post)| post["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["opened", "closed"]);
    scene.log.wait_for("the end", |message| message.contains(" state=\"closed\""));
    let log = scene.log.so_far();
    assert_eq!(log.len(), 2, "{log:?}");
    assert!(log[0].1.contains(" state=\"opened\"") && log[0].1.contains("syn_flood"), "{log:?}");
}

fn in_history(scene: &Scene<'_>) {
    let mut history = Command::new(scene.installed.path("usr/bin/tidegauge"));
    let ran = run(history.arg("history").arg(scene.state.path().join("history")).arg("--incidents"));
    assert_eq!((ran.code, count(&ran.stdout, "syn_flood")), (Some(0), 1), "{}{}", ran.stdout, ran.stderr);
}

/// Prometheus and its Alertmanager, where they are installed.
struct Team<'a> {
    prometheus: Prometheus<'a>,
    _alertmanager: Alertmanager,
    start_s: u64,
}

impl<'a> Team<'a> {
    fn start(
        test: &str,
        command: &'a dyn Fn(&str) -> Command,
        installed: &Installed,
        directory: &TempDir,
        pager: &Heard<Value>,
    ) -> Option<Self> {
        let missing = ["prometheus", "promtool", Alertmanager::PROGRAM]
            .into_iter()
            .find(|name| program(name).is_none());
        if let Some(missing) = missing {
            skip(&format!("{test} (Prometheus)"), &format!("needs {missing}"));
            return None;
        }
        let alertmanager = Alertmanager::start(command, directory.path(), pager.address());
        let job = Job {
            command,
            target: &PAGE.0.to_string(),
            metrics_path: "/metrics",
            rules: &installed.path("usr/share/tidegauge/prometheus"),
            alertmanager: Some(Alertmanager::ADDRESS),
        };
        let prometheus = Prometheus::of(&job, directory.path());
        prometheus.wait_for_a_scrape();
        let start_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        Some(Self { prometheus, _alertmanager: alertmanager, start_s })
    }

    /// One alert that would wake somebody fired, and the pager was told of it once, and once of its end.
    fn told_once(&self, pager: &Heard<Value>) {
        let of = |post: &Value, status: &str| {
            post["status"] == status && post["commonLabels"]["alertname"] == "TidegaugeIncidentP2"
        };
        let (at, _) = pager.wait_for("the alert", |post| of(post, "firing"));
        pager.wait_for("the alert's end", |post| of(post, "resolved"));
        let posts = pager.so_far();
        assert_eq!(posts.len(), 2, "{posts:#?}");
        assert_eq!(posts[0].1["alerts"].as_array().map(Vec::len), Some(1), "{posts:#?}");
        assert_eq!(posts[0].1["commonLabels"]["kind"], "syn_flood");
        let waking = "ALERTS{alertstate=\"firing\", severity=~\"critical|warning\"}";
        let fired = self.prometheus.since(self.start_s, waking).unwrap();
        assert_eq!(fired.len(), 1, "{fired:?}");
        println!("the pager heard of it at {at:?}, by Prometheus and Alertmanager");
    }
}
