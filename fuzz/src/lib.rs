//! The properties that fuzz targets check, one function each; the targets only hand over the input.

pub mod capture_file;
pub mod connections;
pub mod layers;
pub mod packet_logic;
