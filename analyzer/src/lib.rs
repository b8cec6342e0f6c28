//! The engine: tables to windows, windows to features, features to findings, findings to incidents, and what a
//! person or a program reads of them.
//!
//! Event time only: nothing here reads a clock, the environment or the command line; only the binary does.
#![forbid(unsafe_code)]

pub mod track;
