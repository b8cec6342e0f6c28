//! The packet logic from outside: whole frames in, counters and tables out.
//!
//! `parse` against an oracle on generated frames; handshakes and segment judgements as small scenes, each test named
//! after its situation. The host's build only; that the kernel's agrees is the parity test's business.

mod connection;
mod frame;
mod handshake;
mod judgement;
mod parse;
mod quick;
mod round_trip;
mod scene;
mod switches;
mod target;
mod tunnel;
