//! The engine: tables to windows, windows to features, features to findings, findings to incidents, and what a
//! person or a program reads of them.
//!
//! Event time only: nothing here reads a clock, the environment or the command line; only the binary does.
#![forbid(unsafe_code)]

pub mod account;
mod actor_state;
pub mod backtest;
pub mod baseline;
pub mod batch;
pub mod cause;
pub mod closing;
pub mod collect;
pub mod config;
pub mod cost;
pub mod detect;
pub mod diff;
pub mod digest;
pub mod distinct;
pub mod engine;
pub mod evidence;
pub mod fact;
pub mod feature;
pub mod flow_record;
pub mod follow;
pub mod graph;
pub mod history;
pub mod hlog;
mod host_state;
pub mod incident;
pub mod join;
pub mod keyed;
pub mod layer;
pub mod learnt;
mod listener_state;
pub mod local_host;
pub mod merge;
pub mod model;
pub mod most;
mod name_service;
mod networks;
pub mod occupancy;
mod open_incidents;
pub mod output;
pub mod parquet;
pub mod path;
mod path_state;
pub mod pipeline;
pub mod ports;
mod prefix;
pub mod quality;
pub mod remedy;
pub mod round_trip_time;
pub mod sample;
pub mod scope;
pub mod season;
mod sight;
pub mod source_list;
pub mod spread;
pub mod suggest;
pub mod summary;
pub mod time;
pub mod track;
pub mod truth;
mod watch_list;
mod wide;
pub mod window;
pub mod worker;
