//! What an operator or a bench switches at load time. The kernel's verifier knows the values and removes what is off.

/// Bits of [`Settings::features`].
pub mod feature {
    /// Follow tunnels to the innermost packet.
    pub const TUNNELS: u32 = 1 << 0;
    /// The half-open cache and the flow table; without it only header facts are counted.
    pub const FLOWS: u32 = 1 << 1;
    /// Rows per listener.
    pub const LISTENERS: u32 = 1 << 2;
    /// Heavy hitters among the sources of attempts.
    pub const SOURCES: u32 = 1 << 3;
    /// The same by source prefix.
    pub const PREFIXES: u32 = 1 << 4;
    /// Distinct sources and TTL spread of the attempts at a listener.
    pub const DISTINCT: u32 = 1 << 5;
    /// Round trips from TCP timestamps.
    pub const ROUND_TRIPS: u32 = 1 << 6;
    /// Histograms of receive windows.
    pub const WINDOWS: u32 = 1 << 7;
    /// Rows per target of what is not TCP.
    pub const TARGETS: u32 = 1 << 8;
    /// Judging a packet one packet later when packets come fast, so that its tables are in the cache by then.
    pub const DEFER: u32 = 1 << 9;

    /// Names of the bits, lowest first.
    pub const NAMES: [&str; 10] = [
        "tunnels",
        "flows",
        "listeners",
        "sources",
        "prefixes",
        "distinct",
        "round_trips",
        "windows",
        "targets",
        "defer",
    ];
    /// All of them.
    pub const ALL: u32 = (1 << NAMES.len()) - 1;
}

/// Frames that come in are counted.
pub const INWARD: u32 = 1;
/// Frames that go out are counted.
pub const OUTWARD: u32 = 2;

/// Constants of a run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Seed of all hashes.
    pub seed: u64,
    /// Bits of [`feature`].
    pub features: u32,
    /// Longest frame of the link, link header included; a longer one is several that were merged. 0: unknown, or no
    /// frame is merged there.
    pub frame_bytes_max: u32,
}

impl Settings {
    /// Everything on, frames as they are.
    pub const fn with_seed(seed: u64) -> Self {
        Self { seed, features: feature::ALL, frame_bytes_max: 0 }
    }

    /// Whether a feature is on.
    #[inline(always)]
    pub const fn has(&self, feature: u32) -> bool {
        self.features & feature != 0
    }
}
