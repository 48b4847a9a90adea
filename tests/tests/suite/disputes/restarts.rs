//! A restart of the exporter in the middle of a dispute, with and without its state file.

use tempfile::TempDir;
use tests::{Daemon, Redis, SECOND, Signal, VERSIONS, Writer, deployment, eventually};

use super::advice::check_pages;
use super::{
    DISPUTED, addresses, check_stays, check_undecided, has_evidence, on_all_versions,
    until_disputed_primary, until_evidence,
};
use crate::monitor::{PRIMARY_INFO, SOON};

/// An exporter that is restarted, and a copy of it that has no state file.
struct Exporter {
    text: String,
    directory: TempDir,
    daemon: Daemon,
}

impl Exporter {
    /// Starts it for these nodes, the first of which is the primary.
    fn start(nodes: &[&Redis]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let text = deployment("orders", nodes);
        let daemon = Daemon::configured(&with_state(&text, &directory));
        daemon.until_primary(SOON, nodes[0], "sole");
        for replica in &nodes[1..] {
            daemon.until_link(SECOND * 30, replica, "up");
        }
        Exporter { text, directory, daemon }
    }

    /// Ends it, and starts it again with its state file.
    fn restart(&mut self) {
        self.restart_after(|| ());
    }

    /// Does the same with something that happens in between.
    fn restart_after(&mut self, meanwhile: impl FnOnce()) {
        self.daemon.signal(Signal::Term);
        assert!(self.daemon.end(SOON).0.success());
        meanwhile();
        self.daemon = Daemon::configured(&with_state(&self.text, &self.directory));
    }

    /// Starts one without a state file.
    fn without_state(&self) -> Daemon {
        Daemon::configured(&self.text)
    }
}

fn with_state(text: &str, directory: &TempDir) -> String {
    format!("state_file = '{}'\n{text}", directory.path().join("state.json").display())
}

/// Checks for some rounds that no node other than this one is the primary, unless it is disputed.
#[track_caller]
fn check_no_wrong_verdict(daemon: &Daemon, rightful: &Redis) {
    for _ in 0..4 {
        daemon.until_rounds(1);
        let samples = daemon.samples();
        let is_right = samples.count(PRIMARY_INFO, &[("node", &rightful.address())]) == 1;
        let is_open = samples.count(PRIMARY_INFO, &[]) == 0;
        let is_disputed = samples.get(DISPUTED, &[]) == Some(1.0);
        assert!(is_right || is_open || is_disputed, "{:?}", daemon.document("/api/v1/findings"));
    }
}

#[test]
fn a_successor_stays_the_primary_over_a_restart() {
    on_all_versions(|version| {
        for keeps_data in [true, false] {
            let append_only: &[&str] = if keeps_data { &["--appendonly", "yes"] } else { &[] };
            let mut a = Redis::with_version(version, append_only);
            let (b, c) = (a.replica(), a.replica());
            a.fill(&b);
            let mut exporter = Exporter::start(&[&a, &b, &c]);
            a.kill();
            exporter.daemon.until(SOON, "redis_up", &[("node", &a.address())], 0.0);
            b.promote();
            exporter.daemon.until_primary(SOON, &b, "sole");
            // A returns before, during or after the restart.
            exporter.restart();
            exporter.daemon.until_primary(SOON, &b, "sole");
            a.restart();
            eventually(SECOND * 30, "C follows A again", || {
                (c.info("master_link_status")? == "up").then_some(())
            });
            exporter.daemon.until(SOON, "redis_deployment_masters", &[], 2.0);
            check_stays(&exporter.daemon, 3, &b.address());
            exporter.restart();
            exporter.daemon.until_primary(SOON, &b, "lineage");
            check_stays(&exporter.daemon, 3, &b.address());
            check_pages(&exporter.daemon, "orders", &addresses(&[&b]));
            check_no_wrong_verdict(&exporter.without_state(), &b);
        }
    });
}

#[test]
fn a_mistake_does_not_win_over_a_restart() {
    on_all_versions(|version| {
        let mut a = Redis::with_version(version, &["--appendonly", "yes"]);
        let (b, c) = (a.replica(), a.replica());
        a.fill(&b);
        let mut exporter = Exporter::start(&[&a, &b, &c]);
        c.promote();
        until_disputed_primary(&exporter.daemon, &a, "followers");
        exporter.restart();
        until_disputed_primary(&exporter.daemon, &a, "followers");
        until_evidence(&exporter.daemon, &a.address(), "previous");
        check_stays(&exporter.daemon, 2, &a.address());
        // The primary restarts. C was promoted before, so it is not the successor.
        exporter.restart_after(|| {
            a.kill();
            a.restart();
        });
        eventually(SECOND * 30, "B follows A again", || {
            (b.info("master_link_status")? == "up").then_some(())
        });
        // B was not told otherwise, and C did not see A absent before its promotion.
        until_disputed_primary(&exporter.daemon, &a, "followers");
        check_stays(&exporter.daemon, 3, &a.address());
        check_pages(&exporter.daemon, "orders", &addresses(&[&a, &b, &c]));
        let mut writer = Writer::start(&a.address(), "kept", 50);
        until_evidence(&exporter.daemon, &a.address(), "writers");
        check_stays(&exporter.daemon, 2, &a.address());
        writer.stop();
        check_no_wrong_verdict(&exporter.without_state(), &a);
    });
}

#[test]
fn a_pair_stays_undecided_over_a_restart() {
    on_all_versions(|version| {
        let mut a = Redis::with_version(version, &[]);
        let b = a.replica();
        let mut exporter = Exporter::start(&[&a, &b]);
        b.promote();
        check_undecided(&exporter.daemon);
        exporter.restart();
        check_undecided(&exporter.daemon);
        until_evidence(&exporter.daemon, &a.address(), "previous");
        // A restart of the former primary decides nothing.
        a.kill();
        exporter.daemon.until(SOON, "redis_up", &[("node", &a.address())], 0.0);
        exporter.restart();
        a.restart();
        check_undecided(&exporter.daemon);
        assert!(!has_evidence(&exporter.daemon, &a.address(), "previous"));
        check_pages(&exporter.daemon, "orders", &addresses(&[&a, &b]));
    });
}

#[test]
fn a_promotion_during_the_restart_is_not_decided_by_lineage() {
    for version in VERSIONS {
        let mut a = Redis::with_version(version, &[]);
        let b = a.replica();
        a.fill(&b);
        let mut exporter = Exporter::start(&[&a, &b]);
        // The promotion was a mistake: it came before the restart of A.
        exporter.restart_after(|| {
            b.promote();
            a.kill();
            a.restart();
        });
        check_undecided(&exporter.daemon);
        check_pages(&exporter.daemon, "orders", &addresses(&[&a, &b]));
        check_no_wrong_verdict(&exporter.without_state(), &a);
    }
}

#[test]
fn a_dispute_outlives_the_backlog_and_a_restart() {
    on_all_versions(|version| {
        let options = ["--repl-backlog-ttl", "10"];
        let mut a = Redis::with_version(version, &options);
        let b = a.replica_with(&options);
        b.until_synchronised();
        let mut exporter = Exporter::start(&[&a, &b]);
        a.kill();
        exporter.daemon.until(SOON, "redis_up", &[("node", &a.address())], 0.0);
        b.promote();
        exporter.daemon.until_primary(SOON, &b, "sole");
        let before = b.info("master_replid");
        eventually(SECOND * 40, "the replication ID changes", || {
            (b.info("master_replid") != before).then_some(())
        });
        exporter.restart();
        exporter.daemon.until_primary(SOON, &b, "sole");
        a.restart();
        exporter.daemon.until(SOON, "redis_deployment_masters", &[], 2.0);
        exporter.daemon.until_primary(SOON, &b, "lineage");
        check_stays(&exporter.daemon, 3, &b.address());
    });
}

/// A state file of an older version, and one with fields of a newer version.
#[test]
fn state_files_of_other_versions_are_read() {
    let a = Redis::start(&[]);
    let b = a.replica();
    let mut exporter = Exporter::start(&[&a, &b]);
    let path = exporter.directory.path().join("state.json");
    let read = || -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("JSON")
    };
    let run_id = a.info("run_id").expect("a run ID");
    exporter.restart_after(|| {
        let mut state = read();
        let deployment = &mut state["deployments"]["orders"];
        for node in [&a, &b] {
            let node = deployment["nodes"][node.address()].as_object_mut().expect("a node");
            for field in ["following", "previous", "continued_id"] {
                node.remove(field);
            }
            node.insert("field_of_a_newer_version".to_owned(), serde_json::json!([1]));
        }
        deployment.as_object_mut().expect("a deployment").remove("claims");
        deployment["other"] = serde_json::json!({ "deep": true });
        state.as_object_mut().expect("an object").remove("version");
        state["other"] = serde_json::json!("text");
        std::fs::write(&path, state.to_string()).expect("a file");
    });
    exporter.daemon.until_primary(SOON, &a, "sole");
    let warnings = exporter.daemon.log();
    assert!(!warnings.iter().any(|line| line.contains("level=warn")), "{warnings:?}");
    b.promote();
    exporter.daemon.until(SOON, DISPUTED, &[], 1.0);
    exporter.restart_after(|| {
        let state = read();
        assert_eq!(state["version"], 2);
        let deployment = &state["deployments"]["orders"];
        assert_eq!(deployment["nodes"][a.address()]["previous"]["run_id"], run_id);
        assert!(deployment["claims"][0]["claimants"].is_array(), "{deployment}");
    });
    until_evidence(&exporter.daemon, &a.address(), "previous");
}
