//! State of the daemon: its metrics, findings and events, and functions that wait for them.

use std::time::Duration;

use serde_json::Value;

use crate::findings::listed;
use crate::{
    Daemon, Findings, Redis, SECOND, Samples, diagnose, eventually, has_finding, until_ok,
};

/// Finding about a failover that would fail or lose data.
const NOT_READY: &str = "RedisFailoverNotReady";

impl Daemon {
    /// Scrapes `/metrics`.
    pub fn samples(&self) -> Samples {
        Samples::parse(self.get("/metrics", "text/plain").text)
    }

    /// Returns the value of the only series of this name.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.samples().get(name, &[])
    }

    /// Returns the JSON document at a path of the API.
    pub fn document(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path, "").text).expect(path)
    }

    /// Returns the current findings: the kind, and the node of findings that concern one node.
    pub fn findings(&self) -> Findings {
        listed(&self.document("/api/v1/findings"))
    }

    /// Returns the first finding of this kind, as the API returns it.
    pub fn finding(&self, kind: &str) -> Option<Value> {
        let document = self.document("/api/v1/findings");
        document["findings"]
            .as_array()
            .expect("the list is missing")
            .iter()
            .find(|finding| finding["kind"] == kind)
            .cloned()
    }

    /// Returns the severity of the first finding of this kind.
    pub fn severity(&self, kind: &str) -> Option<String> {
        self.finding(kind)?["severity"].as_str().map(str::to_owned)
    }

    /// Returns true if this node has a finding of this kind.
    pub fn has_finding_on(&self, kind: &str, node: &Redis) -> bool {
        has_finding(&self.findings(), kind, node)
    }

    /// Returns all events so far.
    pub fn events(&self) -> Vec<Value> {
        self.document("/api/v1/events")["events"].as_array().expect("the list is missing").clone()
    }

    /// Returns the number of events of this kind so far.
    pub fn count(&self, kind: &str) -> usize {
        self.events().iter().filter(|event| event["kind"] == kind).count()
    }

    /// Waits until a series has this value, and returns the time waited.
    #[track_caller]
    pub fn until(
        &self,
        limit: Duration,
        name: &str,
        labels: &[(&str, &str)],
        value: f64,
    ) -> Duration {
        let what = format!("{name} {labels:?} is {value}");
        eventually(limit, &what, || (self.samples().get(name, labels) == Some(value)).then_some(()))
            .1
    }

    /// Waits until this node is the primary on this evidence.
    #[track_caller]
    pub fn until_primary(&self, limit: Duration, node: &Redis, evidence: &str) {
        self.until(
            limit,
            "redis_deployment_primary_info",
            &[("node", &node.address()), ("evidence", evidence)],
            1.0,
        );
    }

    /// Waits until the replication link of this replica is in this state.
    #[track_caller]
    pub fn until_link(&self, limit: Duration, replica: &Redis, state: &str) {
        self.until(
            limit,
            "redis_link_state",
            &[("node", &replica.address()), ("state", state)],
            1.0,
        );
    }

    /// Waits until the running round and this many more rounds are complete.
    #[track_caller]
    pub fn until_rounds(&self, rounds: u32) {
        let total = || self.value("rolecall_rounds_total");
        let until = total().expect("no metric rolecall_rounds_total") + f64::from(rounds);
        let limit = SECOND * (15 + rounds);
        eventually(limit, &format!("{rounds} more rounds complete"), || {
            (total()? > until).then_some(())
        });
    }

    /// Waits until there is an event of this kind, and returns the first one.
    #[track_caller]
    pub fn until_event(&self, limit: Duration, kind: &str) -> Value {
        eventually(limit, kind, || self.events().into_iter().find(|event| event["kind"] == kind)).0
    }

    /// Waits until there is a finding of this kind, and returns the time waited.
    #[track_caller]
    pub fn until_found(&self, limit: Duration, kind: &str) -> Duration {
        eventually(limit, kind, || {
            self.findings().iter().any(|(found, _)| found == kind).then_some(())
        })
        .1
    }

    /// Waits until this node has a finding of this kind.
    #[track_caller]
    pub fn until_found_on(&self, limit: Duration, kind: &str, node: &Redis) {
        eventually(limit, kind, || self.has_finding_on(kind, node).then_some(()));
    }

    /// Waits until this node has a finding of this kind, and checks that `rolecall diagnose` on
    /// these servers reports it too.
    #[track_caller]
    pub fn until_found_by_diagnose(
        &self,
        limit: Duration,
        servers: &[&Redis],
        kind: &str,
        node: &Redis,
    ) {
        self.until_found_on(limit, kind, node);
        let (code, text, found) = diagnose(servers);
        assert_eq!(code, Some(1), "{text}");
        assert!(has_finding(&found, kind, node), "{kind} {}: {text}", node.address());
    }

    /// Waits until the first finding of this kind has this severity.
    #[track_caller]
    pub fn until_severity(&self, limit: Duration, kind: &str, severity: &str) {
        eventually(limit, &format!("{kind} is {severity}"), || {
            (self.severity(kind)? == severity).then_some(())
        });
    }

    /// Waits until there are no findings.
    #[track_caller]
    pub fn until_no_findings(&self, limit: Duration) {
        self.until_exact_findings(limit, &[]);
    }

    /// Waits until the findings are of exactly these kinds. Each kind may have several findings.
    /// A missing readiness for failovers follows from many faults, so it counts only if it is named
    /// here or has no other cause.
    #[track_caller]
    pub fn until_exact_findings(&self, limit: Duration, kinds: &[&str]) {
        until_ok(limit, || {
            let document = self.document("/api/v1/findings");
            let findings = document["findings"].as_array().expect("the list is missing");
            let counts = |finding: &&Value| {
                let follows = finding["caused_by"].is_string() || finding["severity"] == "info";
                finding["kind"] != NOT_READY || kinds.contains(&NOT_READY) || !follows
            };
            let kind = |finding: &Value| finding["kind"].as_str().map(str::to_owned);
            let mut found: Vec<_> = findings.iter().filter(counts).filter_map(kind).collect();
            found.dedup();
            // The message lists the remaining findings, not only that there are some.
            if found == kinds {
                Ok(())
            } else {
                Err(format!("expected findings {kinds:?}, found {}", document["findings"]))
            }
        });
    }

    /// Waits until there are no findings, and checks that `rolecall diagnose` on these servers
    /// reports none either.
    #[track_caller]
    pub fn until_healthy(&self, limit: Duration, servers: &[&Redis]) {
        self.until_no_findings(limit);
        let (code, text, found) = diagnose(servers);
        assert_eq!((code, found), (Some(0), Findings::new()), "{text}");
    }
}
