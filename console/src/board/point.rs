//! What is kept of a window for the time after it: the numbers that are drawn over time.

use crate::line::Line;

/// A window's numbers. `None` is "not known".
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Point {
    /// Its end, packet time.
    pub ts_ns: i64,
    /// Its length.
    pub window_s: f64,
    /// Frames.
    pub packets: Option<f64>,
    /// Their bytes.
    pub bytes: Option<f64>,
    /// Connection attempts per second.
    pub conn_rate: Option<f64>,
    /// What is usual of it.
    pub conn_rate_usual: Option<f64>,
    /// Handshakes asked for.
    pub attempted: Option<f64>,
    /// Answered.
    pub answered: Option<f64>,
    /// Completed.
    pub completed: Option<f64>,
    /// Round trips.
    pub rtt_p50_ms: Option<f64>,
    /// The slowest hundredth.
    pub rtt_p99_ms: Option<f64>,
    /// Receive windows: the lowest hundredth.
    pub rwnd_p1_bytes: Option<f64>,
    /// The half of them.
    pub rwnd_p50_bytes: Option<f64>,
    /// Payload that was sent again.
    pub loss_ratio: Option<f64>,
    /// Of all layers, the worst.
    pub health: Option<f64>,
    /// Link, network, transport, application, resource.
    pub layers: [Option<f64>; 5],
    /// The chance that the next second is healthy.
    pub healthy_next: Option<f64>,
    /// Whether everything was seen.
    pub complete: bool,
}

/// Layers as `health.layers` names them, in the order of [`Point::layers`].
pub const LAYERS: [&str; 5] = ["link", "network", "transport", "application", "resource"];

impl Point {
    /// Of a `window` line.
    pub fn of(line: &Line) -> Self {
        let number = |path: &str| line.number(path);
        Self {
            ts_ns: line.ts_ns,
            window_s: number("window_s").unwrap_or(1.0),
            packets: number("packets"),
            bytes: number("bytes"),
            conn_rate: number("conn_rate"),
            conn_rate_usual: number("features.conn_rate_usual"),
            attempted: number("handshake.attempted"),
            answered: number("handshake.answered"),
            completed: number("handshake.completed"),
            rtt_p50_ms: number("rtt_ms.p50"),
            rtt_p99_ms: number("rtt_ms.p99"),
            rwnd_p1_bytes: number("rwnd_bytes.p1"),
            rwnd_p50_bytes: number("rwnd_bytes.p50"),
            loss_ratio: number("features.loss_ratio"),
            health: number("health.score"),
            layers: LAYERS.map(|layer| number(&format!("health.layers.{layer}"))),
            healthy_next: number("forecast.healthy_next"),
            complete: line.json["quality"]["verdict"] == "complete",
        }
    }
}
