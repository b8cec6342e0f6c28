//! What is told of one connection: plain records, which trackers fill and sinks write (`event: "flow"`).
//!
//! A record is a statement about packets that were seen: `None` is "not known", zero is "seen, and there was none".
//! Field names are the output contract's; in JSON, times are RFC 3339 (`ts`, `first_ts`, `last_ts`) and enums are
//! `snake_case` words. Whether counts are whole says [`FlowRecord::detail_lost`].

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One TCP connection, told once: when it closed, was given up, or the capture ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowRecord {
    /// When the record was told, packet time, nanoseconds since the epoch; JSON: `ts`.
    #[serde(rename = "ts", with = "rfc3339")]
    pub told_ns: u64,
    /// Order of the connection's first packet in the run, from 1.
    pub number: u64,
    /// First packet, nanoseconds since the epoch; JSON: `first_ts`.
    #[serde(rename = "first_ts", with = "rfc3339")]
    pub first_ns: u64,
    /// Last packet; JSON: `last_ts`.
    #[serde(rename = "last_ts", with = "rfc3339")]
    pub last_ns: u64,
    /// Who asked.
    pub initiator: Endpoint,
    /// Who was asked.
    pub responder: Endpoint,
    /// `false`: no handshake was seen, and the lower port is taken for the responder's.
    pub initiator_known: bool,
    /// How far it came.
    pub state: FlowState,
    /// Why it is over, or why it is told although it is not.
    pub close: CloseCause,
    /// `None`: no part of a handshake was seen.
    pub handshake: Option<HandshakeRecord>,
    /// What the initiator sent.
    pub forward: DirectionRecord,
    /// What the responder sent.
    pub reverse: DirectionRecord,
    /// What held it back; `None` where it is no bulk flow, or not known.
    pub limiter: Option<LimiterRecord>,
    /// What the layers above TCP know of it: a record of their own.
    pub app: Option<Value>,
    /// The connection was seen in part only (its beginning, or what was known before it was given up, is missing):
    /// counts are at least these.
    pub detail_lost: bool,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    /// Network address.
    pub addr: IpAddr,
    /// TCP port.
    pub port: u16,
}

/// How far a connection came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowState {
    /// A SYN, and no answer.
    Asked,
    /// A SYN-ACK, and no ACK of it.
    Answered,
    /// The handshake was completed, or segments of a connection that was there before us were seen.
    Established,
    /// One side sent its FIN.
    HalfClosed,
    /// Both did.
    Closed,
    /// Ended by a RST.
    Reset,
}

/// Why a record was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseCause {
    /// FINs of both sides.
    Fin,
    /// The initiator aborted.
    ResetByInitiator,
    /// The responder aborted.
    ResetByResponder,
    /// A RST was the answer to the SYN.
    Refused,
    /// A RST that fits no state of the connection as it was seen.
    ResetOutOfState,
    /// Silence for longer than connections are remembered, or a SYN without an answer.
    TimedOut,
    /// Given up for lack of room; it may have gone on.
    Evicted,
    /// The capture ended first.
    Open,
    /// A new connection began with the same addresses and ports.
    ReusedPorts,
    /// ICMP said that the responder cannot be reached.
    Unreachable,
}

/// The handshake, as far as it was seen. Round trips run from where we look to one end and back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandshakeRecord {
    /// SYN to SYN-ACK, microseconds.
    pub listener_rtt_us: Option<u32>,
    /// SYN-ACK to ACK, microseconds.
    pub peer_rtt_us: Option<u32>,
    /// SYNs sent again.
    pub syn_retransmission: u32,
    /// SYN-ACKs sent again.
    pub syn_ack_retransmission: u32,
    /// Both sides sent a SYN before they got one (RFC 9293, section 3.5).
    pub simultaneous_open: bool,
}

/// What one side sent. Judgements are those of DESIGN, section 5.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DirectionRecord {
    /// Segments.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
    /// TCP payload bytes, each time they were sent.
    pub payload_bytes: u64,
    /// Payload bytes that were new.
    pub goodput_bytes: u64,
    /// Segments sent again, the fast and the spurious ones among them.
    pub retransmission: u32,
    /// Of these, those that answer duplicate ACKs.
    pub fast_retransmission: u32,
    /// Of these, those whose bytes had been acknowledged.
    pub spurious_retransmission: u32,
    /// Segments that were overtaken.
    pub out_of_order: u32,
    /// Segments before which something was not seen.
    pub lost_segment: u32,
    /// ACKs that say the same again.
    pub duplicate_ack: u32,
    /// Segments that close the receive window.
    pub zero_window: u32,
    /// Segments that fill the other side's receive window to its end.
    pub window_full: u32,
    /// Keep-alive probes.
    pub keep_alive: u32,
    /// Packets that the capture has twice; they are in no other judgement.
    pub captured_twice: u32,
    /// Round trips of this direction's segments.
    pub rtt: RttRecord,
    /// Least receive window that this side advertised, bytes; `None` where its scale is unknown.
    pub rwnd_min_bytes: Option<u32>,
    /// Largest one.
    pub rwnd_max_bytes: Option<u32>,
    /// Shift of this side's window (RFC 7323), `Some(0)` where a handshake without the option was seen.
    pub window_shift: Option<u8>,
    /// Most bytes sent and not acknowledged.
    pub in_flight_max_bytes: Option<u32>,
    /// Payload bits per second, first to last payload segment.
    pub throughput_bps: Option<f64>,
    /// The same of new payload.
    pub goodput_bps: Option<f64>,
    /// This side permitted SACK (RFC 2018) or sent it.
    pub sack: bool,
    /// This side offered or took up ECN (RFC 3168), or sent marked packets.
    pub ecn: bool,
    /// This side sent a FIN.
    pub fin: bool,
    /// This side sent a RST.
    pub rst: bool,
}

/// Round trips of one direction: from where we look to its RECEIVER and back, segment to its ACK. Segments sent again
/// are not used (Karn's rule).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RttRecord {
    /// How many.
    pub samples: u32,
    /// Least, microseconds.
    pub min_us: Option<u32>,
    /// Mean, microseconds.
    pub mean_us: Option<u32>,
    /// Largest, microseconds.
    pub max_us: Option<u32>,
    /// Mean difference between one and the next, microseconds; `None` below two samples.
    pub jitter_us: Option<u32>,
}

/// What held a bulk flow back. The shares are of the time it was watched, and sum to 1 at most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimiterRecord {
    /// The largest share.
    pub verdict: Limiter,
    /// Of which direction's data.
    pub direction: FlowDirection,
    /// The sender had nothing to send.
    pub application_share: f64,
    /// The receive window was full.
    pub receiver_window_share: f64,
    /// Loss or a queue.
    pub network_share: f64,
    /// The numbers behind it, in words.
    pub evidence: String,
}

/// What a bulk flow waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limiter {
    /// Its sender's application.
    Application,
    /// Its receiver's window.
    ReceiverWindow,
    /// What lies between.
    Network,
}

/// A direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowDirection {
    /// What the initiator sent.
    Forward,
    /// What the responder sent.
    Reverse,
}

impl FlowState {
    /// The contract's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Answered => "answered",
            Self::Established => "established",
            Self::HalfClosed => "half_closed",
            Self::Closed => "closed",
            Self::Reset => "reset",
        }
    }
}

impl CloseCause {
    /// The contract's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fin => "fin",
            Self::ResetByInitiator => "reset_by_initiator",
            Self::ResetByResponder => "reset_by_responder",
            Self::Refused => "refused",
            Self::ResetOutOfState => "reset_out_of_state",
            Self::TimedOut => "timed_out",
            Self::Evicted => "evicted",
            Self::Open => "open",
            Self::ReusedPorts => "reused_ports",
            Self::Unreachable => "unreachable",
        }
    }
}

impl Limiter {
    /// The contract's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::ReceiverWindow => "receiver_window",
            Self::Network => "network",
        }
    }
}

impl FlowDirection {
    /// The contract's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Reverse => "reverse",
        }
    }
}

impl FlowRecord {
    /// The record of a line that [`crate::output::json::flow`] made.
    pub fn from_json(line: &Value) -> Result<Self, serde_json::Error> {
        Self::deserialize(line)
    }
}

/// Times of records: nanoseconds here, RFC 3339 in JSON.
mod rfc3339 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::time::{parse_timestamp, timestamp};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(ns: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&timestamp(*ns))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_timestamp(&text).ok_or_else(|| D::Error::custom(format!("{text} is not an RFC 3339 time")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::json;

    fn record() -> FlowRecord {
        let end = |addr: &str, port| Endpoint { addr: addr.parse().unwrap(), port };
        FlowRecord {
            told_ns: 1_700_000_003_000_000_001,
            number: 7,
            first_ns: 1_700_000_000_123_456_789,
            last_ns: 1_700_000_002_000_000_000,
            initiator: end("10.0.0.2", 40_000),
            responder: end("2001:db8::1", 443),
            initiator_known: true,
            state: FlowState::Closed,
            close: CloseCause::ResetByResponder,
            handshake: Some(HandshakeRecord { listener_rtt_us: Some(120), ..HandshakeRecord::default() }),
            forward: DirectionRecord {
                packets: 3,
                throughput_bps: Some(1.5e6),
                ..DirectionRecord::default()
            },
            reverse: DirectionRecord::default(),
            limiter: Some(LimiterRecord {
                verdict: Limiter::ReceiverWindow,
                direction: FlowDirection::Reverse,
                application_share: 0.25,
                receiver_window_share: 0.5,
                network_share: 0.0,
                evidence: "window full 3 times".to_owned(),
            }),
            app: Some(serde_json::json!({ "tls": { "version": "1.3" } })),
            detail_lost: false,
        }
    }

    #[test]
    fn a_line_begins_with_time_and_event_and_reads_back() {
        let record = record();
        let text = json::flow(&record).to_string();
        assert!(
            text.starts_with(r#"{"ts":"2023-11-14T22:13:23.000000001Z","event":"flow","number":7,"#),
            "{text}"
        );
        assert!(text.contains(r#""first_ts":"2023-11-14T22:13:20.123456789Z""#), "{text}");
        assert!(text.contains(r#""close":"reset_by_responder""#), "{text}");
        assert!(text.contains(r#""responder":{"addr":"2001:db8::1","port":443}"#), "{text}");
        let read = FlowRecord::from_json(&serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(read, record);
    }

    #[test]
    fn names_are_those_of_json() {
        for state in [FlowState::Asked, FlowState::HalfClosed, FlowState::Reset] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
        for cause in [
            CloseCause::Fin,
            CloseCause::ResetByInitiator,
            CloseCause::ResetByResponder,
            CloseCause::Refused,
            CloseCause::ResetOutOfState,
            CloseCause::TimedOut,
            CloseCause::Evicted,
            CloseCause::Open,
            CloseCause::ReusedPorts,
            CloseCause::Unreachable,
        ] {
            assert_eq!(serde_json::to_value(cause).unwrap(), cause.name());
        }
        for limiter in [Limiter::Application, Limiter::ReceiverWindow, Limiter::Network] {
            assert_eq!(serde_json::to_value(limiter).unwrap(), limiter.name());
        }
    }

    #[test]
    fn what_is_no_record_is_an_error() {
        assert!(FlowRecord::from_json(&serde_json::json!({ "event": "flow" })).is_err());
        let mut line = json::flow(&record());
        line["first_ts"] = serde_json::json!("yesterday");
        assert!(FlowRecord::from_json(&line).is_err());
    }
}
