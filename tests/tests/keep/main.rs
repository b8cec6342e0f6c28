//! What a run may do and what it leaves: rights given up, the interface as it was found, and pinned state that the next
//! run counts on. Real kernel, real traffic, in labs. Needs root; says so and passes otherwise.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod clsact;
mod confine;
mod hooks;
mod kill;
#[path = "../support/load.rs"]
#[expect(dead_code, reason = "floods and downloads are the live tests'")]
mod load;
mod pin;
#[path = "../live/running.rs"]
#[expect(dead_code, reason = "delays are the live tests'")]
mod running;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "incidents are the live tests'")]
mod support;
