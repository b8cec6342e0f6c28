//! Who is told: a web server and a syslog receiver in the lab, each with the time at which a message came, and a real
//! Alertmanager.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

/// What came, oldest first.
pub(crate) struct Heard<T> {
    address: SocketAddr,
    messages: Arc<Mutex<Vec<(SystemTime, T)>>>,
}

impl<T: Clone> Heard<T> {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn so_far(&self) -> Vec<(SystemTime, T)> {
        self.messages.lock().unwrap().clone()
    }

    /// Waits for the first message of which this is so.
    pub(crate) fn wait_for(&self, what: &str, is_it: impl Fn(&T) -> bool) -> (SystemTime, T) {
        const PATIENCE: Duration = Duration::from_secs(40);
        let since = Instant::now();
        loop {
            if let Some(found) = self.so_far().into_iter().find(|(_, message)| is_it(message)) {
                return found;
            }
            assert!(since.elapsed() < PATIENCE, "{what} was not told");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A web server that keeps the bodies of what is posted. To be called where it is to listen.
pub(crate) fn webhook() -> Heard<Value> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let heard = Heard { address: listener.local_addr().unwrap(), messages: Arc::default() };
    let messages = Arc::clone(&heard.messages);
    let server = tiny_http::Server::from_listener(listener, None).unwrap();
    thread::spawn(move || {
        for mut request in server.incoming_requests() {
            let at = SystemTime::now();
            let mut body = String::new();
            request.as_reader().read_to_string(&mut body).unwrap();
            messages.lock().unwrap().push((at, serde_json::from_str(&body).unwrap()));
            // Whoever told does not wait for an answer at its end.
            let _ = request.respond(tiny_http::Response::empty(204));
        }
    });
    heard
}

/// A syslog receiver by TCP, with lengths before messages (RFC 6587). To be called where it is to listen.
pub(crate) fn syslog() -> Heard<String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let heard = Heard { address: listener.local_addr().unwrap(), messages: Arc::default() };
    let messages = Arc::clone(&heard.messages);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut from = BufReader::new(stream);
            while let Some(message) = next(&mut from) {
                messages.lock().unwrap().push((SystemTime::now(), message));
            }
        }
    });
    heard
}

fn next(from: &mut impl BufRead) -> Option<String> {
    let mut length = Vec::new();
    from.read_until(b' ', &mut length).ok()?;
    let length: usize = std::str::from_utf8(&length).ok()?.trim().parse().ok()?;
    let mut message = vec![0; length];
    from.read_exact(&mut message).ok()?;
    String::from_utf8(message).ok()
}

/// A real Alertmanager that tells a web server of what would page somebody; ended with its handle.
pub(crate) struct Alertmanager(Child);

impl Alertmanager {
    /// Its program, where it is installed: Debian gives it a longer name.
    pub(crate) const PROGRAM: &str = "prometheus-alertmanager";
    /// Where it listens, in a namespace of its own.
    pub(crate) const ADDRESS: &str = "127.0.0.1:9093";

    pub(crate) fn start(command: &dyn Fn(&str) -> Command, directory: &Path, pager: SocketAddr) -> Self {
        let config = directory.join("alertmanager.yml");
        let text = format!(
            "route:\n  receiver: nobody\n  group_by: [alertname, instance, source, kind]\n  group_wait: 0s\n  \
             group_interval: 1s\n  routes: [{{receiver: pager, matchers: ['severity=~\"critical|warning\"']}}]\n\
             receivers:\n  - {{name: nobody}}\n  - {{name: pager, webhook_configs: [{{url: 'http://{pager}/'}}]}}\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut program = command(Self::PROGRAM);
        program.arg(format!("--config.file={}", config.display()));
        program.arg(format!("--storage.path={}", directory.join("alertmanager").display()));
        program.arg(format!("--web.listen-address={}", Self::ADDRESS)).arg("--cluster.listen-address=");
        Self(program.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        // It may have died with its lab.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
