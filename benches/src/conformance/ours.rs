//! What tidegauge says of a capture: its judgements packet by packet, its flows, its summary.
//!
//! Read from the JSON lines of one run, as any other program would. Lines of other events are skipped.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::judgement::{Judgement, Judgements};

/// What one packet was judged to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Its judgements.
    pub judgements: Judgements,
    /// The number of the duplicate ACK.
    pub duplicate_ack_number: Option<u32>,
}

/// An address and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub struct Endpoint {
    /// Address as text.
    pub addr: String,
    /// Port.
    pub port: u16,
}

/// Round trips of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub struct Rtt {
    /// How many were measured.
    #[serde(default)]
    pub samples: u64,
    /// The shortest.
    pub min_us: Option<f64>,
    /// Their mean.
    pub mean_us: Option<f64>,
    /// The longest.
    pub max_us: Option<f64>,
}

/// One direction of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub struct Way {
    /// Segments.
    pub packets: u64,
    /// Payload, what was sent again included.
    pub payload_bytes: u64,
    /// Segments sent again.
    #[serde(default)]
    pub retransmission: u64,
    /// Segments overtaken.
    #[serde(default)]
    pub out_of_order: u64,
    /// Segments that close the window.
    #[serde(default)]
    pub zero_window: u64,
    /// From its segments to their ACKs.
    #[serde(default)]
    pub rtt: Rtt,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Flow {
    /// In the order of first packets, from 1.
    #[serde(default)]
    pub number: u64,
    /// Who began.
    pub initiator: Endpoint,
    /// Who answered.
    pub responder: Endpoint,
    /// From the initiator.
    pub forward: Way,
    /// To the initiator.
    pub reverse: Way,
}

/// Everything that one run said.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// By packet, from 1; packets that were judged to be nothing are not in it.
    pub judged: HashMap<u64, Judged>,
    /// In the order of their numbers.
    pub flows: Vec<Flow>,
    /// The last line.
    pub summary: Value,
    /// Names of judgements that this program does not know.
    pub unknown_names: Vec<String>,
}

/// A `judgement` line.
#[derive(Deserialize)]
struct JudgementLine {
    packet: u64,
    names: Vec<String>,
    duplicate_ack_number: Option<u32>,
}

/// Runs `tidegauge read` once on a capture.
pub fn read(tidegauge: &Path, capture: &Path) -> Result<Said> {
    let mut child = Command::new(tidegauge)
        .arg("read")
        .arg(capture)
        .args(["--json", "--judgements", "--flows"])
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", tidegauge.display()))?;
    let stdout = child.stdout.take().context("tidegauge's output")?;
    let said = gather(BufReader::new(stdout));
    let status = child.wait().context("wait for tidegauge")?;
    ensure!(status.success(), "tidegauge ended with {status} on {}", capture.display());
    said
}

/// Gathers the lines of a run.
fn gather(lines: impl BufRead) -> Result<Said> {
    let mut said = Said::default();
    for line in lines.lines() {
        let line = line.context("read from tidegauge")?;
        let value: Value = serde_json::from_str(&line).with_context(|| format!("not JSON: {line}"))?;
        match value["event"].as_str() {
            Some("judgement") => {
                let line = JudgementLine::deserialize(value).context("a judgement line")?;
                note(&mut said, line);
            }
            Some("flow") if value["forward"].is_object() => {
                said.flows.push(Flow::deserialize(value).with_context(|| format!("a flow line: {line}"))?);
            }
            Some("summary") => said.summary = value,
            _ => {}
        }
    }
    ensure!(said.summary.is_object(), "tidegauge printed no summary");
    said.flows.sort_by_key(|flow| flow.number);
    Ok(said)
}

/// A packet may have several lines: what it was judged to be adds up.
fn note(said: &mut Said, line: JudgementLine) {
    let judged = said.judged.entry(line.packet).or_default();
    judged.duplicate_ack_number = judged.duplicate_ack_number.or(line.duplicate_ack_number);
    for name in line.names {
        match Judgement::named(&name) {
            Some(judgement) => judged.judgements.add(judgement),
            None if said.unknown_names.contains(&name) => {}
            None => said.unknown_names.push(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = r#"{"ts":"2023-11-14T22:13:20.000000000Z","event":"window","packets":3}
{"ts":"2023-11-14T22:13:20.000000000Z","event":"judgement","packet":17,"names":["retransmission","fast_retransmission"],"source":"10.0.0.1:80","destination":"10.0.0.2:1234"}
{"ts":"2023-11-14T22:13:20.000000000Z","event":"judgement","packet":18,"names":["duplicate_ack","healthy"],"duplicate_ack_number":3,"source":"10.0.0.2:1234","destination":"10.0.0.1:80"}
{"ts":"2023-11-14T22:13:20.000000000Z","event":"flow","initiator":{"addr":"10.0.0.2","port":1234},"responder":{"addr":"10.0.0.1","port":80},"forward":{"packets":5,"payload_bytes":100,"retransmission":0,"out_of_order":0,"rtt":{"samples":2,"min_us":10,"mean_us":15.5,"max_us":21}},"reverse":{"packets":4,"payload_bytes":9,"retransmission":1,"out_of_order":0,"rtt":{"samples":0,"min_us":null,"mean_us":null,"max_us":null}},"close":"fin"}
{"ts":"2023-11-14T22:13:20.000000000Z","event":"summary","tcp":{"retransmission":1}}
"#;

    #[test]
    fn lines_are_gathered() {
        let said = gather(LINES.as_bytes()).unwrap();
        let names: Judgements =
            [Judgement::Retransmission, Judgement::FastRetransmission].into_iter().collect();
        assert_eq!(said.judged[&17], Judged { judgements: names, duplicate_ack_number: None });
        assert_eq!(said.judged[&18].duplicate_ack_number, Some(3));
        assert_eq!((said.judged.len(), said.unknown_names), (2, vec!["healthy".to_owned()]));
        assert_eq!(said.flows[0].initiator.port, 1234);
        assert_eq!(said.flows[0].forward.rtt.mean_us, Some(15.5));
        assert_eq!(said.summary["tcp"]["retransmission"], 1);
    }

    #[test]
    fn an_output_without_a_summary_is_refused() {
        let cut: Vec<&str> = LINES.lines().take(2).collect();
        assert!(gather(cut.join("\n").as_bytes()).is_err());
        assert!(gather("not json\n".as_bytes()).is_err());
    }
}
