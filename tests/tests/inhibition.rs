//! The inhibition rules of Alertmanager and the table of tiers fold the same alerts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_yaml_ng::Value;
use topology::Severity;
use topology::tiers::{Scope, explained_in};

const SEVERITIES: [Severity; 3] = [Severity::Critical, Severity::Warning, Severity::Info];

/// Alert with a severity.
type Alert = (String, Severity);

fn document(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../alerts").join(name);
    serde_yaml_ng::from_str(&std::fs::read_to_string(path).expect(name)).expect(name)
}

/// Returns all alerts about deployments, with each severity that they can have.
fn alerts() -> BTreeSet<Alert> {
    let mut alerts = BTreeSet::new();
    for file in ["redis.rules.yaml", "rolecall.rules.yaml"] {
        let document = document(file);
        let groups = document["groups"].as_sequence().expect("groups");
        for rule in groups.iter().flat_map(|group| group["rules"].as_sequence().expect("rules")) {
            let severity = rule["labels"]["severity"].as_str().expect("a severity");
            let known = SEVERITIES.into_iter().find(|known| known.label() == severity);
            let name = rule["alert"].as_str().expect("a name").to_owned();
            alerts.extend(known.map(|severity| (name, severity)));
        }
    }
    alerts
}

/// Returns whether all matchers of a list accept an alert. Matchers of other labels than
/// `alertname` and `severity` accept every alert.
fn is_matched(matchers: &Value, (name, severity): &Alert) -> bool {
    matchers.as_sequence().expect("a list of matchers").iter().all(|matcher| {
        let text = matcher.as_str().expect("a matcher");
        let (label, rest) = text.split_once(' ').expect("a label");
        let (operator, pattern) = rest.split_once(' ').expect("an operator");
        let pattern = pattern.trim_matches('"');
        let value = match label {
            "alertname" => name.as_str(),
            "severity" => severity.label(),
            _ => return true,
        };
        let is_value = |option: &str| match option.strip_suffix(".+") {
            Some(start) => value.starts_with(start) && value.len() > start.len(),
            None => value == option,
        };
        match operator {
            "=" => value == pattern,
            "=~" => pattern.split('|').any(is_value),
            "!~" => !pattern.split('|').any(is_value),
            _ => panic!("unexpected operator in {text}"),
        }
    })
}

/// Returns the scope of a rule; `None` for the rules about the same alert and about the exporter.
fn scope(rule: &Value) -> Option<Scope> {
    let equal = rule["equal"].as_sequence().expect("`equal`").iter();
    match equal.map(|label| label.as_str().expect("a label")).collect::<Vec<_>>()[..] {
        ["deployment"] => Some(Scope::Deployment),
        ["deployment", "shard"] => Some(Scope::Shard),
        ["deployment", "node"] => Some(Scope::Node),
        _ => None,
    }
}

#[test]
fn alertmanager_inhibits_the_effects_of_the_table_of_tiers() {
    let (configuration, alerts) = (document("alertmanager.yaml"), alerts());
    let mut inhibited: BTreeMap<(&Alert, &Alert), BTreeSet<Scope>> = BTreeMap::new();
    for rule in configuration["inhibit_rules"].as_sequence().expect("rules") {
        let Some(scope) = scope(rule) else { continue };
        let is_source = |alert: &Alert| is_matched(&rule["source_matchers"], alert);
        let is_target = |alert: &Alert| is_matched(&rule["target_matchers"], alert);
        for cause in alerts.iter().filter(|alert| is_source(alert)) {
            for effect in alerts.iter().filter(|alert| is_target(alert)) {
                // Alertmanager ignores a rule of which both alerts match both sides.
                if !(is_target(cause) && is_source(effect)) {
                    inhibited.entry((cause, effect)).or_default().insert(scope);
                }
            }
        }
    }
    let mut compared = 0;
    for cause in &alerts {
        for effect in &alerts {
            let expected: BTreeSet<_> =
                explained_in((&cause.0, cause.1), (&effect.0, effect.1)).into_iter().collect();
            let actual = inhibited.remove(&(cause, effect)).unwrap_or_default();
            assert_eq!(actual, expected, "{effect:?} below {cause:?}: rules, table");
            compared += expected.len();
        }
    }
    assert!(compared > 500, "{compared} pairs");
}
