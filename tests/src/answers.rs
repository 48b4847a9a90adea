//! What the daemon says: values, findings and events, and waiting for them.

use std::time::Duration;

use serde_json::Value;

use crate::findings::listed;
use crate::{Daemon, Found, Redis, SECOND, Samples, diagnose, eventually, has, until_ok};

impl Daemon {
    /// What `/metrics` says now.
    pub fn samples(&self) -> Samples {
        Samples::parse(&self.get("/metrics", "text/plain").text)
    }

    /// The value of the one series of this name.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.samples().get(name, &[])
    }

    /// The document at a path of its API.
    pub fn document(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path, "").text).expect(path)
    }

    /// The findings now: kind, and node if about one.
    pub fn findings(&self) -> Found {
        listed(&self.document("/api/v1/findings"))
    }

    /// The first finding of this kind, as its API tells it.
    pub fn finding(&self, kind: &str) -> Option<Value> {
        let document = self.document("/api/v1/findings");
        document["findings"]
            .as_array()
            .expect("a list")
            .iter()
            .find(|finding| finding["kind"] == kind)
            .cloned()
    }

    /// How severe the first finding of this kind is.
    pub fn severity(&self, kind: &str) -> Option<String> {
        self.finding(kind)?["severity"].as_str().map(str::to_owned)
    }

    /// There is a finding of this kind about this node.
    pub fn finds(&self, kind: &str, node: &Redis) -> bool {
        has(&self.findings(), kind, node)
    }

    /// The events so far.
    pub fn events(&self) -> Vec<Value> {
        self.document("/api/v1/events")["events"].as_array().expect("a list").clone()
    }

    /// How many events of this kind there were.
    pub fn count(&self, kind: &str) -> usize {
        self.events().iter().filter(|event| event["kind"] == kind).count()
    }

    /// Waits until a series has this value, and returns the time that took.
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

    /// Waits until this node is the primary, on this evidence.
    #[track_caller]
    pub fn until_primary(&self, limit: Duration, node: &Redis, evidence: &str) {
        self.until(
            limit,
            "redis_deployment_primary_info",
            &[("node", &node.address()), ("evidence", evidence)],
            1.0,
        );
    }

    /// Waits until the link of this replica is in this state.
    #[track_caller]
    pub fn until_link(&self, limit: Duration, replica: &Redis, state: &str) {
        self.until(
            limit,
            "redis_link_state",
            &[("node", &replica.address()), ("state", state)],
            1.0,
        );
    }

    /// Waits until that many more rounds are over, after the running one.
    #[track_caller]
    pub fn let_pass(&self, rounds: u32) {
        let total = || self.value("rolecall_rounds_total");
        let until = total().expect("rounds") + f64::from(rounds);
        let limit = SECOND * (15 + rounds);
        eventually(limit, "rounds go on", || (total()? > until).then_some(()));
    }

    /// Waits until an event of this kind happened, and gives it.
    #[track_caller]
    pub fn until_event(&self, limit: Duration, kind: &str) -> Value {
        eventually(limit, kind, || self.events().into_iter().find(|event| event["kind"] == kind)).0
    }

    /// Waits until there is a finding of this kind.
    #[track_caller]
    pub fn until_found(&self, limit: Duration, kind: &str) -> Duration {
        eventually(limit, kind, || {
            self.findings().iter().any(|(found, _)| found == kind).then_some(())
        })
        .1
    }

    /// Waits until there is a finding of this kind about this node.
    #[track_caller]
    pub fn until_finds(&self, limit: Duration, kind: &str, node: &Redis) {
        eventually(limit, kind, || self.finds(kind, node).then_some(()));
    }

    /// Waits until there is a finding of this kind about this node, and checks that `diagnose` of these servers has it too.
    #[track_caller]
    pub fn until_told(&self, limit: Duration, servers: &[&Redis], kind: &str, node: &Redis) {
        self.until_finds(limit, kind, node);
        let (code, text, found) = diagnose(servers);
        assert_eq!(code, Some(1), "{text}");
        assert!(has(&found, kind, node), "{kind} {}: {text}", node.address());
    }

    /// Waits until the first finding of this kind is that severe.
    #[track_caller]
    pub fn until_severity(&self, limit: Duration, kind: &str, severity: &str) {
        eventually(limit, &format!("{kind} is {severity}"), || {
            (self.severity(kind)? == severity).then_some(())
        });
    }

    /// Waits until there is no finding any more.
    #[track_caller]
    pub fn until_quiet(&self, limit: Duration) {
        self.until_only(limit, &[]);
    }

    /// Waits until these kinds are found, each for one node or for several, and no other.
    #[track_caller]
    pub fn until_only(&self, limit: Duration, kinds: &[&str]) {
        until_ok(limit, || {
            let document = self.document("/api/v1/findings");
            let mut found: Vec<_> = listed(&document).into_iter().map(|(kind, _)| kind).collect();
            found.dedup();
            // What stays for longer is shown, not only that something did.
            if found == kinds {
                Ok(())
            } else {
                Err(format!("still found: {}", document["findings"]))
            }
        });
    }

    /// Waits until there is no finding any more, and checks that `diagnose` of these servers has none either.
    #[track_caller]
    pub fn until_healthy(&self, limit: Duration, servers: &[&Redis]) {
        self.until_quiet(limit);
        let (code, text, found) = diagnose(servers);
        assert_eq!((code, found), (Some(0), Found::new()), "{text}");
    }
}
