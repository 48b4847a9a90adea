//! Fuzz targets: what holds for every input from servers, clients and files.
//!
//! libFuzzer runs them (`fuzz_targets/`), and so does each test run (`tests/tests/fuzz.rs`), with
//! all seeds and a fixed number of mutations of them. `run.sh` describes the former.

mod clients;
mod cluster;
mod configuration;
mod info;
mod queries;
mod reader;
mod relay;
mod resp;
mod seeds;
mod sentinel;
mod text;
mod web_config;

use std::collections::BTreeSet;
use std::path::Path;

/// A fuzz target: one kind of input, and what holds for it.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Name of the target, of its binary and of its folder in `regressions`.
    pub name: &'static str,
    /// Reads an input. Panics if something does not hold.
    pub check: fn(&[u8]),
    /// Returns the seeds that are made from files of the repository at this path.
    pub seeds: fn(&Path) -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: [Target; 9] = [
    Target { name: "reader", check: reader::check, seeds: reader::seeds },
    Target { name: "relay", check: relay::check, seeds: relay::seeds },
    Target { name: "info", check: info::check, seeds: info::seeds },
    Target { name: "cluster", check: cluster::check, seeds: cluster::seeds },
    Target { name: "clients", check: clients::check, seeds: clients::seeds },
    Target { name: "sentinel", check: sentinel::check, seeds: sentinel::seeds },
    Target { name: "web_config", check: web_config::check, seeds: web_config::seeds },
    Target { name: "configuration", check: configuration::check, seeds: configuration::seeds },
    Target { name: "queries", check: queries::check, seeds: queries::seeds },
];

impl Target {
    /// Returns the target with this name.
    pub fn named(name: &str) -> Self {
        TARGETS.into_iter().find(|target| target.name == name).expect("the name of a target")
    }

    /// Returns all seeds without duplicates: those made from files of the repository at this path,
    /// and the inputs in `regressions`.
    pub fn all_seeds(&self, root: &Path) -> Vec<Vec<u8>> {
        let folder = root.join("tests/fuzz/regressions").join(self.name);
        let regressions = if folder.is_dir() { seeds::files(&folder, "") } else { Vec::new() };
        let all: BTreeSet<_> = (self.seeds)(root).into_iter().chain(regressions).collect();
        all.into_iter().collect()
    }

    /// Writes all seeds to a folder.
    pub fn write_seeds(&self, root: &Path, folder: &Path) {
        std::fs::create_dir_all(folder).expect("a folder");
        for (number, seed) in self.all_seeds(root).iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number:04}")), seed).expect("a file");
        }
    }
}
