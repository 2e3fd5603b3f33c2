//! See `regsweep::fuzzing::image_config`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regsweep::fuzzing::image_config(bytes));
