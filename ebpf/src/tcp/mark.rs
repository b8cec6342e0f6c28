//! What the full judgement says of a segment, as bits of one word, with the names that outputs use.
//!
//! Definitions follow Wireshark's TCP analysis (its User's Guide, section 7.5) unless the constant says otherwise.

macro_rules! marks {
    ($($(#[doc = $doc:literal])* $constant:ident = $bit:literal, $text:literal;)*) => {
        $($(#[doc = $doc])* pub const $constant: u32 = 1 << $bit;)*

        /// Every mark with its name.
        pub const NAMES: &[(u32, &str)] = &[$(($constant, $text),)*];
    };
}

marks! {
    /// Payload, SYN or FIN that was sent before. Set with [`FAST_RETRANSMISSION`] and [`SPURIOUS_RETRANSMISSION`] too.
    RETRANSMISSION = 0, "retransmission";
    /// Sent again because of duplicate ACKs: at least two of them for its number, the last within 20 ms.
    FAST_RETRANSMISSION = 1, "fast_retransmission";
    /// Sent again though it had been acknowledged.
    SPURIOUS_RETRANSMISSION = 2, "spurious_retransmission";
    /// Below the highest number, and too soon after it to be a retransmission: overtaken on the way.
    OUT_OF_ORDER = 3, "out_of_order";
    /// Beyond the expected number: a segment before it was not captured.
    LOST_SEGMENT = 4, "lost_segment";
    /// Acknowledges what was not captured; once until more of it is captured, or that end acknowledges something new.
    ACKED_UNSEEN = 5, "acked_unseen";
    /// The same acknowledgment and window again, without payload.
    DUPLICATE_ACK = 6, "duplicate_ack";
    /// The window field is 0.
    ZERO_WINDOW = 7, "zero_window";
    /// One byte against a closed window.
    ZERO_WINDOW_PROBE = 8, "zero_window_probe";
    /// The answer to one, the window still closed.
    ZERO_WINDOW_PROBE_ACK = 9, "zero_window_probe_ack";
    /// Payload up to the very end of the receiver's window.
    WINDOW_FULL = 10, "window_full";
    /// The same numbers with another window.
    WINDOW_UPDATE = 11, "window_update";
    /// At most one byte, just below the expected number.
    KEEP_ALIVE = 12, "keep_alive";
    /// The answer to one.
    KEEP_ALIVE_ACK = 13, "keep_alive_ack";
    /// A SYN with another number on the ports of a connection that is remembered, or a SYN-ACK where no SYN was captured.
    REUSED_PORTS = 14, "reused_ports";
    /// A SYN sent again; always with [`RETRANSMISSION`].
    SYN_RETRANSMISSION = 15, "syn_retransmission";
    /// A SYN-ACK sent again, or a SYN again as a SYN-ACK (simultaneous open); always with [`RETRANSMISSION`].
    SYN_ACK_RETRANSMISSION = 16, "syn_ack_retransmission";
    /// The very packet was captured twice (mirrored in and out, or on two interfaces); it has no other mark.
    CAPTURED_TWICE = 17, "captured_twice";
    /// Carries selective acknowledgments (RFC 2018).
    SACK = 18, "sack";
    /// Its first block reports a duplicate (RFC 2883): what was sent again had arrived.
    D_SACK = 19, "d_sack";
    /// The urgent pointer is significant.
    URGENT = 20, "urgent";
    /// ECN echo on an established connection: a router marked congestion.
    ECN_ECHO = 21, "ecn_echo";
    /// The sender has answered an ECN echo.
    CONGESTION_WINDOW_REDUCED = 22, "congestion_window_reduced";
    /// RST in place of the handshake's answer.
    RESET_REFUSED = 23, "reset_refused";
    /// RST that ends a connection.
    RESET_ABORTED = 24, "reset_aborted";
    /// RST that belongs to no connection or is out of its numbers.
    RESET_OUT_OF_STATE = 25, "reset_out_of_state";
    /// The first FIN of a connection: from here on it is open one way only.
    HALF_CLOSE = 26, "half_close";
    /// A SYN that crosses the other end's.
    SIMULTANEOUS_OPEN = 27, "simultaneous_open";
}

/// Payload that does not advance: what the kernel program calls `retransmit_or_reordered`.
pub const BEHIND: u32 = RETRANSMISSION | OUT_OF_ORDER;

/// Number of marks.
pub const COUNT: usize = NAMES.len();

const _: () = assert!(COUNT <= 32);
