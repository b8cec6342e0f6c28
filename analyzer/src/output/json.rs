//! JSON Lines by the output contract (DESIGN: section 6): one object a line, `ts` in packet time, `event` its type.

use std::net::IpAddr;

use serde::Serialize;
use serde_json::{Map, Value, json};
use tidegauge_capture::confine::Confined;
use tidegauge_ebpf::counter::Counter;
use tidegauge_ebpf::listener::ListenerCounter;
use tidegauge_ebpf::tcp::mark;

use super::{Gap, PinState, Source, histograms, host};
use crate::cause::Ranked;
use crate::closing::closing;
use crate::config::Config;
use crate::cost::Cost;
use crate::digest::Digest;
use crate::evidence::Totals;
use crate::feature::ratio;
use crate::flow_record::FlowRecord;
use crate::follow::Verdict;
use crate::graph::Graph;
use crate::incident::{Incident, State, Target};
use crate::model::health::Health;
use crate::model::{Features, Outlook};
use crate::quality::Quality;
use crate::remedy;
use crate::summary::{Quantiles, RttSummary, RwndSummary, Summary, Tcp, tables, top_sources, top_targets};
use crate::time::timestamp;
use crate::window::{ListenerKey, ListenerWindow, Window, ip_addr};

/// Listeners named in a window, the busiest by attempts and then packets.
pub const WINDOW_LISTENERS: usize = 10;
/// Sources named in an incident.
const INCIDENT_SOURCES: usize = 10;

/// First line of a live run: what is in force.
pub fn source(ts_ns: u64, source: &Source) -> Value {
    let mut line = json!({ "ts": timestamp(ts_ns), "event": "source", "source": source });
    // `compact`: what the kernel program tells; judgements of whole packets and all above TCP are null.
    line["source"]["judgement"] = json!(if source.kind == "xdp" { "compact" } else { "full" });
    if let Some(workers) = source.setup.workers {
        line["source"]["workers"] = json!(workers);
    }
    if let Some(confined) = &source.setup.confined {
        let Confined { capabilities, landlock, seccomp } = confined;
        line["source"]["confined"] =
            json!({ "capabilities": capabilities, "landlock": landlock, "seccomp": seccomp });
    }
    if let Some(PinState { dir, state, why, gap }) = &source.setup.pin {
        let gap = gap.map(|Gap { lasted_ns, packets, bytes }| {
            json!({ "lasted_s": lasted_ns as f64 / 1e9, "packets": packets, "bytes": bytes })
        });
        line["source"]["pin"] = json!({ "dir": dir, "state": state, "why": why, "gap": gap });
    }
    line
}

/// Thresholds were read again; `why` they were not.
pub fn reload(ts_ns: u64, why: Option<&str>, source: &Source) -> Value {
    let state = if why.is_none() { "reloaded" } else { "kept" };
    json!({ "ts": timestamp(ts_ns), "event": "config", "state": state, "why": why, "source": source })
}

/// An incident's change.
pub fn incident(incident: &Incident, source: &Source, quality: &Quality) -> Value {
    let finding = &incident.peak;
    let facts: Map<String, Value> =
        finding.facts.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let top = finding.top_sources.iter().map(|(address, attempts)| (address, attempts));
    let prefixes = finding.top_prefixes.iter().map(|(address, attempts)| (address, attempts));
    json!({
        "ts": timestamp(incident.updated_ns),
        "event": "incident",
        "id": incident.id,
        "kind": finding.kind,
        "state": incident.state,
        "severity": finding.severity,
        "opened_ts": timestamp(incident.opened_ns),
        "updated_ts": timestamp(incident.updated_ns),
        "closed_ts": incident.closed_ns.map(timestamp),
        "target": incident_target(incident.target, source),
        "rule": finding.rule,
        "measured": finding.measured,
        "unit": finding.unit,
        "limit": finding.limit,
        "baseline": finding.baseline,
        "facts": facts,
        "window_s": finding.window_s,
        "pulses": incident.pulses,
        "sources": {
            "distinct": finding.distinct_sources,
            "spoofed_estimate": finding.spoofed_estimate,
            "top": top_sources(top, INCIDENT_SOURCES),
            "prefixes": top_sources(prefixes, INCIDENT_SOURCES),
            "ttl_classes": finding.ttl_classes,
        },
        "cause": finding.cause,
        "causes": incident.causes.iter().map(Ranked::json).collect::<Vec<_>>(),
        "because_of": incident.because_of.as_ref().map(|because| json!({ "id": because.id, "why": because.why })),
        "consequences": incident.consequences,
        "host": incident.host.as_deref().map(host::sums),
        "next": remedy::next(incident),
        "mitigation": remedy::mitigation(incident, interface(source)),
        "lasted_s": (incident.state == State::Closed).then(|| incident.lasted_ns() as f64 / 1e9),
        "summary": closing(incident),
        "evidence": evidence(incident, source),
        "quality": quality,
        "source": source,
    })
}

/// The interface that is watched.
fn interface(source: &Source) -> Option<&str> {
    (source.kind != "file").then_some(source.name.as_str())
}

/// Where the packets behind a finding are: what was kept of it; else the capture itself for files, and live nothing.
fn evidence(incident: &Incident, source: &Source) -> Value {
    match &incident.evidence {
        Some(kept) => json!(kept),
        None => json!((source.kind == "file").then_some(source.name.as_str())),
    }
}

/// About ourselves there is no address: the fields are there and `null`, and the capture is named.
fn incident_target(target: Target, source: &Source) -> Value {
    match target.parts() {
        Some((addr, port, proto)) => json!({ "addr": addr, "port": port, "proto": proto }),
        None if target == Target::Machine => {
            json!({ "addr": null, "port": null, "proto": null, "host": "this" })
        }
        None => json!({ "addr": null, "port": null, "proto": null, "capture": source.name }),
    }
}

fn target(listener: ListenerKey) -> Value {
    json!({ "addr": listener.address.to_string(), "port": listener.port, "proto": "tcp" })
}

/// A window that is over: what was counted, how well it was seen, what we cost meanwhile (live), and the health of
/// listeners and hosts by these thresholds.
pub fn window(
    window: &Window,
    window_s: f64,
    source: &Source,
    quality: &Quality,
    cost: Option<&Cost>,
    config: &Config,
) -> Value {
    let (totals, truth) = (&window.totals, window.truth.as_deref());
    let count = |counter| totals.get(counter);
    let mut line = json!({
        "ts": timestamp(window.end_ns),
        "event": "window",
        "start_ts": timestamp(window.start_ns),
        "window_s": window_s,
        "packets": count(Counter::Packets),
        "bytes": count(Counter::Bytes),
        "super_frames": count(Counter::SuperFrames),
        "conn_rate": count(Counter::Attempted) as f64 / window_s,
        "tcp": Tcp::of(totals, truth),
        "handshake": {
            "attempted": count(Counter::Attempted),
            "answered": count(Counter::Answered),
            "refused": count(Counter::Refused),
            "completed": count(Counter::Completed),
            "completed_one_sided": count(Counter::CompletedOneSided),
            "aborted": count(Counter::Aborted),
        },
        "rwnd_bytes": RwndSummary::of(totals),
        "transfer_1mib_ms": Quantiles::of_us(&totals.transfer_us, source.resolution_us),
        "rtt_ms": RttSummary::of(totals, truth),
        "histograms": histograms(totals, truth),
        "targets": top_targets(&window.targets),
        "listeners": listeners(window, window_s, config),
        "hosts": hosts(window, window_s, config),
        "tables": tables(totals),
        "quality": quality,
        "sampling": window.sampling.map(|sampling| sampling.json(totals)),
        "cost": cost.map(|cost| cost.json(window.end_ns)),
        "host": window.host.as_deref().map(host::per_second),
        "source": source,
    });
    if let (Some(truth), Value::Object(fields)) = (truth, &mut line) {
        fields.append(&mut truth.layers.json());
    }
    line
}

/// What talks to what: the busiest of it.
pub fn graph(now_ns: u64, graph: &Graph) -> Value {
    let mut line = json!({ "ts": timestamp(now_ns) });
    if let (Value::Object(line), Value::Object(excerpt)) = (&mut line, graph.excerpt()) {
        line.extend(excerpt);
    }
    line
}

/// Adds the feature model to a window's line: the newest features, the worst health in it, the forecast.
pub fn add_outlook(line: &mut Value, outlook: &Outlook) {
    if let Value::Object(line) = line {
        line.extend(outlook.fields().map(|(name, value)| (name.to_owned(), value)));
    }
}

fn listeners(window: &Window, window_s: f64, config: &Config) -> Vec<Value> {
    let mut busiest: Vec<_> = window.listeners.iter().collect();
    let rank = |listener: &ListenerWindow| {
        (listener.get(ListenerCounter::Attempted), listener.get(ListenerCounter::Packets))
    };
    let order = |a: &(&ListenerKey, &ListenerWindow), b: &(&ListenerKey, &ListenerWindow)| {
        rank(b.1).cmp(&rank(a.1)).then(a.0.cmp(b.0))
    };
    if busiest.len() > WINDOW_LISTENERS {
        busiest.select_nth_unstable_by(WINDOW_LISTENERS, order);
        busiest.truncate(WINDOW_LISTENERS);
    }
    busiest.sort_unstable_by(order);
    let whole = window.truth.is_some();
    let object = |key, listener| {
        let mut object = listener_object(key, listener, window_s);
        let features = Features::of_listener(listener, window_s, whole);
        object["features"] = features.json_of_place();
        object["health"] = Health::of(config, &features).json_of_place();
        object
    };
    busiest.into_iter().map(|(key, listener)| object(*key, listener)).collect()
}

/// The features and the health of hosts, each host's listeners together: the busiest by attempts and then packets.
fn hosts(window: &Window, window_s: f64, config: &Config) -> Vec<Value> {
    let mut ranks: Vec<([u64; 2], IpAddr)> = Vec::new();
    // Listeners are in the order of their addresses: a host's come one after the other.
    for (key, listener) in window.listeners.iter() {
        let more =
            [ListenerCounter::Attempted, ListenerCounter::Packets].map(|counter| listener.get(counter));
        match ranks.last_mut() {
            Some((rank, address)) if *address == key.address => {
                rank.iter_mut().zip(more).for_each(|(rank, more)| *rank += more);
            }
            _ => ranks.push((more, key.address)),
        }
    }
    ranks.sort_unstable_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(&other.1)));
    ranks.truncate(WINDOW_LISTENERS);
    let whole = window.truth.is_some();
    let object = |(_, address): &([u64; 2], IpAddr)| {
        let mut host = ListenerWindow::default();
        let own = window.listeners.iter().filter(|(key, _)| key.address == *address);
        own.for_each(|(_, listener)| host.merge_counts(listener));
        let features = Features::of_listener(&host, window_s, whole);
        let health = Health::of(config, &features).json_of_place();
        json!({ "addr": address, "features": features.json_of_place(), "health": health })
    };
    ranks.iter().map(object).collect()
}

fn listener_object(key: ListenerKey, listener: &ListenerWindow, window_s: f64) -> Value {
    let count = |counter| listener.get(counter);
    let windows = count(ListenerCounter::RwndPeer) + count(ListenerCounter::RwndListener);
    let low = count(ListenerCounter::RwndPeerLow) + count(ListenerCounter::RwndListenerLow);
    let mean_ms = |sum_us, samples| ratio(count(sum_us), count(samples)).map(|mean_us| mean_us / 1_000.0);
    json!({
        "target": target(key),
        "listens": if listener.known { json!(true) } else { Value::Null },
        "conn_rate": count(ListenerCounter::Attempted) as f64 / window_s,
        "packets": count(ListenerCounter::Packets),
        "bytes": count(ListenerCounter::Bytes),
        "attempted": count(ListenerCounter::Attempted),
        "answered": count(ListenerCounter::Answered),
        "refused": count(ListenerCounter::Refused),
        "completed": count(ListenerCounter::Completed),
        "half_open": count(ListenerCounter::Answered).saturating_sub(count(ListenerCounter::Completed)),
        "rwnd_low_share": ratio(low, windows),
        "rwnd_scale_unknown": count(ListenerCounter::RwndScaleUnknown),
        "retransmit_or_reordered": count(ListenerCounter::RetransmitOrReordered),
        "transfer_1mib_ms": mean_ms(ListenerCounter::TransfersUs, ListenerCounter::Transfers),
        "distinct_sources": listener.distinct.estimate(),
        "ttl_classes": listener.ttl_classes.count_ones(),
        "rtt_peer_ms": mean_ms(ListenerCounter::RoundTripsPeerUs, ListenerCounter::RoundTripsPeer),
        "rtt_listener_ms": mean_ms(ListenerCounter::RoundTripsListenerUs, ListenerCounter::RoundTripsListener),
    })
}

/// A connection.
pub fn flow(flow: &FlowRecord) -> Value {
    let mut line = json!({ "ts": timestamp(flow.told_ns), "event": "flow" });
    // `ts` comes again, to the same place: an object keeps the order in which names first came.
    if let (Value::Object(line), Value::Object(record)) = (&mut line, json!(flow)) {
        line.extend(record);
    }
    line
}

/// A TCP segment that was judged to be something; `packet` is its number in the run, from 1.
pub fn judgement(packet: u64, digest: &Digest, verdict: &Verdict) -> Value {
    let marks = verdict.judged.marks;
    let names: Vec<_> =
        mark::NAMES.iter().filter(|(bit, _)| marks & bit != 0).map(|(_, name)| *name).collect();
    let end = |address, port| std::net::SocketAddr::new(ip_addr(address), port).to_string();
    let header = &digest.packet;
    let mut line = json!({
        "ts": timestamp(digest.ts_ns),
        "event": "judgement",
        "packet": packet,
        "names": names,
        "source": end(header.source, header.source_port),
        "destination": end(header.destination, header.destination_port),
    });
    if marks & mark::DUPLICATE_ACK != 0 {
        line["duplicate_ack_number"] = json!(verdict.judged.duplicate_ack);
    }
    line
}

/// The last line.
pub fn summary(summary: &Summary, evidence: Option<&Totals>, ts_ns: u64, source: &Source) -> Value {
    #[derive(Serialize)]
    struct Line<'a> {
        ts: String,
        event: &'static str,
        #[serde(flatten)]
        summary: &'a Summary,
        #[serde(skip_serializing_if = "Option::is_none")]
        evidence: Option<&'a Totals>,
        cost: Option<Value>,
        source: &'a Source,
    }
    let cost = summary.cost.as_ref().map(|cost| cost.json(ts_ns));
    json!(Line { ts: timestamp(ts_ns), event: "summary", summary, evidence, cost, source })
}
