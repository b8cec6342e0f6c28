//! What can keep the XDP program from running, each with what to do about it.

use std::path::PathBuf;

use aya::EbpfError;
use aya::programs::ProgramError;
use thiserror::Error;

use crate::confine::capability::{self, Right};

/// Why XDP is not to be had on an interface.
#[derive(Debug, Error)]
pub enum XdpError {
    /// A capability is missing, or all are there and something else forbids it.
    #[error("not permitted to load and attach BPF programs: {}", missing_in_words(call, missing))]
    NotPermitted {
        /// The refused call, or the first one that would have been.
        call: &'static str,
        /// What this process lacks.
        missing: Vec<Right>,
    },
    /// EBUSY.
    #[error(
        "another XDP program is attached to {interface}: see it with `bpftool net show dev {interface}`, remove it \
         with `ip link set dev {interface} xdp off`, or leave it and use `--source ring`; one that an earlier run with \
         --pin left is taken over by --pin and removed by `tidegauge unpin {interface}`"
    )]
    Occupied {
        /// Where.
        interface: String,
    },
    /// The kernel refused the object or a map.
    #[error(
        "this kernel does not take the BPF program ({reason}): Linux 5.11 or later is needed; use `--source ring`"
    )]
    Unsupported {
        /// The kernel's words.
        reason: String,
    },
    /// The kernel attached without a link.
    #[error(
        "this kernel attaches XDP to {interface} without a link (Linux 5.9 has them), so that a crash would leave the \
         program behind: use `--source ring`; should `ip link show dev {interface}` list a program, remove it with \
         `ip link set dev {interface} xdp off`"
    )]
    NoLink {
        /// Where.
        interface: String,
    },
    /// The clsact filter stays.
    #[error(
        "the TC filter on {interface} could not be removed ({reason}): see it with `tc filter show dev {interface} \
         egress`, remove it with `tidegauge unpin {interface}`"
    )]
    FilterStays {
        /// Where.
        interface: String,
        /// Why.
        reason: String,
    },
    /// Pinned state.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// Neither native nor generic mode.
    #[error("{interface} takes no XDP program (native: {native}; generic: {generic}): use `--source ring`")]
    NoMode {
        /// Where.
        interface: String,
        /// Why not natively.
        native: String,
        /// Why not generically.
        generic: String,
    },
}

impl XdpError {
    /// Whether the packet ring is worth trying without being asked: XDP is impossible here, not merely in use or
    /// forbidden.
    pub const fn ring_may_serve(&self) -> bool {
        matches!(self, Self::Unsupported { .. } | Self::NoLink { .. } | Self::NoMode { .. })
    }

    /// The kernel said EPERM to a call.
    pub(super) fn not_permitted(call: &'static str) -> Self {
        Self::NotPermitted { call, missing: capability::missing(&Right::FOR_BPF) }
    }
}

impl XdpError {
    /// The kernel refused the maps of an object.
    pub(crate) fn of_load(error: &EbpfError) -> Self {
        match os_error(error) {
            Some(libc::EPERM) => Self::not_permitted("BPF_MAP_CREATE"),
            _ => unsupported(error, "BPF_MAP_CREATE"),
        }
    }

    /// The kernel refused a program. EPERM without a word of the verifier is a missing right; with one, the program was
    /// refused on its merits.
    pub(crate) fn of_program(error: &ProgramError) -> Self {
        match error {
            ProgramError::LoadError { io_error, verifier_log }
                if io_error.raw_os_error() == Some(libc::EPERM)
                    && verifier_log.to_string().trim().is_empty() =>
            {
                Self::not_permitted("BPF_PROG_LOAD")
            }
            _ => unsupported(error, "BPF_PROG_LOAD"),
        }
    }
}

pub(super) fn unsupported(error: &(dyn std::error::Error + 'static), call: &str) -> XdpError {
    XdpError::Unsupported { reason: format!("{call}: {}", one_line(error)) }
}

fn missing_in_words(call: &str, missing: &[Right]) -> String {
    let needed = capability::names(&Right::FOR_BPF);
    if missing.is_empty() {
        return format!(
            "{call} was refused although {needed} are there, so a user namespace (rootless container), kernel lockdown \
             or a security module forbids it: run on the host, or use `--source ring`"
        );
    }
    let lacks = capability::names(missing);
    format!(
        "{lacks} missing; run as root, or grant {needed} (setcap cap_bpf,cap_net_admin,cap_perfmon+ep tidegauge)"
    )
}

/// What can be wrong with pinned state.
#[derive(Debug, Error)]
pub enum PinError {
    /// Another run holds it.
    #[error("{} is in use by another tidegauge: end that one first, or give --pin another directory", .dir.display())]
    Busy {
        /// The directory.
        dir: PathBuf,
    },
    /// It is another interface's.
    #[error(
        "{} holds the pins of another interface, or of one in another network namespace: give --pin another \
         directory, or remove them with `tidegauge unpin`", .dir.display()
    )]
    Elsewhere {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory is not on a BPF filesystem.
    #[error(
        "{} is not on a BPF filesystem, where alone programs can be pinned: `mount -t bpf bpf /sys/fs/bpf` makes one, \
         or give --pin a directory on another", .dir.display()
    )]
    NoBpffs {
        /// The directory.
        dir: PathBuf,
    },
    /// A call failed.
    #[error("cannot {what} {}: {reason}", .path.display())]
    Path {
        /// What was to be done.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// The kernel's words.
        reason: String,
    },
}

/// The operating system's error number behind an error, if any.
pub(super) fn os_error(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return io.raw_os_error();
        }
        // aya's transparent variants skip a level of `source()`.
        if let Some(ProgramError::SyscallError(call)) = error.downcast_ref::<ProgramError>() {
            return call.io_error.raw_os_error();
        }
        cause = error.source();
    }
    None
}

/// An error with its causes, on one line.
pub(super) fn one_line(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    line.trim().to_owned()
}
