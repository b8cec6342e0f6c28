//! What can keep AF_XDP from working, each with what to do about it.

use std::io;

use thiserror::Error;

use super::FRAME_BYTES_MAX;
use crate::xdp::XdpError;

/// Why there is no AF_XDP source, or none any more.
#[derive(Debug, Error)]
pub enum AfXdpError {
    /// The program that hands frames over.
    #[error(transparent)]
    Program(#[from] XdpError),
    /// A frame may be longer than a chunk of the memory.
    #[error(
        "{interface} has an MTU of {mtu_bytes}: AF_XDP takes frames of up to {FRAME_BYTES_MAX} bytes here; lower it (`ip link \
         set dev {interface} mtu 3498`), or use `--source ring`"
    )]
    FramesTooLong {
        /// Where.
        interface: String,
        /// Its MTU.
        mtu_bytes: u32,
    },
    /// Another socket has the queue.
    #[error(
        "another AF_XDP socket has RX queue {queue} of {interface}: end the program that holds it, or use `--source ring`"
    )]
    QueueTaken {
        /// Where.
        interface: String,
        /// Which queue.
        queue: u32,
    },
    /// No right to make the socket or to register its memory.
    #[error(
        "not permitted to open an AF_XDP socket ({call}): run as root, or grant CAP_NET_RAW beside the rights for BPF"
    )]
    NotPermitted {
        /// The refused call.
        call: &'static str,
    },
    /// A call failed.
    #[error(
        "cannot make an AF_XDP socket on RX queue {queue} of {interface}: {call}: {error}; use `--source ring`"
    )]
    Socket {
        /// Where.
        interface: String,
        /// Which queue.
        queue: u32,
        /// The call.
        call: &'static str,
        /// The kernel's word.
        error: io::Error,
    },
    /// The interface was removed.
    #[error("network interface {interface} is gone: start again when it is back")]
    Vanished {
        /// Its name.
        interface: String,
    },
}
