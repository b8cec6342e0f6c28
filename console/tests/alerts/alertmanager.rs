//! A real Alertmanager: it takes what we tell, knows what is open, and what is over.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::support::{Run, eventually, line, nobody, skip};

/// The server, which ends with the test.
struct Server {
    child: Child,
    url: String,
    _dir: tempfile::TempDir,
}

impl Server {
    fn start() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config.yml");
        std::fs::write(&config, "route: { receiver: none }\nreceivers: [{ name: none }]\n").unwrap();
        let address = nobody();
        let start = |program: &str| {
            Command::new(program)
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.path={}", dir.path().display()))
                .arg(format!("--web.listen-address={address}"))
                .arg("--cluster.listen-address=")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .ok()
        };
        let child = ["prometheus-alertmanager", "alertmanager"].into_iter().find_map(start)?;
        let server = Self { child, url: format!("http://{address}"), _dir: dir };
        eventually("the server answers", || server.alerts().is_some());
        Some(server)
    }

    /// Those that are open.
    fn alerts(&self) -> Option<Vec<Value>> {
        let mut answer = ureq::get(format!("{}/api/v2/alerts", self.url)).call().ok()?;
        serde_json::from_str(&answer.body_mut().read_to_string().ok()?).ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_real_alertmanager_knows_what_is_open() {
    let Some(server) = Server::start() else {
        return skip("a_real_alertmanager_knows_what_is_open", "prometheus-alertmanager is not here");
    };
    let mut run =
        Run::start(&format!("[[alertmanager]]\nname = \"am\"\nurl = {:?}\nresend_s = 1\n", server.url));
    let priorities = || -> Vec<Value> {
        server.alerts().unwrap().iter().map(|alert| alert["labels"]["priority"].clone()).collect()
    };
    run.tell(&line("a", "opened", "P2"));
    eventually("it is open", || priorities() == ["P2"]);
    run.tell(&line("a", "updated", "P1"));
    eventually("it is worse, and one", || priorities() == ["P1"]);
    // It would have ended by itself: told again.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(priorities(), ["P1"]);
    run.tell(&line("a", "closed", "P1"));
    eventually("it is over", || priorities().is_empty());
    assert_eq!(run.end(Duration::from_secs(5)), 0);
}
