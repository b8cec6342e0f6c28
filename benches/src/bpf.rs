//! bpf(2) for measuring: load a program of a few instructions, chain it before another, time either on a frame.
//!
//! One of the crate's three files with `unsafe`. Programs this small need no loader, no BTF and no object file, so
//! the floor under every figure depends on nothing but the kernel. What they do stands in `xdp`.
#![expect(unsafe_code, reason = "bpf is a system call that takes pointers")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE: libc::c_int = 2;
const PROGRAM_LOAD: libc::c_int = 5;
const PROGRAM_TEST_RUN: libc::c_int = 10;
const MAP_TYPE_ARRAY: u32 = 2;
const MAP_TYPE_PROGRAM_ARRAY: u32 = 3;
const PROGRAM_TYPE_XDP: u32 = 6;
/// Programs that call each other must agree on it; loaders set it for XDP.
const ATTACH_TYPE_XDP: u32 = 37;

// The first fields of `union bpf_attr` for each command; the kernel takes what is not given as zero.

#[repr(C)]
#[derive(Default)]
struct MapCreate {
    map_type: u32,
    key_bytes: u32,
    value_bytes: u32,
    entries_max: u32,
}

#[repr(C)]
#[derive(Default)]
struct MapUpdate {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct ProgramLoad {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_bytes: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
}

#[repr(C)]
#[derive(Default)]
struct ProgramTestRun {
    program: u32,
    verdict: u32,
    data_in_bytes: u32,
    data_out_bytes: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration_ns: u32,
    context_in_bytes: u32,
    context_out_bytes: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch_frames: u32,
    /// The kernel wants zero there.
    padding: u32,
}

/// `BPF_F_TEST_XDP_LIVE_FRAMES`: what the program says of a frame is done to it.
const LIVE_FRAMES: u32 = 1 << 1;
/// Frames that are on their way at once: a veth pair's queue holds four times as many.
const BATCH_FRAMES: u32 = 64;

/// What the kernel says of a test run.
#[derive(Clone, Copy, Debug)]
pub struct TestRun {
    /// Mean nanoseconds of one run.
    pub ns: u32,
    /// What the last run returned.
    pub verdict: u32,
}

/// Loads an XDP program of these instructions; needs CAP_BPF and CAP_NET_ADMIN.
pub fn load(instructions: &[u64]) -> io::Result<OwnedFd> {
    let license = c"GPL";
    let mut attributes = ProgramLoad {
        program_type: PROGRAM_TYPE_XDP,
        instruction_count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        attach_type: ATTACH_TYPE_XDP,
        ..ProgramLoad::default()
    };
    open(PROGRAM_LOAD, &mut attributes)
}

/// An array that holds nothing yet and can hold one program to call.
pub fn program_array() -> io::Result<OwnedFd> {
    let map_type = MAP_TYPE_PROGRAM_ARRAY;
    open(MAP_CREATE, &mut MapCreate { map_type, key_bytes: 4, value_bytes: 4, entries_max: 1 })
}

/// An array of one value, zeroed, which a program can address directly.
pub fn memory(value_bytes: u32) -> io::Result<OwnedFd> {
    let map_type = MAP_TYPE_ARRAY;
    open(MAP_CREATE, &mut MapCreate { map_type, key_bytes: 4, value_bytes, entries_max: 1 })
}

/// Puts `program` into `array`; a program that calls entry 0 must be loaded first, it sets what may be put there.
pub fn put(array: &impl AsFd, program: BorrowedFd<'_>) -> io::Result<()> {
    let (key, value) = (0_u32, number(program));
    let mut attributes = MapUpdate {
        map: number(array.as_fd()),
        key: (&raw const key) as u64,
        value: (&raw const value) as u64,
        ..MapUpdate::default()
    };
    bpf(MAP_UPDATE, &mut attributes).map(|_| ())
}

/// Runs `program` `repeat` times on `frame`, which keeps from run to run what the program writes to it.
pub fn test_run(program: BorrowedFd<'_>, frame: &[u8], repeat: u32) -> io::Result<TestRun> {
    let mut attributes = ProgramTestRun {
        program: number(program),
        data_in_bytes: frame.len() as u32,
        data_in: frame.as_ptr() as u64,
        repeat,
        ..ProgramTestRun::default()
    };
    bpf(PROGRAM_TEST_RUN, &mut attributes)?;
    Ok(TestRun { ns: attributes.duration_ns, verdict: attributes.verdict })
}

/// Sends `frames` frames that begin as copies of `frame`: each goes where `program` sends it (Linux 5.18).
pub fn send_live(program: BorrowedFd<'_>, frame: &[u8], frames: u32) -> io::Result<()> {
    let mut attributes = ProgramTestRun {
        program: number(program),
        data_in_bytes: frame.len() as u32,
        data_in: frame.as_ptr() as u64,
        repeat: frames,
        flags: LIVE_FRAMES,
        batch_frames: BATCH_FRAMES,
        ..ProgramTestRun::default()
    };
    bpf(PROGRAM_TEST_RUN, &mut attributes).map(|_| ())
}

/// The number of an open descriptor, as bpf(2) wants it.
pub fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().unsigned_abs()
}

/// A command whose result is a new descriptor.
fn open<T>(command: libc::c_int, attributes: &mut T) -> io::Result<OwnedFd> {
    let fd = i32::try_from(bpf(command, attributes)?).map_err(io::Error::other)?;
    // SAFETY: the call succeeded, so this is a descriptor that was opened for us and that nobody else holds.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `attributes` must be of the layout of `command`, its pointers valid for the call; all callers are above.
fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads and writes at most the given size of a structure that we hold exclusively; the
    // pointers within it are to slices, integers and strings that outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
