//! Who is asked: per listener (destination address and port) the handshake truth, windows and sources.
//!
//! Four rows a bucket, the ids in one line before them. A row that completed handshakes is kept for
//! [`PROVEN_IDLE`] of silence, any other for [`LISTENER_IDLE`]: a flood over random ports churns unproven rows
//! only. A segment that finds no row is counted as such and stays in the totals.

use crate::counter::counters;
use crate::histogram::octave_of;
use crate::limits::{DISTINCT_REGISTERS, LISTENER_IDLE, LISTENER_WAYS, PROVEN_IDLE};
use crate::packet::Address;
use crate::stamp::Stamp;
use crate::target::record_ttl;

counters! { ListenerCounter:
    /// Segments to and from it.
    Packets = "packets",
    /// Their bytes on the wire.
    Bytes = "bytes",
    /// First SYNs.
    Attempted = "attempted",
    /// SYNs sent again.
    SynRetransmission = "syn_retransmission",
    /// SYN-ACKs, first of their attempt.
    Answered = "answered",
    /// Attempts it refused by RST.
    Refused = "refused",
    /// Attempts reset after the answer or by the initiator.
    Aborted = "aborted",
    /// Completed handshakes.
    Completed = "completed",
    /// Handshakes completed by the view of one side.
    CompletedOneSided = "completed_one_sided",
    /// Waiting attempts that were given up for lack of room when one to this listener came.
    AttemptsLost = "attempts_lost",
    /// RST segments.
    Rst = "rst",
    /// FIN segments.
    Fin = "fin",
    /// Segments with payload.
    PayloadSegments = "payload_segments",
    /// Sent again or overtaken.
    RetransmitOrReordered = "retransmit_or_reordered",
    /// Windows of known scale that the listener advertised.
    RwndListener = "rwnd_listener",
    /// Of these, low ones.
    RwndListenerLow = "rwnd_listener_low",
    /// Windows of known scale that its peers advertised.
    RwndPeer = "rwnd_peer",
    /// Of these, low ones.
    RwndPeerLow = "rwnd_peer_low",
    /// Windows of unknown scale.
    RwndScaleUnknown = "rwnd_scale_unknown",
    /// Zero windows.
    ZeroWindow = "zero_window",
    /// MiB timed.
    Transfers = "transfers",
    /// Of these, slow ones.
    TransfersSlow = "transfers_slow",
    /// Sum of their times, microseconds.
    TransfersUs = "transfers_us",
    /// Sum of the times from SYN to completing ACK, microseconds.
    HandshakeUs = "handshake_us",
    /// Round trips to its peers: SYN-ACK to ACK, and timestamps that a peer echoed.
    RoundTripsPeer = "round_trips_peer",
    /// Sum of these, microseconds.
    RoundTripsPeerUs = "round_trips_peer_us",
    /// Round trips to the listener itself: SYN to SYN-ACK, and timestamps that it echoed.
    RoundTripsListener = "round_trips_listener",
    /// Sum of these, microseconds.
    RoundTripsListenerUs = "round_trips_listener_us",
}

impl ListenerCounter {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();
}

/// Octaves of the per-listener window histogram.
pub const RWND_OCTAVES: usize = 32;

/// Sketch periods kept.
pub const DISTINCT_BANKS: usize = 2;
/// Words of one bank.
pub const DISTINCT_WORDS: usize = DISTINCT_REGISTERS / 8;

/// Who made the attempts at a listener, 304 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Askers {
    /// HyperLogLog registers over the sources of attempts (Flajolet et al. 2007), eight a word: the banks of the
    /// current period and of the one before, so that a reader always finds one that is whole.
    pub distinct: [u64; DISTINCT_BANKS * DISTINCT_WORDS],
    /// [`Stamp::period`] of each bank.
    pub distinct_periods: [u32; DISTINCT_BANKS],
    /// TTL classes of attempts ([`crate::target::ttl_class`]), in the same banks.
    pub ttl_classes: [u64; DISTINCT_BANKS],
    /// [`Stamp::period`] of each.
    pub ttl_periods: [u32; DISTINCT_BANKS],
}

/// One listener, 704 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerRow {
    /// Address.
    pub address: Address,
    /// TCP port.
    pub port: u16,
    /// Whether a handshake told who listens (1), or the lower port number was taken (0).
    pub known: u16,
    /// Last segment.
    pub seen: Stamp,
    /// Grows when the row is given to another listener, so that a reader does not subtract across owners.
    pub generation: u32,
    /// Keeps the words aligned.
    pub reserved: u32,
    /// By [`ListenerCounter`].
    pub counters: [u64; ListenerCounter::COUNT],
    /// Windows of known scale by octave.
    pub rwnd_octaves: [u32; RWND_OCTAVES],
    /// Who made the attempts.
    pub askers: Askers,
    /// Fills the row.
    pub filler: [u64; 4],
}

/// Four listeners.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerBucket {
    /// [`crate::flow::end_hash`] of each row, 0 where free.
    pub ids: [u64; LISTENER_WAYS],
    /// Fills the line.
    pub reserved: [u64; 4],
    /// The rows.
    pub rows: [ListenerRow; LISTENER_WAYS],
}

const _: () = assert!(size_of::<ListenerRow>() == 704 && size_of::<ListenerBucket>() == 64 + 4 * 704);

impl Default for ListenerRow {
    fn default() -> Self {
        Self {
            address: [0; 4],
            port: 0,
            known: 0,
            seen: Stamp(0),
            generation: 0,
            reserved: 0,
            counters: [0; ListenerCounter::COUNT],
            rwnd_octaves: [0; RWND_OCTAVES],
            askers: Askers::default(),
            filler: [0; 4],
        }
    }
}

impl Default for ListenerBucket {
    fn default() -> Self {
        Self { ids: [0; LISTENER_WAYS], reserved: [0; 4], rows: [ListenerRow::default(); LISTENER_WAYS] }
    }
}

/// Which row a listener gets, as bits: a word like [`crate::event`]'s, for the same reason.
pub mod choice {
    /// The way, in the lowest bits.
    pub const WAY: u32 = super::LISTENER_WAYS as u32 - 1;
    /// The row was not this listener's.
    pub const FRESH: u32 = 1 << 8;
    /// It was another's, which was silent.
    pub const EVICTED: u32 = 1 << 9;
    /// There is none: all are busy.
    pub const REFUSED: u32 = 1 << 10;
}

impl ListenerBucket {
    /// The way of listener `id`, if it has a row.
    #[inline(always)]
    pub fn find(&self, id: u64) -> Option<usize> {
        self.ids.iter().position(|known| *known == id)
    }

    /// The row of listener `id`, see [`choice`]: its own, else a free one, else that of a silent listener.
    #[inline(always)]
    pub fn choose(&self, id: u64, now: Stamp) -> u32 {
        if let Some(way) = self.find(id) {
            return way as u32;
        }
        if let Some(way) = self.ids.iter().position(|known| *known == 0) {
            return way as u32 | choice::FRESH;
        }
        match self.rows.iter().position(|row| row.silent(now)) {
            Some(way) => way as u32 | choice::FRESH | choice::EVICTED,
            None => choice::REFUSED,
        }
    }
}

impl ListenerRow {
    #[inline(always)]
    fn silent(&self, now: Stamp) -> bool {
        let proven = self.counters[ListenerCounter::Completed as usize] != 0;
        now.since(self.seen) > if proven { PROVEN_IDLE } else { LISTENER_IDLE }
    }

    /// Begins the row of a new listener.
    #[inline(always)]
    pub fn start(&mut self, address: Address, port: u16, now: Stamp) {
        // Field by field and loop by loop: clearing the row in one go becomes a memset the verifier refuses.
        self.address = address;
        self.port = port;
        self.known = 0;
        self.seen = now;
        self.generation = self.generation.wrapping_add(1);
        for counter in &mut self.counters {
            *counter = 0;
        }
        for octave in &mut self.rwnd_octaves {
            *octave = 0;
        }
        self.askers.start(now);
    }

    /// Adds `amount` to a counter.
    #[inline(always)]
    pub fn add(&mut self, counter: ListenerCounter, amount: u64) {
        let value = &mut self.counters[counter as usize];
        *value = value.wrapping_add(amount);
    }

    /// A counter's value.
    pub const fn get(&self, counter: ListenerCounter) -> u64 {
        self.counters[counter as usize]
    }

    /// Counts a window by octave.
    #[inline(always)]
    pub fn record_rwnd(&mut self, bytes: u32) {
        let octave = &mut self.rwnd_octaves[octave_of(bytes) as usize & (RWND_OCTAVES - 1)];
        *octave = octave.wrapping_add(1);
    }
}

impl Askers {
    /// Nobody.
    pub const EMPTY: Self = Self {
        distinct: [0; DISTINCT_BANKS * DISTINCT_WORDS],
        distinct_periods: [0; DISTINCT_BANKS],
        ttl_classes: [0; DISTINCT_BANKS],
        ttl_periods: [0; DISTINCT_BANKS],
    };

    /// Begins those of a new listener.
    #[inline(always)]
    pub fn start(&mut self, now: Stamp) {
        for word in &mut self.distinct {
            *word = 0;
        }
        self.distinct_periods = [now.period(); DISTINCT_BANKS];
        self.ttl_classes = [0; DISTINCT_BANKS];
        self.ttl_periods = [now.period(); DISTINCT_BANKS];
    }

    /// Notes the source of an attempt, by its hash and TTL.
    #[inline(always)]
    pub fn record(&mut self, pair: u64, ttl: u8, now: Stamp) {
        record_ttl(&mut self.ttl_classes, &mut self.ttl_periods, ttl, now);
        let period = now.period();
        let bank = period as usize & (DISTINCT_BANKS - 1);
        if self.distinct_periods[bank] != period {
            self.distinct_periods[bank] = period;
            let (even, odd) = self.distinct.split_at_mut(DISTINCT_WORDS);
            for word in if bank == 0 { even } else { odd } {
                *word = 0;
            }
        }
        let rank = rank_of((pair >> 16) as u32);
        let register = pair as usize & (DISTINCT_REGISTERS - 1);
        let word = &mut self.distinct
            [(bank * DISTINCT_WORDS + register / 8) & (DISTINCT_BANKS * DISTINCT_WORDS - 1)];
        let shift = (register % 8) * 8;
        if u64::from(rank) > (*word >> shift) & 0xff {
            *word = (*word & !(0xff << shift)) | u64::from(rank) << shift;
        }
    }
}

/// Position of the lowest set bit, from 1; 32 where none of 32 is set.
#[inline(always)]
const fn rank_of(bits: u32) -> u8 {
    let mut bits = bits;
    let mut rank = 1;
    if bits & 0xffff == 0 {
        bits >>= 16;
        rank += 16;
    }
    if bits & 0xff == 0 {
        bits >>= 8;
        rank += 8;
    }
    if bits & 0xf == 0 {
        bits >>= 4;
        rank += 4;
    }
    if bits & 0x3 == 0 {
        bits >>= 2;
        rank += 2;
    }
    if bits & 0x1 == 0 {
        rank += 1;
    }
    rank
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_the_lowest_set_bit() {
        for bit in 0..31 {
            assert_eq!(rank_of(1 << bit), bit as u8 + 1);
            assert_eq!(rank_of(u32::MAX << bit), bit as u8 + 1);
        }
        assert_eq!(rank_of(0), 32);
    }

    #[test]
    fn a_proven_listener_is_not_displaced_by_a_port_scan() {
        let mut bucket = ListenerBucket { ids: [1, 2, 3, 4], ..ListenerBucket::default() };
        bucket.rows[0].add(ListenerCounter::Completed, 1);
        let later = Stamp(LISTENER_IDLE * 2);
        assert_eq!(bucket.choose(5, Stamp(0)), choice::REFUSED);
        assert_eq!(bucket.choose(5, later), 1 | choice::FRESH | choice::EVICTED);
        assert_eq!(bucket.choose(3, later), 2);
    }
}
