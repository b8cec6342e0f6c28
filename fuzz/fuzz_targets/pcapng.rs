//! Fuzz target: a pcapng file with arbitrary blocks.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tidegauge_fuzz::capture_file::check_pcapng(input));
