//! See `drive::reply_decode`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| drive::reply_decode(data));
