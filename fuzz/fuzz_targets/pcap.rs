//! Fuzz target: a pcap file with arbitrary records.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tidegauge_fuzz::capture_file::check_pcap(input));
