//! The default live source: the XDP program counts on the NIC's fast path (and a TC program on the way out), and
//! userspace reads its maps each tick. Frames stay with the host; nothing is copied per packet.
//!
//! Dropping [`XdpSource`] detaches everything; the links live in file descriptors, so a killed process detaches
//! too, except where [`Egress::Clsact`] says otherwise and where it was asked to [`pin`] its state. Used by the
//! analyzer's live loop; [`object`] alone by the parity test and the benches.

pub(crate) mod attach;
mod clsact;
mod error;
pub mod maps;
pub mod object;
pub mod pin;
pub mod stats;

use std::path::PathBuf;

use aya::programs::links::FdLink;

pub use attach::{Egress, EgressHook, Mode};
pub use clsact::Filter;
pub use error::{PinError, XdpError};

use crate::confine::capability::{self, Right};
use crate::interface::Interface;
use attach::Outgoing;
use maps::Maps;
use object::{Object, Settings};
use pin::Pin;

/// How the programs are held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// What counts outgoing frames.
    pub egress: EgressHook,
    /// A directory on a BPF filesystem in which everything stays; without it, all goes with the source.
    pub pin: Option<PathBuf>,
}

/// The loaded and attached programs of one interface. The fields go in this order: first what uses the ones below.
pub struct XdpSource {
    outgoing: Outgoing,
    #[expect(dead_code, reason = "keeps the XDP program attached")]
    ingress: FdLink,
    /// Keeps programs and tables alive.
    object: Object,
    mode: Mode,
    egress: Egress,
    pin: Option<Pin>,
}

impl XdpSource {
    /// Loads the program and attaches it to `interface`: natively where the driver can, else generically. It goes
    /// with the source.
    ///
    /// # Errors
    /// See [`XdpError`]: each says what is missing and what to do.
    pub fn open(interface: &Interface, settings: &Settings) -> Result<Self, XdpError> {
        Self::open_with(interface, settings, &Hold::default())
    }

    /// The same, held as asked. Pinned state of an earlier run is taken over where it can be; its seed is then in
    /// force instead of the settings'.
    ///
    /// # Errors
    /// See [`XdpError`]: each says what is missing and what to do.
    pub fn open_with(interface: &Interface, settings: &Settings, hold: &Hold) -> Result<Self, XdpError> {
        // Asked beforehand: without CAP_PERFMON the kernel does not say EPERM but takes the program apart.
        let missing = capability::missing(&Right::FOR_BPF);
        if !missing.is_empty() {
            return Err(XdpError::NotPermitted { call: "BPF_MAP_CREATE", missing });
        }
        if let Some(dir) = &hold.pin {
            return pin::open(dir, interface, settings, hold.egress);
        }
        let mut object = Object::load(settings)?;
        let (mode, ingress) = attach::ingress(&mut object, interface)?;
        let (egress, outgoing) = attach::egress(&mut object, interface, hold.egress);
        Ok(Self { outgoing, ingress, object, mode, egress, pin: None })
    }

    /// How the program is attached, and why so.
    pub const fn mode(&self) -> &Mode {
        &self.mode
    }

    /// Whether outgoing frames are seen too.
    pub const fn egress(&self) -> &Egress {
        &self.egress
    }

    /// The tables to read.
    pub const fn maps(&self) -> &Maps {
        self.object.maps()
    }

    /// The pins, where it was asked for them.
    pub const fn pin(&self) -> Option<&Pin> {
        self.pin.as_ref()
    }

    /// The capability that the end of the run needs, and why.
    pub const fn keeps(&self) -> Option<(Right, &'static str)> {
        match (&self.egress, &self.pin) {
            (Egress::Clsact { .. }, None) => {
                Some((Right::NetAdmin, "to remove the clsact filter at the end"))
            }
            _ => None,
        }
    }

    /// Detaches, and says what could not be removed. Pinned programs stay.
    ///
    /// # Errors
    /// [`XdpError::FilterStays`] where a clsact filter could not be removed from an interface that is still there.
    pub fn close(mut self, interface: &Interface) -> Result<(), XdpError> {
        let Outgoing::Clsact(filter) = &mut self.outgoing else { return Ok(()) };
        match filter.detach() {
            Err(reason) if interface.is_present() => {
                Err(XdpError::FilterStays { interface: interface.name.clone(), reason })
            }
            _ => Ok(()),
        }
    }
}

/// Whether an interface has the clsact discipline, whoever added it.
///
/// # Errors
/// The kernel's.
pub fn has_clsact(interface: &Interface) -> std::io::Result<bool> {
    clsact::is_there(interface.index)
}

/// The filters at an interface's clsact discipline, whoever added them.
///
/// # Errors
/// The kernel's.
pub fn clsact_filters(interface: &Interface) -> std::io::Result<Vec<Filter>> {
    clsact::filters(interface.index)
}
