//! Attaching: native where the driver can, else generic, and the reason said; the way out through TCX.

use std::fmt;

use aya::programs::tc::TcAttachOptions;
use aya::programs::{LinkOrder, ProgramError, TcAttachType, XdpMode};

use super::error::{XdpError, one_line, os_error};
use super::object::Object;
use crate::interface::Interface;

/// How the XDP program runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the kernel's generic hook, behind the driver: it may see merged frames (GRO).
    Generic {
        /// Why not natively.
        why: String,
    },
    /// In the driver: frames as they were on the wire.
    Native,
}

/// Whether outgoing frames are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Egress {
    /// They are not: answers to what comes in are unknown.
    None {
        /// Why not.
        why: String,
    },
    /// By a TCX program.
    Tcx,
    /// They come in again anyway: a loopback interface.
    Unneeded,
}

impl Egress {
    /// Whether what goes out is seen.
    pub const fn is_seen(&self) -> bool {
        !matches!(self, Self::None { .. })
    }
}

impl fmt::Display for Egress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None { why } => write!(formatter, "none ({why})"),
            Self::Tcx => formatter.write_str("tcx"),
            Self::Unneeded => {
                formatter.write_str("not needed: on a loopback interface every frame comes in again")
            }
        }
    }
}

/// Attaches the XDP program.
pub(super) fn ingress(object: &mut Object, interface: &Interface) -> Result<Mode, XdpError> {
    let program = object.ingress()?;
    let native = match program.attach_to_if_index(interface.index, XdpMode::Driver) {
        Ok(_) => return Ok(Mode::Native),
        Err(error) => check(&error, interface)?,
    };
    match program.attach_to_if_index(interface.index, XdpMode::Skb) {
        Ok(_) => Ok(Mode::Generic { why: format!("the driver takes no native program: {native}") }),
        Err(error) => {
            let generic = check(&error, interface)?;
            Err(XdpError::NoMode { interface: interface.name.clone(), native, generic })
        }
    }
}

/// An attach error's words, or the error that no other mode can mend.
fn check(error: &ProgramError, interface: &Interface) -> Result<String, XdpError> {
    match os_error(error) {
        Some(libc::EBUSY | libc::EEXIST) => Err(XdpError::Occupied { interface: interface.name.clone() }),
        Some(libc::EPERM | libc::EACCES) => {
            Err(XdpError::NotPermitted { call: "BPF_LINK_CREATE".to_owned() })
        }
        _ => Ok(one_line(error)),
    }
}

/// Attaches the TC program behind whatever is there already. Not having it costs the answers, not the run.
pub(super) fn egress(object: &mut Object, interface: &Interface) -> Egress {
    if interface.is_loopback {
        return Egress::Unneeded;
    }
    let options = TcAttachOptions::TcxOrder(LinkOrder::default());
    let attached = object.egress().map_err(|error| error.to_string()).and_then(|program| {
        program
            .attach_with_options(&interface.name, TcAttachType::Egress, options)
            .map_err(|error| one_line(&error))
    });
    match attached {
        Ok(_) => Egress::Tcx,
        Err(error) => Egress::None { why: format!("TCX needs Linux 6.6: {error}") },
    }
}
