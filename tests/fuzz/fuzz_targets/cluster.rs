//! Runs the target `cluster`.

#![no_main]

include!("../fuzz_target.rs");
