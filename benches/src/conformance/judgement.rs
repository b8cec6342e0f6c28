//! The words for what a TCP segment was judged to be, in tidegauge's names and in tshark's.

use std::fmt;

use serde::Serialize;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// Sent again, for whatever reason; also set with the more precise ones.
    Retransmission,
    /// Sent again after duplicate ACKs.
    FastRetransmission,
    /// Sent again though it was acknowledged already.
    SpuriousRetransmission,
    /// A SYN sent again.
    SynRetransmission,
    /// A SYN-ACK sent again.
    SynAckRetransmission,
    /// Overtaken.
    OutOfOrder,
    /// Something before it was not captured.
    LostSegment,
    /// Acknowledges what was not captured.
    AckedUnseen,
    /// Repeats an ACK.
    DuplicateAck,
    /// Closes the window.
    ZeroWindow,
    /// Asks whether it is still closed.
    ZeroWindowProbe,
    /// Says that it is.
    ZeroWindowProbeAck,
    /// Fills the window to its last byte.
    WindowFull,
    /// Opens the window further.
    WindowUpdate,
    /// Asks whether somebody is there.
    KeepAlive,
    /// Says so.
    KeepAliveAck,
    /// Begins another connection between the same ports.
    ReusedPorts,
    /// An ACK that reports a duplicate (RFC 2883).
    DSack,
    /// The very packet captured twice. tshark has no word for it.
    CapturedTwice,
}

use Judgement::{
    AckedUnseen, CapturedTwice, DSack, DuplicateAck, FastRetransmission, KeepAlive, KeepAliveAck,
    LostSegment, OutOfOrder, Retransmission, ReusedPorts, SpuriousRetransmission, SynAckRetransmission,
    SynRetransmission, WindowFull, WindowUpdate, ZeroWindow, ZeroWindowProbe, ZeroWindowProbeAck,
};

impl Judgement {
    /// All of them, in the order of the tables.
    pub const ALL: [Self; 19] = [
        Retransmission,
        FastRetransmission,
        SpuriousRetransmission,
        SynRetransmission,
        SynAckRetransmission,
        OutOfOrder,
        LostSegment,
        AckedUnseen,
        DuplicateAck,
        ZeroWindow,
        ZeroWindowProbe,
        ZeroWindowProbeAck,
        WindowFull,
        WindowUpdate,
        KeepAlive,
        KeepAliveAck,
        ReusedPorts,
        DSack,
        CapturedTwice,
    ];

    /// Those for which precision and recall are promised.
    pub const PROMISED: [Self; 5] = [Retransmission, OutOfOrder, DuplicateAck, ZeroWindow, WindowFull];

    /// tidegauge's name.
    pub const fn name(self) -> &'static str {
        match self {
            Retransmission => "retransmission",
            FastRetransmission => "fast_retransmission",
            SpuriousRetransmission => "spurious_retransmission",
            SynRetransmission => "syn_retransmission",
            SynAckRetransmission => "syn_ack_retransmission",
            OutOfOrder => "out_of_order",
            LostSegment => "lost_segment",
            AckedUnseen => "acked_unseen",
            DuplicateAck => "duplicate_ack",
            ZeroWindow => "zero_window",
            ZeroWindowProbe => "zero_window_probe",
            ZeroWindowProbeAck => "zero_window_probe_ack",
            WindowFull => "window_full",
            WindowUpdate => "window_update",
            KeepAlive => "keep_alive",
            KeepAliveAck => "keep_alive_ack",
            ReusedPorts => "reused_ports",
            DSack => "d_sack",
            CapturedTwice => "captured_twice",
        }
    }

    /// The judgement of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|judgement| judgement.name() == name)
    }

    /// tshark's field, where it has one of its own.
    pub const fn tshark_field(self) -> Option<&'static str> {
        Some(match self {
            Retransmission => "tcp.analysis.retransmission",
            FastRetransmission => "tcp.analysis.fast_retransmission",
            SpuriousRetransmission => "tcp.analysis.spurious_retransmission",
            OutOfOrder => "tcp.analysis.out_of_order",
            LostSegment => "tcp.analysis.lost_segment",
            AckedUnseen => "tcp.analysis.ack_lost_segment",
            DuplicateAck => "tcp.analysis.duplicate_ack",
            ZeroWindow => "tcp.analysis.zero_window",
            ZeroWindowProbe => "tcp.analysis.zero_window_probe",
            ZeroWindowProbeAck => "tcp.analysis.zero_window_probe_ack",
            WindowFull => "tcp.analysis.window_full",
            WindowUpdate => "tcp.analysis.window_update",
            KeepAlive => "tcp.analysis.keep_alive",
            KeepAliveAck => "tcp.analysis.keep_alive_ack",
            ReusedPorts => "tcp.analysis.reused_ports",
            DSack => "tcp.options.sack.dsack",
            // A retransmission with SYN, and with SYN and ACK.
            SynRetransmission | SynAckRetransmission => return None,
            CapturedTwice => return None,
        })
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of judgements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judgements(u32);

impl Judgements {
    /// Adds one.
    pub const fn add(&mut self, judgement: Judgement) {
        self.0 |= 1 << judgement as u32;
    }

    /// Whether it is among them.
    pub const fn has(self, judgement: Judgement) -> bool {
        self.0 & (1 << judgement as u32) != 0
    }

    /// All that are in it.
    pub fn iter(self) -> impl Iterator<Item = Judgement> {
        Judgement::ALL.into_iter().filter(move |judgement| self.has(*judgement))
    }
}

impl FromIterator<Judgement> for Judgements {
    fn from_iter<I: IntoIterator<Item = Judgement>>(judgements: I) -> Self {
        let mut set = Self::default();
        judgements.into_iter().for_each(|judgement| set.add(judgement));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_sets_keep_what_they_are_given() {
        for judgement in Judgement::ALL {
            assert_eq!(Judgement::named(judgement.name()), Some(judgement));
            let json = serde_json::to_value(judgement).unwrap();
            assert_eq!(json, judgement.name());
        }
        assert_eq!(Judgement::named("healthy"), None);
        let set: Judgements = [WindowFull, Retransmission].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [Retransmission, WindowFull]);
        assert!(!set.has(KeepAlive));
    }
}
