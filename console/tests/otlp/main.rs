//! Metrics by OTLP against receivers over real sockets: what arrives is what `/metrics` has, and a receiver that is down,
//! hangs or refuses is said once, counted, and holds up nobody.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod decode;
mod receiver;

use std::io::{BufReader, PipeWriter, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tidegauge_console::fault::Say;
use tidegauge_console::feed::Feed;
use tidegauge_console::http::HttpUrl;
use tidegauge_console::metrics::Metrics;
use tidegauge_console::otlp::{Otlp, Settings};

use decode::Export;
use receiver::{Answer, Receiver};

/// Longer than anything takes here that works.
const PATIENCE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(1);

/// Waits until it is so.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < PATIENCE, "not so after {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A run whose lines the test writes, exported to an address.
struct Run {
    lines: PipeWriter,
    metrics: Metrics,
    otlp: Otlp,
    said: Arc<Mutex<Vec<String>>>,
}

impl Run {
    fn start(url: &str) -> Self {
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        let say: Say = Arc::new(move |text: &str| heard.lock().unwrap().push(text.to_owned()));
        let mut feed = Feed::default();
        let metrics = Metrics::of(&mut feed).unwrap();
        let settings = Settings {
            url: HttpUrl::try_from(url.to_owned()).unwrap(),
            headers: vec![("X-Key".into(), "secret".into())],
            interval: INTERVAL,
        };
        let otlp = Otlp::start(&settings, metrics.clone(), &say).unwrap();
        let (from, lines) = std::io::pipe().unwrap();
        thread::spawn(move || feed.run(&mut BufReader::new(from)));
        let mut run = Self { lines, metrics, otlp, said };
        run.window(5);
        run
    }

    fn window(&mut self, packets: u64) {
        let line = format!(
            r#"{{"ts":"2026-01-10T12:00:00Z","event":"window","window_s":1.0,"packets":{packets},"bytes":900,"tcp":{{"syn":3,"payload_bytes":70}},"conn_rate":4.5,"source":{{"kind":"ring","mode":"none","name":"eth1"}},"quality":{{"verdict":"complete","dropped":{{"ring":2}}}},"rtt_ms":{{"p99":2.5}},"histograms":{{"rtt_ms":{{"le":[0.006,102.4],"by_method":{{"ack_peer":{{"counts":[1,0,2],"sum":1500.0}}}}}},"rwnd_bytes":{{"le":[10239],"counts":[1,1],"sum":70000.0}}}},"listeners":[{{"target":{{"addr":"10.0.0.2","port":80}},"packets":{packets},"bytes":800,"attempted":3,"completed":2,"half_open":1}}]}}"#
        );
        writeln!(self.lines, "{line}").unwrap();
    }

    fn incident(&mut self) {
        let line = r#"{"ts":"2026-01-10T12:00:01Z","event":"incident","id":"a","kind":"loss","state":"opened","severity":"P2"}"#;
        writeln!(self.lines, "{line}").unwrap();
    }

    /// The value of a series in the text, without its label of the source.
    fn value(&self, series: &str) -> Option<f64> {
        decode::of_text(&self.metrics.text()).remove(series)
    }

    fn count(&self, series: &str) -> u64 {
        self.value(series).map_or(0, |value| value as u64)
    }

    fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// Ends it; how long that took, and what was said.
    fn end(self) -> (Duration, Vec<String>) {
        let since = Instant::now();
        drop(self.lines);
        self.otlp.finish();
        (since.elapsed(), self.said.lock().unwrap().clone())
    }
}

#[test]
fn what_arrives_is_what_the_text_has() {
    let receiver = Receiver::start(|_| Answer::status(200));
    let mut run = Run::start(&receiver.url());
    run.incident();
    run.window(7);
    eventually("both windows arrive", || {
        receiver
            .exports()
            .last()
            .is_some_and(|export| export.series.get("tidegauge_windows_total") == Some(&2.0))
    });
    let (text, exports) = (decode::of_text(&run.metrics.text()), receiver.exports());
    let export = exports.last().unwrap();
    // What counts the exports itself is ahead in the text.
    let others = |series: &&String| !series.starts_with("tidegauge_otlp_");
    let known: Vec<_> = text.keys().filter(others).collect();
    assert_eq!(export.series.keys().filter(others).collect::<Vec<_>>(), known, "the same series");
    for series in known {
        assert_eq!(export.series[series], text[series], "{series}");
    }
    assert_eq!(export.series["tidegauge_packets_total"], 12.0);
    assert_eq!(export.series["tidegauge_round_trip_seconds_bucket{method=\"ack_peer\",le=\"0.1024\"}"], 2.0);
    let unit = |name: &str| export.units[name].as_str();
    assert_eq!(unit("tidegauge_bytes_total"), "By");
    assert_eq!(unit("tidegauge_tcp_payload_bytes_total"), "By");
    assert_eq!(unit("tidegauge_rtt_seconds"), "s");
    assert_eq!(unit("tidegauge_connection_attempts_per_second"), "/s");
    assert_eq!(unit("tidegauge_packets_total"), "");
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    assert_eq!(export.resource["service.name"], "tidegauge");
    assert_eq!(export.resource["host.name"], host);
    run.end();
}

#[test]
fn sums_are_since_the_start_and_the_last_export_has_all() {
    let receiver = Receiver::start(|_| Answer::status(200));
    let mut run = Run::start(&receiver.url());
    eventually("an export", || !receiver.exports().is_empty());
    run.window(7);
    let (_, said) = run.end();
    let exports = receiver.exports();
    let last = exports.last().unwrap();
    assert_eq!(last.series["tidegauge_packets_total"], 12.0, "the run's last lines are in it");
    assert_eq!(last.series["tidegauge_run_up"], 0.0);
    assert_eq!(exports[0].starts["tidegauge_packets_total"], last.starts["tidegauge_packets_total"]);
    let times: Vec<_> = exports.iter().map(|export| export.time_ns).collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    assert!(times[0] > last.starts["tidegauge_packets_total"]);
    assert_eq!(said, [""; 0]);
}

#[test]
fn one_that_is_down_is_said_once_and_hears_all_when_it_is_back() {
    let address = receiver::nobody();
    let mut run = Run::start(&format!("http://{address}"));
    eventually("two exports fail", || run.count("tidegauge_otlp_exports_total{outcome=\"failed\"}") >= 2);
    assert!(run.count("tidegauge_otlp_retries_total") >= 1, "tried again within its time");
    run.window(7);
    let receiver = Receiver::at(&address.to_string(), |_| Answer::status(200));
    let is_back = |run: &Run| run.said().iter().any(|text| text.ends_with("takes metrics again"));
    eventually("it is told again", || is_back(&run));
    assert_eq!(receiver.exports().last().unwrap().series["tidegauge_packets_total"], 12.0);
    let (_, said) = run.end();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("cannot be told metrics"), "{said:?}");
}

#[test]
fn one_that_hangs_costs_nothing_and_is_left_alone_at_the_end() {
    // The system accepts for it, and nobody ever answers.
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut run = Run::start(&format!("http://{}", hangs.local_addr().unwrap()));
    for _ in 0..200 {
        run.window(1);
    }
    eventually("all lines are taken meanwhile", || run.count("tidegauge_windows_total") == 201);
    eventually("two exports fail", || run.count("tidegauge_otlp_exports_total{outcome=\"failed\"}") >= 2);
    assert_eq!(run.count("tidegauge_lines_lost_total"), 0);
    let (took, said) = run.end();
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].ends_with("cannot be told metrics: no answer in time"), "{said:?}");
}

#[test]
fn one_that_refuses_is_not_asked_twice_for_the_same() {
    let receiver = Receiver::start(|_| Answer { status: 400, body: "no such tenant\u{1b}[31m", after: None });
    let run = Run::start(&receiver.url());
    eventually("two are refused", || run.count("tidegauge_otlp_exports_total{outcome=\"refused\"}") >= 2);
    assert_eq!(run.count("tidegauge_otlp_retries_total"), 0);
    let (_, said) = run.end();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].ends_with("does not take metrics: HTTP status 400 Bad Request: no such tenant[31m"),
        "{said:?}"
    );
}

#[test]
fn one_that_asks_for_a_pause_gets_it() {
    let busy = |before: usize| match before {
        0 => Answer { status: 503, body: "", after: Some(4) },
        _ => Answer::status(200),
    };
    let receiver = Receiver::start(busy);
    let run = Run::start(&receiver.url());
    eventually("it is asked again", || receiver.times().len() >= 2);
    let times = receiver.times();
    let pause = times[1].duration_since(times[0]);
    assert!(pause >= Duration::from_secs(4), "{pause:?}");
    assert_eq!(run.count("tidegauge_otlp_exports_total{outcome=\"failed\"}"), 1);
    run.end();
}

#[test]
fn what_is_taken_in_part_is_counted_and_said() {
    let part = r#"{"partialSuccess":{"rejectedDataPoints":"3","errorMessage":"too many series"}}"#;
    let receiver = Receiver::start(move |_| Answer { status: 200, body: part, after: None });
    let run = Run::start(&receiver.url());
    eventually("two are taken", || run.count("tidegauge_otlp_exports_total{outcome=\"delivered\"}") >= 2);
    assert!(run.count("tidegauge_otlp_points_rejected_total") >= 6);
    let (_, said) = run.end();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].ends_with("does not take all metrics: 3 points rejected: too many series"), "{said:?}");
}

#[test]
fn who_we_are_is_told_in_headers() {
    let receiver = Receiver::start(|_| Answer::status(200));
    let run = Run::start(&receiver.url());
    eventually("an export", || !receiver.exports().is_empty());
    let Export { path, headers, .. } = receiver.exports().remove(0);
    assert_eq!(path, "/v1/metrics");
    assert_eq!((headers["x-key"].as_str(), headers["content-type"].as_str()), ("secret", "application/json"));
    run.end();
}
