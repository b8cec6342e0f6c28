//! How well incidents are found: labelled captures, and generated scenes of every kind at several strengths.
//!
//! A scene is an attack or fault over ordinary traffic, seeded, with its beginning and its target known. Captures have
//! labels. Both go through `tidegauge read`; what it says is held against what is known. Some scenes are played live, too.

pub mod background;
pub mod benign;
pub mod captures;
pub mod faults;
pub mod floods;
pub mod frames;
pub mod judge;
pub mod live;
pub mod misuse;
pub mod report;
pub mod scene;
mod watcher;
