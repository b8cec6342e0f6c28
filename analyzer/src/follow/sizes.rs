//! How the memory that a run may use is divided among its tables.

use super::half_open::HalfOpen;
use super::table::Table;
use crate::digest::PARTITIONS;

/// What one partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Half-open attempts.
    pub attempts: u32,
    /// Connections.
    pub connections: u32,
    /// Connections with a record.
    pub stories: u32,
    /// Whether connections are told.
    pub records: bool,
}

/// Memory of a run where nobody says otherwise, MiB.
pub const MEMORY_MIB_DEFAULT: u32 = 256;
/// The least that is of use, MiB.
pub const MEMORY_MIB_MIN: u32 = 128;
/// What is not connections and attempts, MiB: the program, batches on their way, listeners, targets, layers' buffers.
const FIXED_MIB: u32 = 72;
/// Half-open attempts of a run by default: at 500,000 SYN/s one lives half a second, more than most round trips.
const ATTEMPTS_DEFAULT: u32 = 393_216;
/// Connections for each story: a record is of use while its connection is watched, and few are busy at a time.
const CONNECTIONS_PER_STORY: usize = 4;
/// Bytes that the layers above TCP keep for each story.
const LAYER_BYTES: usize = 32;

impl Sizes {
    /// The same of one of `workers`, each of which has all partitions for its own flows.
    pub fn of_worker(memory_mib: u32, workers: u32) -> Self {
        let for_tables = memory_mib.saturating_sub(FIXED_MIB) / workers.max(1);
        let sizes = Self::of_memory(FIXED_MIB + for_tables, false);
        Self { attempts: sizes.attempts.min(ATTEMPTS_DEFAULT / PARTITIONS as u32 / workers.max(1)), ..sizes }
    }

    /// The share of one of [`PARTITIONS`] in `memory_mib`.
    pub fn of_memory(memory_mib: u32, records: bool) -> Self {
        let for_tables = usize::try_from(memory_mib.saturating_sub(FIXED_MIB).max(8)).unwrap_or(usize::MAX);
        let bytes = for_tables.saturating_mul(1 << 20) / PARTITIONS;
        let attempts = (ATTEMPTS_DEFAULT as usize / PARTITIONS).min(bytes / 3 / HalfOpen::bytes(records));
        let rest = bytes - attempts * HalfOpen::bytes(records);
        let (connection_bytes, story_bytes) = Table::BYTES;
        let closed_bytes = 2 * size_of::<super::Closed>();
        let set = CONNECTIONS_PER_STORY * (connection_bytes + closed_bytes) + story_bytes + LAYER_BYTES;
        let stories = rest / set;
        Self {
            attempts: attempts as u32,
            connections: (stories * CONNECTIONS_PER_STORY) as u32,
            stories: stories as u32,
            records,
        }
    }
}
