//! See `drive::session_steps`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| drive::session_steps(data));
