//! See `ringperf::fuzz::store_load`, which the library has in builds for a fuzzer alone.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringperf::fuzz::store_load(data));
