//! See `regsweep::fuzzing::error_body`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regsweep::fuzzing::error_body(bytes));
