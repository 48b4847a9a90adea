//! Says when to build anew: the runbooks are in the binary.

fn main() {
    println!("cargo:rerun-if-changed=../../alerts/runbooks");
}
