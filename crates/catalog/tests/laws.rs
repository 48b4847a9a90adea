//! What holds for every row of the tables.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use catalog::{Entry, Kind, Legacy, Source, entries};

fn each(law: impl Fn(&Entry)) {
    assert!(entries().count() > 60, "the tables are there");
    entries().for_each(|(_, entry)| law(entry));
}

/// The name of the family in OpenMetrics.
fn family(entry: &Entry) -> &str {
    let suffix = match entry.kind() {
        Kind::Counter => "_total",
        Kind::Info => "_info",
        Kind::Gauge => "",
    };
    entry.name.strip_suffix(suffix).expect("the kind follows from the name")
}

#[test]
fn no_two_metrics_share_a_name_or_a_family() {
    let mut families = BTreeMap::new();
    each(|_| {});
    for (_, entry) in entries() {
        // Names that OpenMetrics reserves for a family of this name.
        for name in ["", "_total", "_created", "_info"].map(|suffix| format!("{}{suffix}", family(entry))) {
            let other = families.insert(name.clone(), entry.name);
            assert!(other.is_none_or(|other| other == entry.name), "{name} of {} and {other:?}", entry.name);
        }
    }
}

#[test]
fn names_follow_the_conventions_of_prometheus() {
    each(|entry| {
        let name = entry.name;
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'), "{name}");
        assert!(["redis_", "rolecall_", "process_"].iter().any(|prefix| name.starts_with(prefix)), "{name}");
        let words: Vec<_> = name.split('_').collect();
        for unit in ["sec", "secs", "ms", "msec", "usec", "millis", "milliseconds", "minutes", "kb", "mb", "kbps"] {
            assert!(!words.contains(&unit), "{name}: {unit} is no base unit");
        }
        for kind in ["counter", "gauge", "count"] {
            assert_ne!(words.last(), Some(&kind), "{name}: the type is not part of the name");
        }
    });
}

#[test]
fn labels_are_ours_to_use() {
    for (subject, entry) in entries() {
        let mut seen: BTreeSet<&str> = subject.iter().copied().collect();
        for label in entry.labels {
            assert!(seen.insert(label), "{}: {label} twice", entry.name);
            assert!(!["cluster", "instance", "job", "type", "le", "quantile"].contains(label), "{}: {label} belongs to others", entry.name);
            assert!(label.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}: {label}", entry.name);
        }
    }
}

#[test]
fn help_is_one_sentence_that_needs_no_escape() {
    each(|entry| {
        let text = format!("{} {}", entry.help, entry.source);
        assert!(entry.help.ends_with('.') && !entry.help.contains(". "), "{}: {}", entry.name, entry.help);
        assert!(entry.help.starts_with(|first: char| first.is_ascii_uppercase()), "{}: {}", entry.name, entry.help);
        assert!(!text.contains(['\\', '"', '\n']), "{}: {text}", entry.name);
        assert_ne!(entry.help.to_lowercase().replace(' ', "_"), format!("{}.", entry.name), "help says more than the name");
    });
}

#[test]
fn a_legacy_name_is_another_name_and_used_once() {
    let mut names: BTreeSet<&str> = entries().map(|(_, entry)| entry.name).collect();
    for (_, entry) in entries() {
        if let Legacy::As(name) = entry.legacy {
            assert!(names.insert(name), "{name} of {} is taken", entry.name);
        }
    }
}

#[test]
fn every_info_field_occurs_in_a_capture() {
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshot/captures");
    let mut fields = BTreeSet::new();
    for server in std::fs::read_dir(captures).expect("captures").map(|entry| entry.expect("entry").path()).filter(|path| path.is_dir()) {
        for file in std::fs::read_dir(server).expect("a server's captures") {
            let text = std::fs::read_to_string(file.expect("entry").path()).expect("text");
            fields.extend(text.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.to_owned()));
        }
    }
    each(|entry| {
        if let Source::Info { field, .. } = entry.source {
            assert!(fields.contains(field), "{}: no server ever sent {field}", entry.name);
        }
    });
}
