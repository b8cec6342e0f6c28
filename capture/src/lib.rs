//! Capture sources: files, packet rings and the XDP program's maps.

pub mod frame;
