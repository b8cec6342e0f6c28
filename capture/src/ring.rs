//! The packet ring: whole frames of an interface through libpcap (AF_PACKET, TPACKET_V3), in nanoseconds.
//!
//! The kernel fills blocks of a mapped ring and hands them over when they are full or their timeout is over. With
//! V3, libpcap's own read never returns on an idle link, so the handle is non-blocking and [`RingSource::poll`]
//! waits itself. What arrives while the ring is full is lost, and [`RingSource::drops`] says how much.
//!
//! Frames come from behind the stack's merging: on a host with GRO or TSO a frame may be longer than the MTU and
//! stand for several wire segments. `wire_len` is the merged length; the packet logic counts it as at least so many
//! segments as the MTU cuts it into.
//! Used by the analyzer's live loop where XDP is not to be had, or where deeper layers are asked for.

use std::io;

use pcap::{Active, Capture, Packet, Precision};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType};
use thiserror::Error;
use tidegauge_ebpf::link::LinkType;
use tidegauge_ebpf::settings::{INWARD, OUTWARD};

use crate::clock::realtime_ns;
use crate::fanout::Group;
use crate::frame::CapturedFrame;
use crate::interface::Interface;

/// Frames handed over per call, so that a caller under flood still gets to its tick: at 28 ns each some 2 ms.
pub const FRAMES_PER_POLL_MAX: usize = 65_536;

/// How long after the start of a group there may be frames in a ring that another one had too.
const STARTING_NS: u64 = 1_000_000_000;

/// How a ring is made.
#[derive(Clone, Debug)]
pub struct RingOptions {
    /// Memory of the ring. 64 MiB hold a third of a second of small frames at 3 Mpps.
    pub ring_bytes: u32,
    /// Bytes captured per frame.
    pub snaplen_bytes: u32,
    /// Longest time a frame waits in a block that is not full.
    pub block_timeout_ms: u32,
    /// pcap-filter(7) expression, applied in the kernel.
    pub filter: Option<String>,
    /// Whether frames to other hosts are taken too, as a mirror port needs.
    pub promiscuous: bool,
    /// [`INWARD`] and [`OUTWARD`]: which frames are taken.
    pub directions: u32,
}

impl Default for RingOptions {
    fn default() -> Self {
        Self {
            ring_bytes: 64 << 20,
            snaplen_bytes: 65_535,
            block_timeout_ms: 20,
            filter: None,
            promiscuous: false,
            directions: INWARD | OUTWARD,
        }
    }
}

/// Why there is no ring, or none any more.
#[derive(Debug, Error)]
pub enum RingError {
    /// libpcap does not take the expression.
    #[error("filter \"{filter}\" does not compile: {reason}; the syntax is pcap-filter(7)'s")]
    Filter {
        /// What was asked for.
        filter: String,
        /// libpcap's words.
        reason: String,
    },
    /// No right to capture.
    #[error(
        "not permitted to open a packet ring: run as root, or grant CAP_NET_RAW (setcap cap_net_raw+ep tidegauge)"
    )]
    NotPermitted,
    /// The ring could not be made.
    #[error("cannot open a packet ring on {interface}: {reason}")]
    Open {
        /// Where.
        interface: String,
        /// libpcap's words.
        reason: String,
    },
    /// Reading failed, and the interface is still there.
    #[error("cannot read the packet ring of {interface}: {reason}")]
    Read {
        /// Where.
        interface: String,
        /// libpcap's words.
        reason: String,
    },
    /// The interface was removed.
    #[error("network interface {interface} is gone: start again when it is back")]
    Vanished {
        /// Its name.
        interface: String,
    },
}

/// What the kernel counted since the ring was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingDrops {
    /// Frames that passed the filter, lost ones included.
    pub received: u64,
    /// Frames lost because the ring was full.
    pub dropped_ring: u64,
    /// Frames the interface lost before, as far as its driver says.
    pub dropped_interface: u64,
}

/// An open ring.
pub struct RingSource {
    capture: Capture<Active>,
    interface: Interface,
    dlt: u16,
    link: Option<LinkType>,
    drops: RingDrops,
    /// libpcap's last words on it, 32 bits each.
    last: [u32; 3],
    /// Frames before this time are not taken: other rings of the group had them too.
    since_ns: u64,
}

impl RingSource {
    /// Opens a ring on `interface`.
    ///
    /// # Errors
    /// See [`RingError`]: each says what is missing and what to do.
    pub fn open(interface: &Interface, options: &RingOptions) -> Result<Self, RingError> {
        check_permission()?;
        let open = |error: pcap::Error| RingError::Open {
            interface: interface.name.clone(),
            reason: error.to_string(),
        };
        let inactive = Capture::from_device(interface.name.as_str()).map_err(open)?;
        let inactive = inactive
            .buffer_size(signed(options.ring_bytes))
            .snaplen(signed(options.snaplen_bytes))
            .timeout(signed(options.block_timeout_ms))
            .promisc(options.promiscuous)
            .precision(Precision::Nano);
        let mut capture = inactive.open().map_err(open)?.setnonblock().map_err(open)?;
        if let Some(filter) = &options.filter {
            let refused =
                |error: pcap::Error| RingError::Filter { filter: filter.clone(), reason: error.to_string() };
            capture.filter(filter, true).map_err(refused)?;
        }
        match options.directions {
            INWARD => capture.direction(pcap::Direction::In).map_err(open)?,
            OUTWARD => capture.direction(pcap::Direction::Out).map_err(open)?,
            _ => {}
        }
        // Link types are 16 bits wide in every format; a larger one would be none that anybody reads.
        let dlt = u16::try_from(capture.get_datalink().0).unwrap_or(u16::MAX);
        let link = LinkType::from_dlt(dlt);
        let drops = RingDrops::default();
        Ok(Self { capture, interface: interface.clone(), dlt, link, drops, last: [0; 3], since_ns: 0 })
    }

    /// Opens `rings` rings on `interface` that share its frames, each flow's in one of them, and the memory that
    /// `options` gives to one.
    ///
    /// # Errors
    /// As [`RingSource::open`].
    pub fn open_group(
        interface: &Interface,
        options: &RingOptions,
        rings: u32,
    ) -> Result<Vec<Self>, RingError> {
        let share = RingOptions { ring_bytes: options.ring_bytes / rings.max(1), ..options.clone() };
        let mut group = vec![Self::open(interface, &share)?];
        if rings < 2 {
            return Ok(group);
        }
        let refused = |error: io::Error| RingError::Open {
            interface: interface.name.clone(),
            reason: format!("the kernel refuses packet fanout (PACKET_FANOUT): {error}; use --workers 1"),
        };
        let fanout = Group::found(&group[0].capture).map_err(refused)?;
        for _ in 1..rings {
            let ring = Self::open(interface, &share)?;
            fanout.join(&ring.capture).map_err(refused)?;
            group.push(ring);
        }
        // Until all were there, some frames went to several of them.
        let since_ns = realtime_ns();
        for ring in &mut group {
            ring.drops();
            (ring.since_ns, ring.drops) = (since_ns, RingDrops::default());
        }
        Ok(group)
    }

    /// Hands over the frames that are there, at most [`FRAMES_PER_POLL_MAX`]; where there are none, waits for up to
    /// `timeout_ms` once. Returns their number.
    ///
    /// # Errors
    /// [`RingError::Vanished`] once the interface is gone, [`RingError::Read`] for anything else.
    pub fn poll(
        &mut self,
        timeout_ms: u32,
        mut each: impl FnMut(CapturedFrame<'_>),
    ) -> Result<usize, RingError> {
        // First without waiting: libpcap may hold the rest of a block that the kernel no longer speaks of.
        let at_hand = self.hand_over(&mut each)?;
        if at_hand != 0 {
            return Ok(at_hand);
        }
        if self.wait(timeout_ms)? { self.hand_over(&mut each) } else { Ok(0) }
    }

    fn hand_over(&mut self, each: &mut impl FnMut(CapturedFrame<'_>)) -> Result<usize, RingError> {
        let (dlt, link, since_ns) = (self.dlt, self.link, self.since_ns);
        let handler = |packet: Packet<'_>| {
            let ts_ns = ts_ns(packet.header.ts);
            if ts_ns < since_ns {
                return;
            }
            each(CapturedFrame { ts_ns, dlt, link, wire_len: packet.header.len, bytes: packet.data });
        };
        // A clock that is set back later must not hide what comes then.
        if since_ns != 0 && realtime_ns() > since_ns + STARTING_NS {
            self.since_ns = 0;
        }
        let count = self.capture.dispatch(Some(FRAMES_PER_POLL_MAX), handler);
        count.map_err(|error| self.failed(&error.to_string()))
    }

    /// Whether the ring has something to say before the time is over.
    fn wait(&self, timeout_ms: u32) -> Result<bool, RingError> {
        let mut ring = [PollFd::new(&self.capture, PollFlags::IN)];
        let timeout = Timespec {
            tv_sec: i64::from(timeout_ms / 1_000),
            tv_nsec: i64::from(timeout_ms % 1_000) * 1_000_000,
        };
        match poll(&mut ring, Some(&timeout)) {
            // A signal: the caller looks whether it was told to stop.
            Ok(0) | Err(Errno::INTR) => Ok(false),
            Ok(_) if ring[0].revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL) => {
                if self.interface.is_present() {
                    Ok(true)
                } else {
                    Err(self.failed("it is gone"))
                }
            }
            Ok(_) => Ok(true),
            Err(error) => Err(self.failed(&error.to_string())),
        }
    }

    fn failed(&self, reason: &str) -> RingError {
        let interface = self.interface.name.clone();
        if self.interface.is_present() {
            RingError::Read { interface, reason: reason.to_owned() }
        } else {
            RingError::Vanished { interface }
        }
    }

    /// What was received and lost so far; the last known numbers where the kernel does not answer.
    pub fn drops(&mut self) -> RingDrops {
        if let Ok(now) = self.capture.stats() {
            let now = [now.received, now.dropped, now.if_dropped];
            // libpcap's counters wrap after 2^32 frames, which is 20 minutes of 3 Mpps.
            let [received, ring, interface] = [0, 1, 2].map(|i| u64::from(now[i].wrapping_sub(self.last[i])));
            self.drops.received += received;
            self.drops.dropped_ring += ring;
            self.drops.dropped_interface += interface;
            self.last = now;
        }
        self.drops
    }

    /// Link type of the interface, `None` where it is one that is not read.
    pub const fn link(&self) -> Option<LinkType> {
        self.link
    }
}

/// libpcap says a missing right in words only; the socket it is about says it in a number.
fn check_permission() -> Result<(), RingError> {
    match rustix::net::socket(AddressFamily::PACKET, SocketType::RAW, None) {
        Err(Errno::PERM | Errno::ACCESS) => Err(RingError::NotPermitted),
        // Whatever else is wrong, libpcap will say with more context.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// libpcap's sizes are signed; none of ours is sensible beyond 2 GiB.
fn signed(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// With nanosecond precision the second field counts nanoseconds, whatever its name says.
fn ts_ns(ts: libc::timeval) -> u64 {
    let seconds = u64::try_from(ts.tv_sec).unwrap_or_default();
    let nanoseconds = u64::try_from(ts.tv_usec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}
