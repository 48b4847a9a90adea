//! The core set has exactly the metrics that the rules in `alerts/` and the dashboards Fleet and
//! Deployment use.

use std::collections::BTreeSet;
use std::path::Path;

use catalog::{MetricKind, entries};

/// Files whose metrics belong to the core set, each with the keys of its lines that have
/// expressions, and the least number of metrics that it uses.
const USERS: [(&str, &[&str], usize); 4] = [
    // Annotations contain expressions, too.
    ("alerts/redis.rules.yaml", &[""], 100),
    ("alerts/rolecall.rules.yaml", &[""], 15),
    ("dashboards/rolecall-fleet.json", &["\"expr\":", "\"query\":", "\"definition\":"], 20),
    ("dashboards/rolecall-deployment.json", &["\"expr\":", "\"query\":", "\"definition\":"], 50),
];

/// Metrics of the core set that none of the files uses, each with the reason.
const UNUSED: &[(&str, &str)] = &[];

/// Returns the metrics whose series occur in a text.
fn used(text: &str) -> BTreeSet<&'static str> {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let words: BTreeSet<_> = text.split(|letter| !is_letter(letter)).collect();
    let metrics = entries().filter(|(_, _, entry)| {
        let suffixes: &[&str] = match entry.kind() {
            MetricKind::Histogram => &["_bucket", "_count", "_sum"],
            _ => &[""],
        };
        suffixes.iter().any(|suffix| words.contains(&*format!("{}{suffix}", entry.name)))
    });
    metrics.map(|(_, _, entry)| entry.name).collect()
}

/// Returns the metrics that the rules and the dashboards use.
fn used_by_rules_and_dashboards() -> BTreeSet<&'static str> {
    let mut all = BTreeSet::new();
    for (file, keys, least) in USERS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
        let text = std::fs::read_to_string(path).expect(file);
        let lines = text.lines().map(str::trim_start).filter(|line| !line.starts_with('#'));
        let lines = lines.filter(|line| keys.iter().any(|key| line.starts_with(key)));
        let metrics = used(&lines.collect::<Vec<_>>().join("\n"));
        assert!(metrics.len() >= least, "{file} uses {} metrics", metrics.len());
        all.extend(metrics);
    }
    all
}

#[test]
fn core_set_is_what_rules_and_dashboards_use() {
    let core: BTreeSet<_> =
        entries().filter(|(_, _, entry)| entry.is_core).map(|(_, _, entry)| entry.name).collect();
    let used = used_by_rules_and_dashboards();
    let missing: Vec<_> = used.difference(&core).collect();
    assert_eq!(missing, Vec::<&&str>::new(), "used, but not in the core set: add .core()");
    let unused: Vec<_> = core.difference(&used).copied().collect();
    let listed: Vec<_> = UNUSED.iter().map(|(metric, _)| *metric).collect();
    assert_eq!(unused, listed, "left: in the core set, but not used; right: UNUSED");
}

#[test]
fn only_whole_names_are_used_metrics() {
    let text = "rate(redis_commands_total{cmd=\"x\"}[5m]) / xredis_up * rolecall_build_information";
    assert_eq!(used(text), BTreeSet::from(["redis_commands_total"]));
    let histogram = "rate(rolecall_http_request_duration_seconds_sum[1m])";
    assert_eq!(used(histogram), BTreeSet::from(["rolecall_http_request_duration_seconds"]));
    assert_eq!(used("rolecall_http_request_duration_seconds"), BTreeSet::new());
}
