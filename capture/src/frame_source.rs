//! A live source of whole frames: one ring or queue, read by one worker.

use thiserror::Error;

use crate::frame::CapturedFrame;
use crate::ring::{RingError, RingSource};

/// Where a worker's frames come from.
pub enum FrameSource {
    /// A packet ring, or one of a group.
    Ring(RingSource),
}

/// Why there are no more frames.
#[derive(Debug, Error)]
pub enum FrameSourceError {
    /// The ring says so.
    #[error(transparent)]
    Ring(#[from] RingError),
}

impl FrameSourceError {
    /// Whether the interface was removed: what was counted until then is whole.
    pub const fn is_vanished(&self) -> bool {
        match self {
            Self::Ring(error) => matches!(error, RingError::Vanished { .. }),
        }
    }
}

impl FrameSource {
    /// Hands over the frames that are there; where there are none, waits for up to `timeout_ms` once. Returns their
    /// number.
    ///
    /// # Errors
    /// Where the source is broken or the interface gone.
    pub fn poll(
        &mut self,
        timeout_ms: u32,
        each: impl FnMut(CapturedFrame<'_>),
    ) -> Result<usize, FrameSourceError> {
        match self {
            Self::Ring(ring) => Ok(ring.poll(timeout_ms, each)?),
        }
    }

    /// Frames lost since it was opened, because nobody took them in time.
    pub fn lost_frames(&mut self) -> u64 {
        match self {
            Self::Ring(ring) => ring.drops().dropped_ring,
        }
    }

    /// The place that loses them, as results name it.
    pub const fn place(&self) -> &'static str {
        match self {
            Self::Ring(_) => "ring",
        }
    }
}
