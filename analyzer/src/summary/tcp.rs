//! TCP counts and judgements of an interval or a run, by the output contract's names.

use serde::Serialize;
use tidegauge_ebpf::counter::{Counter, Counters};
use tidegauge_ebpf::tcp::mark;

use crate::truth::Truth;

/// TCP counts. `null`: the source does not tell that judgement apart; the kernel program counts what it can of it under
/// `retransmit_or_reordered`.
#[derive(Clone, Debug, Serialize)]
#[expect(
    missing_docs,
    reason = "the field names are the output contract's, DESIGN section 6, or those of `mark`"
)]
pub struct Tcp {
    pub segments: u64,
    pub syn: u64,
    pub syn_ack: u64,
    pub fin: u64,
    pub rst: u64,
    pub payload_segments: u64,
    pub payload_bytes: u64,
    pub syn_retransmission: u64,
    pub syn_ack_retransmission: Option<u64>,
    pub retransmit_or_reordered: u64,
    /// All that was sent again: SYN, SYN-ACK, FIN, fast and spurious ones included.
    pub retransmission: Option<u64>,
    pub fast_retransmission: Option<u64>,
    pub spurious_retransmission: Option<u64>,
    pub out_of_order: Option<u64>,
    pub lost_segment: u64,
    pub acked_unseen: Option<u64>,
    pub duplicate_ack: Option<u64>,
    pub zero_window: u64,
    pub zero_window_probe: Option<u64>,
    pub zero_window_probe_ack: Option<u64>,
    pub window_full: Option<u64>,
    pub window_update: Option<u64>,
    pub keep_alive: u64,
    pub keep_alive_ack: Option<u64>,
    pub reused_ports: Option<u64>,
    pub captured_twice: Option<u64>,
    pub sack: Option<u64>,
    pub d_sack: Option<u64>,
    pub urgent: Option<u64>,
    pub ecn_echo: Option<u64>,
    pub congestion_window_reduced: Option<u64>,
    pub reset_refused: Option<u64>,
    pub reset_aborted: Option<u64>,
    pub reset_out_of_state: Option<u64>,
    pub half_close: Option<u64>,
    pub simultaneous_open: Option<u64>,
}

impl Tcp {
    /// The TCP counts of any totals; `truth` where whole packets were seen.
    pub fn of(totals: &Counters, truth: Option<&Truth>) -> Self {
        let count = |counter| totals.get(counter);
        let judged = |mark| truth.map(|truth| truth.get(mark));
        Self {
            segments: count(Counter::Segments),
            syn: count(Counter::Syn),
            syn_ack: count(Counter::SynAck),
            fin: count(Counter::Fin),
            rst: count(Counter::Rst),
            payload_segments: count(Counter::PayloadSegments),
            payload_bytes: count(Counter::PayloadBytes),
            syn_retransmission: count(Counter::SynRetransmission),
            syn_ack_retransmission: judged(mark::SYN_ACK_RETRANSMISSION),
            retransmit_or_reordered: count(Counter::RetransmitOrReordered),
            retransmission: judged(mark::RETRANSMISSION),
            fast_retransmission: judged(mark::FAST_RETRANSMISSION),
            spurious_retransmission: judged(mark::SPURIOUS_RETRANSMISSION),
            out_of_order: judged(mark::OUT_OF_ORDER),
            lost_segment: count(Counter::LostSegment),
            acked_unseen: judged(mark::ACKED_UNSEEN),
            duplicate_ack: judged(mark::DUPLICATE_ACK),
            zero_window: count(Counter::ZeroWindow),
            zero_window_probe: judged(mark::ZERO_WINDOW_PROBE),
            zero_window_probe_ack: judged(mark::ZERO_WINDOW_PROBE_ACK),
            window_full: judged(mark::WINDOW_FULL),
            window_update: judged(mark::WINDOW_UPDATE),
            keep_alive: count(Counter::KeepAlive),
            keep_alive_ack: judged(mark::KEEP_ALIVE_ACK),
            reused_ports: judged(mark::REUSED_PORTS),
            captured_twice: judged(mark::CAPTURED_TWICE),
            sack: judged(mark::SACK),
            d_sack: judged(mark::D_SACK),
            urgent: judged(mark::URGENT),
            ecn_echo: judged(mark::ECN_ECHO),
            congestion_window_reduced: judged(mark::CONGESTION_WINDOW_REDUCED),
            reset_refused: judged(mark::RESET_REFUSED),
            reset_aborted: judged(mark::RESET_ABORTED),
            reset_out_of_state: judged(mark::RESET_OUT_OF_STATE),
            half_close: judged(mark::HALF_CLOSE),
            simultaneous_open: judged(mark::SIMULTANEOUS_OPEN),
        }
    }
}
