//! What the benchmarks are made of: captures from a seed, a limit reader, and measured runs of other programs.
//!
//! The product is measured as the binary that users run; only `bench-packet` loads its BPF object by itself.
//! `RESULTS.md` holds the figures and says what they mean.

pub mod bpf;
pub mod child;
pub mod conformance;
pub mod detect;
pub mod detection;
pub mod generate;
pub mod limit;
pub mod live;
pub mod machine;
pub mod measure;
pub mod memory;
pub mod packet;
pub mod pcap;
pub mod peers;
pub mod rng;
pub mod scratch;
pub mod serve;
pub mod table;
pub mod wire;
pub mod xdp;
