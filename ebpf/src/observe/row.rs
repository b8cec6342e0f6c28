//! Counting at a listener: one segment into its row.

use crate::event::{self, Outcome};
use crate::limits::{RWND_LOW_BYTES, TRANSFER_SLOW};
use crate::listener::{ListenerCounter, ListenerRow};
use crate::packet::{Segment, tcp_flag};
use crate::settings::{Settings, feature};
use crate::stamp::units_to_us;

/// Where a listener's counts go: the kernel's rows, or a worker's own.
pub trait Row {
    /// Adds `amount` to a counter.
    fn add(&mut self, counter: ListenerCounter, amount: u64);
    /// A handshake told that it listens.
    fn know(&mut self);
    /// Counts a window by octave.
    fn record_rwnd(&mut self, bytes: u32);
}

impl Row for ListenerRow {
    #[inline(always)]
    fn add(&mut self, counter: ListenerCounter, amount: u64) {
        Self::add(self, counter, amount);
    }

    #[inline(always)]
    fn know(&mut self) {
        self.known = 1;
    }

    #[inline(always)]
    fn record_rwnd(&mut self, bytes: u32) {
        Self::record_rwnd(self, bytes);
    }
}

/// Counts a segment of `packets` wire segments at its listener.
#[inline(always)]
pub fn count_row(
    row: &mut impl Row,
    segment: &Segment,
    packets: u64,
    wire_bytes: u64,
    outcome: &Outcome,
    settings: Settings,
) {
    row.add(ListenerCounter::Packets, packets);
    row.add(ListenerCounter::Bytes, wire_bytes);
    if outcome.has(event::LISTENER_KNOWN) {
        row.know();
    }
    if segment.payload_bytes != 0 {
        row.add(ListenerCounter::PayloadSegments, packets);
    }
    if outcome.has(event::RWND) {
        count_row_rwnd(row, outcome, settings);
    }
    if outcome.has(event::RWND_SCALE_UNKNOWN) {
        row.add(ListenerCounter::RwndScaleUnknown, 1);
    }
    if segment.flags & (tcp_flag::RST | tcp_flag::FIN) == 0 && !outcome.has(event::RARE) {
        return;
    }
    if segment.has(tcp_flag::RST) {
        row.add(ListenerCounter::Rst, 1);
    }
    if segment.has(tcp_flag::FIN) {
        row.add(ListenerCounter::Fin, 1);
    }
    for (bit, counter) in [
        (event::ATTEMPTED, ListenerCounter::Attempted),
        (event::ATTEMPT_LOST, ListenerCounter::AttemptsLost),
        (event::SYN_AGAIN, ListenerCounter::SynRetransmission),
        (event::ANSWERED, ListenerCounter::Answered),
        (event::REFUSED, ListenerCounter::Refused),
        (event::ABORTED, ListenerCounter::Aborted),
        (event::COMPLETED, ListenerCounter::Completed),
        (event::COMPLETED_ONE_SIDED, ListenerCounter::CompletedOneSided),
        (event::ZERO_WINDOW, ListenerCounter::ZeroWindow),
        (event::TRANSFER, ListenerCounter::Transfers),
    ] {
        if outcome.has(bit) {
            row.add(counter, 1);
        }
    }
    if outcome.has(event::RETRANSMIT_OR_REORDERED) {
        row.add(ListenerCounter::RetransmitOrReordered, packets);
    }
    if outcome.has(event::COMPLETED | event::COMPLETED_ONE_SIDED) {
        row.add(ListenerCounter::HandshakeUs, u64::from(units_to_us(outcome.elapsed)));
    }
    if outcome.has(event::ECHO | event::HANDSHAKE_TRIP) {
        let us = u64::from(units_to_us(outcome.round_trip));
        let by_listener = outcome.has(event::FROM_LISTENER);
        row.add(ListenerCounter::RoundTripsListener, u64::from(by_listener));
        row.add(ListenerCounter::RoundTripsListenerUs, if by_listener { us } else { 0 });
        row.add(ListenerCounter::RoundTripsPeer, u64::from(!by_listener));
        row.add(ListenerCounter::RoundTripsPeerUs, if by_listener { 0 } else { us });
    }
    if outcome.has(event::TRANSFER) {
        row.add(ListenerCounter::TransfersSlow, u64::from(outcome.transfer > TRANSFER_SLOW));
        row.add(ListenerCounter::TransfersUs, u64::from(units_to_us(outcome.transfer)));
    }
}

#[inline(always)]
fn count_row_rwnd(row: &mut impl Row, outcome: &Outcome, settings: Settings) {
    let low = u64::from(outcome.rwnd_bytes < RWND_LOW_BYTES);
    let (all, below) = if outcome.has(event::FROM_LISTENER) {
        (ListenerCounter::RwndListener, ListenerCounter::RwndListenerLow)
    } else {
        (ListenerCounter::RwndPeer, ListenerCounter::RwndPeerLow)
    };
    row.add(all, 1);
    row.add(below, low);
    if settings.has(feature::WINDOWS) {
        row.record_rwnd(outcome.rwnd_bytes);
    }
}
