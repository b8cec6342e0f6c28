//! Alerts to receivers that are real: servers on sockets, files, processes; that are down, hang, or come back.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod alertmanager;
mod faults;
mod hour;
mod quiet;
mod reload;
mod support;
mod syslog;
mod ways;
mod webhook;
