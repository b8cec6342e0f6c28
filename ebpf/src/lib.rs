//! Packet logic shared by the kernel program and userspace: parse, flow key, judge, count, and the layout of the
//! tables both work on.
//!
//! `no_std`, safe, no allocation, no clock, no recursion: any function here can run in a BPF program. Memory shared
//! with the kernel consists of plain integers only, so any bit pattern is a valid value.
//! [`observe::observe`] is the way in; everything else is what it calls, or what reads its results.
#![no_std]
#![forbid(unsafe_code)]

pub mod attempt;
pub mod counter;
mod echo;
pub mod event;
pub mod flow;
pub mod frame;
pub mod histogram;
pub mod judge;
pub mod limits;
pub mod link;
pub mod listener;
pub mod observe;
pub mod packet;
pub mod parse;
pub mod section;
pub mod sequence;
pub mod settings;
pub mod source;
pub mod stamp;
pub mod target;
pub mod tcp;
pub mod transfer;
