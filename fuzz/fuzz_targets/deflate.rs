#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mainspring_layers::fuzz::deflate(data));
