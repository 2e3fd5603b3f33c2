//! See `regsweep::fuzzing::challenge`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regsweep::fuzzing::challenge(bytes));
