//! Runs the target `clients`.

#![no_main]

include!("../fuzz_target.rs");
