//! Fuzz target: TCP streams in pieces through the readers of TLS, HTTP and DNS.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tidegauge_fuzz::layers::check_stream(input));
