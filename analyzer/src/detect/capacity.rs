//! `capacity`: a queue or table of the host we run on is full, or nearly.
//!
//! Fault: a program that does not take its connections (its accept queue fills, and the kernel drops what completes), more
//! connections than the host may have, a CPU that does not come round to its frames.
//! Measured, once a second, by the kernel itself: accept queues by listener (`sock_diag`), `ListenOverflows`,
//! `TCPAbortOnMemory`, frames dropped in the CPUs' backlogs, and feature `tcp_connections`: of connections tracked, open
//! files, sockets without a process, TCP's memory, and a configured number, the one that is fullest.
//! Ordinary traffic does not trigger it: a burst fills an accept queue for milliseconds, and it takes `capacity_s` looks a
//! second apart that all find it full. While a flood is open what it fills is told as part of it.
//! Thresholds: `tcp_connections_share` (model: 80 %), `listen_overflows_per_s`, `softnet_drops_per_s`,
//! `softnet_drop_share`, `capacity_s`. From the configuration. Memory in small pieces (`mem_fragmentation`) is shown, and
//! told beside connections given up for want of memory; alone it hurts nobody.
//! Severity: P1 where new connections are turned away (a full accept queue that overflows, a table at its end), P2 where
//! some are lost or little is left, P3 where frames are lost that TCP sends again.
//! What would fool it: a listener of another network namespace; a backlog longer than the program can ever work off,
//! which never fills (that is a long wait: see `high_rtt`).

use tidegauge_capture::host::{HostCounter, ListenQueue};

use crate::config::Config;
use crate::incident::{Finding, Kind, Severity, Target};
use crate::local_host::{Connections, HostInterval, Lasting};
use crate::window::ListenerKey;

/// Share of a table's places at which it is full: what comes next has none.
const AT_THE_END: f64 = 0.99;

/// All that a detector may look at of the host we run on.
pub(crate) struct CapacityEvidence<'a> {
    /// Thresholds.
    pub(crate) config: &'a Config,
    /// The last second.
    pub(crate) second: &'a HostInterval,
    /// How long things have lasted.
    pub(crate) lasting: &'a Lasting,
    /// A flood is open.
    pub(crate) flooded: bool,
}

/// Findings at listeners, and the worst one of the host as a whole.
pub(crate) fn capacity_findings(evidence: &CapacityEvidence<'_>) -> Vec<(Target, Finding)> {
    let CapacityEvidence { config, second, lasting, flooded } = *evidence;
    let lasts = |seconds: u32| seconds >= config.capacity_s;
    let full = second.queues.iter().flatten().filter(|queue| {
        let key = ListenerKey { address: queue.address, port: queue.port };
        lasting.full.get(&key).is_some_and(|seconds| lasts(*seconds))
    });
    let mut found: Vec<_> = full.map(|queue| accept_queue(evidence, queue)).collect();
    let mut whole = Vec::new();
    if found.is_empty() && lasts(lasting.overflow) && !flooded {
        whole.push(overflow(evidence));
    }
    let crowded = second.connections.filter(|_| lasts(lasting.crowded));
    whole.extend(crowded.map(|connections| tables(evidence, connections)));
    if lasts(lasting.memory) {
        whole.push(memory(evidence));
    }
    if lasts(lasting.softnet) && !flooded {
        whole.push(softnet(evidence));
    }
    // One incident of a kind at a target: the worst has the others' causes.
    whole.sort_by_key(|finding| finding.severity);
    let mut whole = whole.into_iter();
    if let Some(mut worst) = whole.next() {
        worst.cause.extend(whole.flat_map(|other| other.cause));
        found.push((Target::Machine, worst));
    }
    found
}

fn accept_queue(evidence: &CapacityEvidence<'_>, queue: &ListenQueue) -> (Target, Finding) {
    let second = evidence.second;
    let overflows = second.per_s(HostCounter::ListenOverflows);
    let port = queue.port;
    let severity = if overflows > 0.0 { Severity::P1 } else { Severity::P2 };
    let finding = Finding {
        rule: format!("accept queue > backlog for {} s", evidence.config.capacity_s),
        measured: f64::from(queue.waiting),
        unit: "connections waiting",
        limit: f64::from(queue.backlog),
        facts: vec![
            ("backlog", f64::from(queue.backlog)),
            ("listen_overflows_per_s", overflows),
            ("listen_drops_per_s", second.per_s(HostCounter::ListenDrops)),
            ("syncookies_sent_per_s", second.per_s(HostCounter::SyncookiesSent)),
        ],
        cause: vec![format!(
            "accept queue full at port {port}: {} connections wait for the program to take them, {} may; {}",
            queue.waiting,
            queue.backlog,
            if overflows > 0.0 { "those that complete now are dropped" } else { "nothing was dropped yet" }
        )],
        next: vec![
            format!("ss -Hltnp 'sport = :{port}'"),
            "nstat -az TcpExtListenOverflows TcpExtListenDrops; sysctl net.core.somaxconn".to_owned(),
            format!(
                "for p in $(lsof -t -iTCP:{port} -sTCP:LISTEN); do cat /proc/$p/wchan; ls /proc/$p/fd | wc -l; done"
            ),
        ],
        ..Finding::bare(Kind::Capacity, severity)
    };
    (Target::Listener(ListenerKey { address: queue.address, port }), finding)
}

fn overflow(evidence: &CapacityEvidence<'_>) -> Finding {
    let (second, config) = (evidence.second, evidence.config);
    let overflows = second.per_s(HostCounter::ListenOverflows);
    Finding {
        rule: format!("listen overflows/s >= {} for {} s", config.listen_overflows_per_s, config.capacity_s),
        measured: overflows,
        unit: "overflows/s",
        limit: config.listen_overflows_per_s,
        facts: vec![("listen_drops_per_s", second.per_s(HostCounter::ListenDrops))],
        cause: vec![format!(
            "a listener's accept queue overflows in bursts: {overflows:.1} complete connections a second are dropped, and none \
             was full when we looked"
        )],
        next: vec![
            "ss -Hltn | awk '$2 > $3 / 2'".to_owned(),
            "nstat -az TcpExtListenOverflows TcpExtListenDrops".to_owned(),
            "sysctl net.core.somaxconn net.ipv4.tcp_max_syn_backlog".to_owned(),
        ],
        ..Finding::bare(Kind::Capacity, Severity::P2)
    }
}

fn tables(evidence: &CapacityEvidence<'_>, connections: Connections) -> Finding {
    let Connections { by, used, capacity } = connections;
    let (what, next) = match by {
        "conntrack" => (
            "connections tracked by netfilter",
            "sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max; conntrack -S | head",
        ),
        "files" => (
            "open files",
            "sysctl fs.file-nr; for p in /proc/[0-9]*; do echo $(ls $p/fd | wc -l) $p; done | sort -rn | head",
        ),
        "orphans" => (
            "TCP sockets that no process holds",
            "ss -s; sysctl net.ipv4.tcp_max_orphans net.ipv4.tcp_fin_timeout",
        ),
        "memory" => {
            ("pages of TCP's buffers", "cat /proc/net/sockstat; sysctl net.ipv4.tcp_mem; ss -tmn | head")
        }
        _ => ("TCP sockets", "ss -s; tidegauge config explain tcp_connections_max"),
    };
    let share = connections.share();
    let limit = evidence.config.tcp_connections_share;
    Finding {
        rule: format!("tcp_connections > {limit} of capacity for {} s", evidence.config.capacity_s),
        measured: share,
        unit: "of capacity",
        limit,
        facts: vec![("used", used as f64), ("capacity", capacity as f64)],
        cause: vec![format!("{used} of {capacity} {what} are in use")],
        next: vec![
            next.to_owned(),
            "ss -Htn state established | awk '{print $3}' | sort | uniq -c | sort -rn | head".to_owned(),
            "ss -Htn | awk '{print $1}' | sort | uniq -c".to_owned(),
        ],
        ..Finding::bare(Kind::Capacity, if share >= AT_THE_END { Severity::P1 } else { Severity::P2 })
    }
}

fn memory(evidence: &CapacityEvidence<'_>) -> Finding {
    let second = evidence.second;
    let aborted = second.per_s(HostCounter::AbortOnMemory);
    let pieces = second.gauges.mem_fragmentation();
    Finding {
        rule: format!("connections given up for want of memory for {} s", evidence.config.capacity_s),
        measured: aborted,
        unit: "connections/s",
        limit: 0.0,
        facts: pieces.map(|share| ("mem_fragmentation", share)).into_iter().collect(),
        cause: vec![format!("{aborted:.1} connections a second are given up for want of memory")],
        next: vec![
            "cat /proc/net/sockstat; sysctl net.ipv4.tcp_mem".to_owned(),
            "nstat -az TcpExtTCPAbortOnMemory TcpExtTCPMemoryPressures".to_owned(),
            "cat /proc/buddyinfo; cat /proc/pressure/memory".to_owned(),
        ],
        ..Finding::bare(Kind::Capacity, Severity::P2)
    }
}

fn softnet(evidence: &CapacityEvidence<'_>) -> Finding {
    let (second, config) = (evidence.second, evidence.config);
    let dropped = second.per_s(HostCounter::SoftnetDropped);
    Finding {
        rule: format!(
            "frames dropped in CPU backlogs >= {}/s and > {} of all, for {} s",
            config.softnet_drops_per_s, config.softnet_drop_share, config.capacity_s
        ),
        measured: dropped,
        unit: "frames/s",
        limit: config.softnet_drops_per_s,
        facts: vec![
            ("softnet_processed_per_s", second.per_s(HostCounter::SoftnetProcessed)),
            ("softnet_squeezed_per_s", second.per_s(HostCounter::SoftnetSqueezed)),
        ],
        cause: vec![format!(
            "CPUs do not come round to their frames: {dropped:.0} a second found no room in a backlog (of all interfaces and \
             namespaces)"
        )],
        next: vec![
            "cat /proc/net/softnet_stat".to_owned(),
            "sysctl net.core.netdev_max_backlog net.core.netdev_budget net.core.netdev_budget_usecs"
                .to_owned(),
            "mpstat -P ALL -I SCPU 1 3".to_owned(),
        ],
        ..Finding::bare(Kind::Capacity, Severity::P3)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const WEB: ListenerKey = ListenerKey { address: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), port: 8080 };

    fn found(second: &HostInterval, lasting: &Lasting, flooded: bool) -> Vec<(Target, Finding)> {
        let config = Config::default();
        capacity_findings(&CapacityEvidence { config: &config, second, lasting, flooded })
    }

    fn second(counts: &[(HostCounter, u64)]) -> HostInterval {
        let mut second = HostInterval { length_ns: 1_000_000_000, ..HostInterval::default() };
        counts.iter().for_each(|(counter, count)| second.counts.set(*counter, Some(*count)));
        second
    }

    #[test]
    fn a_full_accept_queue_is_told_of_its_port_and_an_overflow_of_the_host_is_not_told_beside() {
        let mut second = second(&[(HostCounter::ListenOverflows, 7)]);
        let queue = ListenQueue { address: WEB.address, port: WEB.port, waiting: 2, backlog: 1 };
        second.queues = Some(vec![queue]);
        let lasting = Lasting { overflow: 5, full: [(WEB, 2)].into(), ..Lasting::default() };
        let told = found(&second, &lasting, false);
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].0, told[0].1.severity), (Target::Listener(WEB), Severity::P1));
        assert!(told[0].1.cause[0].contains("port 8080"), "{:?}", told[0].1.cause);
        let a_moment = Lasting { full: [(WEB, 1)].into(), ..Lasting::default() };
        assert_eq!(found(&second, &a_moment, false), []);
    }

    #[test]
    fn the_host_has_one_finding_with_all_causes_and_floods_have_their_own() {
        let mut second =
            second(&[(HostCounter::SoftnetDropped, 5_000), (HostCounter::SoftnetProcessed, 9_000)]);
        second.connections = Some(Connections { by: "conntrack", used: 1_000, capacity: 1_000 });
        let lasting = Lasting { softnet: 3, crowded: 3, ..Lasting::default() };
        let told = found(&second, &lasting, false);
        assert_eq!((told.len(), told[0].0, told[0].1.severity), (1, Target::Machine, Severity::P1));
        assert_eq!(told[0].1.cause.len(), 2);
        let lasting = Lasting { softnet: 3, overflow: 3, ..Lasting::default() };
        assert_eq!(found(&second, &lasting, true), []);
        assert_eq!(found(&second, &lasting, false).len(), 1);
    }
}
