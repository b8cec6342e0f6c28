//! Attaching: native where the driver can, else generic, and the reason said; the way out through TCX, else through
//! clsact. Every hook but clsact is a `bpf_link`, which lives in a file descriptor: when its holder dies, the kernel
//! detaches. A program is replaced in its link atomically: no packet passes between two programs.

use std::fmt;

use aya::programs::links::{FdLink, LinkError};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::xdp::XdpLink;
use aya::programs::{LinkOrder, ProgramError, TcAttachType, Xdp, XdpMode};
use aya::util::KernelVersion;

use super::clsact::{self, Clsact};
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
    /// By a TC filter, which outlives a crash.
    Clsact {
        /// Why not by TCX.
        why: String,
    },
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

/// Which hook counts what goes out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EgressHook {
    /// TCX (Linux 6.6), else clsact.
    #[default]
    Best,
    /// clsact even where TCX is to be had.
    Clsact,
    /// None: only what comes in is asked for.
    Nothing,
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
            Self::Clsact { why } => write!(
                formatter,
                "clsact ({why}; not crash-safe: a killed run leaves its filter, which the next run or `tidegauge \
                 unpin` removes)"
            ),
            Self::None { why } => write!(formatter, "none ({why})"),
            Self::Tcx => formatter.write_str("tcx"),
            Self::Unneeded => {
                formatter.write_str("not needed: on a loopback interface every frame comes in again")
            }
        }
    }
}

/// What keeps the TC program attached.
#[derive(Debug)]
pub(super) enum Outgoing {
    Clsact(Clsact),
    Nothing,
    Tcx(FdLink),
}

/// Attaches the XDP program.
pub(super) fn ingress(object: &mut Object, interface: &Interface) -> Result<(Mode, FdLink), XdpError> {
    xdp(object.ingress()?, interface)
}

/// Attaches an XDP program that is loaded.
pub(crate) fn xdp(program: &mut Xdp, interface: &Interface) -> Result<(Mode, FdLink), XdpError> {
    let native = match xdp_in(program, interface, XdpMode::Driver)? {
        Ok(link) => return Ok((Mode::Native, link)),
        Err(why) => why,
    };
    match xdp_in(program, interface, XdpMode::Skb)? {
        Ok(link) => {
            Ok((Mode::Generic { why: format!("the driver takes no native program: {native}") }, link))
        }
        Err(generic) => Err(XdpError::NoMode { interface: interface.name.clone(), native, generic }),
    }
}

/// Attaches in one mode: the link, or why another mode may be tried.
fn xdp_in(
    program: &mut Xdp,
    interface: &Interface,
    mode: XdpMode,
) -> Result<Result<FdLink, String>, XdpError> {
    // Without links the loader would fall back to a netlink request, and that would survive our death.
    if KernelVersion::current().is_ok_and(|kernel| kernel < KernelVersion::new(5, 9, 0)) {
        return Err(XdpError::NoLink { interface: interface.name.clone() });
    }
    match program.attach_to_if_index(interface.index, mode) {
        Ok(id) => program
            .take_link(id)
            .ok()
            .and_then(|link| FdLink::try_from(link).ok())
            .map(Ok)
            .ok_or_else(|| XdpError::NoLink { interface: interface.name.clone() }),
        Err(error) => check(&error, interface).map(Err),
    }
}

/// An attach error's words, or the error that no other mode can mend.
fn check(error: &ProgramError, interface: &Interface) -> Result<String, XdpError> {
    match os_error(error) {
        Some(libc::EBUSY | libc::EEXIST) => Err(XdpError::Occupied { interface: interface.name.clone() }),
        Some(libc::EPERM | libc::EACCES) => Err(XdpError::not_permitted("BPF_LINK_CREATE")),
        _ => Ok(one_line(error)),
    }
}

/// Puts the XDP program in the place of the one in a pinned link; in words why not.
pub(super) fn ingress_instead(object: &mut Object, pinned: FdLink) -> Result<FdLink, String> {
    let words = |error: &dyn fmt::Display| format!("the pinned XDP link cannot be used: {error}");
    let link = XdpLink::try_from(pinned).map_err(|error| words(&error))?;
    let program = object.ingress().map_err(|error| words(&error))?;
    let id = program.attach_to_link(link).map_err(|error| words(&one_line(&error)))?;
    let link = program.take_link(id).map_err(|error| words(&error))?;
    FdLink::try_from(link).map_err(|error: LinkError| words(&error))
}

/// Attaches the TC program behind whatever is there already. Not having it costs the answers, not the run.
pub(super) fn egress(object: &mut Object, interface: &Interface, hook: EgressHook) -> (Egress, Outgoing) {
    if interface.is_loopback {
        return (Egress::Unneeded, Outgoing::Nothing);
    }
    // One that does not go counts into tables that nobody reads; removing it is told about by `tidegauge unpin`.
    let _ = clsact::remove_leftover(interface);
    let no_tcx = match hook {
        EgressHook::Best => match tcx(object, interface) {
            Ok(link) => return (Egress::Tcx, Outgoing::Tcx(link)),
            Err(error) => format!("TCX needs Linux 6.6: {error}"),
        },
        EgressHook::Clsact => "asked for".to_owned(),
        EgressHook::Nothing => {
            return (Egress::None { why: "only what comes in is asked for".to_owned() }, Outgoing::Nothing);
        }
    };
    match Clsact::attach(object, interface) {
        Ok(filter) => (Egress::Clsact { why: no_tcx }, Outgoing::Clsact(filter)),
        Err(error) => {
            (Egress::None { why: format!("{no_tcx}; no clsact either: {error}") }, Outgoing::Nothing)
        }
    }
}

fn tcx(object: &mut Object, interface: &Interface) -> Result<FdLink, String> {
    let program = object.egress().map_err(|error| error.to_string())?;
    let options = TcAttachOptions::TcxOrder(LinkOrder::default());
    let id = program
        .attach_with_options(&interface.name, TcAttachType::Egress, options)
        .map_err(|error| one_line(&error))?;
    let link = program.take_link(id).map_err(|error| one_line(&error))?;
    FdLink::try_from(link).map_err(|error: LinkError| one_line(&error))
}

/// Puts the TC program in the place of the one in a pinned TCX link; in words why not.
pub(super) fn egress_instead(object: &mut Object, pinned: FdLink) -> Result<FdLink, String> {
    let words = |error: &dyn fmt::Display| format!("the pinned TCX link cannot be used: {error}");
    let link = SchedClassifierLink::try_from(pinned).map_err(|error| words(&error))?;
    let program = object.egress().map_err(|error| words(&error))?;
    let id = program.attach_to_link(link).map_err(|error| words(&one_line(&error)))?;
    let link = program.take_link(id).map_err(|error| words(&error))?;
    FdLink::try_from(link).map_err(|error: LinkError| words(&error))
}
