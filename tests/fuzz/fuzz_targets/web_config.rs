//! Runs the target `web_config`.

#![no_main]

include!("../fuzz_target.rs");
