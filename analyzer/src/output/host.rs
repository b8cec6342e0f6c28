//! What the host counted of its own stack, as results have it: `host` of windows, incidents and the summary.

use serde_json::{Map, Value, json};
use tidegauge_capture::host::{HostCounter, ListenQueue};

use crate::local_host::HostInterval;

/// Accept queues named.
const QUEUES_MAX: usize = 10;

/// Of a window: counters per second (`NAME_per_s`).
pub(super) fn per_second(host: &HostInterval) -> Value {
    let mut object = Map::new();
    for counter in HostCounter::ALL {
        let per_s = host.counts.get(*counter).map(|_| host.per_s(*counter));
        object.insert(format!("{}_per_s", counter.name()), json!(per_s));
    }
    with_state(object, host)
}

/// Of a run or an incident: counters since its beginning.
pub fn sums(host: &HostInterval) -> Value {
    let counts = HostCounter::ALL.iter();
    let counts = counts.map(|counter| (counter.name().to_owned(), json!(host.counts.get(*counter))));
    with_state(counts.collect(), host)
}

fn with_state(mut object: Map<String, Value>, host: &HostInterval) -> Value {
    let (gauges, limits) = (&host.gauges, &host.limits);
    let connections = host.connections.map(|connections| {
        json!({
            "share": connections.share(),
            "by": connections.by,
            "used": connections.used,
            "capacity": connections.capacity,
        })
    });
    let queue = |queue: &ListenQueue| {
        json!({
            "addr": queue.address.to_string(),
            "port": queue.port,
            "waiting": queue.waiting,
            "backlog": queue.backlog,
        })
    };
    let queues = host.queues.as_ref();
    let queues = queues.map(|queues| queues.iter().take(QUEUES_MAX).map(queue).collect::<Vec<_>>());
    let state = json!({
        "tcp_connections": connections,
        "mem_fragmentation": gauges.mem_fragmentation(),
        "mem_fragmentation_s": host.fragmented_s,
        "accept_queues": queues,
        "tcp_inuse": gauges.tcp_inuse,
        "tcp_established": gauges.tcp_established,
        "tcp_orphan": gauges.tcp_orphan,
        "tcp_time_wait": gauges.tcp_time_wait,
        "tcp_mem_pages": gauges.tcp_mem_pages,
        "conntrack": gauges.conntrack,
        "files": gauges.files,
        "limits": {
            "conntrack": limits.conntrack,
            "somaxconn": limits.somaxconn,
            "tcp_max_syn_backlog": limits.tcp_max_syn_backlog,
            "tcp_syncookies": limits.tcp_syncookies,
            "tcp_max_orphans": limits.tcp_max_orphans,
            "tcp_mem_pages": limits.tcp_mem_pages,
            "local_ports": limits.local_ports,
            "files": limits.files,
        },
        "bad_lines": host.bad_lines,
    });
    if let Value::Object(state) = state {
        object.extend(state);
    }
    Value::Object(object)
}

/// One line for a person, of [`sums`].
pub(super) fn line(host: &Value) -> String {
    let known =
        |name: &str| host[name].as_u64().map_or_else(|| "unknown".to_owned(), |count| count.to_string());
    let share = host["tcp_connections"]["share"].as_f64();
    let connections = share.map(|share| {
        let by = host["tcp_connections"]["by"].as_str().unwrap_or_default();
        format!(", connections at most {:.1} % ({by})", share * 100.0)
    });
    format!(
        "listen overflows {}, SYN cookies sent {}, half-open queue drops {}, backlog drops {}{}",
        known("listen_overflows"),
        known("syncookies_sent"),
        known("req_q_full_drop"),
        known("softnet_dropped"),
        connections.unwrap_or_default(),
    )
}
