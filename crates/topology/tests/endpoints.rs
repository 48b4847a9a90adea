//! Endpoints that applications use.

mod recorded;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use recorded::RecordedTracker;
use snapshot::{NodeSnapshot, Reason, Role};
use topology::{
    Deployment, DeploymentKind, Discovery, EndpointCheckResult, EndpointKind, EndpointServer,
    EndpointView, Expectations, Finding, FindingKind, Monotonic, NodeReply, PollOutcome, Round,
    RoundResult, ServiceEndpoint, Severity, Value,
};

const SECOND: Duration = Duration::from_secs(1);

/// The history of the deployment, and another one.
const OURS: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const OTHER: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// A deployment of two nodes with both endpoints, polled once a second. Rounds take no time. A
/// check takes half a second and ends a quarter of a second before the next round.
struct TestDeployment {
    tracker: RecordedTracker,
    now: Monotonic,
    result: Option<RoundResult>,
    /// INFO replies of the nodes; `None` for a node that does not reply.
    nodes: [Option<String>; 2],
}

fn master(run_id: &str) -> String {
    format!(
        "run_id:{run_id}\nuptime_in_seconds:0\nrole:master\nmaster_replid:{OURS}\n\
         master_repl_offset:1\nloading:0\n"
    )
}

fn replica(run_id: &str) -> String {
    format!(
        "run_id:{run_id}\nuptime_in_seconds:0\nrole:slave\nmaster_host:a\nmaster_port:1\n\
         master_link_status:up\nmaster_replid:{OURS}\nmaster_repl_offset:1\nloading:0\n"
    )
}

/// Returns the reply of a replica without its link.
fn cut(replica: &str) -> String {
    replica.replace("status:up", "status:down\nmaster_link_down_since_seconds:1")
}

impl TestDeployment {
    /// Creates the primary `a` and its replica `b`.
    fn new() -> Self {
        Self::expecting(Expectations::default())
    }

    fn expecting(expect: Expectations) -> Self {
        Self::of(|deployment| deployment.expect = expect)
    }

    fn of(with: impl FnOnce(&mut Deployment)) -> Self {
        let mut deployment =
            Deployment::new("orders", DeploymentKind::Static, &[], SECOND, SECOND * 3);
        deployment.add("a", "a:1", None);
        deployment.add("b", "b:1", None);
        with(&mut deployment);
        deployment.endpoints = [(EndpointKind::Primary, "rw:1"), (EndpointKind::Reader, "ro:1")]
            .map(|(kind, address)| ServiceEndpoint { kind, address: address.to_owned() })
            .into();
        let nodes = [Some(master("a1")), Some(replica("b1"))];
        let mut test = TestDeployment {
            tracker: RecordedTracker::new(Arc::new(deployment), None),
            now: Monotonic::START,
            result: None,
            nodes,
        };
        test.round(Vec::new());
        test
    }

    fn round(&mut self, checks: Vec<EndpointCheckResult>) {
        self.now += SECOND;
        let at = SystemTime::UNIX_EPOCH + self.now.since_start();
        let outcome = |info: &Option<String>| match info {
            Some(info) => PollOutcome::Answered(NodeReply::new(
                NodeSnapshot::from_info(info).expect("INFO"),
                SECOND / 1000,
                at,
            )),
            None => PollOutcome::Missed(Reason::Timeout),
        };
        let outcomes = self.nodes.iter().map(outcome).collect();
        self.result =
            Some(self.tracker.observe(&Round { checks, ..Round::new(at, self.now, outcomes) }));
    }

    /// Runs rounds without a check.
    fn pass(&mut self, seconds: u32) {
        for _ in 0..seconds {
            self.round(Vec::new());
        }
    }

    /// Runs ten rounds, with a check of an endpoint before the last one.
    fn check(
        &mut self,
        endpoint: EndpointKind,
        outcome: Result<EndpointServer, Reason>,
    ) -> EndpointView {
        self.pass(9);
        let started = self.now + SECOND / 4;
        self.round(vec![EndpointCheckResult {
            endpoint,
            started,
            ended: started + SECOND / 2,
            interval: SECOND * 10,
            outcome,
        }]);
        self.view(endpoint)
    }

    /// Runs a check of the endpoint for writes that reaches a process.
    fn leads_to(&mut self, run_id: &str) -> EndpointView {
        self.check(EndpointKind::Primary, server(run_id))
    }

    /// Runs a check of the endpoint for reads that reaches a process.
    fn reads_from(&mut self, run_id: &str) -> EndpointView {
        self.check(EndpointKind::Reader, server(run_id))
    }

    fn view(&self, endpoint: EndpointKind) -> EndpointView {
        let view = &self.result.as_ref().expect("a round").view;
        view.endpoints
            .iter()
            .find(|view| view.configured.kind == endpoint)
            .expect("configured")
            .clone()
    }

    fn findings(&self) -> Vec<Finding> {
        let view = &self.result.as_ref().expect("a round").view;
        view.findings
            .iter()
            .filter(|finding| finding.kind == FindingKind::RedisPrimaryEndpointWrong)
            .cloned()
            .collect()
    }

    fn severities(&self) -> Vec<Severity> {
        self.findings().iter().map(|finding| finding.severity).collect()
    }

    /// Makes `b` the primary and `a` its replica.
    fn fail_over(&mut self) {
        self.nodes =
            [Some(replica("a1").replace("master_host:a", "master_host:b")), Some(master("b1"))];
        self.pass(1);
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what a check takes")]
fn server(run_id: &str) -> Result<EndpointServer, Reason> {
    Ok(EndpointServer { run_id: Some(run_id.into()), role: Some(Role::Master), replid: None })
}

fn leads_to(view: &EndpointView) -> Option<&str> {
    view.leads_to.as_ref().map(topology::EndpointTarget::label)
}

fn evidence(finding: &Finding) -> Vec<(&'static str, String)> {
    let shown = |value: &Value| match value {
        Value::Number(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::List(items) => items.join(","),
    };
    finding.evidence.values().iter().map(|(name, value)| (*name, shown(value))).collect()
}

#[test]
fn before_the_first_check_nothing_is_known() {
    let test = TestDeployment::new();
    for kind in [EndpointKind::Primary, EndpointKind::Reader] {
        let view = test.view(kind);
        assert_eq!((view.up, view.role, view.correct, leads_to(&view)), (None, None, None, None));
    }
    assert_eq!(test.findings(), []);
}

#[test]
fn an_endpoint_that_leads_to_the_primary_is_correct() {
    let mut test = TestDeployment::new();
    let view = test.leads_to("a1");
    assert_eq!(
        (view.up, view.role, view.correct, leads_to(&view)),
        (Some(true), Some(Role::Master), Some(true), Some("a"))
    );
    test.pass(30);
    assert_eq!(
        (test.view(EndpointKind::Primary), test.findings()),
        (view, vec![]),
        "the verdict stays until the next check"
    );
}

#[test]
fn two_wrong_checks_in_a_row_are_a_finding() {
    let mut test = TestDeployment::new();
    let view = test.leads_to("b1");
    assert_eq!((view.correct, leads_to(&view)), (Some(false), Some("b")));
    assert_eq!(test.findings(), []);
    test.leads_to("b1");
    let findings = test.findings();
    let expected = [
        ("endpoint", "primary"),
        ("leads_to", "b"),
        ("role", "master"),
        ("primary", "a"),
        ("checks", "2"),
    ];
    assert_eq!(
        (evidence(&findings[0]), test.severities()),
        (expected.map(|(name, value)| (name, value.to_owned())).into(), vec![Severity::Critical])
    );
    test.leads_to("b1");
    assert_eq!(
        (test.findings()[0].since, test.view(EndpointKind::Primary).wrong_checks),
        (findings[0].since, 3)
    );
    test.pass(5);
    assert_eq!(test.findings()[0].since, findings[0].since, "the finding stays between checks");
    assert_eq!((test.leads_to("a1").correct, test.findings()), (Some(true), vec![]));
    test.leads_to("b1");
    assert_eq!(test.findings(), [], "one wrong check is no finding");
}

#[test]
fn an_unknown_server_is_shown_as_stranger() {
    let mut test = TestDeployment::new();
    test.leads_to("elsewhere");
    let view = test.leads_to("elsewhere");
    assert_eq!((view.correct, leads_to(&view)), (Some(false), Some("stranger")));
    assert!(evidence(&test.findings()[0]).contains(&("leads_to", "stranger".to_owned())));
}

#[test]
fn a_failed_check_ends_a_series_of_wrong_checks() {
    let mut test = TestDeployment::new();
    test.leads_to("b1");
    let view = test.check(EndpointKind::Primary, Err(Reason::Refused));
    assert_eq!(
        (view.up, view.reason, view.role, view.correct, leads_to(&view)),
        (Some(false), Some(Reason::Refused), None, None, None)
    );
    test.leads_to("b1");
    assert_eq!(test.findings(), []);
    test.leads_to("b1");
    assert_eq!(test.severities(), [Severity::Critical]);
    test.check(EndpointKind::Primary, Err(Reason::Timeout));
    assert_eq!(test.findings(), [], "the endpoint may be correct again");
}

#[test]
fn a_server_without_run_id_is_unknown() {
    let mut test = TestDeployment::new();
    for _ in 0..3 {
        let nameless = EndpointServer { run_id: None, role: Some(Role::Master), replid: None };
        let view = test.check(EndpointKind::Primary, Ok(nameless));
        assert_eq!(
            (view.up, view.role, view.correct, leads_to(&view)),
            (Some(true), Some(Role::Master), None, None)
        );
    }
    assert_eq!(test.findings(), []);
}

#[test]
fn an_endpoint_that_follows_a_failover_is_no_finding() {
    let mut test = TestDeployment::new();
    test.leads_to("a1");
    test.pass(3);
    test.fail_over();
    assert_eq!(test.view(EndpointKind::Primary).correct, None, "the check preceded the failover");
    assert_eq!(test.leads_to("a1").correct, Some(false));
    assert_eq!(test.leads_to("b1").correct, Some(true));
    assert_eq!(test.findings(), []);
}

#[test]
fn an_endpoint_that_does_not_follow_is_critical() {
    for (late, severities) in
        [(3, vec![Severity::Info]), (4, vec![Severity::Info, Severity::Critical])]
    {
        let mut test = TestDeployment::new();
        test.leads_to("a1");
        test.fail_over();
        let mut seen = Vec::new();
        for _ in 0..late {
            test.leads_to("a1");
            seen.extend(test.severities());
        }
        seen.dedup();
        assert_eq!(seen, severities, "{late} checks");
        test.leads_to("b1");
        assert_eq!(test.findings(), []);
    }
}

#[test]
fn a_failover_resets_the_verdict() {
    let mut test = TestDeployment::new();
    test.leads_to("b1");
    test.leads_to("b1");
    assert_eq!(test.severities(), [Severity::Critical]);
    test.fail_over();
    assert_eq!(
        (test.view(EndpointKind::Primary).correct, test.findings()),
        (None, vec![]),
        "the endpoint led to the new primary before"
    );
    assert_eq!(test.leads_to("b1").correct, Some(true));
}

#[test]
fn a_check_that_began_before_a_failover_is_unknown() {
    let mut test = TestDeployment::new();
    test.pass(5);
    test.nodes =
        [Some(replica("a1").replace("master_host:a", "master_host:b")), Some(master("b1"))];
    let started = test.now + SECOND / 4;
    test.round(vec![EndpointCheckResult {
        endpoint: EndpointKind::Primary,
        started,
        ended: started + SECOND / 2,
        interval: SECOND * 10,
        outcome: server("a1"),
    }]);
    test.pass(3);
    let view = test.view(EndpointKind::Primary);
    assert_eq!((view.up, view.correct, leads_to(&view)), (Some(true), None, Some("a")));
}

#[test]
fn a_restart_of_the_primary_makes_no_endpoint_wrong() {
    let mut test = TestDeployment::new();
    test.leads_to("a1");
    // The check reaches the new process before the round does.
    let started = test.now + SECOND / 4;
    test.nodes[0] = None;
    test.round(vec![EndpointCheckResult {
        endpoint: EndpointKind::Primary,
        started,
        ended: started + SECOND / 2,
        interval: SECOND * 10,
        outcome: server("a2"),
    }]);
    let view = test.view(EndpointKind::Primary);
    assert_eq!(
        (view.correct, leads_to(&view)),
        (Some(true), Some("stranger")),
        "the verdict of the previous check"
    );
    test.nodes[0] = Some(master("a2"));
    test.pass(1);
    let view = test.view(EndpointKind::Primary);
    assert_eq!((view.correct, leads_to(&view)), (None, Some("a")));
    assert_eq!(test.leads_to("a2").correct, Some(true));
    assert_eq!(
        (test.leads_to("a1").wrong_checks, test.findings()),
        (1, vec![]),
        "the old process is no node any longer"
    );
}

#[test]
fn a_check_is_pending_while_the_primary_is_silent() {
    let mut test = TestDeployment::new();
    test.leads_to("a1");
    test.pass(9);
    test.nodes[0] = None;
    let started = test.now + SECOND / 4;
    test.round(vec![EndpointCheckResult {
        endpoint: EndpointKind::Primary,
        started,
        ended: started + SECOND / 2,
        interval: SECOND * 10,
        outcome: server("b1"),
    }]);
    assert_eq!(test.view(EndpointKind::Primary).correct, Some(true));
    test.nodes[0] = Some(master("a1"));
    test.pass(1);
    assert_eq!(
        test.view(EndpointKind::Primary).correct,
        Some(false),
        "the same process replied before and after"
    );
}

#[test]
fn a_check_that_ended_during_a_round_is_pending() {
    let mut test = TestDeployment::new();
    test.leads_to("a1");
    test.pass(9);
    let started = test.now + SECOND;
    test.round(vec![EndpointCheckResult {
        endpoint: EndpointKind::Primary,
        started,
        ended: started + SECOND / 100,
        interval: SECOND * 10,
        outcome: server("b1"),
    }]);
    assert_eq!(test.view(EndpointKind::Primary).correct, Some(true));
    test.pass(1);
    assert_eq!(test.view(EndpointKind::Primary).correct, Some(false));
}

#[test]
fn without_a_primary_the_verdict_is_unknown() {
    let mut test = TestDeployment::new();
    test.leads_to("a1");
    test.nodes[0] = None;
    test.nodes[1] = Some(cut(&replica("b1")));
    test.pass(4);
    assert_eq!(test.view(EndpointKind::Primary).correct, None);
    for _ in 0..3 {
        let view = test.leads_to("b1");
        assert_eq!((view.correct, leads_to(&view)), (None, Some("b")));
    }
    assert_eq!(test.findings(), []);
    // The node replies again. Checks during the partition do not count.
    test.nodes = [Some(master("a1")), Some(replica("b1"))];
    test.pass(3);
    assert_eq!(test.view(EndpointKind::Primary).correct, None);
}

#[test]
fn an_external_primary_gives_no_verdict() {
    let mut test =
        TestDeployment::expecting(Expectations { external: true, ..Expectations::default() });
    test.nodes[0] = Some(replica("a1").replace("master_host:a", "master_host:far"));
    for _ in 0..3 {
        assert_eq!(test.leads_to("far").correct, None);
    }
    assert_eq!(test.reads_from("a1").correct, Some(true));
    assert_eq!(test.findings(), []);
}

#[test]
fn any_of_several_expected_masters_is_correct() {
    let mut test =
        TestDeployment::expecting(Expectations { masters: Some(2), ..Expectations::default() });
    test.nodes[1] = Some(master("b1").replace(OURS, OTHER));
    test.pass(1);
    for run_id in ["a1", "b1"] {
        assert_eq!(test.leads_to(run_id).correct, Some(true));
    }
    test.leads_to("elsewhere");
    test.leads_to("elsewhere");
    assert!(evidence(&test.findings()[0]).contains(&("primary", "a,b".to_owned())));
    // A master that does not reply to Rolecall may reply to other clients.
    test.nodes[1] = None;
    test.pass(4);
    assert_eq!((test.leads_to("b1").correct, test.findings()), (None, vec![]));
    assert_eq!(test.leads_to("a1").correct, Some(true));
}

#[test]
fn a_reader_may_lead_to_any_node_that_serves_reads() {
    let mut test = TestDeployment::new();
    for (run_id, node) in [("a1", "a"), ("b1", "b")] {
        let view = test.reads_from(run_id);
        assert_eq!((view.correct, leads_to(&view)), (Some(true), Some(node)));
    }
    test.nodes[1] = Some(replica("b1").replace("loading:0", "loading:1"));
    test.pass(1);
    assert_eq!(test.reads_from("b1").correct, Some(false));
    assert_eq!((test.reads_from("a1").correct, test.findings()), (Some(true), vec![]));
    test.reads_from("b1");
    test.reads_from("b1");
    assert_eq!(test.severities(), [Severity::Warning]);
    assert_eq!(
        evidence(&test.findings()[0])[..2],
        [("endpoint", "reader".to_owned()), ("leads_to", "b".to_owned())]
    );
}

#[test]
fn a_reader_at_a_stranger_is_wrong_if_all_nodes_reply() {
    let mut test = TestDeployment::new();
    test.reads_from("elsewhere");
    test.reads_from("elsewhere");
    assert_eq!(test.severities(), [Severity::Warning]);
    // The server may be the node that does not reply.
    test.nodes[1] = None;
    test.pass(4);
    for _ in 0..2 {
        test.reads_from("b2");
    }
    assert_eq!((test.view(EndpointKind::Reader).correct, test.findings()), (None, vec![]));
    test.nodes[1] = Some(replica("b2"));
    assert_eq!(test.reads_from("b2").correct, Some(true));
}

#[test]
fn each_endpoint_has_its_own_finding() {
    let mut test = TestDeployment::new();
    test.leads_to("b1");
    test.leads_to("b1");
    test.reads_from("elsewhere");
    test.reads_from("elsewhere");
    let findings = test.findings();
    assert_eq!(test.severities(), [Severity::Critical, Severity::Warning]);
    assert!(findings[0].since < findings[1].since);
}

#[test]
fn several_checks_in_one_round_are_processed_in_order() {
    let mut test = TestDeployment::new();
    test.pass(5);
    let check = |millis: u64, run_id: &str| {
        let started = test.now + Duration::from_millis(millis);
        EndpointCheckResult {
            endpoint: EndpointKind::Primary,
            started,
            ended: started + SECOND / 100,
            interval: SECOND * 10,
            outcome: server(run_id),
        }
    };
    let checks = vec![check(100, "b1"), check(200, "a1"), check(300, "b1"), check(400, "b1")];
    test.round(checks);
    let view = test.view(EndpointKind::Primary);
    assert_eq!((view.checks, view.wrong_checks, view.correct), (4, 2, Some(false)));
}

#[test]
fn a_new_replica_behind_a_reader_is_unknown() {
    let hour = SECOND * 3600;
    let mut test = TestDeployment::of(|deployment| {
        let names = topology::NodeNameTemplate::default();
        let (master, address_map) = ("mymaster".to_owned(), BTreeMap::new());
        deployment.discovery =
            Some(Discovery { master, names, address_map, ghost_after: hour, forget_after: hour });
    });
    let new = |replid: &str| {
        Ok(EndpointServer {
            run_id: Some("new".into()),
            role: Some(Role::Replica),
            replid: Some(replid.into()),
        })
    };
    for _ in 0..2 {
        assert_eq!(test.check(EndpointKind::Reader, new(OURS)).correct, None);
    }
    assert_eq!(
        test.check(EndpointKind::Reader, new(OTHER)).correct,
        Some(false),
        "a server with another history"
    );
}
