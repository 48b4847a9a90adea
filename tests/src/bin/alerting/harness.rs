//! Harness for one scenario: start the daemon and the alert pipeline, inject the fault, check the
//! notified alerts, compare them with the findings, repair the fault, and check that the alerts are
//! resolved.

use std::collections::BTreeSet;
use std::time::Duration;

use tests::{AlertPipeline, Daemon, TIME_DIVISOR, eventually, pause};

use crate::comparison;

/// Timeout for a notification. Some rules wait for half an hour, which is three minutes with
/// divided durations.
pub(crate) const NOTIFICATION_TIMEOUT: Duration = Duration::from_secs(240);

/// Timeout for anything that a server does at once.
pub(crate) const SERVER_TIMEOUT: Duration = Duration::from_secs(20);

/// Timeout for Sentinels, or the nodes of a cluster, to agree.
pub(crate) const AGREEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// Timeout for all alerts to be resolved. Some rules look back for an hour, which is six minutes
/// with divided durations.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(480);

/// Time to wait for unexpected notifications after all expected ones have arrived: several times
/// the divided `group_wait` of Alertmanager.
const SETTLE_TIME: Duration = Duration::from_secs(12);

/// Fault on real servers and the alerts that it must cause.
pub(crate) struct Scenario {
    /// Number of the group of faults that it belongs to; the first column of the table.
    pub(crate) row: u8,
    /// Plain description of the fault, with underscores instead of spaces.
    pub(crate) name: &'static str,
    /// True if it also runs without arguments, and so in every run of `tests/run.sh`.
    pub(crate) quick: bool,
    pub(crate) run: fn() -> ScenarioResult,
}

/// Outcome of a scenario that did not panic; one row of the table.
pub(crate) struct ScenarioResult {
    pub(crate) alert: String,
    /// Time from the fault to the notification.
    pub(crate) notified_after: Duration,
    pub(crate) expected: Vec<String>,
    pub(crate) seen: Vec<String>,
    /// Time from the repair until all alerts are resolved.
    pub(crate) resolved_after: Duration,
}

/// Running daemon and the alert pipeline that scrapes it.
pub(crate) struct ScenarioRun {
    pub(crate) daemon: Daemon,
    pub(crate) pipeline: AlertPipeline,
    since: Duration,
}

/// Scenario with an injected fault whose alerts were notified.
pub(crate) struct ActiveFault {
    pub(crate) scenario: ScenarioRun,
    result: ScenarioResult,
}

impl ScenarioRun {
    /// Starts a daemon with this configuration and an alert pipeline, and checks that nothing is
    /// notified.
    pub(crate) fn start(configuration: &str) -> Self {
        Self::with_daemon(Daemon::configured(configuration))
    }

    /// Does the same as [`Self::start`] with a running daemon.
    pub(crate) fn with_daemon(daemon: Daemon) -> Self {
        let address = format!("{}:{}", daemon.host, daemon.port);
        let pipeline = AlertPipeline::start_at(&[address], TIME_DIVISOR);
        // Wait until each rule has samples over its whole range.
        pause(Duration::from_secs(8));
        assert_eq!(
            pipeline.notified_since(Duration::ZERO),
            BTreeSet::new(),
            "no alert is notified before the fault; findings: {:?}",
            daemon.findings()
        );
        assert_eq!(pipeline.rule_errors(), Vec::<String>::new());
        let since = pipeline.now();
        ScenarioRun { daemon, pipeline, since }
    }

    /// Injects the fault, waits until the expected alerts are notified, and checks that no others
    /// are.
    ///
    /// `expected` lists names and severities. The first one is measured.
    #[track_caller]
    pub(crate) fn inject(
        mut self,
        fault: impl FnOnce(&ScenarioRun),
        expected: &[(&str, &str)],
    ) -> ActiveFault {
        self.since = self.pipeline.now();
        fault(&self);
        let begun = self.pipeline.now();
        let (alert, severity) = expected[0];
        let notified =
            self.pipeline.until_notified(NOTIFICATION_TIMEOUT, self.since, alert, severity);
        for (alert, severity) in &expected[1..] {
            self.pipeline.until_notified(NOTIFICATION_TIMEOUT, self.since, alert, severity);
        }
        pause(SETTLE_TIME);
        self.check_notified(expected);
        assert_eq!(
            self.pipeline.unresolved_since(self.since),
            self.pipeline.notified_since(self.since),
            "no alert is resolved before the repair; firing: {:?}",
            self.pipeline.firing()
        );
        comparison::check(&self.daemon, &self.pipeline);
        let name = |(alert, severity): &(&str, &str)| format!("{alert} {severity}");
        let result = ScenarioResult {
            alert: alert.to_owned(),
            notified_after: notified.saturating_sub(begun),
            expected: expected.iter().map(name).collect(),
            seen: self
                .pipeline
                .notified_since(self.since)
                .iter()
                .map(|(alert, severity)| format!("{alert} {severity}"))
                .collect(),
            resolved_after: Duration::ZERO,
        };
        ActiveFault { scenario: self, result }
    }

    #[track_caller]
    fn check_notified(&self, expected: &[(&str, &str)]) {
        let expected: BTreeSet<_> = expected
            .iter()
            .map(|(alert, severity)| ((*alert).to_owned(), (*severity).to_owned()))
            .collect();
        let mut seen = self.pipeline.notified_since(self.since);
        // An alert that becomes critical may be notified as a warning before, or not: that depends
        // on the time at which Alertmanager sends the group.
        seen.retain(|(alert, severity)| {
            severity != "warning"
                || expected.contains(&(alert.clone(), severity.clone()))
                || !expected.contains(&(alert.clone(), "critical".to_owned()))
        });
        if seen != expected {
            // Print this first: the request for the findings fails if the daemon is gone.
            println!(
                "notified {seen:?}, expected {expected:?}, firing {:?}, inhibited {:?}",
                self.pipeline.firing(),
                self.pipeline.inhibited()
            );
            panic!("unexpected notifications; findings: {:?}", self.daemon.findings());
        }
    }

    /// Waits until these alerts are inhibited, since another alert reports their cause.
    #[track_caller]
    pub(crate) fn until_inhibited(&self, alerts: &[&str]) {
        eventually(NOTIFICATION_TIMEOUT, &format!("{alerts:?} are inhibited"), || {
            let inhibited = self.pipeline.inhibited();
            alerts.iter().all(|alert| inhibited.contains(*alert)).then_some(())
        });
    }

    /// Performs a routine operation, waits until this alert of severity `info` fires and ends, and
    /// checks that nothing is notified.
    #[track_caller]
    pub(crate) fn expect_info_alert(
        mut self,
        operation: impl FnOnce(&ScenarioRun),
        alert: &str,
    ) -> ScenarioResult {
        self.since = self.pipeline.now();
        operation(&self);
        let begun = self.pipeline.now();
        let key = (alert.to_owned(), "info".to_owned());
        let until_firing = |expected: bool| {
            let (at, _) =
                eventually(NOTIFICATION_TIMEOUT, &format!("{alert} fires: {expected}"), || {
                    (self.pipeline.firing().contains(&key) == expected).then(|| self.pipeline.now())
                });
            at
        };
        let notified_after = until_firing(true).saturating_sub(begun);
        pause(SETTLE_TIME);
        self.check_notified(&[]);
        let before = self.pipeline.now();
        let resolved_after = until_firing(false).saturating_sub(before);
        self.check_notified(&[]);
        ScenarioResult {
            alert: format!("{alert} info"),
            notified_after,
            expected: Vec::new(),
            seen: Vec::new(),
            resolved_after,
        }
    }

    /// Performs routine operations, waits for this time, and checks that nothing is notified.
    #[track_caller]
    pub(crate) fn expect_no_alert(
        mut self,
        operations: impl FnOnce(&ScenarioRun),
        duration: Duration,
    ) -> ScenarioResult {
        self.since = self.pipeline.now();
        operations(&self);
        pause(duration);
        self.check_notified(&[]);
        comparison::check(&self.daemon, &self.pipeline);
        ScenarioResult::no_alert()
    }
}

impl ScenarioResult {
    /// Returns the result of a scenario in which nothing was notified.
    pub(crate) fn no_alert() -> Self {
        ScenarioResult {
            alert: "none".to_owned(),
            notified_after: Duration::ZERO,
            expected: Vec::new(),
            seen: Vec::new(),
            resolved_after: Duration::ZERO,
        }
    }
}

impl ActiveFault {
    /// Repairs the fault, waits until all alerts are resolved, and checks that only the expected
    /// alerts and those in `also` were notified.
    #[track_caller]
    pub(crate) fn repair(
        mut self,
        repair: impl FnOnce(&ScenarioRun),
        also: &[&str],
    ) -> ScenarioResult {
        repair(&self.scenario);
        let repaired = self.scenario.pipeline.now();
        let resolved = self.scenario.pipeline.until_resolved(RESOLVE_TIMEOUT, self.scenario.since);
        self.result.resolved_after = resolved.saturating_sub(repaired);
        let seen = self.scenario.pipeline.notified_since(self.scenario.since);
        self.result.seen =
            seen.iter().map(|(alert, severity)| format!("{alert} {severity}")).collect();
        let is_expected = |alert: &str, severity: &str| {
            self.result.expected.contains(&format!("{alert} {severity}"))
        };
        let unexpected = seen.iter().filter(|(alert, severity)| {
            let was_warning = severity == "warning" && is_expected(alert, "critical");
            !is_expected(alert, severity) && !was_warning && !also.contains(&alert.as_str())
        });
        assert_eq!(
            unexpected.collect::<Vec<_>>(),
            Vec::<&(String, String)>::new(),
            "no other alert is notified during the repair"
        );
        self.result
    }
}
