//! The default live source: the XDP program counts on the NIC's fast path (and a TC program on the way out), and
//! userspace reads its maps each tick. Frames stay with the host; nothing is copied per packet.
//!
//! Dropping [`XdpSource`] detaches everything; the links live in file descriptors, so a killed process detaches
//! too. Used by the analyzer's live loop; [`object`] alone by the parity test and the benches.

mod attach;
mod error;
pub mod maps;
pub mod object;

pub use attach::{Egress, Mode};
pub use error::XdpError;

use crate::interface::Interface;
use maps::Maps;
use object::{Object, Settings};

/// The loaded and attached programs of one interface.
pub struct XdpSource {
    /// Keeps programs and links alive.
    object: Object,
    mode: Mode,
    egress: Egress,
}

impl XdpSource {
    /// Loads the program and attaches it to `interface`: natively where the driver can, else generically.
    ///
    /// # Errors
    /// See [`XdpError`]: each says what is missing and what to do.
    pub fn open(interface: &Interface, settings: &Settings) -> Result<Self, XdpError> {
        let mut object = Object::load(settings)?;
        let mode = attach::ingress(&mut object, interface)?;
        let egress = attach::egress(&mut object, interface);
        Ok(Self { object, mode, egress })
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
}
