#![no_main]
#![allow(dead_code, reason = "each target runs one of the checks")]

#[path = "../../../crates/mcp/tests/parsers/checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::rewrite::check(bytes));
