//! What one CPU or worker has for itself: its totals, its clock, and packets that wait for their judgement.
//!
//! When packets come fast a packet is judged when the next one arrives: its table lines are asked for at once and have
//! come from memory by then, so the wait for memory costs nothing. Order stays; nothing is judged twice or lost.

use crate::counter::Counters;
use crate::event::Outcome;
use crate::flow::FlowKey;
use crate::limits::{BUSY_PACKETS, LISTENER_BUCKETS, PRECISE_STAMPS};
use crate::link::LinkType;
use crate::observe::Arrival;
use crate::packet::Packet;
use crate::stamp::Stamp;

/// Packets that can wait at a time, a power of two.
pub const WORK_SLOTS: usize = 8;

/// What one stage of [`crate::observe`] hands to the next.
///
/// Through memory and not by value, because the kernel's verifier follows each combination of values that branches
/// have told it apart; of memory it remembers nothing, so each stage is followed once.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub struct Work {
    pub(crate) packet: Packet,
    pub(crate) outcome: Outcome,
    pub(crate) arrival: Arrival,
    pub(crate) key: FlowKey,
    pub(crate) wire_bytes: u64,
}

impl Default for Work {
    fn default() -> Self {
        let arrival =
            Arrival { now: Stamp(0), link: LinkType::Ethernet, captured_len: 0, wire_len: 0, segments: 1 };
        let key = FlowKey { source: 0, destination: 0 };
        Self { packet: Packet::EMPTY, outcome: Outcome::default(), arrival, key, wire_bytes: 0 }
    }
}

/// The order of the waiting packets, and a clock that is read once a jiffy.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// The tick (jiffy) in which the clock was read last.
    pub tick: u64,
    /// What it said, nanoseconds.
    pub now_ns: u64,
    /// Slot of the next packet, modulo [`WORK_SLOTS`].
    pub head: u32,
    /// Packets before it that wait.
    pub waiting: u32,
    /// Packets of this tick.
    pub arrived: u32,
    /// Precise stamps left in this tick.
    pub precise_left: u32,
}

impl Queue {
    /// A packet arrives in `tick`; `clock` is asked for nanoseconds when the tick is a new one.
    #[inline(always)]
    pub fn arrive(&mut self, tick: u64, clock: impl FnOnce() -> u64) -> Stamp {
        if self.tick != tick {
            self.tick = tick;
            self.now_ns = clock();
            self.arrived = 0;
            self.precise_left = PRECISE_STAMPS;
        }
        self.arrived = self.arrived.wrapping_add(1);
        Stamp::from_ns(self.now_ns)
    }

    /// Whether packets come so fast that judging one with the next is worth it, and the next is not far.
    #[inline(always)]
    pub const fn busy(&self) -> bool {
        self.arrived > BUSY_PACKETS
    }

    /// Takes one of the tick's precise stamps, if more than `reserve` are left.
    #[inline(always)]
    pub fn take_precise(&mut self, reserve: u32) -> bool {
        let left = self.precise_left;
        if left > reserve {
            self.precise_left = left - 1;
        }
        left > reserve
    }
}

/// Words of a bit per listener bucket.
pub const TOUCHED_WORDS: usize = LISTENER_BUCKETS as usize / 64;

/// Which listener buckets changed lately, so that a reader need not look at the others: a bit for each, in the bank of
/// the current period (268 ms) and in that of the one before.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Bits by listener bucket.
    pub banks: [[u64; TOUCHED_WORDS]; 2],
    /// [`Touched::period`] of each bank.
    pub periods: [u32; 2],
}

impl Touched {
    /// Number of a stamp's period.
    #[inline(always)]
    pub const fn period(now: Stamp) -> u32 {
        now.0 >> 18
    }

    /// Notes a change in the bucket of listener `id`.
    #[inline(always)]
    pub fn mark(&mut self, id: u64, now: Stamp) {
        let period = Self::period(now);
        let bank = period as usize & 1;
        if self.periods[bank] != period {
            self.periods[bank] = period;
            for word in &mut self.banks[bank] {
                *word = 0;
            }
        }
        let bucket = id as u32 & (LISTENER_BUCKETS - 1);
        let word = &mut self.banks[bank][(bucket as usize / 64) & (TOUCHED_WORDS - 1)];
        let bit = 1 << (bucket & 63);
        if *word & bit == 0 {
            *word |= bit;
        }
    }
}

/// Attempts by listener bucket, which only grow and wrap: where a reader that cannot look at everything looks first.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// By bucket.
    pub attempts: [u16; LISTENER_BUCKETS as usize],
}

impl Default for Asked {
    fn default() -> Self {
        Self { attempts: [0; LISTENER_BUCKETS as usize] }
    }
}

impl Asked {
    /// Counts an attempt at listener `id`.
    #[inline(always)]
    pub fn count(&mut self, id: u64) {
        let attempts = &mut self.attempts[(id as u32 & (LISTENER_BUCKETS - 1)) as usize];
        *attempts = attempts.wrapping_add(1);
    }
}

/// One CPU's or worker's own memory.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Totals. First, so that readers find them without knowing the rest.
    pub counters: Counters,
    /// Order and clock.
    pub queue: Queue,
    /// Which listener buckets changed.
    pub touched: Touched,
    /// Which are asked for.
    pub asked: Asked,
    /// The packets.
    pub slots: [Work; WORK_SLOTS],
}

impl Default for Section {
    fn default() -> Self {
        Self {
            counters: Counters::default(),
            queue: Queue::default(),
            touched: Touched::default(),
            asked: Asked::default(),
            slots: [Work::default(); WORK_SLOTS],
        }
    }
}

impl Section {
    /// A packet's slot, which counts on and on, and the totals.
    #[inline(always)]
    pub fn work(&mut self, slot: u32) -> (&mut Work, &mut Counters) {
        (&mut self.slots[slot as usize & (WORK_SLOTS - 1)], &mut self.counters)
    }
}
