//! See `drive::ctl_decode`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| drive::ctl_decode(data));
