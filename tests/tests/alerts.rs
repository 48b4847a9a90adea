//! Consistency of `alerts/`: every alert has rules, rule tests and a runbook that match the
//! findings and metrics of Rolecall, and there are no leftover files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use expect_test::expect_file;
use serde::Deserialize;
use serde_yaml_ng::Value;
use tests::CatalogMetrics;
use topology::{FindingKind, NO_FINDING, limits};

/// The severities of alerts. `Watchdog`, which always fires, has the severity `none`.
const SEVERITIES: [&str; 4] = ["critical", "warning", "info", "none"];

const ANNOTATIONS: [&str; 4] = ["dashboard", "description", "runbook_url", "summary"];

/// URL of the runbooks without a configured external URL.
const REPOSITORY: &str = "https://github.com/rolecall/rolecall/blob/main/alerts/runbooks";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../alerts")
}

#[derive(Deserialize)]
struct RuleFile {
    groups: Vec<SentinelDeployment>,
}

#[derive(Deserialize)]
struct SentinelDeployment {
    name: String,
    rules: Vec<Rule>,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct Rule {
    alert: String,
    expr: String,
    #[serde(default, rename = "for")]
    for_duration: Option<String>,
    #[serde(default)]
    keep_firing_for: Option<String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct TestFile {
    rule_files: Vec<String>,
    tests: Vec<Test>,
}

#[derive(Deserialize)]
struct Test {
    alert_rule_test: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    alertname: String,
    #[serde(default)]
    exp_alerts: Vec<ExpectedAlert>,
}

#[derive(Deserialize)]
struct ExpectedAlert {
    exp_labels: BTreeMap<String, String>,
    #[serde(default)]
    exp_annotations: BTreeMap<String, String>,
}

impl Rule {
    fn severity(&self) -> &str {
        self.labels.get("severity").map_or("", String::as_str)
    }
}

fn duration(text: &str) -> Duration {
    humantime::parse_duration(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Returns all rules, with the file and the group of each.
fn rules() -> Vec<(&'static str, String, Rule)> {
    let mut rules = Vec::new();
    for file in ["redis.rules.yaml", "rolecall.rules.yaml"] {
        let text = std::fs::read_to_string(folder().join(file)).expect(file);
        let parsed: RuleFile = serde_yaml_ng::from_str(&text).expect(file);
        for group in parsed.groups {
            rules.extend(group.rules.into_iter().map(|rule| (file, group.name.clone(), rule)));
        }
    }
    assert!(rules.len() > 50, "{} rules", rules.len());
    rules
}

/// Returns the names of all alerts.
fn alert_names() -> BTreeSet<String> {
    rules().into_iter().map(|(.., rule)| rule.alert).collect()
}

/// Returns the names of the files in a folder of `alerts/`, without their extension.
fn file_names(folder_name: &str, extension: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder().join(folder_name))
        .expect(folder_name)
        .map(|entry| entry.expect("an entry").path());
    let files = entries.filter(|path| path.extension().is_some_and(|actual| actual == extension));
    files.map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned()).collect()
}

/// Returns the Prometheus expressions in the templates of an annotation.
fn queries(template: &str) -> Vec<String> {
    let mut queries = Vec::new();
    for action in template
        .split("{{")
        .skip(1)
        .filter_map(|rest| rest.split_once("}}"))
        .map(|(action, _)| action)
    {
        if !action.contains("query") || !action.contains('"') {
            continue;
        }
        // The first quoted text is the expression or its format string.
        let mut text = String::new();
        let mut characters = action.split_once('"').expect("a quote").1.chars();
        while let Some(character) = characters.next() {
            match character {
                '\\' => text.extend(characters.next()),
                '"' => break,
                other => text.push(other),
            }
        }
        queries.push(text.replace("%q", "\"x\"").replace("%s", "x"));
    }
    queries
}

#[test]
fn expressions_use_metrics_according_to_their_type() {
    let metrics = CatalogMetrics::all();
    for (.., rule) in rules() {
        let problems = metrics.problems(&rule.expr);
        assert!(problems.is_empty(), "{}: {problems:?}", rule.alert);
        for query in rule.annotations.values().flat_map(|text| queries(text)) {
            let problems = metrics.problems(&query);
            assert!(problems.is_empty(), "{}: {query}: {problems:?}", rule.alert);
        }
    }
}

#[test]
fn every_alert_has_a_severity_annotations_and_a_runbook() {
    for (file, _, rule) in rules() {
        let alert = &rule.alert;
        assert!(SEVERITIES.contains(&rule.severity()), "{alert}: severity {:?}", rule.severity());
        assert_eq!(
            rule.labels.len(),
            1,
            "{alert}: no labels besides the severity and those of the series"
        );
        assert_eq!(
            rule.annotations.keys().map(String::as_str).collect::<Vec<_>>(),
            ANNOTATIONS,
            "{alert}"
        );
        assert!(!rule.annotations["summary"].contains('\n'), "{alert}: the summary is one line");
        let link = &rule.annotations["runbook_url"];
        assert!(link.contains(&format!("{REPOSITORY}/{alert}.md")), "{alert}: {link}");
        assert!(link.contains(&format!("/runbooks/{alert}")), "{alert}: {link}");
        assert!(link.contains("rolecall_web_info"), "{alert}: {link}");
        let aggregates = rule.expr.contains("without (instance, pod") || rule.expr.contains("by (");
        assert!(
            aggregates || file == "rolecall.rules.yaml",
            "{alert}: two exporters must cause one alert"
        );
    }
}

#[test]
fn every_alert_has_a_rule_test_a_runbook_and_a_finding() {
    let alerts = alert_names();
    assert_eq!(file_names("tests", "yaml"), alerts, "exactly one rule test for each alert");
    assert_eq!(file_names("runbooks", "md"), alerts, "exactly one runbook for each alert");
    let findings: BTreeSet<_> =
        FindingKind::ALL.iter().map(|kind| kind.label().to_owned()).collect();
    let reasons: BTreeSet<_> = NO_FINDING.iter().map(|(alert, _)| (*alert).to_owned()).collect();
    assert!(findings.is_disjoint(&reasons));
    assert_eq!(
        findings.union(&reasons).cloned().collect::<BTreeSet<_>>(),
        alerts,
        "a finding or a reason without finding for each alert"
    );
}

#[test]
fn rule_tests_cover_firing_and_silence_of_each_alert() {
    let mut severities: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (.., rule) in rules() {
        severities.entry(rule.alert.clone()).or_default().insert(rule.severity().to_owned());
    }
    for (alert, severities) in severities {
        let text =
            std::fs::read_to_string(folder().join(format!("tests/{alert}.yaml"))).expect(&alert);
        let file: TestFile = serde_yaml_ng::from_str(&text).expect(&alert);
        assert!(
            file.rule_files.iter().all(|file| folder().join("tests").join(file).exists()),
            "{alert}"
        );
        let expected: Vec<_> = file.tests.iter().flat_map(|test| &test.alert_rule_test).collect();
        assert!(expected.iter().any(|expected| expected.alertname == alert), "{alert}");
        let of_alert = || expected.iter().filter(|expected| expected.alertname == alert);
        let alerts = of_alert().flat_map(|expected| &expected.exp_alerts);
        let exact = alerts.filter(|fired| fired.exp_annotations.len() == ANNOTATIONS.len());
        let fired_severities: BTreeSet<_> =
            exact.filter_map(|fired| fired.exp_labels.get("severity").cloned()).collect();
        assert_eq!(
            fired_severities, severities,
            "{alert}: a test with exact annotations per severity"
        );
        assert!(
            alert == "Watchdog" || of_alert().any(|expected| expected.exp_alerts.is_empty()),
            "{alert}: a test without the alert"
        );
    }
}

/// Returns the limits that findings and rules share: alert, severity, and a text that occurs in the
/// expression or in `for`.
fn shared_limits() -> Vec<(&'static str, &'static str, String)> {
    vec![
        (
            "RedisSentinelDisagreement",
            "critical",
            format!("for {}", promql_duration(limits::SENTINELS_AGREE_WITHIN)),
        ),
        (
            "RedisSentinelDisagreement",
            "warning",
            format!("for {}", promql_duration(limits::SENTINELS_AGREE_WITHIN)),
        ),
        (
            "RedisSentinelQuorumLost",
            "critical",
            format!("for {}", promql_duration(limits::SENTINELS_AGREE_WITHIN)),
        ),
        (
            "RedisPrimaryEndpointWrong",
            "critical",
            format!("for {}", promql_duration(limits::ENDPOINT_FOLLOWS_WITHIN)),
        ),
        ("RedisReplicationLag", "warning", format!("> {}", limits::LAG_HIGH.as_secs())),
        ("RedisClusterSlotOpen", "warning", format!("> {}", limits::SLOT_OPEN_FOR.as_secs())),
        // `for` adds the last minute.
        (
            "RedisReplicaLinkDown",
            "critical",
            format!(
                "[{}]",
                promql_duration(
                    limits::LINK_DOWN_CRITICAL_AFTER.saturating_sub(Duration::from_secs(60))
                )
            ),
        ),
        (
            "RedisWritesHitReplica",
            "warning",
            format!("[{}]", promql_duration(limits::CLIENTS_RECONNECT_WITHIN)),
        ),
        ("RedisAofBloated", "warning", limits::AOF_BLOATED_FACTOR.to_string()),
        ("RedisMemoryNearLimit", "warning", format!("> {}", limits::MEMORY_NEAR_LIMIT_RATIO)),
    ]
}

/// Formats a duration as in Prometheus rules.
fn promql_duration(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        seconds if seconds % 60 == 0 => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

#[test]
fn rules_and_findings_share_the_same_limits() {
    let rules = rules();
    for (alert, severity, limit) in shared_limits() {
        let of_alert =
            rules.iter().filter(|(.., rule)| rule.alert == alert && rule.severity() == severity);
        let texts: Vec<_> = of_alert
            .map(|(.., rule)| {
                format!("{} for {}", rule.expr, rule.for_duration.as_deref().unwrap_or("0s"))
            })
            .collect();
        assert!(
            texts.iter().any(|text| text.contains(&limit)),
            "{alert}, {severity}: {limit} is not in {texts:?}"
        );
    }
}

/// A rule with `for` must not fire on a single sample, so the range of `last_over_time` is at most
/// as long as `for`.
#[test]
fn no_single_sample_fires_a_rule() {
    for (.., rule) in rules() {
        let (alert, for_duration) =
            (&rule.alert, rule.for_duration.as_deref().map_or(Duration::ZERO, duration));
        let ranges = rule
            .expr
            .split("last_over_time(")
            .skip(1)
            .filter_map(|rest| rest.split_once('[')?.1.split_once(']'));
        for (range, _) in ranges {
            let range = range.split(':').next().expect("a range");
            // Longer ranges look at the past on purpose.
            let is_current = duration(range) <= Duration::from_secs(60);
            assert!(
                !is_current || for_duration.is_zero() || duration(range) <= for_duration,
                "{alert}: reads a range of {range}, but `for` is {for_duration:?}"
            );
        }
        assert!(
            rule.keep_firing_for.is_none_or(|keeps| duration(&keeps) <= Duration::from_secs(600)),
            "{alert}"
        );
    }
}

/// The table is in `alerts/README.md`. `UPDATE_EXPECT=1 cargo test -p tests --test alerts` updates
/// it.
#[test]
fn alert_table_is_up_to_date() {
    let mut rows: BTreeMap<String, (String, BTreeSet<String>, String)> = BTreeMap::new();
    for (_, group, rule) in rules() {
        let severity = rule.severity().to_owned();
        let title = report::runbook(&rule.alert).expect("a runbook").title.to_owned();
        rows.entry(rule.alert)
            .or_insert_with(|| (group, BTreeSet::new(), title))
            .1
            .insert(severity);
    }
    let mut table = "| alert | meaning | severity | group | rule test | runbook | finding |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for (alert, (group, severities, title)) in &rows {
        let severities = SEVERITIES
            .iter()
            .filter(|severity| severities.contains(**severity))
            .copied()
            .collect::<Vec<_>>()
            .join(", ");
        let finding = NO_FINDING
            .iter()
            .find(|(other, _)| other == alert)
            .map_or("yes".to_owned(), |(_, why)| format!("no: {why}"));
        writeln!(
            table,
            "| {alert} | {title} | {severities} | {group} | [test](tests/{alert}.yaml) | \
             [runbook](runbooks/{alert}.md) | {finding} |"
        )
        .expect("to a string");
    }
    let path = folder().join("README.md");
    let text = std::fs::read_to_string(&path).expect("alerts/README.md");
    let (begin, end) = ("<!-- alerts: generated -->\n", "<!-- end of alerts -->");
    let (before, rest) = text.split_once(begin).expect("the start marker of the table");
    let (_, after) = rest.split_once(end).expect("the end marker of the table");
    expect_file![path].assert_eq(&format!("{before}{begin}{table}{end}{after}"));
}

/// Runs a program in `alerts/`. Returns its output.
fn run(program: &str, arguments: &[&str]) -> String {
    let output =
        Command::new(program).args(arguments).current_dir(folder()).output().expect(program);
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
    text
}

#[test]
fn promtool_accepts_the_rules() {
    run("promtool", &["check", "rules", "redis.rules.yaml", "rolecall.rules.yaml"]);
}

/// promtool evaluates every rule of a file at every step. To save time, each test runs with only
/// the rules that it names.
#[test]
fn promtool_passes_the_rule_tests() {
    let directory = tempfile::tempdir().expect("a directory");
    let copies: Vec<_> =
        alert_names().iter().map(|alert| copy_test(directory.path(), alert)).collect();
    // Two threads, since small machines have two cores.
    std::thread::scope(|scope| {
        for half in copies.chunks(copies.len().div_ceil(2)) {
            scope.spawn(move || {
                for test in half {
                    run("promtool", &["test", "rules", &test.display().to_string()]);
                }
            });
        }
    });
}

/// Copies the test of an alert and the rules of all alerts that it names. Returns the path of the
/// test.
fn copy_test(directory: &Path, alert: &str) -> PathBuf {
    let text = std::fs::read_to_string(folder().join(format!("tests/{alert}.yaml"))).expect(alert);
    let parsed: TestFile = serde_yaml_ng::from_str(&text).expect(alert);
    let named: BTreeSet<_> = parsed
        .tests
        .iter()
        .flat_map(|test| &test.alert_rule_test)
        .map(|expected| expected.alertname.as_str())
        .collect();
    let test_folder = directory.join(alert).join("tests");
    std::fs::create_dir_all(&test_folder).expect("a folder");
    for file in &parsed.rule_files {
        let file = file.trim_start_matches("../");
        let mut rules: Value =
            serde_yaml_ng::from_str(&std::fs::read_to_string(folder().join(file)).expect(file))
                .expect(file);
        for group in rules["groups"].as_sequence_mut().expect("groups") {
            let is_named =
                |rule: &Value| rule["alert"].as_str().is_some_and(|alert| named.contains(alert));
            group["rules"].as_sequence_mut().expect("rules").retain(is_named);
        }
        std::fs::write(
            directory.join(alert).join(file),
            serde_yaml_ng::to_string(&rules).expect("YAML"),
        )
        .expect("a file");
    }
    let copy = test_folder.join(format!("{alert}.yaml"));
    std::fs::write(&copy, text).expect("a file");
    copy
}

#[test]
fn alertmanager_configuration_routes_each_alert() {
    let configuration = "alertmanager.yaml";
    run("amtool", &["check-config", configuration]);
    let check = |labels: &str, receiver: &str| {
        let labels: Vec<_> = labels.split(' ').collect();
        let (file, expected) =
            (format!("--config.file={configuration}"), format!("--verify.receivers={receiver}"));
        // amtool fails if the alert is routed to another receiver.
        run("amtool", &[&["config", "routes", "test", &file, &expected], &labels[..]].concat());
    };
    check("alertname=Watchdog severity=none", "dead-mans-switch");
    check("alertname=RedisDown severity=critical deployment=orders node=orders-0", "pager");
    check("alertname=RolecallDown severity=critical job=rolecall", "pager");
    check("alertname=RedisNoPrimary severity=critical deployment=orders team=payments", "pager");
    check(
        "alertname=RedisNoPrimary severity=critical deployment=orders team=checkout",
        "checkout-pager",
    );
    check("alertname=RedisDown severity=warning deployment=orders node=orders-0", "chat");
    check("alertname=RolecallReloadFailed severity=warning job=rolecall", "chat");
    check(
        "alertname=RedisReplicationLag severity=warning deployment=orders team=checkout",
        "checkout-chat",
    );
    check("alertname=RedisSplitBrain severity=info deployment=orders", "nobody");
    check("alertname=RedisTopologyCommand severity=info deployment=orders team=checkout", "nobody");
    check("alertname=Other severity=strange", "chat");
}

/// Every alert is named in the configuration: in a tier of the inhibition order, or in the comment
/// about alerts without one.
#[test]
fn every_alert_is_in_the_inhibition_order() {
    let text =
        std::fs::read_to_string(folder().join("alertmanager.yaml")).expect("alertmanager.yaml");
    let is_letter = |letter: char| letter.is_ascii_alphanumeric();
    let named: BTreeSet<_> = text.split(|letter| !is_letter(letter)).map(str::to_owned).collect();
    let missing: Vec<_> = alert_names().difference(&named).cloned().collect();
    assert_eq!(missing, Vec::<String>::new());
    let unknown: Vec<_> = named
        .iter()
        .filter(|word| {
            word.starts_with("Redis") && word.len() > 5 && !alert_names().contains(*word)
        })
        .collect();
    assert_eq!(unknown, Vec::<&String>::new());
}
