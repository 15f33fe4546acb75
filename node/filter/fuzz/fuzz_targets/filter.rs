//! The fuzz target of cargo-fuzz: any bytes as a pipeline and a document.
#![no_main]

#[path = "../../tests/common/fuzzed.rs"]
mod fuzzed;

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzzed::evaluate(input));
