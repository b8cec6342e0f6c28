//! A connection's record ([`crate::flow_record`]) out of its state and story.

use tidegauge_ebpf::attempt::ANSWERED;
use tidegauge_ebpf::flow::Side;
use tidegauge_ebpf::packet::{Address, Packet};
use tidegauge_ebpf::tcp::connection::{
    Connection, Details, Direction, Story, Tally, clock_us, elapsed_us, flag, state,
};

use super::half_open::Over;
use super::table::index_of;
use crate::flow_record::{
    CloseCause, DirectionRecord, Endpoint, FlowDirection, FlowRecord, FlowState, HandshakeRecord, Limiter,
    LimiterRecord, RttRecord,
};
use crate::layer::AppRecord;
use crate::window::ip_addr;

/// New payload from which on a direction is a bulk transfer that something limits: some 70 full segments.
const BULK_BYTES: u64 = 100_000;

/// Who a connection is between, by [`Side`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) addresses: [Address; 2],
    pub(super) ports: [u16; 2],
}

impl Ends {
    /// Those of a packet that `sender` sent.
    pub(super) fn of(packet: &Packet, sender: Side) -> Self {
        let own = (packet.source, packet.source_port);
        let peer = (packet.destination, packet.destination_port);
        let (low, high) = if index_of(sender) == 0 { (own, peer) } else { (peer, own) };
        Self { addresses: [low.0, high.0], ports: [low.1, high.1] }
    }

    fn endpoint(&self, index: usize) -> Endpoint {
        Endpoint { addr: ip_addr(self.addresses[index]), port: self.ports[index] }
    }
}

/// When and why a record is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Telling {
    pub(super) told_ns: u64,
    /// `None`: as its state says.
    pub(super) cause: Option<CloseCause>,
}

/// The record of a connection.
pub(super) fn record(
    connection: &Connection,
    story: &Story,
    app: Option<AppRecord>,
    telling: Telling,
) -> FlowRecord {
    let ends = Ends { addresses: connection.addresses, ports: connection.ports };
    let known = connection.flags & flag::HANDSHAKE != 0;
    let initiator = if known {
        index_of(connection.initiator())
    } else {
        // The lower port is taken for the responder's, as at listeners.
        usize::from(connection.ports[0] < connection.ports[1])
    };
    let responder = 1 - initiator;
    let last_ns = connection.last_ns(story.first_ns);
    let lasted_s = (last_ns - story.first_ns) as f64 / 1e9;
    let direction = |index: usize| {
        direction(&connection.directions[index], &story.details[index], connection.flags, lasted_s)
    };
    let flow_state = flow_state(connection);
    FlowRecord {
        told_ns: telling.told_ns,
        number: story.first_packet,
        first_ns: story.first_ns,
        last_ns,
        initiator: ends.endpoint(initiator),
        responder: ends.endpoint(responder),
        initiator_known: known,
        state: flow_state,
        close: telling.cause.unwrap_or_else(|| cause(connection, initiator, flow_state)),
        handshake: known.then(|| handshake(connection, story)),
        forward: direction(initiator),
        reverse: direction(responder),
        limiter: limiter(connection, story, initiator),
        app: app.and_then(|app| serde_json::to_value(app).ok()),
        detail_lost: !known || connection.flags & flag::ANSWER_SEEN == 0,
    }
}

fn flow_state(connection: &Connection) -> FlowState {
    let both = connection.directions.map(|direction| direction.state);
    if (both[0] | both[1]) & state::RST != 0 {
        FlowState::Reset
    } else if both[0] & both[1] & state::FIN != 0 {
        FlowState::Closed
    } else if (both[0] | both[1]) & state::FIN != 0 {
        FlowState::HalfClosed
    } else {
        FlowState::Established
    }
}

fn cause(connection: &Connection, initiator: usize, state: FlowState) -> CloseCause {
    match state {
        FlowState::Reset if connection.directions[initiator].state & state::RST != 0 => {
            CloseCause::ResetByInitiator
        }
        FlowState::Reset => CloseCause::ResetByResponder,
        FlowState::Closed => CloseCause::Fin,
        // A view of one direction sees one FIN only.
        _ if connection.flags & flag::CLOSED != 0 => CloseCause::Fin,
        _ if connection.flags & flag::UNREACHABLE != 0 => CloseCause::Unreachable,
        _ => CloseCause::Open,
    }
}

fn handshake(connection: &Connection, story: &Story) -> HandshakeRecord {
    HandshakeRecord {
        listener_rtt_us: (story.listener_us != 0).then_some(story.listener_us),
        peer_rtt_us: (story.peer_us != 0).then_some(story.peer_us),
        syn_retransmission: story.handshake_again[0].into(),
        syn_ack_retransmission: story.handshake_again[1].into(),
        simultaneous_open: connection.flags & flag::SIMULTANEOUS != 0,
    }
}

fn direction(direction: &Direction, details: &Details, flags: u16, lasted_s: f64) -> DirectionRecord {
    let scale_known = !direction.shift_unknown() && direction.window_min <= direction.window_max;
    let scaled = |window: u16| scale_known.then(|| u32::from(window) << (direction.shift & 0x0f));
    let goodput_bytes = direction.payload_bytes.saturating_sub(details.resent_bytes.into());
    let per_second = |bytes: u64| (lasted_s > 0.0 && bytes != 0).then(|| bytes as f64 * 8.0 / lasted_s);
    let used = |bit: u16| direction.state & bit != 0;
    DirectionRecord {
        packets: direction.packets.into(),
        bytes: direction.payload_bytes + u64::from(direction.header_bytes),
        payload_bytes: direction.payload_bytes,
        goodput_bytes,
        retransmission: details.get(Tally::Retransmission),
        fast_retransmission: details.get(Tally::Fast),
        spurious_retransmission: details.get(Tally::Spurious),
        out_of_order: details.get(Tally::OutOfOrder),
        lost_segment: details.get(Tally::LostSegment),
        duplicate_ack: details.get(Tally::DuplicateAck),
        zero_window: details.get(Tally::ZeroWindow),
        window_full: details.get(Tally::WindowFull),
        keep_alive: details.get(Tally::KeepAlive),
        captured_twice: details.get(Tally::CapturedTwice),
        rtt: rtt(details),
        rwnd_min_bytes: scaled(direction.window_min),
        rwnd_max_bytes: scaled(direction.window_max),
        window_shift: (!direction.shift_unknown()).then_some(direction.shift),
        in_flight_max_bytes: (details.in_flight_max_bytes != 0).then_some(details.in_flight_max_bytes),
        throughput_bps: per_second(direction.payload_bytes),
        goodput_bps: per_second(goodput_bytes),
        sack: used(state::SACK) || flags & flag::SACK != 0,
        ecn: used(state::ECN),
        fin: used(state::FIN),
        rst: used(state::RST),
    }
}

fn rtt(details: &Details) -> RttRecord {
    let known = |value: u32| (details.round_trips != 0).then_some(value);
    let mean = details.round_trip_sum_us.checked_div(details.round_trips.into()).unwrap_or_default();
    RttRecord {
        samples: details.round_trips,
        min_us: known(details.round_trip_min_us),
        mean_us: known(mean as u32),
        max_us: known(details.round_trip_max_us),
        jitter_us: (details.round_trips > 1).then_some(details.jitter_x16_us / 16),
    }
}

/// What held back the direction with more new payload, if that is a bulk transfer.
fn limiter(connection: &Connection, story: &Story, initiator: usize) -> Option<LimiterRecord> {
    let goodput = |index: usize| {
        connection.directions[index].payload_bytes.saturating_sub(story.details[index].resent_bytes.into())
    };
    let index = usize::from(goodput(1) > goodput(0));
    let details = &story.details[index];
    let times = [details.application_us, details.receiver_us, details.network_us].map(f64::from);
    let all = times.iter().sum::<f64>();
    if goodput(index) < BULK_BYTES || all == 0.0 {
        return None;
    }
    let [application_share, receiver_window_share, network_share] =
        times.map(|time| (time / all * 1_000.0).round() / 1_000.0);
    let verdict = if times[0] >= times[1] && times[0] >= times[2] {
        Limiter::Application
    } else if times[1] >= times[2] {
        Limiter::ReceiverWindow
    } else {
        Limiter::Network
    };
    let direction = if index == initiator { FlowDirection::Forward } else { FlowDirection::Reverse };
    let evidence = evidence(verdict, details, &story.details[1 - index]);
    Some(LimiterRecord {
        verdict,
        direction,
        application_share,
        receiver_window_share,
        network_share,
        evidence,
    })
}

fn evidence(verdict: Limiter, sender: &Details, receiver: &Details) -> String {
    match verdict {
        Limiter::Application => "all that was sent was acknowledged before more came".to_owned(),
        Limiter::ReceiverWindow => format!(
            "the receiver's window was full to the byte {} times and closed {} times",
            sender.get(Tally::WindowFull),
            receiver.get(Tally::ZeroWindow)
        ),
        Limiter::Network => {
            let rtt = rtt(sender);
            let times = rtt
                .min_us
                .zip(rtt.mean_us)
                .map(|(min, mean)| format!("; round trips of {mean} us on average, {min} us at least"));
            let resent = sender.get(Tally::Retransmission);
            format!("{resent} segments sent again{}", times.unwrap_or_default())
        }
    }
}

/// The record of an attempt that did not become a connection.
pub(super) fn record_of_attempt(over: &Over, telling: Telling, cause: CloseCause) -> FlowRecord {
    let Over { attempt, opening, ends, last_us } = over;
    let initiator = usize::from(attempt.initiator() & 1);
    let answered = attempt.state() == ANSWERED || opening.sequences[1] != 0;
    let sent = |again: u8| 1 + u64::from(again);
    // With the RST that ended it.
    let [by_initiator, by_responder] = match cause {
        CloseCause::ResetByInitiator => [1, 0],
        CloseCause::Refused | CloseCause::ResetByResponder => [0, 1],
        _ => [0, 0],
    };
    let is_reset = by_initiator + by_responder != 0;
    let open_us = elapsed_us(*last_us, clock_us(opening.first_ns));
    let last_ns = if is_reset { telling.told_ns } else { opening.first_ns + u64::from(open_us) * 1_000 };
    let direction = |packets| DirectionRecord { packets, ..DirectionRecord::default() };
    FlowRecord {
        told_ns: telling.told_ns,
        number: opening.first_packet,
        first_ns: opening.first_ns,
        last_ns: last_ns.max(opening.first_ns),
        initiator: ends.endpoint(initiator),
        responder: ends.endpoint(1 - initiator),
        initiator_known: true,
        state: match cause {
            CloseCause::Refused | CloseCause::ResetByInitiator | CloseCause::ResetByResponder => {
                FlowState::Reset
            }
            _ if answered => FlowState::Answered,
            _ => FlowState::Asked,
        },
        close: cause,
        handshake: Some(HandshakeRecord {
            syn_retransmission: opening.again[0].into(),
            syn_ack_retransmission: opening.again[1].into(),
            simultaneous_open: opening.simultaneous,
            ..HandshakeRecord::default()
        }),
        forward: direction(sent(opening.again[0]) + by_initiator),
        reverse: direction(if answered { sent(opening.again[1]) } else { 0 } + by_responder),
        limiter: None,
        app: None,
        detail_lost: false,
    }
}
