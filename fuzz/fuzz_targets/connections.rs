//! TCP segments in any order: see `tidegauge_fuzz::connections`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tidegauge_fuzz::connections::check(input));
