//! Rebuilds the crate when a runbook changes: the runbooks are compiled into the binary.

fn main() {
    println!("cargo:rerun-if-changed=../../alerts/runbooks");
}
