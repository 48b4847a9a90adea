//! Every alert has a runbook, and all runbooks have the same structure.

use report::{SECTIONS, runbook, runbooks};
use topology::{FindingKind, NO_FINDING};

#[test]
fn alerts_and_runbooks_correspond() {
    let findings = FindingKind::ALL.iter().map(|kind| kind.label());
    let alerts: Vec<_> = findings.chain(NO_FINDING.map(|(alert, _)| alert)).collect();
    for alert in &alerts {
        assert!(runbook(alert).is_some(), "alerts/runbooks/{alert}.md is missing");
    }
    for (alert, _) in runbooks() {
        assert!(alerts.contains(&alert), "{alert} is not an alert");
    }
}

#[test]
fn every_alert_is_listed_once() {
    let mut seen = std::collections::BTreeSet::new();
    let findings = FindingKind::ALL.iter().map(|kind| (kind.label(), ""));
    for (alert, _) in findings.chain(NO_FINDING) {
        assert!(seen.insert(alert), "{alert} is listed twice");
        assert!(
            alert.starts_with("Redis") || alert.starts_with("Rolecall") || alert == "Watchdog",
            "{alert}"
        );
    }
}

#[test]
fn every_runbook_has_the_same_non_empty_sections() {
    for (alert, runbook) in runbooks() {
        assert!(
            runbook.text.starts_with(&format!("# {alert}\n\n{}\n", runbook.title)),
            "{alert}: the title does not follow the heading"
        );
        assert!((20..=100).contains(&runbook.title.len()), "{alert}: {:?}", runbook.title);
        let headings: Vec<_> = runbook.sections.iter().map(|(heading, _)| *heading).collect();
        assert_eq!(headings, SECTIONS, "{alert}");
        for (heading, text) in &runbook.sections {
            assert!(text.len() > 40, "{alert}: {heading}: {text:?}");
        }
        let checks = runbook.section("First checks").expect("a section");
        let own = alert == "Watchdog"
            || (alert.starts_with("Rolecall")
                && NO_FINDING.iter().any(|(other, _)| *other == alert));
        let first = if own { "```sh\ncurl " } else { "```sh\nredis-cli " };
        assert!(checks.starts_with(first), "{alert}: the checks do not start with a command");
        assert!(
            !runbook.text.contains(" G1") && !runbook.text.contains("FACTS"),
            "{alert}: refers to internal documents"
        );
    }
}
