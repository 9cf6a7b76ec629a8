#![no_main]

#[path = "../stranger.rs"]
mod stranger;

libfuzzer_sys::fuzz_target!(|data: &[u8]| stranger::jsonl(data));
