//! What tcptrace says of each connection and direction of a capture.
//!
//! Its CSV is read by the names of its columns. It knows fewer link types than tidegauge and looks into no tunnels; what
//! it cannot read is an error here and a line in the report. RTTs have a tenth of a millisecond.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::ours::Endpoint;

/// One direction of a connection, in tcptrace's words.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Way {
    /// `total packets`.
    pub packets: u64,
    /// `actual data bytes`: payload, what was sent again included.
    pub data_bytes: u64,
    /// `unique bytes sent`.
    pub unique_bytes: u64,
    /// `rexmt data pkts`: carry at least a byte that was sent before.
    pub retransmitted: u64,
    /// `outoforder pkts`: fill a hole.
    pub out_of_order: u64,
    /// `zwnd probe pkts`.
    pub zero_window_probes: u64,
    /// `zero win adv`.
    pub zero_windows: u64,
    /// `hardware dups`: the very packet captured twice, by its IPv4 identification.
    pub captured_twice: u64,
    /// `duplicate acks`.
    pub duplicate_acks: u64,
    /// `RTT samples`.
    pub rtt_samples: u64,
    /// `RTT min`, milliseconds.
    pub rtt_min_ms: f64,
    /// `RTT avg`, milliseconds.
    pub rtt_mean_ms: f64,
    /// `RTT max`, milliseconds.
    pub rtt_max_ms: f64,
}

/// One connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// `host_a` and `host_b` with their ports; `a` sent the first packet.
    pub ends: [Endpoint; 2],
    /// From a to b, and back.
    pub ways: [Way; 2],
}

/// All connections of a capture, in tcptrace's order: by their first packet.
pub fn connections(capture: &Path) -> Result<Vec<Connection>> {
    let output = Command::new("tcptrace")
        .args(["-n", "-l", "-r", "--csv"])
        .arg(capture)
        .output()
        .context("run tcptrace (Debian package tcptrace)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    let why = || told.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message").to_owned();
    ensure!(output.status.success(), "tcptrace ended with {}: {}", output.status, why());
    ensure!(text.contains("packets seen"), "tcptrace cannot read it");
    ensure!(!text.contains("\n#0 packets seen"), "tcptrace finds no packet in it");
    Ok(rows(&text))
}

/// The rows of the CSV; none where there was no TCP.
fn rows(text: &str) -> Vec<Connection> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with("conn_#"));
    let Some(header) = lines.next() else { return Vec::new() };
    let names: Vec<&str> = header.split(',').map(str::trim).collect();
    lines.filter_map(|line| row(&names, line)).collect()
}

fn row(names: &[&str], line: &str) -> Option<Connection> {
    let cells: Vec<&str> = line.split(',').map(str::trim).collect();
    let cell =
        |name: &str| names.iter().position(|known| *known == name).and_then(|at| cells.get(at)).copied();
    let end = |which: &str| {
        let addr: IpAddr = cell(&format!("host_{which}"))?.parse().ok()?;
        Some(Endpoint { addr: addr.to_string(), port: cell(&format!("port_{which}"))?.parse().ok()? })
    };
    let way = |suffix: &str| {
        // `NA` stands for what tcptrace could not tell.
        let text = |name: &str| cell(&format!("{name}_{suffix}")).unwrap_or_default();
        let count = |name: &str| text(name).parse().unwrap_or(0);
        let ms = |name: &str| text(name).parse().unwrap_or(0.0);
        Way {
            packets: count("total_packets"),
            data_bytes: count("actual_data_bytes"),
            unique_bytes: count("unique_bytes_sent"),
            retransmitted: count("rexmt_data_pkts"),
            out_of_order: count("outoforder_pkts"),
            zero_window_probes: count("zwnd_probe_pkts"),
            zero_windows: count("zero_win_adv"),
            captured_twice: count("hardware_dups"),
            duplicate_acks: count("duplicate_acks"),
            rtt_samples: count("RTT_samples"),
            rtt_min_ms: ms("RTT_min"),
            rtt_mean_ms: ms("RTT_avg"),
            rtt_max_ms: ms("RTT_max"),
        }
    };
    Some(Connection { ends: [end("a")?, end("b")?], ways: [way("a2b"), way("b2a")] })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As tcptrace 6.6.7 prints it, with fewer columns.
    const TEXT: &str = "\
#1 arg remaining, starting with 'a.pcap'

#1556 packets seen, 1556 TCP packets traced
conn_#,host_a,host_b,port_a,port_b,total_packets_a2b,total_packets_b2a,rexmt_data_pkts_a2b,rexmt_data_pkts_b2a,missed_data_a2b,RTT_samples_a2b,RTT_samples_b2a,RTT_min_a2b,RTT_min_b2a,hardware_dups_a2b,hardware_dups_b2a

1,192.168.72.14,65.54.95.206,3254,80,            460,            842,              0,             65,             NA,              3,            325,           71.7,            0.7,              0,              2,
2,2001:0db8::1,2001:db8::2,3254,80,            1,            0,              0,             0,             NA,              0,            0,           0.0,            0.0,              0,              0,
";

    #[test]
    fn rows_are_read_by_the_names_of_their_columns() {
        let read = rows(TEXT);
        assert_eq!(read.len(), 2);
        let [forward, reverse] = read[0].ways;
        assert_eq!(read[0].ends[1], Endpoint { addr: "65.54.95.206".into(), port: 80 });
        assert_eq!((forward.packets, reverse.packets), (460, 842));
        assert_eq!((reverse.retransmitted, reverse.captured_twice, reverse.out_of_order), (65, 2, 0));
        assert_eq!((forward.rtt_samples, forward.rtt_min_ms, reverse.rtt_min_ms), (3, 71.7, 0.7));
        assert_eq!(read[1].ends[0].addr, "2001:db8::1", "addresses are written in one way");
    }

    #[test]
    fn a_capture_without_tcp_has_no_rows() {
        assert!(rows("#7 packets seen, 0 TCP packets traced\n#no traced TCP packets\n").is_empty());
    }
}
