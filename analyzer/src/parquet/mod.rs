//! Tables for DuckDB, pandas and ClickHouse (`--parquet DIR`): `windows`, `listeners`, `flows`, `incidents`.
//!
//! | file | one row | columns |
//! |---|---|---|
//! | `windows.parquet` | a window | `start`, `end`, `window_s`, quality, sums of packets, protocols and handshakes, TCP judgements, what was read above TCP, `rwnd_*`, `transfer_1mib_*`, `rtt_METHOD_*` and other latencies, `listeners` |
//! | `listeners.parquet` | a listener with traffic in a window | `start`, `end`, `window_s`, `addr`, `port`, its sums |
//! | `flows.parquet` | a TCP connection | who, when, state, `handshake_*`, `forward_*` and `reverse_*` (what each side sent), `limiter_*`, `app` |
//! | `incidents.parquet` | a change of an incident, as in JSON Lines; `state = 'closed'` once for each | what, where, when, how much, quality |
//!
//! Every column, its type and its meaning is a line of `column.rs`; the meaning is also in the file, as the value of key
//! `column.NAME`. Times are `TIMESTAMP(NANOS, UTC)` in packet time, counts `INT64`, addresses text; what was not
//! measured is null. Files have their names once they are whole; a run that dies leaves `*.parquet.unfinished`, which
//! the next run takes over. Tables of an earlier run in the same directory are replaced, when this one ends. Opened by
//! the command line before rights are given up.

mod column;
mod table;

use std::fs;
use std::path::Path;

use crate::flow_record::FlowRecord;
use crate::hlog::latencies;
use crate::incident::Incident;
use crate::quality::Quality;
use crate::summary::{Quantiles, RwndSummary, Tcp};
use crate::window::Window;

use column::{
    DIRECTION, FLOW, FLOW_HANDSHAKE, INCIDENT, LAYERS, LIMITER, LISTENER, LISTENER_SUMS, QUALITY, RWND, SPAN,
    TCP, TIMES, TOTALS,
};
use table::{Column, Get, Shape, TableWriter};

pub use table::{Error, GROUP_ROWS};

/// Kinds of times with columns of their own, by the tags that the histogram log has for them.
const LATENCIES: [(&str, &str); 11] = [
    ("rtt_handshake_listener_", "handshake_listener"),
    ("rtt_handshake_peer_", "handshake_peer"),
    ("rtt_timestamps_listener_", "timestamps_listener"),
    ("rtt_timestamps_peer_", "timestamps_peer"),
    ("rtt_ack_listener_", "ack_listener"),
    ("rtt_ack_peer_", "ack_peer"),
    ("tls_hello_", "tls_hello"),
    ("tls_ttfb_", "tls_ttfb"),
    ("http_latency_", "http"),
    ("dns_latency_", "dns"),
    ("icmp_rtt_", "icmp"),
];

/// Clock of round trips and waits in all sources, as in the output contract.
const RTT_RESOLUTION_US: u32 = 1;

/// The time of a window.
struct Span {
    start_ns: u64,
    end_ns: u64,
    window_s: f64,
}

/// Listeners of a window, those that are not named among them.
const LISTENERS: &[Column<Window>] = &[Column {
    name: "listeners",
    about: "listeners with traffic",
    get: Get::Count(|window| Some(window.listeners.len() as u64)),
}];

/// The four tables.
pub struct ParquetSink {
    windows: TableWriter,
    listeners: TableWriter,
    flows: TableWriter,
    incidents: TableWriter,
}

impl ParquetSink {
    /// Begins the tables in `dir`, which is made where it is missing.
    pub fn new(dir: &Path) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(|source| Error::File { path: dir.to_owned(), source })?;
        Ok(Self {
            windows: TableWriter::create(dir, "windows", &shape::windows())?,
            listeners: TableWriter::create(dir, "listeners", &shape::listeners())?,
            flows: TableWriter::create(dir, "flows", &shape::flows())?,
            incidents: TableWriter::create(dir, "incidents", &shape::incidents())?,
        })
    }

    /// A window that is over, and its listeners; the clock that timed it had this resolution.
    pub fn window(
        &mut self,
        window: &Window,
        window_s: f64,
        resolution_us: u32,
        quality: &Quality,
    ) -> Result<(), Error> {
        let span = Span { start_ns: window.start_ns, end_ns: window.end_ns, window_s };
        let (totals, truth) = (&window.totals, window.truth.as_deref());
        let row = &mut self.windows;
        row.cells(SPAN, Some(&span)).cells(QUALITY, Some(quality)).cells(TOTALS, Some(totals));
        row.cells(TCP, Some(&Tcp::of(totals, truth))).cells(LAYERS, truth.map(|truth| &truth.layers));
        row.cells(RWND, Some(&RwndSummary::of(totals)));
        row.cells(TIMES, Some(&Quantiles::of_us(&totals.transfer_us, resolution_us)));
        for (_, tag) in LATENCIES {
            let times = latencies(window).find(|(name, _)| *name == tag);
            row.cells(TIMES, times.map(|(_, times)| Quantiles::of_us(times, RTT_RESOLUTION_US)).as_ref());
        }
        row.cells(LISTENERS, Some(window)).end_row()?;
        for (key, sums) in window.listeners.iter() {
            let row = &mut self.listeners;
            row.cells(SPAN, Some(&span))
                .cells(LISTENER, Some(key))
                .cells(LISTENER_SUMS, Some(sums))
                .end_row()?;
        }
        Ok(())
    }

    /// A connection.
    pub fn flow(&mut self, flow: &FlowRecord) -> Result<(), Error> {
        let row = &mut self.flows;
        row.cells(FLOW, Some(flow)).cells(FLOW_HANDSHAKE, flow.handshake.as_ref());
        row.cells(DIRECTION, Some(&flow.forward)).cells(DIRECTION, Some(&flow.reverse));
        row.cells(LIMITER, flow.limiter.as_ref()).end_row()
    }

    /// A change of an incident.
    pub fn incident(&mut self, incident: &Incident, quality: &Quality) -> Result<(), Error> {
        self.incidents.cells(INCIDENT, Some(incident)).cells(QUALITY, Some(quality)).end_row()
    }

    /// Ends the tables: from now on they have their names.
    pub fn finish(self) -> Result<(), Error> {
        [self.windows, self.listeners, self.flows, self.incidents]
            .into_iter()
            .try_for_each(TableWriter::finish)
    }
}

/// Which lists of columns make which table. Rows are filled in the same order.
mod shape {
    use super::*;

    pub(super) fn windows() -> Shape {
        let shape = Shape::default().with("", SPAN).with("", QUALITY).with("", TOTALS).with("", TCP);
        let shape = shape.with("", LAYERS).with("rwnd_", RWND).with("transfer_1mib_", TIMES);
        let times = |shape: Shape, (prefix, _): (&str, &str)| shape.with(prefix, TIMES);
        LATENCIES.into_iter().fold(shape, times).with("", LISTENERS)
    }

    pub(super) fn listeners() -> Shape {
        Shape::default().with("", SPAN).with("", LISTENER).with("", LISTENER_SUMS)
    }

    pub(super) fn flows() -> Shape {
        let shape = Shape::default().with("", FLOW).with("handshake_", FLOW_HANDSHAKE);
        shape.with("forward_", DIRECTION).with("reverse_", DIRECTION).with("limiter_", LIMITER)
    }

    pub(super) fn incidents() -> Shape {
        Shape::default().with("", INCIDENT).with("", QUALITY)
    }
}

#[cfg(test)]
mod tests;
