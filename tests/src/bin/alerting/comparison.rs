//! Comparison of everything that reports a problem: the alerts in Prometheus, the findings of the
//! API, the pages, and `diagnose` with its exit code. All have the same severity.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use tests::{AlertPipeline, Daemon, Diagnosis, pause, until_ok};
use topology::FindingKind;

/// Timeout until all agree. Some findings become critical after a minute, and the durations of the
/// rules are divided.
const AGREEMENT_TIMEOUT: Duration = Duration::from_secs(90);

/// Time after which they must still agree.
const STABLE_FOR: Duration = Duration::from_secs(2);

/// Scenarios that are not compared, each with the reason.
const NOT_COMPARED: [(&str, &str); 4] = [
    ("exporter_killed", "there is no API"),
    ("exporter_frozen", "there is no API"),
    ("exporter_behind_a_caching_proxy", "the alert is about old metrics"),
    (
        "replication_link_cut_for_more_than_ten_minutes",
        "the duration of the rule is divided, that of the finding is not",
    ),
];

/// Kinds that a process that starts now cannot see: they are about the past.
const HISTORY: [&str; 8] = [
    "RedisDatasetReplaced",
    "RedisFullSyncLoop",
    "RedisPrimaryRestartedEmpty",
    "RedisReplicaDiverged",
    "RedisReplicasMissing",
    "RedisStaleClients",
    "RedisWritesHitReplica",
    "RedisWritesLost",
];

/// Number of comparisons of `diagnose` with the API, of which one must agree.
const ATTEMPTS: usize = 3;

/// Scenarios in which `diagnose` is compared too: their state neither changes nor depends on the
/// past.
const DIAGNOSED: [&str; 15] = [
    "all_replicas_cut_off_with_stale_reads_disabled",
    "all_replicas_with_priority_zero",
    "append_only_file_disabled_although_expected",
    "configured_master_demoted_manually",
    "every_pod_as_its_own_master",
    "failover_command_to_a_frozen_replica",
    "memory_usage_near_maxmemory",
    "only_replication_link_cut",
    "password_changed_everywhere_except_in_sentinels",
    "primary_made_a_replica_of_a_closed_port",
    "primary_made_a_replica_of_its_own_replica",
    "replica_made_writable",
    "replica_promoted_while_its_master_runs",
    "two_of_three_sentinels_killed",
    "unrelated_server_among_the_configured_nodes",
];

/// Problem that needs attention: the name of the alert, and the node and the shard that it affects.
type Problem = (String, Option<String>, Option<String>);

/// Severity by problem; `critical` is lower than `warning`.
type Severities = BTreeMap<Problem, String>;

/// Checks that all reports of the problems agree, now and two seconds later.
#[track_caller]
pub(crate) fn check(daemon: &Daemon, pipeline: &AlertPipeline) {
    let thread = std::thread::current();
    let scenario = thread.name().unwrap_or_default();
    if NOT_COMPARED.iter().any(|(name, _)| *name == scenario) {
        return;
    }
    let agree = || {
        let differences = differences(daemon, pipeline);
        if differences.is_empty() { Ok(()) } else { Err(differences.join("; ")) }
    };
    until_ok(AGREEMENT_TIMEOUT, || {
        agree()?;
        pause(STABLE_FOR);
        agree()
    });
    if DIAGNOSED.contains(&scenario) {
        check_diagnosis(daemon);
    }
}

/// Returns the differences between the alerts, the API and the pages.
fn differences(daemon: &Daemon, pipeline: &AlertPipeline) -> Vec<String> {
    let Some(labels) = pipeline.firing_labels() else {
        return vec!["Prometheus does not respond".to_owned()];
    };
    let document = daemon.document("/api/v1/findings");
    let mut differences = alert_differences(&firing(&labels), &document);
    differences.extend(page_differences(&daemon.get("/", "text/html").text, &document));
    differences
}

/// Returns the differences between the alerts and the API.
fn alert_differences(alerts: &Severities, document: &Value) -> Vec<String> {
    let (findings, effects) = (found(document), effects(document));
    let mut differences = Vec::new();
    for (problem, severity) in alerts {
        let finding = findings.get(problem);
        if finding != Some(severity) {
            differences.push(format!("alert {problem:?} is {severity}, finding: {finding:?}"));
        }
    }
    for (problem, severity) in &findings {
        // The alert of an effect may yield to the alert of its cause.
        if !alerts.contains_key(problem) && !effects.contains(problem) {
            differences.push(format!("finding {problem:?} is {severity}, and no alert fires"));
        }
    }
    differences
}

/// Returns the most severe firing alert about each problem. Alerts without a finding do not count.
fn firing(labels: &[BTreeMap<String, String>]) -> Severities {
    let mut alerts = Severities::new();
    let is_finding = |name: &str| FindingKind::ALL.iter().any(|kind| kind.label() == name);
    for labels in labels {
        let label = |name: &str| labels.get(name).filter(|value| !value.is_empty()).cloned();
        let (alert, severity) = (&labels["alertname"], &labels["severity"]);
        if is_finding(alert) && severity != "info" {
            add(&mut alerts, (alert.clone(), label("node"), label("shard")), severity);
        }
    }
    alerts
}

/// Returns the most severe finding about each problem.
fn found(document: &Value) -> Severities {
    let mut findings = Severities::new();
    for finding in listed(document) {
        let severity = finding["severity"].as_str().expect("`severity` is missing");
        if severity != "info" {
            add(&mut findings, problem(finding), severity);
        }
    }
    findings
}

fn listed(document: &Value) -> &[Value] {
    document["findings"].as_array().expect("the list is missing")
}

fn problem(finding: &Value) -> Problem {
    let text = |key: &str| finding[key].as_str().map(str::to_owned);
    (text("kind").expect("`kind` is missing"), text("node"), text("shard"))
}

fn add(severities: &mut Severities, problem: Problem, severity: &str) {
    let worst = severities.entry(problem).or_insert_with(|| severity.to_owned());
    if severity < worst.as_str() {
        severity.clone_into(worst);
    }
}

/// Returns the problems that another finding explains.
fn effects(document: &Value) -> BTreeSet<Problem> {
    let effects = listed(document).iter().filter(|finding| finding["caused_by"].is_string());
    effects.map(problem).collect()
}

/// Returns the differences between the API and the status page: its findings and its colour.
fn page_differences(page: &str, document: &Value) -> Vec<String> {
    let mut shown = BTreeSet::new();
    for id in page.split("id=\"finding-").skip(1).filter_map(|rest| rest.split('"').next()) {
        // The identifier of an effect follows the one of its cause.
        let mut parts = id.rsplit('-');
        if let (Some(severity), Some(kind)) = (parts.next(), parts.next())
            && severity != "effects"
        {
            shown.insert((kind.to_owned(), severity.to_owned()));
        }
    }
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let expected: BTreeSet<_> = listed(document)
        .iter()
        .map(|finding| (text(finding, "kind"), text(finding, "severity")))
        .collect();
    let mut differences = Vec::new();
    if shown != expected {
        differences.push(format!("the page shows {shown:?}, the API has {expected:?}"));
    }
    let worst = expected.iter().map(|(_, severity)| severity.as_str()).min_by_key(|severity| {
        ["critical", "warning", "info"].iter().position(|known| known == severity)
    });
    let class = match worst {
        Some("critical") => "bad",
        Some("warning") => "warn",
        Some(_) => "info",
        None => return differences,
    };
    if !page.contains(&format!("class=\"verdict {class}\"")) {
        differences.push(format!("the page is not {class}"));
    }
    differences
}

/// Checks that `diagnose` reports the same findings as the daemon, with the exit code for them.
#[track_caller]
fn check_diagnosis(daemon: &Daemon) {
    let file = daemon.configuration().expect("the daemon has no configuration file");
    let diagnosis = Diagnosis::of(&["--config.file", &file]);
    let current = |mut severities: Severities| {
        severities.retain(|(kind, ..), _| !HISTORY.contains(&kind.as_str()));
        severities
    };
    let reported = || current(found(&daemon.document("/api/v1/findings")));
    let (mut diagnosis, mut expected) = (diagnosis, reported());
    for _ in 1..ATTEMPTS {
        // A finding may begin or end between the two.
        if current(found(&diagnosis.document)) == expected {
            break;
        }
        (diagnosis, expected) = (Diagnosis::of(&["--config.file", &file]), reported());
    }
    assert_eq!(current(found(&diagnosis.document)), expected, "diagnose, API");
    let code = i32::from(!found(&diagnosis.document).is_empty());
    assert_eq!(diagnosis.code, Some(code), "{}", diagnosis.text);
}

#[cfg(test)]
mod unit_tests {
    use serde_json::json;

    use super::*;

    fn alert(name: &str, node: &str, severity: &str) -> BTreeMap<String, String> {
        [("alertname", name), ("node", node), ("severity", severity), ("shard", "")]
            .map(|(label, value)| (label.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn differences_between_alerts_and_findings_are_reported() {
        let document = json!({ "findings": [
            { "kind": "RedisDown", "severity": "critical", "node": "a" },
            { "kind": "RedisReplicaLinkDown", "severity": "critical", "node": "b",
              "caused_by": "RedisDown" },
        ] });
        let of = |alerts: &[BTreeMap<String, String>]| {
            alert_differences(&firing(alerts), &document).len()
        };
        let warning = alert("RedisDown", "a", "warning");
        let critical = alert("RedisDown", "a", "critical");
        // The worst alert about a problem counts, and effects may have none.
        assert_eq!(of(&[warning.clone(), critical.clone()]), 0);
        assert_eq!(of(&[warning]), 1, "severity");
        assert_eq!(of(&[]), 1, "no alert");
        assert_eq!(of(&[critical.clone(), alert("RedisDown", "b", "critical")]), 1, "no finding");
        let effect = alert("RedisReplicaLinkDown", "b", "warning");
        assert_eq!(of(&[critical.clone(), effect]), 1, "severity of an effect");
        assert_eq!(of(&[critical, alert("RedisRestarted", "b", "info")]), 0, "no finding exists");
    }

    #[test]
    fn differences_between_page_and_findings_are_reported() {
        let document = json!({ "findings": [
            { "kind": "RedisDown", "severity": "critical" },
            { "kind": "RedisNoPrimary", "severity": "critical" },
        ] });
        let effect = "<article id=\"finding-RedisDown-critical-RedisNoPrimary-critical\">";
        let page = |class: &str, effect: &str| {
            format!(
                "<div class=\"verdict {class}\"></div>\
                 <article id=\"finding-RedisDown-critical\">\
                 <details id=\"finding-RedisDown-critical-effects\">{effect}"
            )
        };
        assert_eq!(page_differences(&page("bad", effect), &document), Vec::<String>::new());
        assert_eq!(page_differences(&page("warn", effect), &document).len(), 1);
        assert_eq!(page_differences(&page("bad", ""), &document).len(), 1);
    }
}
