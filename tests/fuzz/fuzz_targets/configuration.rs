//! Runs the target `configuration`.

#![no_main]

include!("../fuzz_target.rs");
