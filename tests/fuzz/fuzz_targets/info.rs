//! Runs the target `info`.

#![no_main]

include!("../fuzz_target.rs");
