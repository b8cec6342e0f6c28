//! Packet logic shared by the kernel program and userspace: parse, flow key, judge, count.
#![no_std]
#![forbid(unsafe_code)]

pub mod link;
