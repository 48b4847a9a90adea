//! Runs the target `queries`.

#![no_main]

include!("../fuzz_target.rs");
