//! See `regsweep::fuzzing::lists`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regsweep::fuzzing::lists(bytes));
