//! Every limit of the packet logic, with its reason. Table sizes are defaults: live they are set at load time.

/// Headers `parse` walks before it gives up (link, VLAN tags, IP, extension headers, tunnels). Twelve hold
/// QinQ + IPv6 with four extension headers + one tunnel with the same again; more is an attack on parsers.
pub const LAYERS_MAX: u32 = 12;

/// No header starts beyond this offset: the verifier needs a bound, and 12 layers of 255 bytes end below it.
pub const OFFSET_MAX: u32 = 0x0fff;

/// TCP options walked on a SYN before the rest is left unread (40 bytes hold at most 40 of them, real SYNs 5 to 9).
pub const TCP_OPTIONS_MAX: u32 = 12;

/// An attempt without an answer for this long has timed out, in [`crate::stamp::Stamp`] units (3 s).
pub const HANDSHAKE_TIMEOUT: u32 = stamp_units_of_ms(3_000);

/// A flow without proof (no handshake, no data both ways) may be replaced after this much silence (5 s).
pub const UNPROVEN_IDLE: u32 = stamp_units_of_ms(5_000);

/// A proven flow may be replaced after this much silence (5 min, RFC 5382's floor is higher; memory is finite).
pub const PROVEN_IDLE: u32 = stamp_units_of_ms(300_000);

/// A listener without a completed handshake may be replaced after this much silence (1 s), any other after
/// [`PROVEN_IDLE`].
pub const LISTENER_IDLE: u32 = stamp_units_of_ms(1_000);

/// New payload per `transfer_1mib_ms` sample (the feature model's unit).
pub const TRANSFER_BYTES: u32 = 1 << 20;

/// Silence that may be the application's when the round trip is unknown (200 ms: the minimum RTO of Linux).
pub const APPLICATION_IDLE: u32 = stamp_units_of_ms(200);

/// Below this a peer's window may itself be what stops the sender: two full Ethernet segments.
pub const SENDER_BLOCKED_BYTES: u32 = 2 * 1_460;

/// A full Ethernet segment: less room than this in the receiver's window stops a bulk sender.
pub const SENDER_SEGMENT_BYTES: u32 = 1_460;

/// A retransmission this soon after the duplicate ACKs that ask for it is a fast one (Wireshark's 20 ms).
pub const FAST_WITHIN_US: u32 = 20_000;

/// Where the handshake's round trip is unknown, a segment this soon after the highest number was overtaken, not sent
/// again (Wireshark's 3 ms).
pub const REORDERED_WITHIN_US: u32 = 3_000;

/// The same packet again within this time was captured twice: mirror ports repeat a packet within microseconds, and no
/// sender repeats one under 2 ms (a tail loss probe waits for two round trips and two ticks of its clock).
pub const COPY_WITHIN_US: u32 = 1_000;

/// `rwnd_bytes` below this is anomalous (the feature model: 10 K).
pub const RWND_LOW_BYTES: u32 = 10_000;

/// A MiB that took longer is slow (the feature model: 200 ms).
pub const TRANSFER_SLOW: u32 = stamp_units_of_ms(TRANSFER_SLOW_MS);
/// The same in milliseconds, as findings quote it.
pub const TRANSFER_SLOW_MS: u32 = 200;

/// Attempts per half-open bucket of one cache line.
pub const ATTEMPT_WAYS: usize = 3;
/// Flows per bucket, one cache line each.
pub const FLOW_WAYS: usize = 2;
/// Listeners per bucket; their ids share one cache line.
pub const LISTENER_WAYS: usize = 4;
/// Source counters per bucket of one cache line.
pub const SOURCE_WAYS: usize = 2;

/// Half-open buckets (393,216 attempts, 8 MiB): at 20,000 SYN/s under 1 % are given up before their 3 s are over, at
/// 1 M SYN/s an attempt lives 400 ms, more than most round trips.
pub const ATTEMPT_BUCKETS: u32 = 1 << 17;
/// Flow buckets of the kernel program (262,144 flows, 16 MiB).
pub const FLOW_BUCKETS_LIVE: u32 = 1 << 17;
/// Flow buckets for rings and queues in userspace (1,048,576 flows, 64 MiB).
pub const FLOW_BUCKETS_RING: u32 = 1 << 19;
/// Listener buckets per shard (1,024 listeners, 656 KiB).
pub const LISTENER_BUCKETS: u32 = 1 << 8;
/// Source buckets per shard (2,048 heavy-hitter counters, 64 KiB).
pub const SOURCE_BUCKETS: u32 = 1 << 10;

/// Target buckets per shard (256 targets, 36 KiB).
pub const TARGET_BUCKETS: u32 = 1 << 6;
/// Source prefix buckets per shard (512 heavy-hitter counters, 16 KiB).
pub const PREFIX_BUCKETS: u32 = 1 << 8;
/// Targets per bucket; their ids share one cache line.
pub const TARGET_WAYS: usize = 4;

/// Packets of one CPU in one jiffy (1 to 10 ms) beyond which a packet is judged with the next one: at 4 ms that is
/// 64,000 packets per second, so the next is 16 us away on average.
pub const BUSY_PACKETS: u32 = 256;
/// Precise clock readings per jiffy and CPU (8,000 to 32,000 per second): a reading costs a quarter of a packet's work.
pub const PRECISE_STAMPS: u32 = 32;
/// A round trip of which no echo came within this time is given up (2 s).
pub const PROBE_TIMEOUT: u32 = stamp_units_of_ms(2_000);

/// Registers of the distinct-source sketch (HyperLogLog, standard error 1.04 / sqrt(128) = 9.2 %).
pub const DISTINCT_REGISTERS: usize = 128;

/// Milliseconds in [`crate::stamp::Stamp`] units.
pub const fn stamp_units_of_ms(milliseconds: u32) -> u32 {
    ((milliseconds as u64 * 1_000_000) >> crate::stamp::UNIT_SHIFT) as u32
}

const _: () = assert!(ATTEMPT_BUCKETS.is_power_of_two() && FLOW_BUCKETS_LIVE.is_power_of_two());
const _: () = assert!(FLOW_BUCKETS_RING.is_power_of_two() && LISTENER_BUCKETS.is_power_of_two());
const _: () = assert!(TARGET_BUCKETS.is_power_of_two() && PREFIX_BUCKETS.is_power_of_two());
const _: () = assert!(SOURCE_BUCKETS.is_power_of_two() && DISTINCT_REGISTERS.is_power_of_two());
// A header of 255 bytes at most per layer: the walk ends before the offset cap does.
const _: () = assert!(LAYERS_MAX * 255 < OFFSET_MAX);
