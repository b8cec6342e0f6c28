//! Counting in a shard's totals: header facts of every frame, and what each TCP segment was.

use super::Arrival;
use crate::counter::{Counter, Counters};
use crate::event::{self, Outcome};
use crate::frame::Frame;
use crate::limits::{RWND_LOW_BYTES, TRANSFER_SLOW};
use crate::packet::{Fault, Fragment, Network, Packet, Segment, Transport, tcp_flag};
use crate::settings::{Settings, feature};
use crate::stamp::units_to_us;

/// Bytes on the wire: a super-frame's headers were sent once per segment.
#[inline(always)]
pub fn wire_bytes(packet: &Packet, arrival: &Arrival) -> u64 {
    let repeated_headers = u64::from(packet.payload_offset) * u64::from(arrival.segments.saturating_sub(1));
    u64::from(arrival.wire_len) + repeated_headers
}

/// Segments that a frame stands for which is longer than its link allows: its payload in pieces of the longest frame.
/// At least so many: they may have been shorter.
#[inline(always)]
pub fn merged_segments(packet: &Packet, wire_len: u32, frame_bytes_max: u32) -> u32 {
    let frame_bytes_max = frame_bytes_max + 4 * u32::from(packet.vlan_tags);
    let headers = u32::from(packet.payload_offset);
    if wire_len <= frame_bytes_max || headers == 0 || headers >= frame_bytes_max {
        return 1;
    }
    (wire_len - headers).div_ceil(frame_bytes_max - headers)
}

/// Counts the header facts of a frame.
#[inline(always)]
pub fn count_headers<F: Frame>(
    frame: F,
    counters: &mut Counters,
    packet: &Packet,
    arrival: &Arrival,
    wire_bytes: u64,
) {
    let packets = u64::from(arrival.segments);
    counters.add(Counter::Packets, packets);
    counters.add(Counter::Bytes, wire_bytes);
    if arrival.segments > 1 {
        counters.add(Counter::SuperFrames, 1);
    }
    if arrival.captured_len < arrival.wire_len {
        counters.add(Counter::Truncated, 1);
    }
    if packet.vlan_tags != 0 {
        counters.add(Counter::Vlan, packets);
    }
    if packet.tunnels != 0 {
        counters.add(Counter::Tunnelled, packets);
    }
    if packet.fragment != Fragment::Whole {
        counters.add(Counter::Fragments, packets);
    }
    if let Some(fault) = packet.fault {
        count_fault(counters, fault, arrival);
    }
    let network = match packet.network {
        Network::Arp => Counter::Arp,
        Network::Ipv4 => Counter::Ipv4,
        Network::Ipv6 => Counter::Ipv6,
        Network::Other => Counter::Unsupported,
    };
    counters.add_at(frame.opaque(network as u32), packets);
    let transport = match packet.transport {
        Transport::Icmp => Counter::Icmp,
        Transport::None => return,
        Transport::Other => Counter::OtherTransport,
        Transport::Tcp => return count_segment(counters, &packet.segment, packets),
        Transport::Udp => Counter::Udp,
    };
    counters.add_at(frame.opaque(transport as u32), packets);
}

/// [`count_headers`] of a frame that [`crate::parse::quick`] read, and that is no super-frame: neither fault nor
/// fragment nor tunnel, TCP or UDP in IP. Userspace only: the kernel needs the other one for all frames.
#[inline(always)]
pub fn count_ordinary(counters: &mut Counters, packet: &Packet, captured_len: usize, wire_len: u32) {
    counters.add(Counter::Packets, 1);
    counters.add(Counter::Bytes, u64::from(wire_len));
    if (captured_len as u64) < u64::from(wire_len) {
        counters.add(Counter::Truncated, 1);
    }
    if packet.vlan_tags != 0 {
        counters.add(Counter::Vlan, 1);
    }
    let is_ipv4 = packet.network == Network::Ipv4;
    counters.add(if is_ipv4 { Counter::Ipv4 } else { Counter::Ipv6 }, 1);
    let segment = &packet.segment;
    if packet.transport != Transport::Tcp {
        counters.add(Counter::Udp, 1);
    } else if segment.flags & (tcp_flag::SYN | tcp_flag::FIN | tcp_flag::RST) != 0 {
        count_segment(counters, segment, 1);
    } else {
        counters.add(Counter::Segments, 1);
        if segment.payload_bytes != 0 {
            counters.add(Counter::PayloadSegments, 1);
            counters.add(Counter::PayloadBytes, u64::from(segment.payload_bytes));
        }
    }
}

#[inline(always)]
fn count_fault(counters: &mut Counters, fault: Fault, arrival: &Arrival) {
    // A header that a snap length cut is `truncated`, counted already, and not a fault of the sender.
    let cut_by_sender = fault == Fault::Cut && arrival.captured_len >= arrival.wire_len;
    counters.add(Counter::MalformedCut, u64::from(cut_by_sender));
    counters.add(Counter::MalformedDepth, u64::from(fault == Fault::Depth));
    counters.add(Counter::MalformedLength, u64::from(fault == Fault::Length));
    counters.add(Counter::MalformedVersion, u64::from(fault == Fault::Version));
}

#[inline(always)]
fn count_segment(counters: &mut Counters, segment: &Segment, packets: u64) {
    counters.add(Counter::Segments, packets);
    if segment.is_syn() {
        counters.add(Counter::Syn, 1);
    }
    if segment.is_syn_ack() {
        counters.add(Counter::SynAck, 1);
    }
    if segment.has(tcp_flag::FIN) {
        counters.add(Counter::Fin, 1);
    }
    if segment.has(tcp_flag::RST) {
        counters.add(Counter::Rst, 1);
    }
    if segment.payload_bytes != 0 {
        counters.add(Counter::PayloadSegments, packets);
        counters.add(Counter::PayloadBytes, u64::from(segment.payload_bytes));
    }
}

/// Counts what a segment was.
#[inline(always)]
pub fn count_outcome(counters: &mut Counters, outcome: &Outcome, packets: u64, settings: Settings) {
    if outcome.has(event::RWND) {
        counters.add(Counter::RwndSamples, 1);
        counters.add(Counter::RwndLow, u64::from(outcome.rwnd_bytes < RWND_LOW_BYTES));
        if settings.has(feature::WINDOWS) {
            counters.rwnd_bytes.record(outcome.rwnd_bytes);
        }
    }
    if outcome.has(event::RWND_SCALE_UNKNOWN) {
        counters.add(Counter::RwndScaleUnknown, 1);
    }
    if !outcome.has(event::RARE) {
        return;
    }
    for (bit, counter) in [
        (event::ATTEMPTED, Counter::Attempted),
        (event::ATTEMPT_LOST, Counter::AttemptsLost),
        (event::SYN_AGAIN, Counter::SynRetransmission),
        (event::SYN_CROSSED, Counter::SynCrossed),
        (event::ANSWERED, Counter::Answered),
        (event::ANSWERED_UNASKED, Counter::AnsweredUnasked),
        (event::REFUSED, Counter::Refused),
        (event::REFUSED_ANSWERED, Counter::RefusedAnswered),
        (event::ABORTED, Counter::Aborted),
        (event::COMPLETED, Counter::Completed),
        (event::COMPLETED_ONE_SIDED, Counter::CompletedOneSided),
        (event::LOST_SEGMENT, Counter::LostSegment),
        (event::ZERO_WINDOW, Counter::ZeroWindow),
        (event::KEEP_ALIVE, Counter::KeepAlive),
        (event::TRANSFER, Counter::Transfers),
        (event::FLOW_ADMITTED, Counter::FlowsAdmitted),
        (event::FLOW_EVICTED, Counter::FlowsEvicted),
        (event::FLOW_REFUSED, Counter::FlowsRefused),
        (event::ECHO_UNTIMED, Counter::RoundTripsUntimed),
    ] {
        if outcome.has(bit) {
            counters.add(counter, 1);
        }
    }
    if outcome.has(event::RETRANSMIT_OR_REORDERED) {
        // A super-frame that is sent again is as many segments again.
        counters.add(Counter::RetransmitOrReordered, packets);
    }
    if outcome.has(event::ECHO | event::HANDSHAKE_TRIP) {
        count_round_trip(counters, outcome);
    }
    if outcome.has(event::TRANSFER) {
        counters.add(Counter::TransfersSlow, u64::from(outcome.transfer > TRANSFER_SLOW));
        counters.transfer_us.record(units_to_us(outcome.transfer));
    }
}

#[inline(always)]
fn count_round_trip(counters: &mut Counters, outcome: &Outcome) {
    let us = units_to_us(outcome.round_trip);
    if outcome.has(event::ANSWERED) {
        counters.handshake_us.record(us);
    } else if outcome.has(event::COMPLETED) {
        counters.handshake_ack_us.record(us);
    } else if outcome.has(event::FROM_LISTENER) {
        counters.echo_listener_us.record(us);
    } else {
        counters.echo_peer_us.record(us);
    }
}
