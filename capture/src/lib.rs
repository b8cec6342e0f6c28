//! Capture sources: files, packet rings and the XDP program's maps.

pub mod af_xdp;
pub mod clock;
pub mod confine;
pub mod doctor;
mod fanout;
pub mod file;
pub mod filter;
pub mod frame;
pub mod frame_source;
pub mod host;
pub mod interface;
pub mod memory;
pub mod nic;
pub mod process;
pub mod ring;
pub mod xdp;
