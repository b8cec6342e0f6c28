//! Capture sources: files, packet rings and the XDP program's maps.

pub mod file;
pub mod frame;
pub mod interface;
pub mod xdp;
