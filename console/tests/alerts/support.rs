//! Real receivers for tests, and a run whose lines are written by the test.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, PipeWriter, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegauge_console::alert::Alerts;
use tidegauge_console::alert::settings::Settings;
use tidegauge_console::fault::Say;
use tidegauge_console::feed::Feed;

/// Longer than anything takes here that works.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until it is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "not so after {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// An incident's line.
pub(crate) fn line(id: &str, state: &str, severity: &str) -> String {
    let closed = if state == "closed" { "\"2026-01-10T12:00:05Z\"" } else { "null" };
    format!(
        r#"{{"ts":"2026-01-10T12:00:00Z","event":"incident","id":"{id}","kind":"syn_flood","state":"{state}","severity":"{severity}","opened_ts":"2026-01-10T12:00:00Z","updated_ts":"2026-01-10T12:00:00Z","closed_ts":{closed},"target":{{"addr":"10.0.0.1","port":80,"proto":"tcp"}},"rule":"syn/s > 500","measured":1000.0,"unit":"syn/s","limit":500.0,"sources":{{"top":[{{"addr":"198.51.100.7"}}]}},"cause":["a flood"],"because_of":null,"next":["ss -s"]}}"#
    ) + "\n"
}

/// Alerts at work, and what they said.
pub(crate) struct Run {
    lines: Option<PipeWriter>,
    pub(crate) alerts: Option<Alerts>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Run {
    pub(crate) fn start(settings: &str) -> Self {
        Self::named(settings, "run")
    }

    pub(crate) fn named(settings: &str, name: &str) -> Self {
        let settings = Settings::from_toml(settings).unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        let say: Say = Arc::new(move |text: &str| heard.lock().unwrap().push(text.to_owned()));
        let mut feed = Feed::default();
        let alerts = Alerts::start(&settings, name, &mut feed, &say).unwrap();
        let (from, to) = std::io::pipe().unwrap();
        thread::spawn(move || feed.run(&mut BufReader::new(from)));
        Self { lines: Some(to), alerts: Some(alerts), said }
    }

    pub(crate) fn tell(&mut self, line: &str) {
        self.lines.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
    }

    /// Other settings from now on.
    pub(crate) fn reload(&mut self, settings: &str) -> Result<(), String> {
        let settings = Settings::from_toml(settings).map_err(|error| error.to_string())?;
        self.alerts.as_mut().unwrap().reload(&settings).map_err(|error| error.to_string())
    }

    /// A counter of the receiver at this place.
    pub(crate) fn count(&self, receiver: usize, name: &str) -> u64 {
        self.alerts.as_ref().unwrap().health().json()["receivers"][receiver][name].as_u64().unwrap()
    }

    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// Ends the run; what is not told then is the result.
    pub(crate) fn end(&mut self, wait: Duration) -> u64 {
        self.lines = None;
        self.alerts.take().unwrap().finish(wait)
    }
}

/// A POST that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) at: Instant,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Post {
    pub(crate) fn key(&self) -> &str {
        &self.headers["idempotency-key"]
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A web server that keeps what it gets.
pub(crate) struct Hook {
    pub(crate) address: SocketAddr,
    posts: Arc<Mutex<Vec<Post>>>,
    server: Arc<tiny_http::Server>,
}

impl Hook {
    pub(crate) fn new() -> Self {
        Self::at("127.0.0.1:0", |_| 204)
    }

    /// Answers with the status that is made of how many came before.
    pub(crate) fn at(address: &str, status: impl Fn(usize) -> u16 + Send + 'static) -> Self {
        let server = Arc::new(tiny_http::Server::http(address).unwrap());
        let posts = Arc::new(Mutex::new(Vec::new()));
        let (kept, serving) = (Arc::clone(&posts), Arc::clone(&server));
        thread::spawn(move || {
            while let Ok(mut request) = serving.recv() {
                let at = Instant::now();
                let mut body = String::new();
                request.as_reader().read_to_string(&mut body).unwrap();
                let headers = request.headers().iter().map(|header| {
                    (header.field.as_str().as_str().to_ascii_lowercase(), header.value.to_string())
                });
                let post = Post { at, path: request.url().to_owned(), headers: headers.collect(), body };
                let before = {
                    let mut posts = kept.lock().unwrap();
                    posts.push(post);
                    posts.len() - 1
                };
                let _ = request.respond(tiny_http::Response::empty(status(before)));
            }
        });
        Self { address: server.server_addr().to_ip().unwrap(), posts, server }
    }

    pub(crate) fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap().clone()
    }

    /// Waits for so many.
    pub(crate) fn wait(&self, count: usize) -> Vec<Post> {
        eventually(&format!("{count} posts"), || self.posts().len() >= count);
        self.posts()
    }

    /// A table of the file of receivers.
    pub(crate) fn table(&self, name: &str) -> String {
        webhook(name, self.address)
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.server.unblock();
    }
}

pub(crate) fn webhook(name: &str, address: SocketAddr) -> String {
    format!("[[webhook]]\nname = \"{name}\"\nurl = \"http://{address}/in\"\nlimit = {{ burst = 10000 }}\n")
}

/// A port on which nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// One message with its length before it (RFC 6587); `None` at the end.
pub(crate) fn counted(from: &mut impl BufRead) -> Option<String> {
    let mut length = Vec::new();
    from.read_until(b' ', &mut length).ok()?;
    let length: usize = std::str::from_utf8(&length).unwrap().trim().parse().ok()?;
    let mut message = vec![0; length];
    from.read_exact(&mut message).ok()?;
    Some(String::from_utf8(message).unwrap())
}

/// Says that a test was skipped and why, where `cargo xtask test` looks for it.
pub(crate) fn skip(test: &str, why: &str) {
    let line = format!("skipped: {test}: {why}\n");
    print!("{line}");
    let Some(path) = std::env::var_os("TIDEGAUGE_SKIPS") else { return };
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(line.as_bytes()).unwrap();
}
