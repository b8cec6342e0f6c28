//! Fuzz target: UDP, ICMP and ARP through their readers.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tidegauge_fuzz::layers::check_datagram(input));
