//! A real Prometheus that scrapes a directory of files or a page, ended with its handle.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A loaded machine may take its time.
const PATIENCE: Duration = Duration::from_secs(30);

/// The name of the scraped file; Prometheus takes its kind from the ending.
pub(crate) const SCRAPED: &str = "metrics.txt";

/// Where a program of an administrator is, if it is.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}

/// A directory of the repository's packaging.
pub(crate) fn packaging(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(name)
}

/// What is scraped, by which rules, and where: programs of a test run in the namespace of its lab.
pub(crate) struct Job<'c, 'a> {
    /// Starts a program there.
    pub(crate) command: &'c dyn Fn(&str) -> Command,
    /// Host and port.
    pub(crate) target: &'a str,
    pub(crate) metrics_path: &'a str,
    /// The directory with `rules.yml` and `alerts.yml`.
    pub(crate) rules: &'a Path,
    /// Who is told of alerts: host and port.
    pub(crate) alertmanager: Option<&'a str>,
}

/// The server, and what serves it files.
pub(crate) struct Prometheus<'c> {
    command: &'c dyn Fn(&str) -> Command,
    processes: Vec<Child>,
    port: u16,
}

impl Prometheus<'static> {
    /// Serves the files of `directory` and scrapes them once a second, with the repository's rules.
    pub(crate) fn start(directory: &Path) -> Self {
        let (files_port, rules) = (free_port(), packaging("prometheus"));
        let mut files = Command::new("python3");
        files.args(["-m", "http.server", &files_port.to_string(), "--bind", "127.0.0.1", "--directory"]);
        let files = files.arg(directory).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let job = Job {
            command: &here,
            target: &format!("127.0.0.1:{files_port}"),
            metrics_path: &format!("/{SCRAPED}"),
            rules: &rules,
            alertmanager: None,
        };
        let mut prometheus = Self::of(&job, directory);
        prometheus.processes.push(files);
        prometheus.wait_for_a_scrape();
        prometheus
    }
}

impl<'c> Prometheus<'c> {
    /// Scrapes once a second, and keeps what it needs in `directory`.
    pub(crate) fn of(job: &Job<'c, '_>, directory: &Path) -> Self {
        let port = free_port();
        let alerting = job.alertmanager.map_or_else(String::new, |address| {
            format!("alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{address}']}}]}}]}}\n")
        });
        let text = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{0}/rules.yml, {0}/alerts.yml]\n\
             scrape_configs:\n  - job_name: tidegauge\n    metrics_path: {1}\n    static_configs: \
             [{{targets: ['{2}']}}]\n{alerting}",
            job.rules.display(),
            job.metrics_path,
            job.target,
        );
        let config = directory.join("prometheus.yml");
        std::fs::write(&config, text).unwrap();
        let mut server = (job.command)("prometheus");
        server.arg(format!("--config.file={}", config.display()));
        server.arg(format!("--storage.tsdb.path={}", directory.join("tsdb").display()));
        server.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let server = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { command: job.command, processes: vec![server], port }
    }

    /// Once this returns, it knows what it scrapes.
    pub(crate) fn wait_for_a_scrape(&self) {
        let since = Instant::now();
        while self.instant("up{job=\"tidegauge\"} == 1").is_empty() {
            assert!(since.elapsed() < PATIENCE, "Prometheus does not scrape");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// What a query gives now; nothing where there is no answer.
    pub(crate) fn instant(&self, query: &str) -> Vec<Value> {
        self.ask(&["instant"], query).unwrap_or_default()
    }

    /// What a query gave at any second since `start_s` (Unix time), series by series; or why it is none.
    pub(crate) fn since(&self, start_s: u64, query: &str) -> Result<Vec<Value>, String> {
        self.ask(&["range", "--step=1s", &format!("--start={start_s}")], query)
    }

    fn ask(&self, kind: &[&str], query: &str) -> Result<Vec<Value>, String> {
        let mut command = (self.command)("promtool");
        command
            .args(["query", "-o", "json"])
            .args(kind)
            .arg(format!("http://127.0.0.1:{}", self.port))
            .arg(query);
        let output = command.output().unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
    }
}

impl Drop for Prometheus<'_> {
    fn drop(&mut self) {
        for child in &mut self.processes {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A program where the test runs.
fn here(program: &str) -> Command {
    Command::new(program)
}

/// A port that nobody has now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
