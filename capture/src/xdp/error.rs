//! What can keep the XDP program from running, each with what to do about it.

use aya::programs::ProgramError;
use thiserror::Error;

/// Why XDP is not to be had on an interface.
#[derive(Debug, Error)]
pub enum XdpError {
    /// EPERM.
    #[error(
        "not permitted to load BPF programs ({call}): run as root, or grant CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON \
         (setcap cap_bpf,cap_net_admin,cap_perfmon+ep tidegauge)"
    )]
    NotPermitted {
        /// The refused call.
        call: String,
    },
    /// EBUSY.
    #[error(
        "another XDP program is attached to {interface}: see it with `bpftool net show dev {interface}`, remove it \
         with `ip link set dev {interface} xdp off`, or leave it and use `--source ring`"
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
        matches!(self, Self::Unsupported { .. } | Self::NoMode { .. })
    }
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
