//! Runs the target `relay`.

#![no_main]

include!("../fuzz_target.rs");
