//! See `regsweep::fuzzing::docker_config`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regsweep::fuzzing::docker_config(bytes));
