//! Every series that redis_exporter exposes, against ours on `/scrape`: there with its name, type and labels, or listed with a reason.

use std::collections::{BTreeMap, BTreeSet};

use catalog::{MetricKind, legacy_entries};

/// Name, type and labels, as redis_exporter 1.45.0 or its later master exposed them.
const EXPOSED: &str = include_str!("fixtures/redis_exporter-series.tsv");

/// Names that public rules and dashboards use.
const USED: &str = include_str!("fixtures/third-party-series.tsv");

/// Series that `/scrape` does not have, and why.
const MISSING: &[(&str, &[&str])] = &[
    (
        "about redis_exporter itself",
        &[
            "redis_exporter_build_info",
            "redis_exporter_last_scrape_connect_time_seconds",
            "redis_exporter_scrape_duration_seconds",
            "redis_last_key_groups_scrape_duration_milliseconds",
            "redis_target_scrape_request_errors_total",
        ],
    ),
    (
        "from LATENCY HISTOGRAM, which costs a server 220 us and is unknown before 7.0",
        &["redis_commands_latencies_usec"],
    ),
    (
        "a summary, from a section that costs as much as seven INFO; redis_command_latency_seconds has it where it is wanted",
        &["redis_latency_percentiles_usec"],
    ),
    (
        "only with a flag; its values are free text, and may be secrets",
        &["redis_config_key_value", "redis_config_value"],
    ),
];

/// Labels of ours that an older redis_exporter lacks: its later versions have them.
const NEWER_LABELS: [&str; 2] = ["valkey_version", "valkey_release_stage"];

fn ours() -> BTreeMap<&'static str, (&'static str, BTreeSet<&'static str>)> {
    let labels = |labels: &'static [&'static str]| {
        labels.iter().copied().filter(|label| !NEWER_LABELS.contains(label)).collect()
    };
    let entry = |entry: &'static catalog::Entry| {
        let (name, kind) = entry.legacy().expect("on /scrape");
        // Text format 0.0.4 knows no info.
        (
            name,
            (if kind == MetricKind::Counter { "counter" } else { "gauge" }, labels(entry.labels)),
        )
    };
    legacy_entries().map(entry).collect()
}

#[test]
fn every_series_of_redis_exporter_is_there_or_listed() {
    let ours = ours();
    let mut missing = BTreeSet::new();
    for line in EXPOSED.lines().skip(1) {
        let columns: Vec<_> = line.split('\t').collect();
        let (name, kind) = (columns[0], columns[1]);
        let labels: BTreeSet<_> = columns[2].split(',').filter(|label| !label.is_empty()).collect();
        match ours.get(name) {
            Some(found) => assert_eq!(*found, (kind, labels), "{name}"),
            None => {
                missing.insert(name);
            }
        }
    }
    let listed: BTreeSet<_> = MISSING.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    assert_eq!(
        missing, listed,
        "left: series that /scrape lacks; right: those listed with a reason"
    );
}

#[test]
fn every_series_that_public_rules_use_is_there() {
    let ours = ours();
    let names: Vec<_> = USED.lines().skip(1).filter_map(|line| line.split('\t').next()).collect();
    assert!(names.len() > 40);
    for name in names {
        assert!(ours.contains_key(name), "{name}");
    }
}
