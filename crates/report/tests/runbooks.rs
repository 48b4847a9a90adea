//! Every finding has a runbook, and every runbook can be read in a hurry.

use report::{SECTIONS, runbook, runbooks};
use topology::{FindingKind, NO_FINDING};

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let findings = FindingKind::ALL.iter().map(|kind| kind.label());
    let alerts: Vec<_> = findings.chain(NO_FINDING.map(|(alert, _)| alert)).collect();
    for alert in &alerts {
        assert!(runbook(alert).is_some(), "alerts/runbooks/{alert}.md is missing");
    }
    for (alert, _) in runbooks() {
        assert!(alerts.contains(&alert), "{alert} is no alert");
    }
}

#[test]
fn an_alert_is_a_finding_or_has_a_reason_why_not() {
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
fn runbooks_have_the_same_sections_and_say_something_in_each() {
    for (alert, runbook) in runbooks() {
        assert!(
            runbook.text.starts_with(&format!("# {alert}\n\n{}\n", runbook.title)),
            "{alert}: a heading, then one line"
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
        assert!(checks.starts_with(first), "{alert}: the first command comes first");
        assert!(
            !runbook.text.contains(" G1") && !runbook.text.contains("FACTS"),
            "{alert}: pages that the reader does not have"
        );
    }
}
