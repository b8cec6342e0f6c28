//! Packet time in 32 bits: units of 1,024 ns, so that a nanosecond clock becomes a stamp by one shift.
//!
//! Wraps after 73 minutes: a difference is right up to 72, and every timeout here is minutes at most.
//! A slot untouched for longer may look young again; that only delays its eviction.

/// log2 of nanoseconds per unit.
pub const UNIT_SHIFT: u32 = 10;

/// Differences above this are time running backwards by up to 69 s, not 72 minutes of silence.
const BACKWARDS: u32 = u32::MAX - u32::MAX / 64;

/// A point in packet time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Stamp(pub u32);

impl Stamp {
    /// The stamp of a nanosecond clock.
    #[inline(always)]
    pub const fn from_ns(ns: u64) -> Self {
        Self((ns >> UNIT_SHIFT) as u32)
    }

    /// Units since `earlier`; 0 where `earlier` is the later one (frames out of time order).
    #[inline(always)]
    pub const fn since(self, earlier: Self) -> u32 {
        let units = self.0.wrapping_sub(earlier.0);
        if units > BACKWARDS { 0 } else { units }
    }

    /// The stamp in 16 bits: units of 67 ms, which wrap like the stamp itself.
    #[inline(always)]
    pub const fn coarse(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// Stamp units since `earlier`, which [`Stamp::coarse`] gave, to 67 ms; 0 where that is the later one.
    #[inline(always)]
    pub const fn since_coarse(self, earlier: u16) -> u32 {
        let units = self.coarse().wrapping_sub(earlier);
        if units > u16::MAX - u16::MAX / 64 { 0 } else { (units as u32) << 16 }
    }

    /// Number of the sketch period (1.07 s) this stamp is in.
    #[inline(always)]
    pub const fn period(self) -> u32 {
        self.0 >> 20
    }
}

/// A point in time, and whether it was read for this packet or is that of its jiffy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When.
    pub stamp: Stamp,
    /// Whether it is the packet's own time.
    pub precise: bool,
}

/// Stamp units in microseconds.
#[inline(always)]
pub const fn units_to_us(units: u32) -> u32 {
    // 1,024 ns per unit: 2.4 % more microseconds than units, without a 64-bit division.
    ((units as u64 * 1_024) / 1_000) as u32
}
