//! See `regsweep::fuzzing::collector`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regsweep::fuzzing::collector(bytes));
