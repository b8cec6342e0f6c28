//! `transfer_1mib_ms`: the time in which one direction delivers a MiB of new payload (the feature model).

use crate::event::{self, Outcome};
use crate::limits::TRANSFER_BYTES;
use crate::stamp::Stamp;

/// [`Transfer::bytes`]: no MiB is being timed.
const NOT_TIMING: u32 = u32::MAX;

/// The MiB being timed, 8 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transfer {
    /// New payload in it, in bytes; all bits set where none is timed.
    pub bytes: u32,
    /// Its start.
    pub start: Stamp,
}

impl Transfer {
    /// No MiB.
    pub const NONE: Self = Self { bytes: NOT_TIMING, start: Stamp(0) };

    /// `fresh_bytes` of new payload came; starts anew after an application's pause. Where nothing is `acknowledged`, as
    /// in a view of one direction, nothing is known to be delivered.
    #[inline(always)]
    pub fn time(
        &mut self,
        fresh_bytes: u32,
        application_idle: bool,
        acknowledged: bool,
        now: Stamp,
        outcome: &mut Outcome,
    ) {
        if self.bytes == NOT_TIMING || application_idle {
            *self = Self { bytes: 0, start: now };
            return;
        }
        self.bytes = self.bytes.saturating_add(fresh_bytes);
        if self.bytes < TRANSFER_BYTES {
            return;
        }
        if acknowledged {
            outcome.events |= event::TRANSFER;
            outcome.transfer = now.since(self.start);
        }
        // Bytes beyond the MiB are dropped, not carried: a super-frame must not shorten the next one.
        *self = Self { bytes: 0, start: now };
    }
}
