//! Whole frames past the host's stack (AF_XDP), for mirror ports and sensors: a program hands every frame of an
//! interface to the socket of its RX queue, and each queue is read by one thread.
//!
//! The host gets none of these frames any more: this is for interfaces whose traffic is meant for nobody here. Dropping
//! [`AfXdpHold`] detaches the program, and so does the process's death.
//! Used by the analyzer's live loop.

mod error;
mod memory;
mod queue;

use aya::maps::{MapError, PerCpuArray, XskMap};
use aya::programs::links::FdLink;
use aya::programs::{Program, Xdp};
use aya::{Ebpf, EbpfLoader};

pub use error::AfXdpError;
pub use queue::{BATCH_FRAMES, Queue, QueueLosses, RESOLUTION_US, Transfer};

use crate::interface::Interface;
use crate::xdp::{Mode, XdpError, attach};

/// Built by `cargo xtask ebpf` from `ebpf/src/redirect`.
static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/redirect.bpf.o"));
const PROGRAM: &str = "tidegauge_redirect";
/// Room in front of a frame in its chunk, which the kernel keeps (XDP_PACKET_HEADROOM).
const HEADROOM_BYTES: u32 = 256;
const CHUNK_BYTES_SMALL: u32 = 2_048;
const CHUNK_BYTES_LARGE: u32 = 4_096;
/// Longest frame that a chunk takes, less a VLAN tag's room.
pub const FRAME_BYTES_MAX: u32 = 3_512;
/// Chunks of a queue at the least.
const CHUNKS_MIN: u32 = 1_024;

/// How the source is made.
#[derive(Clone, Debug)]
pub struct AfXdpOptions {
    /// Memory for frames, of all queues together: 64 MiB hold 32,768 frames of up to 1,792 bytes.
    pub memory_bytes: u32,
}

impl Default for AfXdpOptions {
    fn default() -> Self {
        Self { memory_bytes: 64 << 20 }
    }
}

/// What keeps frames coming. It must live as long as they are wanted.
pub struct AfXdpHold {
    #[expect(dead_code, reason = "keeps the program attached")]
    link: FdLink,
    ebpf: Ebpf,
    mode: Mode,
    transfer: Transfer,
    memory_bytes: u64,
}

/// Opens a socket on each RX queue of `interface`, and from then on takes all its frames.
///
/// # Errors
/// See [`AfXdpError`]: each says what is missing and what to do.
pub fn open(interface: &Interface, options: &AfXdpOptions) -> Result<(AfXdpHold, Vec<Queue>), AfXdpError> {
    let mtu_bytes = interface.mtu_bytes().unwrap_or_default();
    let frame_bytes = interface.frame_bytes_max();
    if frame_bytes > FRAME_BYTES_MAX {
        return Err(AfXdpError::FramesTooLong { interface: interface.name.clone(), mtu_bytes });
    }
    // Where the MTU is not known frames may be long.
    let chunk_bytes = if frame_bytes != 0 && frame_bytes + HEADROOM_BYTES <= CHUNK_BYTES_SMALL - 8 {
        CHUNK_BYTES_SMALL
    } else {
        CHUNK_BYTES_LARGE
    };
    let mut ebpf = load()?;
    let queues = interface.rx_queues();
    let chunks = (options.memory_bytes / queues / chunk_bytes).max(CHUNKS_MIN);
    // The largest power of two that is not more.
    let chunks = 1 << chunks.ilog2();
    let opened: Result<Vec<_>, _> =
        (0..queues).map(|queue| Queue::open(interface, queue, chunks, chunk_bytes)).collect();
    let opened = opened?;
    for (queue, number) in opened.iter().zip(0..) {
        put(&mut ebpf, number, queue).map_err(|error| unsupported(&error))?;
    }
    let (mode, link) = attach::xdp(program(&mut ebpf)?, interface)?;
    let transfer = opened.first().map_or(Transfer::Copy, Queue::transfer);
    let memory_bytes = u64::from(queues) * u64::from(chunks) * u64::from(chunk_bytes);
    Ok((AfXdpHold { link, ebpf, mode, transfer, memory_bytes }, opened))
}

impl AfXdpHold {
    /// How the program runs.
    pub const fn mode(&self) -> &Mode {
        &self.mode
    }

    /// How frames come into the memory.
    pub const fn transfer(&self) -> Transfer {
        self.transfer
    }

    /// Memory for frames.
    pub const fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Frames that went to the host because their queue has no socket (it was added later); `None` where the kernel does
    /// not tell.
    pub fn passed_frames(&self) -> Option<u64> {
        let map = PerCpuArray::<_, u64>::try_from(self.ebpf.map("PASSED")?).ok()?;
        Some(map.get(&0, 0).ok()?.iter().sum())
    }
}

fn load() -> Result<Ebpf, AfXdpError> {
    let mut ebpf = EbpfLoader::new().load(OBJECT).map_err(|error| XdpError::of_load(&error))?;
    program(&mut ebpf)?.load().map_err(|error| XdpError::of_program(&error))?;
    Ok(ebpf)
}

fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp, AfXdpError> {
    match ebpf.program_mut(PROGRAM) {
        Some(Program::Xdp(program)) => Ok(program),
        _ => Err(XdpError::Unsupported { reason: format!("the object has no XDP program {PROGRAM}") }.into()),
    }
}

/// Enters a queue's socket in the program's map.
fn put(ebpf: &mut Ebpf, number: u32, queue: &Queue) -> Result<(), MapError> {
    let map = ebpf.map_mut("SOCKETS").ok_or_else(|| MapError::InvalidName { name: "SOCKETS".to_owned() })?;
    XskMap::try_from(map)?.set(number, queue.socket(), 0)
}

fn unsupported(error: &MapError) -> AfXdpError {
    XdpError::Unsupported { reason: format!("XSKMAP: {error}") }.into()
}
