//! See `regsweep::fuzzing::link`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regsweep::fuzzing::link(bytes));
