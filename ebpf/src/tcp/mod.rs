//! The full TCP judgement, for sources that see whole packets: each segment of a connection is held against both
//! directions' state and gets its [`mark`]s.
//!
//! `no_std`, safe, no allocation, no clock, like the rest of the packet logic; it needs more state than the kernel
//! program can afford ([`crate::judge`] is the same machine with less). The same definitions as Wireshark's, whose
//! names are kept. Where it differs on purpose:
//! - A packet captured twice is said to be that, not a retransmission or a duplicate ACK (`judge.rs`, `is_copy`).
//! - A one-byte segment is a window probe only where the other end's window was really seen to be 0; Wireshark takes
//!   the window of an end that was never heard for 0.
//! - A RST changes no window and no acknowledgment: nothing is sent because of it.
//! - A fast retransmission needs two duplicate ACKs; Wireshark's counter of them also reads as many where an ACK of
//!   what was not captured has just passed.
//! - The scale of windows is unknown where no SYN-ACK was captured, even if the SYN offered one.
//! - Sequence number 0 is a number like any other; Wireshark takes it for "not known yet".

pub mod connection;
mod judge;
mod limiter;
pub mod mark;
mod measure;
pub mod opening;
pub mod options;
mod unseen;

pub use judge::{Judged, Seen};
