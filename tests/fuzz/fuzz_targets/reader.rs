//! Runs the target `reader`.

#![no_main]

include!("../fuzz_target.rs");
