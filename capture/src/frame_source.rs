//! A live source of whole frames: one ring or queue, read by one worker.

use thiserror::Error;

use crate::af_xdp::{AfXdpError, Queue};
use crate::frame::CapturedFrame;
use crate::ring::{RingError, RingSource};

/// Places that lose frames and how many; places without a name are none.
pub type FrameLosses = [(&'static str, u64); 3];

/// Where a worker's frames come from.
pub enum FrameSource {
    /// An RX queue's AF_XDP socket.
    AfXdp(Queue),
    /// A packet ring, or one of a group.
    Ring(RingSource),
}

/// Why there are no more frames.
#[derive(Debug, Error)]
pub enum FrameSourceError {
    /// The queue says so.
    #[error(transparent)]
    AfXdp(#[from] AfXdpError),
    /// The ring says so.
    #[error(transparent)]
    Ring(#[from] RingError),
}

impl FrameSourceError {
    /// Whether the interface was removed: what was counted until then is whole.
    pub const fn is_vanished(&self) -> bool {
        match self {
            Self::AfXdp(error) => matches!(error, AfXdpError::Vanished { .. }),
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
            Self::AfXdp(queue) => Ok(queue.poll(timeout_ms, each)?),
            Self::Ring(ring) => Ok(ring.poll(timeout_ms, each)?),
        }
    }

    /// Frames lost since it was opened, by place.
    pub fn losses(&mut self) -> FrameLosses {
        match self {
            Self::AfXdp(queue) => {
                let losses = queue.losses();
                [
                    ("af_xdp_ring", losses.ring_full),
                    ("af_xdp_fill", losses.fill_empty),
                    ("af_xdp_other", losses.other),
                ]
            }
            Self::Ring(ring) => [("ring", ring.drops().dropped_ring), ("", 0), ("", 0)],
        }
    }
}
