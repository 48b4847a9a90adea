//! Runs the target `sentinel`.

#![no_main]

include!("../fuzz_target.rs");
