//! Fuzz target: frames of arbitrary bytes through the packet logic.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tidegauge_fuzz::packet_logic::check(input));
