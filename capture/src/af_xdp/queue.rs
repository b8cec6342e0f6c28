//! One RX queue's socket: frames out of shared memory, in place.
//!
//! Frames carry no time: they get that of the moment at which their batch was taken, at most [`BATCH_FRAMES`] at once.
//! Waiting costs more than anything else here: a wakeup per batch of the driver takes the CPU it saves. So an idle queue
//! is looked at every [`SLEEP_MIN`] to [`SLEEP_MAX`], and only one that has been idle for long waits in `poll(2)`.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{
    set_xdp_rx_ring_size, set_xdp_umem_completion_ring_size, set_xdp_umem_fill_ring_size, set_xdp_umem_reg,
    xdp_mmap_offsets, xdp_statistics,
};
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, XDP_PGOFF_RX_RING, XDP_UMEM_PGOFF_FILL_RING, XdpDesc, XdpUmemReg,
    XdpUmemRegFlags,
};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use tidegauge_ebpf::link::LinkType;

use super::error::AfXdpError;
use super::memory::{Chunks, Ring};
use crate::clock::realtime_ns;
use crate::frame::CapturedFrame;
use crate::interface::Interface;

/// Frames taken at once, and given back at once.
pub const BATCH_FRAMES: u32 = 64;
/// Frames handed over per call, so that a caller under flood still gets to its tick.
const FRAMES_PER_POLL_MAX: u32 = 65_536;
/// The kernel wants a completion ring, although nothing is sent.
const COMPLETIONS: u32 = 64;
const SLEEP_MIN: Duration = Duration::from_micros(50);
const SLEEP_MAX: Duration = Duration::from_micros(RESOLUTION_US as u64);
/// Frames arrived up to this long before their time, microseconds; longer where the queue was not read in time.
pub const RESOLUTION_US: u32 = 500;
/// Calls without a frame after which a queue has been idle for long.
const IDLE_CALLS: u32 = 5;
const DLT_ETHERNET: u16 = 1;

/// What the kernel counted on a queue since it was opened. Frames that are in neither were handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueLosses {
    /// Frames lost because the ring to us was full: we were too slow.
    pub ring_full: u64,
    /// Frames lost because no chunk was free: we were too slow to give them back.
    pub fill_empty: u64,
    /// Frames lost for another reason: longer than a chunk.
    pub other: u64,
}

/// How the kernel brings frames into the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// It copies them.
    Copy,
    /// The NIC writes them.
    ZeroCopy,
}

/// One queue. Its socket goes with it.
pub struct Queue {
    socket: OwnedFd,
    chunks: Chunks,
    rx: Ring<XdpDesc>,
    fill: Ring<u64>,
    transfer: Transfer,
    interface: Interface,
    idle_calls: u32,
    losses: QueueLosses,
}

impl Queue {
    /// Makes the socket of RX queue `queue`, with `chunks` chunks (a power of two) for frames.
    pub(super) fn open(
        interface: &Interface,
        queue: u32,
        chunks: u32,
        chunk_bytes: u32,
    ) -> Result<Self, AfXdpError> {
        let failed = |call| move |error: Errno| refused(interface, queue, call, error);
        let failed_io = |call| {
            move |error: io::Error| AfXdpError::Socket {
                interface: interface.name.clone(),
                queue,
                call,
                error,
            }
        };
        let kind = (AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC);
        let socket = socket_with(kind.0, kind.1, kind.2, None).map_err(failed("socket"))?;
        let memory = Chunks::new(chunks, chunk_bytes).map_err(failed_io("mmap of the frames"))?;
        let registration = XdpUmemReg {
            addr: memory.address(),
            len: memory.bytes() as u64,
            chunk_size: chunk_bytes,
            headroom: 0,
            flags: XdpUmemRegFlags::empty(),
            tx_metadata_len: 0,
        };
        set_xdp_umem_reg(&socket, registration).map_err(failed("XDP_UMEM_REG"))?;
        set_xdp_umem_fill_ring_size(&socket, chunks).map_err(failed("XDP_UMEM_FILL_RING"))?;
        set_xdp_umem_completion_ring_size(&socket, COMPLETIONS)
            .map_err(failed("XDP_UMEM_COMPLETION_RING"))?;
        set_xdp_rx_ring_size(&socket, chunks).map_err(failed("XDP_RX_RING"))?;
        let offsets = xdp_mmap_offsets(&socket).map_err(failed("XDP_MMAP_OFFSETS"))?;
        let rx = Ring::map(&socket, offsets.rx, XDP_PGOFF_RX_RING, chunks);
        let rx = rx.map_err(failed_io("mmap of the RX ring"))?;
        let fill = Ring::map(&socket, offsets.fr, XDP_UMEM_PGOFF_FILL_RING, chunks);
        let mut fill = fill.map_err(failed_io("mmap of the fill ring"))?;
        (0..u64::from(chunks)).for_each(|chunk| fill.put(chunk * u64::from(chunk_bytes)));
        fill.submit();
        let transfer = bind_to(&socket, interface, queue).map_err(failed("bind"))?;
        let interface = interface.clone();
        let losses = QueueLosses::default();
        Ok(Self { socket, chunks: memory, rx, fill, transfer, interface, idle_calls: 0, losses })
    }

    /// Hands over the frames that are there, in place; where there are none, waits for up to `timeout_ms` once.
    /// Returns their number.
    ///
    /// # Errors
    /// [`AfXdpError::Vanished`] once the interface is gone.
    pub fn poll(
        &mut self,
        timeout_ms: u32,
        mut each: impl FnMut(CapturedFrame<'_>),
    ) -> Result<usize, AfXdpError> {
        let mut frames = self.hand_over(&mut each);
        if frames == 0 {
            self.wait(timeout_ms)?;
            frames = self.hand_over(&mut each);
        }
        self.idle_calls = if frames == 0 { self.idle_calls.saturating_add(1) } else { 0 };
        Ok(frames as usize)
    }

    fn hand_over(&mut self, each: &mut impl FnMut(CapturedFrame<'_>)) -> u32 {
        let mut frames = 0;
        while frames < FRAMES_PER_POLL_MAX {
            let batch = self.rx.available().min(BATCH_FRAMES);
            if batch == 0 {
                break;
            }
            let ts_ns = realtime_ns();
            for index in 0..batch {
                let desc = self.rx.get(index);
                let bytes = self.chunks.frame(&desc);
                let link = Some(LinkType::Ethernet);
                each(CapturedFrame { ts_ns, dlt: DLT_ETHERNET, link, wire_len: desc.len, bytes });
                self.fill.put(self.chunks.chunk_of(desc.addr));
            }
            self.rx.release(batch);
            self.fill.submit();
            frames += batch;
        }
        if frames != 0 && self.fill.needs_wakeup() {
            self.wake();
        }
        frames
    }

    /// Tells the driver that there are chunks again.
    fn wake(&self) {
        // Nothing is received this way; whatever it says, the next look at the rings shows.
        let _ = recv(&self.socket, &mut [0_u8; 0][..], RecvFlags::DONTWAIT);
    }

    fn wait(&mut self, timeout_ms: u32) -> Result<(), AfXdpError> {
        if self.idle_calls >= IDLE_CALLS || self.fill.needs_wakeup() {
            return self.wait_in_kernel(timeout_ms);
        }
        let (mut waited, mut sleep) = (Duration::ZERO, SLEEP_MIN);
        let timeout = Duration::from_millis(timeout_ms.into());
        while waited < timeout && self.rx.available() == 0 {
            std::thread::sleep(sleep);
            waited += sleep;
            sleep = (sleep * 2).min(SLEEP_MAX);
        }
        Ok(())
    }

    fn wait_in_kernel(&self, timeout_ms: u32) -> Result<(), AfXdpError> {
        let mut sockets = [PollFd::new(&self.socket, PollFlags::IN)];
        let timeout = Timespec {
            tv_sec: i64::from(timeout_ms / 1_000),
            tv_nsec: i64::from(timeout_ms % 1_000) * 1_000_000,
        };
        // A signal: the caller looks whether it was told to stop.
        let _ = poll(&mut sockets, Some(&timeout));
        // A socket of a removed interface says nothing, so it is looked for.
        if self.interface.is_present() {
            Ok(())
        } else {
            Err(AfXdpError::Vanished { interface: self.interface.name.clone() })
        }
    }

    /// What was lost so far; the last known numbers where the kernel does not answer.
    pub fn losses(&mut self) -> QueueLosses {
        if let Ok(told) = xdp_statistics(&self.socket) {
            // In copy mode each frame that found no chunk is dropped, and counted as both.
            let fill_empty = told.rx_fill_ring_empty_descs.unwrap_or_default().min(told.rx_dropped);
            self.losses = QueueLosses {
                ring_full: told.rx_ring_full.unwrap_or_default(),
                fill_empty,
                other: told.rx_dropped - fill_empty,
            };
        }
        self.losses
    }

    /// How frames come.
    pub const fn transfer(&self) -> Transfer {
        self.transfer
    }

    pub(super) fn socket(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Zero-copy where the driver has it, else copy.
fn bind_to(socket: &OwnedFd, interface: &Interface, queue: u32) -> Result<Transfer, Errno> {
    let address =
        |flags| SocketAddrXdp::new(flags | SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP, interface.index, queue);
    match bind(socket, &address(SocketAddrXdpFlags::XDP_ZEROCOPY)) {
        Ok(()) => Ok(Transfer::ZeroCopy),
        Err(Errno::BUSY) => Err(Errno::BUSY),
        Err(_) => bind(socket, &address(SocketAddrXdpFlags::XDP_COPY)).map(|()| Transfer::Copy),
    }
}

fn refused(interface: &Interface, queue: u32, call: &'static str, error: Errno) -> AfXdpError {
    let name = interface.name.clone();
    match error {
        Errno::PERM | Errno::ACCESS => AfXdpError::NotPermitted { call },
        Errno::BUSY if call == "bind" => AfXdpError::QueueTaken { interface: name, queue },
        _ => AfXdpError::Socket { interface: name, queue, call, error: error.into() },
    }
}
