//! See `regsweep::fuzzing::manifest`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regsweep::fuzzing::manifest(bytes));
