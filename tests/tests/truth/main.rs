//! What tidegauge counts against the truth: what a box between client and server did to each packet, what the kernel's
//! own TCP says (`ss`, `nstat`), what tshark reads in captures of the very same interfaces, and what the userspace engine
//! makes of these captures.
//!
//! In every scene `tidegauge live --source xdp` and tcpdump watch both ends of a path that the box in its middle impairs.
//! What goes out is seen by the TCX program at one end, and the same, as it comes in, by the XDP program at the other.
//! Needs root, tcpdump, tshark, ethtool, `ss` and `nstat`; says so and passes otherwise. Scenes take turns.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod delay;
mod engines;
mod fast;
mod loss;
mod oracle;
#[path = "../live/running.rs"]
#[expect(dead_code, reason = "delays and interface counters are the live tests'")]
mod running;
mod scene;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "incidents are the live tests'")]
mod support;
mod traffic;
mod tshark;
mod windows;
