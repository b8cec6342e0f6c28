//! The totals of one shard (CPU, queue or file worker): plain sums that only grow, and six histograms.
//!
//! A counter is named once, here; its name is also its name in tests and diagnostics.

use crate::histogram::Histogram;

macro_rules! counters {
    ($name:ident: $($(#[doc = $doc:literal])* $variant:ident = $text:literal,)*) => {
        /// What is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum $name { $($(#[doc = $doc])* $variant,)* }

        impl $name {
            /// All of them, in memory order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Snake-case name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}
pub(crate) use counters;

counters! { Counter:
    /// Frames on the wire; a super-frame counts as the segments it stands for.
    Packets = "packets",
    /// Bytes on the wire, link headers included.
    Bytes = "bytes",
    /// Merged frames (GRO, TSO) that were counted as several packets.
    SuperFrames = "super_frames",
    /// Frames whose captured bytes are fewer than those on the wire.
    Truncated = "truncated",
    /// Packets whose protocol above the link is not read.
    Unsupported = "unsupported",
    /// Frames whose link type is not read (userspace only: the kernel sees Ethernet).
    UnsupportedLink = "unsupported_link",
    /// Frames that end inside a header.
    MalformedCut = "malformed_cut",
    /// More headers than the walk's limit.
    MalformedDepth = "malformed_depth",
    /// A length field contradicts its header.
    MalformedLength = "malformed_length",
    /// An IP version that its framing does not announce.
    MalformedVersion = "malformed_version",
    /// ARP.
    Arp = "arp",
    /// Packets whose innermost network layer is IPv4.
    Ipv4 = "ipv4",
    /// Packets whose innermost network layer is IPv6.
    Ipv6 = "ipv6",
    /// Frames with at least one VLAN tag.
    Vlan = "vlan",
    /// Packets inside a tunnel.
    Tunnelled = "tunnelled",
    /// IP fragments, first ones included.
    Fragments = "fragments",
    /// UDP datagrams.
    Udp = "udp",
    /// ICMP and ICMPv6 messages.
    Icmp = "icmp",
    /// Other IP protocols.
    OtherTransport = "other_transport",
    /// TCP segments.
    Segments = "segments",
    /// SYN without ACK.
    Syn = "syn",
    /// SYN with ACK.
    SynAck = "syn_ack",
    /// FIN bit set.
    Fin = "fin",
    /// RST bit set.
    Rst = "rst",
    /// Segments with payload.
    PayloadSegments = "payload_segments",
    /// TCP payload bytes.
    PayloadBytes = "payload_bytes",
    /// First SYNs of their attempt.
    Attempted = "attempted",
    /// SYNs sent again.
    SynRetransmission = "syn_retransmission",
    /// SYNs that crossed the other end's: simultaneous opens.
    SynCrossed = "syn_crossed",
    /// Attempts answered by a SYN-ACK.
    Answered = "answered",
    /// SYN-ACKs to no SYN that we know.
    AnsweredUnasked = "answered_unasked",
    /// Attempts refused by a RST.
    Refused = "refused",
    /// Of these, those whose SYN came again and was answered: they are among the answered, too.
    RefusedAnswered = "refused_answered",
    /// Attempts reset after their answer, or by their own initiator.
    Aborted = "aborted",
    /// Handshakes completed: SYN, SYN-ACK and the initiator's ACK seen.
    Completed = "completed",
    /// Handshakes completed by the view of one side: SYN and the initiator's ACK seen, no SYN-ACK.
    CompletedOneSided = "completed_one_sided",
    /// Waiting attempts given up because their bucket was full.
    AttemptsLost = "attempts_lost",
    /// Flows that found a free slot.
    FlowsAdmitted = "flows_admitted",
    /// Flows that displaced an unproven or long silent one.
    FlowsEvicted = "flows_evicted",
    /// Segments that are not judged, because their flow found only better proven ones in its bucket.
    FlowsRefused = "flows_refused",
    /// Listeners that displaced a silent one.
    ListenersEvicted = "listeners_evicted",
    /// TCP segments whose listener found no row: in the totals, in no listener.
    ListenersRefused = "listeners_refused",
    /// Payload below the highest sequence number: sent again, or overtaken on the way.
    RetransmitOrReordered = "retransmit_or_reordered",
    /// Payload beyond the expected number: something before it was not captured.
    LostSegment = "lost_segment",
    /// Keep-alive probes.
    KeepAlive = "keep_alive",
    /// Zero windows.
    ZeroWindow = "zero_window",
    /// Window samples of known scale.
    RwndSamples = "rwnd_samples",
    /// Of these, those below the low limit.
    RwndLow = "rwnd_low",
    /// Windows of unknown scale.
    RwndScaleUnknown = "rwnd_scale_unknown",
    /// MiB timed.
    Transfers = "transfers",
    /// Of these, those slower than the limit.
    TransfersSlow = "transfers_slow",
    /// Round trips that ended when no precise stamp was left in its tick: in no histogram.
    RoundTripsUntimed = "round_trips_untimed",
    /// Targets that displaced a silent one.
    TargetsEvicted = "targets_evicted",
    /// Packets other than TCP whose target found no row.
    TargetsRefused = "targets_refused",
    /// Segments that were not judged, because their flow is not in the sample (userspace only, under overload).
    SegmentsUnsampled = "segments_unsampled",
}

impl Counter {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();
}

/// One shard's totals.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// By [`Counter`]; the rest is room.
    pub values: [u64; VALUES],
    /// Receive windows of known scale, bytes.
    pub rwnd_bytes: Histogram,
    /// Handshakes from SYN to SYN-ACK, microseconds: the way to the listener and back.
    pub handshake_us: Histogram,
    /// Handshakes from SYN-ACK to ACK, microseconds: the way to the initiator and back.
    pub handshake_ack_us: Histogram,
    /// Timestamps until the listener echoed them, microseconds.
    pub echo_listener_us: Histogram,
    /// Timestamps until the listener's peer echoed them, microseconds.
    pub echo_peer_us: Histogram,
    /// Time per MiB, microseconds.
    pub transfer_us: Histogram,
}

/// Room for counters: a power of two, so that a mask proves an index.
pub const VALUES: usize = 64;

const _: () =
    assert!(Counter::COUNT <= VALUES && size_of::<Counters>() == VALUES * 8 + 6 * size_of::<Histogram>());

impl Default for Counters {
    fn default() -> Self {
        let histogram = Histogram::default();
        Self {
            values: [0; VALUES],
            rwnd_bytes: histogram,
            handshake_us: histogram,
            handshake_ack_us: histogram,
            echo_listener_us: histogram,
            echo_peer_us: histogram,
            transfer_us: histogram,
        }
    }
}

impl Counters {
    /// Adds `amount` to a counter.
    #[inline(always)]
    pub fn add(&mut self, counter: Counter, amount: u64) {
        let value = &mut self.values[counter as usize];
        *value = value.wrapping_add(amount);
    }

    /// Adds `amount` to the counter of this index, for indices that passed through
    /// [`crate::frame::Frame::opaque`]: the optimizer computes them, and the verifier wants to see the bound.
    #[inline(always)]
    pub fn add_at(&mut self, index: u32, amount: u64) {
        let value = &mut self.values[index as usize & (VALUES - 1)];
        *value = value.wrapping_add(amount);
    }

    /// A counter's value.
    pub const fn get(&self, counter: Counter) -> u64 {
        self.values[counter as usize]
    }

    /// Adds another shard's totals.
    pub fn merge(&mut self, other: &Self) {
        for (own, more) in self.values.iter_mut().zip(&other.values) {
            *own = own.saturating_add(*more);
        }
        for (own, more) in self.histograms_mut().into_iter().zip(other.histograms()) {
            own.merge(more);
        }
    }

    /// What was counted since `earlier` was read from the same shard.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut delta = *self;
        for (own, before) in delta.values.iter_mut().zip(&earlier.values) {
            *own = own.wrapping_sub(*before);
        }
        for (own, before) in delta.histograms_mut().into_iter().zip(earlier.histograms()) {
            *own = own.since(before);
        }
        delta
    }

    /// All histograms, in memory order.
    pub const fn histograms(&self) -> [&Histogram; 6] {
        [
            &self.rwnd_bytes,
            &self.handshake_us,
            &self.handshake_ack_us,
            &self.echo_listener_us,
            &self.echo_peer_us,
            &self.transfer_us,
        ]
    }

    /// The same, to change.
    pub const fn histograms_mut(&mut self) -> [&mut Histogram; 6] {
        [
            &mut self.rwnd_bytes,
            &mut self.handshake_us,
            &mut self.handshake_ack_us,
            &mut self.echo_listener_us,
            &mut self.echo_peer_us,
            &mut self.transfer_us,
        ]
    }
}
