//! Rules that every row of the metric tables follows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use catalog::{Entry, MetricKind, RedisExporterName, Source, entries, redis_exporter_entries};

fn for_each_entry(check: impl Fn(&Entry)) {
    assert!(entries().count() > 60, "the tables have rows");
    entries().for_each(|(_, _, entry)| check(entry));
}

/// Returns the name of the family in OpenMetrics.
fn family_name(entry: &Entry) -> &str {
    let suffix = match entry.kind() {
        MetricKind::Counter => "_total",
        MetricKind::Info => "_info",
        MetricKind::Gauge | MetricKind::Histogram | MetricKind::Summary => "",
    };
    entry.name.strip_suffix(suffix).expect("the kind follows from the name")
}

#[test]
fn no_two_metrics_share_a_name_or_a_family() {
    let mut families = BTreeMap::new();
    for (_, _, entry) in entries() {
        // OpenMetrics reserves these names for the family.
        for name in ["", "_total", "_created", "_info", "_bucket", "_count", "_sum"]
            .map(|suffix| format!("{}{suffix}", family_name(entry)))
        {
            let other = families.insert(name.clone(), entry.name);
            assert!(
                other.is_none_or(|other| other == entry.name),
                "{name} of {} and {other:?}",
                entry.name
            );
        }
    }
}

#[test]
fn names_follow_prometheus_conventions() {
    for_each_entry(|entry| {
        let name = entry.name;
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'),
            "{name}"
        );
        assert!(
            ["redis_", "rolecall_", "process_"].iter().any(|prefix| name.starts_with(prefix)),
            "{name}"
        );
        let words: Vec<_> = name.split('_').collect();
        for unit in [
            "sec",
            "secs",
            "ms",
            "msec",
            "usec",
            "millis",
            "milliseconds",
            "minutes",
            "kb",
            "mb",
            "kbps",
        ] {
            assert!(!words.contains(&unit), "{name}: {unit} is not a base unit");
        }
        for kind in ["counter", "gauge", "count"] {
            assert_ne!(words.last(), Some(&kind), "{name}: the type is not part of the name");
        }
    });
}

#[test]
fn labels_are_unique_and_not_reserved() {
    for (_, subject, entry) in entries() {
        let mut seen: BTreeSet<&str> = subject.iter().copied().collect();
        for label in entry.labels {
            assert!(seen.insert(label), "{}: {label} twice", entry.name);
            assert!(
                !["cluster", "instance", "job", "type", "le", "quantile"].contains(label),
                "{}: {label} is used by Prometheus",
                entry.name
            );
            assert!(
                label.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
                "{}: {label}",
                entry.name
            );
        }
    }
}

#[test]
fn help_is_one_sentence_without_escapes() {
    for_each_entry(|entry| {
        let text = format!("{} {}", entry.help, entry.source);
        assert!(
            entry.help.ends_with('.') && !entry.help.contains(". "),
            "{}: {}",
            entry.name,
            entry.help
        );
        assert!(
            entry.help.starts_with(|first: char| first.is_ascii_uppercase()),
            "{}: {}",
            entry.name,
            entry.help
        );
        assert!(!text.contains(['\\', '"', '\n']), "{}: {text}", entry.name);
        assert_ne!(
            entry.help.to_lowercase().replace(' ', "_"),
            format!("{}.", entry.name),
            "the help repeats the name"
        );
    });
}

#[test]
fn every_name_on_scrape_is_unique() {
    let mut names = BTreeSet::new();
    for entry in redis_exporter_entries() {
        let (name, kind) = entry.on_scrape().expect("on /scrape");
        assert!(names.insert(name), "{name} twice on /scrape");
        assert!(kind != MetricKind::Counter || entry.labels.len() < 2, "{name}");
    }
    for (_, _, entry) in entries() {
        match entry.redis_exporter {
            RedisExporterName::AsGauge(name) | RedisExporterName::AsCounter(name) => {
                assert!(
                    name == entry.name || entries().all(|(_, _, other)| other.name != name),
                    "{name}"
                );
            }
            RedisExporterName::SeparateRow(name) => {
                assert!(names.contains(name), "{}: {name} has no separate row", entry.name);
            }
            _ => {}
        }
    }
}

/// Returns all fields of INFO and CLUSTER INFO in the captures, each with `true` if any value of it
/// is a number.
fn captured_fields() -> BTreeMap<String, bool> {
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshot/captures");
    let mut fields: BTreeMap<String, bool> = BTreeMap::new();
    for server in std::fs::read_dir(captures)
        .expect("captures")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.is_dir())
    {
        for file in std::fs::read_dir(server)
            .expect("a server's captures")
            .map(|entry| entry.expect("entry").path())
        {
            let name = file.file_name().expect("a name").to_string_lossy().into_owned();
            if name.contains(".info-") || name.contains("cluster-commands") {
                let text = std::fs::read_to_string(&file).expect("text");
                let lines = text.lines().filter(|line| {
                    !line.starts_with(['>', '#', '$', '*', ':']) && !line.contains(' ')
                });
                for (name, value) in lines.filter_map(|line| line.split_once(':')) {
                    *fields.entry(name.to_owned()).or_default() |= value.parse::<f64>().is_ok();
                }
            }
        }
    }
    fields
}

#[test]
fn every_field_of_a_row_occurs_in_a_capture() {
    let fields = captured_fields();
    for_each_entry(|entry| {
        if let Source::Info { field, .. } | Source::Cluster(field) = entry.source {
            assert!(fields.contains_key(field), "{}: no capture has the field {field}", entry.name);
        }
    });
}

#[test]
fn every_captured_number_has_a_row_or_a_reason() {
    let sources: Vec<_> = entries().map(|(_, _, entry)| entry.source.to_string()).collect();
    let named = |field: &str| {
        let is_word = |text: &str| {
            text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
                .any(|word| word == field)
        };
        sources.iter().any(|source| is_word(source))
    };
    let unread =
        captured_fields().into_iter().filter(|(field, is_number)| *is_number && !named(field));
    let unread: BTreeSet<_> = unread.map(|(field, _)| field).collect();
    let listed: BTreeSet<_> = UNREAD
        .iter()
        .flat_map(|(_, fields)| fields.iter().map(|field| (*field).to_owned()))
        .collect();
    assert_eq!(unread, listed, "left: fields without a row; right: UNREAD");
}

/// Numeric fields without a row, with the reason.
const UNREAD: &[(&str, &[&str])] = &[
    (
        "names and constants whose text is a number",
        &["arch_bits", "redis_git_dirty", "redis_git_sha1"],
    ),
    ("the same as another field, less precise", &["uptime_in_days", "lru_clock"]),
    (
        "a rate of a counter that has a row",
        &[
            "instantaneous_eventloop_cycles_per_sec",
            "instantaneous_eventloop_duration_usec",
            "instantaneous_input_kbps",
            "instantaneous_input_repl_kbps",
            "instantaneous_ops_per_sec",
            "instantaneous_output_kbps",
            "instantaneous_output_repl_kbps",
        ],
    ),
    (
        "a ratio of two fields, wrong if the total is unknown",
        &["loading_loaded_perc", "master_sync_perc"],
    ),
    (
        "only useful to developers of the server",
        &["clients_hz", "current_cow_size_age", "loading_rdb_used_mem"],
    ),
    (
        "part of cluster_stats_messages_sent and _received, by kind of message",
        &[
            "cluster_stats_messages_auth-ack_received",
            "cluster_stats_messages_auth-ack_sent",
            "cluster_stats_messages_auth-req_received",
            "cluster_stats_messages_auth-req_sent",
            "cluster_stats_messages_fail_received",
            "cluster_stats_messages_fail_sent",
            "cluster_stats_messages_meet_received",
            "cluster_stats_messages_meet_sent",
            "cluster_stats_messages_ping_received",
            "cluster_stats_messages_ping_sent",
            "cluster_stats_messages_pong_received",
            "cluster_stats_messages_pong_sent",
        ],
    ),
    ("a label of redis_instance_info", &["tcp_port"]),
];
