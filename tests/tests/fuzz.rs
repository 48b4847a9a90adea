//! Bounded run of all fuzz targets: their seeds, and mutations of them that are the same each time.

use fastrand::Rng;
use tests::fuzz::{TARGETS, Target};
use tests::repository;

/// Number of inputs of one target, apart from its seeds.
const MUTATIONS: usize = 1000;

/// Longest mutated input, bytes. It keeps the time of a run short.
const MAX_LENGTH: usize = 8192;

/// Parts of inputs that a mutation may insert: what parsers treat specially.
const PARTS: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\0",
    b"\x1b[2J",
    b"\xff",
    b"\xc3",
    b":",
    b",",
    b"=",
    b" ",
    b"-",
    b"@",
    b"//",
    b"[",
    b"]",
    b"{",
    b"}",
    b"\"",
    b"<a ",
    b"%00",
    b"-1",
    b"18446744073709551616",
    b"nan",
    b"1e309",
];

/// Runs a target. Reports the input if it fails.
fn run(name: &str) {
    let target = Target::named(name);
    let seeds = target.all_seeds(&repository::root());
    assert!(seeds.len() >= 5, "{name}: {} seeds", seeds.len());
    for seed in &seeds {
        check(&target, seed);
    }
    let mut random = Rng::with_seed(23);
    for _ in 0..MUTATIONS {
        check(&target, &mutated(&seeds, &mut random));
    }
}

fn check(target: &Target, input: &[u8]) {
    let result = std::panic::catch_unwind(|| (target.check)(input));
    assert!(result.is_ok(), "{}: {:?}", target.name, String::from_utf8_lossy(input));
}

/// Returns a seed with one to eight changes.
fn mutated(seeds: &[Vec<u8>], random: &mut Rng) -> Vec<u8> {
    let mut input = seeds[random.usize(..seeds.len())].clone();
    input.truncate(MAX_LENGTH);
    for _ in 0..random.usize(1..=8) {
        let from = random.usize(..=input.len());
        let to = random.usize(from..=input.len().min(from + 40));
        match random.u8(..6) {
            0 => input.truncate(from),
            1 => drop(input.drain(from..to)),
            2 => drop(input.splice(from..from, PARTS[random.usize(..PARTS.len())].to_vec())),
            3 => drop(input.splice(from..to, PARTS[random.usize(..PARTS.len())].to_vec())),
            4 => {
                let repeated = input[from..to].to_vec();
                input.splice(from..from, repeated);
            }
            _ => {
                if let Some(byte) = input.get_mut(from) {
                    *byte = random.u8(..);
                }
            }
        }
    }
    input
}

#[test]
fn replies_are_read_within_their_limits() {
    run("reader");
}

#[test]
fn fred_reads_every_reply_that_the_relay_forwards() {
    run("relay");
}

#[test]
fn info_gives_bounded_names_and_recordable_values() {
    run("info");
}

#[test]
fn maps_of_clusters_have_bounded_names_and_slots() {
    run("cluster");
}

#[test]
fn lists_of_clients_are_bounded_and_recordable() {
    run("clients");
}

#[test]
fn replies_of_sentinels_are_bounded_and_recordable() {
    run("sentinel");
}

#[test]
fn web_configurations_never_show_a_secret() {
    run("web_config");
}

#[test]
fn configurations_never_show_a_password() {
    run("configuration");
}

#[test]
fn every_request_gets_a_bounded_valid_response() {
    run("queries");
}

#[test]
fn every_target_has_a_test_and_a_binary() {
    let this = repository::root().join("tests/tests/fuzz.rs");
    let this = std::fs::read_to_string(this).expect("this file");
    let manifest = repository::root().join("tests/fuzz/Cargo.toml");
    let manifest = std::fs::read_to_string(manifest).expect("the manifest");
    for target in TARGETS {
        let name = target.name;
        assert!(this.contains(&format!("run(\"{name}\");")), "{name}");
        let binary = format!("tests/fuzz/fuzz_targets/{name}.rs");
        assert!(repository::root().join(&binary).is_file(), "{binary}");
        let entry = format!("[[bin]]\nname = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\n");
        assert!(manifest.contains(&entry), "no {entry} in tests/fuzz/Cargo.toml");
    }
}
