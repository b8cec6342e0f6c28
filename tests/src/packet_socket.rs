//! The one `unsafe` file of the test tools: packet sockets.
//!
//! A [`PacketSocket`] sends a batch of ready frames with one system call and receives nothing (protocol 0): `sendmmsg`
//! of [`BATCH_FRAMES`] frames with `PACKET_QDISC_BYPASS` reaches 1-2 million frames per second per core on a veth pair.
//! A [`Tap`] receives what comes in on an interface, frame by frame, says what it lost, and sends. Nothing in std or nix
//! speaks to AF_PACKET this way.

#![expect(unsafe_code, reason = "AF_PACKET has no safe wrapper; every call is listed in this file")]

use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::syn_frame::FRAME_BYTES_MAX;

/// Frames per system call. More gains nothing measurable and makes paced sending burstier.
pub const BATCH_FRAMES: usize = 64;

/// Room for one batch of frames, allocated once.
#[derive(Debug)]
pub struct Batch {
    frames: Box<[[u8; FRAME_BYTES_MAX]; BATCH_FRAMES]>,
    /// Length of each frame, at most `FRAME_BYTES_MAX`.
    lens: [usize; BATCH_FRAMES],
    /// Frames filled, at most `BATCH_FRAMES`.
    filled: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self { frames: Box::new([[0; FRAME_BYTES_MAX]; BATCH_FRAMES]), lens: [0; BATCH_FRAMES], filled: 0 }
    }
}

impl Batch {
    /// Fills the batch with `count` frames (at most [`BATCH_FRAMES`]); `write` returns the length it wrote.
    pub fn fill(&mut self, count: usize, mut write: impl FnMut(&mut [u8; FRAME_BYTES_MAX]) -> usize) {
        self.filled = count.min(BATCH_FRAMES);
        for (frame, len) in self.frames.iter_mut().zip(&mut self.lens).take(self.filled) {
            *len = write(frame).min(FRAME_BYTES_MAX);
        }
    }
}

/// How many frames of a batch the device took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Accepted by the device.
    pub accepted: u64,
    /// Refused, because the device's queue was full.
    pub refused: u64,
}

/// An AF_PACKET socket bound to one interface of the calling thread's network namespace.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Opens the socket on `iface`. Needs CAP_NET_RAW.
    ///
    /// # Errors
    /// The operating system's, where the interface does not exist or the right is missing.
    pub fn open(iface: &str) -> io::Result<Self> {
        let fd = socket()?;
        set(&fd, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, 1)?;
        bind(&fd, iface, 0)?;
        Ok(Self(fd))
    }

    /// Sends the whole batch; frames that the full device refuses are counted, not sent again.
    ///
    /// # Errors
    /// The operating system's, when it is about more than a full queue (the interface vanished, for example).
    pub fn send(&self, batch: &mut Batch) -> io::Result<Sent> {
        let filled = batch.filled;
        // SAFETY: `iovec` is a pointer and a length, for which all zeroes is a value.
        let mut parts: [libc::iovec; BATCH_FRAMES] = unsafe { mem::zeroed() };
        // SAFETY: `mmsghdr` is pointers and integers, for which all zeroes is a value.
        let mut headers: [libc::mmsghdr; BATCH_FRAMES] = unsafe { mem::zeroed() };
        let frames = batch.frames.iter_mut().zip(&batch.lens);
        for ((frame, len), (part, header)) in frames.zip(parts.iter_mut().zip(&mut headers)).take(filled) {
            *part = libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: *len };
            header.msg_hdr.msg_iov = &raw mut *part;
            header.msg_hdr.msg_iovlen = 1;
        }
        let mut sent = Sent::default();
        let mut from = 0;
        while let Some(rest) = headers[..filled].get_mut(from..).filter(|rest| !rest.is_empty()) {
            let count = libc::c_uint::try_from(rest.len()).unwrap_or_default();
            // SAFETY: `rest` holds `count` headers; each points at one part, each part at `len` bytes of a frame, and
            // parts and frames outlive the call, which only reads them.
            let result = unsafe { libc::sendmmsg(self.0.as_raw_fd(), rest.as_mut_ptr(), count, 0) };
            match check(result) {
                Ok(accepted) => {
                    from += accepted;
                    sent.accepted += accepted as u64;
                }
                Err(error) if is_full(&error) => {
                    from += 1;
                    sent.refused += 1;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }
}

impl PacketSocket {
    /// Sends one frame of any length.
    ///
    /// # Errors
    /// The operating system's, a full queue included.
    pub fn send_frame(&self, frame: &[u8]) -> io::Result<()> {
        send(&self.0, frame)
    }
}

/// A packet socket of frames that come in on one interface; those that leave it are not seen.
#[derive(Debug)]
pub struct Tap(OwnedFd);

impl Tap {
    /// Opens the socket on `iface` with a queue of so many bytes. Needs CAP_NET_RAW and CAP_NET_ADMIN.
    ///
    /// # Errors
    /// The operating system's, where the interface does not exist or a right is missing.
    pub fn open(iface: &str, queue_bytes: i32) -> io::Result<Self> {
        let fd = socket()?;
        set(&fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, queue_bytes)?;
        set(&fd, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)?;
        bind(&fd, iface, (libc::ETH_P_ALL as u16).to_be())?;
        Ok(Self(fd))
    }

    /// The next frame's length, cut to `frame`; `None` where none waits.
    ///
    /// # Errors
    /// The operating system's.
    pub fn receive(&self, frame: &mut [u8]) -> io::Result<Option<usize>> {
        // SAFETY: the buffer is writable for the length given.
        let result = unsafe {
            libc::recv(self.0.as_raw_fd(), frame.as_mut_ptr().cast(), frame.len(), libc::MSG_DONTWAIT)
        };
        match usize::try_from(result) {
            Ok(len) => Ok(Some(len)),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                error => Err(error),
            },
        }
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// The operating system's, a full queue included.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        send(&self.0, frame)
    }

    /// Frames lost since the last call because the queue was full.
    ///
    /// # Errors
    /// The operating system's.
    pub fn lost(&self) -> io::Result<u64> {
        let mut stats = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut len = socklen::<libc::tpacket_stats>();
        // SAFETY: the option's value is a `tpacket_stats`, whose address and size are given.
        check(unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut stats).cast(),
                &raw mut len,
            )
        })?;
        Ok(u64::from(stats.tp_drops))
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointers are passed; the result is checked below.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    check(fd)?;
    // SAFETY: `fd` was just opened, is valid, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn send(fd: &OwnedFd, frame: &[u8]) -> io::Result<()> {
    // SAFETY: the buffer is readable for the length given.
    let result = unsafe { libc::send(fd.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn set(fd: &OwnedFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the option's value is a `c_int`, whose address and size are given.
    check(unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, option, (&raw const value).cast(), socklen::<libc::c_int>())
    })?;
    Ok(())
}

/// Binds to an interface; frames of this protocol (network byte order) are received from now on, none for 0.
fn bind(fd: &OwnedFd, iface: &str, protocol: u16) -> io::Result<()> {
    let name = CString::new(iface)?;
    // SAFETY: `name` is a NUL-terminated string that outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `sockaddr_ll` is plain integers, for which all zeroes is a value.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol;
    address.sll_ifindex = index.cast_signed();
    // SAFETY: the address is a `sockaddr_ll` that outlives the call, and its size is given.
    check(unsafe {
        libc::bind(fd.as_raw_fd(), (&raw const address).cast(), socklen::<libc::sockaddr_ll>())
    })?;
    Ok(())
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::EAGAIN))
}

const fn socklen<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

/// The result of a call that returns -1 and sets `errno` when it fails.
fn check(result: libc::c_int) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_does_not_exist_is_an_error() {
        assert!(PacketSocket::open("no-such-iface").is_err());
        assert!(PacketSocket::open("nul\0inside").is_err());
    }

    #[test]
    fn a_batch_never_claims_more_than_it_holds() {
        let mut batch = Batch::default();
        batch.fill(1_000, |_| 10_000);
        assert_eq!((batch.filled, batch.lens[0]), (BATCH_FRAMES, FRAME_BYTES_MAX));
    }
}
