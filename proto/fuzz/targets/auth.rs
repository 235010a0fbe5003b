//! See `drive::auth`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| drive::auth(data));
