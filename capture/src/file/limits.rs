//! Every limit of the capture-file readers, with its reason. Lengths read from a file are compared with these
//! before they are used, and nothing is ever allocated by a length in a file.

/// Longest frame a record may hold: libpcap's own maximum snap length, which no writer exceeds (super-frames of
/// 512 KiB are cut to it). A longer record means that the file is damaged or is not what its header says.
pub const FRAME_BYTES_MAX: u32 = 256 * 1024;

/// Longest pcapng block of any kind. Name resolution and decryption secrets reach megabytes; Wireshark draws the
/// line at the same place.
pub const BLOCK_BYTES_MAX: u32 = 16 * 1024 * 1024;

/// Interfaces one pcapng section may describe (each costs 32 bytes for as long as its section lasts).
pub const INTERFACES_MAX: usize = 65_536;

/// Step in which a mapped file is walked, unless a block is longer: behind each step its pages are given back, so
/// that this, and not the size of the file, bounds the resident memory. Of 2, 8 and 32 MiB it has the lowest peak
/// (18 MiB), and none is clearly faster.
pub const WINDOW_BYTES: usize = 8 * 1024 * 1024;

/// How far ahead of the record at hand a walk over a mapped file asks for bytes: as long as memory takes to answer. From
/// 512 to 3,072 all are the same.
pub const PREFETCH_AHEAD_BYTES: usize = 1_024;

/// What a streamed file is read by, and the length of each of its buffers until a record needs more. With some
/// batches in use it is as fast as 1 MiB, and an eighth faster than 256 KiB; it stays in an L2 cache of 1 MiB.
pub const STREAM_READ_BYTES: usize = 512 * 1024;

/// Most the buffer of a streamed file grows to. It doubles when it is full of bytes that are really there, so a
/// length in the file alone cannot make it grow.
pub const STREAM_BUFFER_BYTES_MAX: usize = BLOCK_BYTES_MAX as usize;

// The longest record fits whatever holds it; otherwise a reader would wait for bytes that cannot come.
const _: () = assert!(BLOCK_BYTES_MAX as usize <= STREAM_BUFFER_BYTES_MAX);
const _: () = assert!(STREAM_READ_BYTES <= STREAM_BUFFER_BYTES_MAX);
const _: () = assert!(FRAME_BYTES_MAX < BLOCK_BYTES_MAX);
