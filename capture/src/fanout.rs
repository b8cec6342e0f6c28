//! Packet fanout: several packet sockets share the frames of an interface, each flow's to one of them.
//!
//! The kernel chooses the socket by a hash of the flow that is the same in both directions
//! (`PACKET_FANOUT_HASH`, packet(7)). Fragments are hashed by their addresses alone, so those of a flow may all come to
//! another socket than its whole packets; nothing is judged by a fragment, so they are not put together for this.
#![expect(unsafe_code, reason = "the socket option has no safe wrapper")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// A new group gets a number that nobody else uses (linux/if_packet.h).
const UNIQUE_ID: u32 = 0x2000;

/// A group of sockets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    id: u16,
}

impl Group {
    /// Makes a group of this socket.
    pub(crate) fn found(socket: &impl AsFd) -> io::Result<Self> {
        set(socket, (libc::PACKET_FANOUT_HASH | UNIQUE_ID) << 16)?;
        // The lower half is the group's number.
        Ok(Self { id: get(socket)? as u16 })
    }

    /// Adds another socket of the same interface.
    pub(crate) fn join(self, socket: &impl AsFd) -> io::Result<()> {
        set(socket, libc::PACKET_FANOUT_HASH << 16 | u32::from(self.id))
    }
}

fn set(socket: &impl AsFd, fanout: u32) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    let bytes = size_of::<u32>() as libc::socklen_t;
    // SAFETY: the kernel reads four bytes from an integer that we hold.
    let result = unsafe {
        libc::setsockopt(fd, libc::SOL_PACKET, libc::PACKET_FANOUT, (&raw const fanout).cast(), bytes)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn get(socket: &impl AsFd) -> io::Result<u32> {
    let fd = socket.as_fd().as_raw_fd();
    let (mut fanout, mut bytes) = (0_u32, size_of::<u32>() as libc::socklen_t);
    // SAFETY: the kernel writes at most the four bytes that it is told of to an integer that we hold.
    let result = unsafe {
        libc::getsockopt(fd, libc::SOL_PACKET, libc::PACKET_FANOUT, (&raw mut fanout).cast(), &raw mut bytes)
    };
    if result == 0 { Ok(fanout) } else { Err(io::Error::last_os_error()) }
}
