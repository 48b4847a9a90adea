//! Where endpoints lead, on built rounds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use snapshot::{NodeSnapshot, Reason, Role};
use topology::{
    Deployment, DeploymentKind, DeploymentTracker, Discovery, EndpointCheckResult, EndpointKind,
    EndpointServer, EndpointView, Expectations, Finding, FindingKind, NodeReply, PollOutcome,
    Round, RoundResult, ServiceEndpoint, Severity, Value,
};

const SECOND: Duration = Duration::from_secs(1);

/// The history of the data, and another one.
const OURS: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const OTHER: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// A deployment of two nodes with both endpoints, asked once a second. Rounds take no time; a check takes half a second and ends a quarter
/// before the next round begins.
struct Scene {
    fold: DeploymentTracker,
    elapsed: Duration,
    step: Option<RoundResult>,
    /// The nodes, as they answer.
    nodes: [Option<String>; 2],
}

fn master(run_id: &str) -> String {
    format!(
        "run_id:{run_id}\nuptime_in_seconds:0\nrole:master\nmaster_replid:{OURS}\nmaster_repl_offset:1\nloading:0\n"
    )
}

fn replica(run_id: &str) -> String {
    format!(
        "run_id:{run_id}\nuptime_in_seconds:0\nrole:slave\nmaster_host:a\nmaster_port:1\nmaster_link_status:up\nmaster_replid:{OURS}\nmaster_repl_offset:1\nloading:0\n"
    )
}

impl Scene {
    /// `a` is the primary and `b` its replica.
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
        let mut scene = Scene {
            fold: DeploymentTracker::new(Arc::new(deployment)),
            elapsed: Duration::ZERO,
            step: None,
            nodes,
        };
        scene.round(Vec::new());
        scene
    }

    fn round(&mut self, checks: Vec<EndpointCheckResult>) {
        self.elapsed += SECOND;
        let at = SystemTime::UNIX_EPOCH + self.elapsed;
        let outcome = |info: &Option<String>| match info {
            Some(info) => PollOutcome::Answered(NodeReply::new(
                NodeSnapshot::from_info(info).expect("INFO"),
                SECOND / 1000,
                at,
            )),
            None => PollOutcome::Missed(Reason::Timeout),
        };
        let outcomes = self.nodes.iter().map(outcome).collect();
        self.step =
            Some(self.fold.observe(&Round { checks, ..Round::new(at, self.elapsed, outcomes) }));
    }

    /// Rounds without a check.
    fn pass(&mut self, seconds: u32) {
        for _ in 0..seconds {
            self.round(Vec::new());
        }
    }

    /// The last of ten rounds, with a check of this endpoint before it.
    fn check(
        &mut self,
        endpoint: EndpointKind,
        outcome: Result<EndpointServer, Reason>,
    ) -> EndpointView {
        self.pass(9);
        let begun = self.elapsed + SECOND / 4;
        self.round(vec![EndpointCheckResult {
            endpoint,
            begun,
            ended: begun + SECOND / 2,
            outcome,
        }]);
        self.view(endpoint)
    }

    /// A check of the endpoint for writes, that finds this process.
    fn leads_to(&mut self, run_id: &str) -> EndpointView {
        self.check(EndpointKind::Primary, answers(run_id))
    }

    /// A check of the endpoint for reads, that finds this process.
    fn reads_from(&mut self, run_id: &str) -> EndpointView {
        self.check(EndpointKind::Reader, answers(run_id))
    }

    fn view(&self, endpoint: EndpointKind) -> EndpointView {
        let view = &self.step.as_ref().expect("a round").view;
        view.endpoints
            .iter()
            .find(|view| view.configured.kind == endpoint)
            .expect("configured")
            .clone()
    }

    fn found(&self) -> Vec<Finding> {
        let view = &self.step.as_ref().expect("a round").view;
        view.findings
            .iter()
            .filter(|finding| finding.kind == FindingKind::RedisPrimaryEndpointWrong)
            .cloned()
            .collect()
    }

    fn severities(&self) -> Vec<Severity> {
        self.found().iter().map(|finding| finding.severity).collect()
    }

    /// `b` takes over, and `a` follows it.
    fn fail_over(&mut self) {
        self.nodes =
            [Some(replica("a1").replace("master_host:a", "master_host:b")), Some(master("b1"))];
        self.pass(1);
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what a check takes")]
fn answers(run_id: &str) -> Result<EndpointServer, Reason> {
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
    let scene = Scene::new();
    for kind in [EndpointKind::Primary, EndpointKind::Reader] {
        let view = scene.view(kind);
        assert_eq!((view.up, view.role, view.correct, leads_to(&view)), (None, None, None, None));
    }
    assert_eq!(scene.found(), []);
}

#[test]
fn an_endpoint_that_leads_to_the_primary_is_right() {
    let mut scene = Scene::new();
    let view = scene.leads_to("a1");
    assert_eq!(
        (view.up, view.role, view.correct, leads_to(&view)),
        (Some(true), Some(Role::Master), Some(true), Some("a"))
    );
    scene.pass(30);
    assert_eq!(
        (scene.view(EndpointKind::Primary), scene.found()),
        (view, vec![]),
        "it stays so until the next check"
    );
}

#[test]
fn wrong_once_is_a_value_and_wrong_twice_is_a_finding() {
    let mut scene = Scene::new();
    let view = scene.leads_to("b1");
    assert_eq!((view.correct, leads_to(&view)), (Some(false), Some("b")));
    assert_eq!(scene.found(), []);
    scene.leads_to("b1");
    let found = scene.found();
    let expected = [
        ("endpoint", "primary"),
        ("leads_to", "b"),
        ("role", "master"),
        ("primary", "a"),
        ("checks", "2"),
    ];
    assert_eq!(
        (evidence(&found[0]), scene.severities()),
        (expected.map(|(name, value)| (name, value.to_owned())).into(), vec![Severity::Critical])
    );
    scene.leads_to("b1");
    assert_eq!(
        (scene.found()[0].since, scene.view(EndpointKind::Primary).wrong),
        (found[0].since, 3)
    );
    scene.pass(5);
    assert_eq!(scene.found()[0].since, found[0].since, "it stays between checks");
    assert_eq!((scene.leads_to("a1").correct, scene.found()), (Some(true), vec![]));
    scene.leads_to("b1");
    assert_eq!(scene.found(), [], "it begins anew");
}

#[test]
fn a_stranger_is_told_as_one() {
    let mut scene = Scene::new();
    scene.leads_to("elsewhere");
    let view = scene.leads_to("elsewhere");
    assert_eq!((view.correct, leads_to(&view)), (Some(false), Some("stranger")));
    assert!(evidence(&scene.found()[0]).contains(&("leads_to", "stranger".to_owned())));
}

#[test]
fn a_check_that_failed_is_unknown_and_breaks_the_row() {
    let mut scene = Scene::new();
    scene.leads_to("b1");
    let view = scene.check(EndpointKind::Primary, Err(Reason::Refused));
    assert_eq!(
        (view.up, view.reason, view.role, view.correct, leads_to(&view)),
        (Some(false), Some(Reason::Refused), None, None, None)
    );
    scene.leads_to("b1");
    assert_eq!(scene.found(), []);
    scene.leads_to("b1");
    assert_eq!(scene.severities(), [Severity::Critical]);
    scene.check(EndpointKind::Primary, Err(Reason::Timeout));
    assert_eq!(scene.found(), [], "it may have been mended");
}

#[test]
fn a_server_that_does_not_say_who_it_is_is_unknown() {
    let mut scene = Scene::new();
    for _ in 0..3 {
        let nameless = EndpointServer { run_id: None, role: Some(Role::Master), replid: None };
        let view = scene.check(EndpointKind::Primary, Ok(nameless));
        assert_eq!(
            (view.up, view.role, view.correct, leads_to(&view)),
            (Some(true), Some(Role::Master), None, None)
        );
    }
    assert_eq!(scene.found(), []);
}

#[test]
fn a_failover_that_the_endpoint_follows_is_never_wrong_twice() {
    let mut scene = Scene::new();
    scene.leads_to("a1");
    scene.pass(3);
    scene.fail_over();
    assert_eq!(scene.view(EndpointKind::Primary).correct, None, "the check was of another time");
    assert_eq!(scene.leads_to("a1").correct, Some(false));
    assert_eq!(scene.leads_to("b1").correct, Some(true));
    assert_eq!(scene.found(), []);
}

#[test]
fn an_endpoint_that_follows_within_half_a_minute_pages_nobody_and_one_that_does_not_does() {
    for (late, severities) in
        [(3, vec![Severity::Info]), (4, vec![Severity::Info, Severity::Critical])]
    {
        let mut scene = Scene::new();
        scene.leads_to("a1");
        scene.fail_over();
        let mut seen = Vec::new();
        for _ in 0..late {
            scene.leads_to("a1");
            seen.extend(scene.severities());
        }
        seen.dedup();
        assert_eq!(seen, severities, "{late} checks");
        scene.leads_to("b1");
        assert_eq!(scene.found(), []);
    }
}

#[test]
fn what_was_wrong_before_the_failover_says_nothing_after_it() {
    let mut scene = Scene::new();
    scene.leads_to("b1");
    scene.leads_to("b1");
    assert_eq!(scene.severities(), [Severity::Critical]);
    scene.fail_over();
    assert_eq!(
        (scene.view(EndpointKind::Primary).correct, scene.found()),
        (None, vec![]),
        "it led to the new primary all along"
    );
    assert_eq!(scene.leads_to("b1").correct, Some(true));
}

#[test]
fn a_check_that_began_before_the_primary_was_primary_is_unknown() {
    let mut scene = Scene::new();
    scene.pass(5);
    scene.nodes =
        [Some(replica("a1").replace("master_host:a", "master_host:b")), Some(master("b1"))];
    let begun = scene.elapsed + SECOND / 4;
    scene.round(vec![EndpointCheckResult {
        endpoint: EndpointKind::Primary,
        begun,
        ended: begun + SECOND / 2,
        outcome: answers("a1"),
    }]);
    scene.pass(3);
    let view = scene.view(EndpointKind::Primary);
    assert_eq!((view.up, view.correct, leads_to(&view)), (Some(true), None, Some("a")));
}

#[test]
fn a_restart_of_the_primary_is_no_wrong_endpoint() {
    let mut scene = Scene::new();
    scene.leads_to("a1");
    // The endpoint is at the new process before the round is.
    let begun = scene.elapsed + SECOND / 4;
    scene.nodes[0] = None;
    scene.round(vec![EndpointCheckResult {
        endpoint: EndpointKind::Primary,
        begun,
        ended: begun + SECOND / 2,
        outcome: answers("a2"),
    }]);
    let view = scene.view(EndpointKind::Primary);
    assert_eq!(
        (view.correct, leads_to(&view)),
        (Some(true), Some("stranger")),
        "what the last judged check found"
    );
    scene.nodes[0] = Some(master("a2"));
    scene.pass(1);
    let view = scene.view(EndpointKind::Primary);
    assert_eq!((view.correct, leads_to(&view)), (None, Some("a")));
    assert_eq!(scene.leads_to("a2").correct, Some(true));
    assert_eq!(
        (scene.leads_to("a1").wrong, scene.found()),
        (1, vec![]),
        "the old process is a stranger now"
    );
}

#[test]
fn while_the_primary_does_not_answer_a_check_waits_for_it() {
    let mut scene = Scene::new();
    scene.leads_to("a1");
    scene.pass(9);
    scene.nodes[0] = None;
    let begun = scene.elapsed + SECOND / 4;
    scene.round(vec![EndpointCheckResult {
        endpoint: EndpointKind::Primary,
        begun,
        ended: begun + SECOND / 2,
        outcome: answers("b1"),
    }]);
    assert_eq!(scene.view(EndpointKind::Primary).correct, Some(true));
    scene.nodes[0] = Some(master("a1"));
    scene.pass(1);
    assert_eq!(
        scene.view(EndpointKind::Primary).correct,
        Some(false),
        "it was the same process before and after"
    );
}

#[test]
fn a_check_that_ended_during_the_round_waits_for_the_next() {
    let mut scene = Scene::new();
    scene.leads_to("a1");
    scene.pass(9);
    let begun = scene.elapsed + SECOND;
    scene.round(vec![EndpointCheckResult {
        endpoint: EndpointKind::Primary,
        begun,
        ended: begun + SECOND / 100,
        outcome: answers("b1"),
    }]);
    assert_eq!(scene.view(EndpointKind::Primary).correct, Some(true));
    scene.pass(1);
    assert_eq!(scene.view(EndpointKind::Primary).correct, Some(false));
}

#[test]
fn without_a_primary_nothing_is_right_or_wrong() {
    let mut scene = Scene::new();
    scene.leads_to("a1");
    scene.nodes[0] = None;
    scene.pass(4);
    assert_eq!(scene.view(EndpointKind::Primary).correct, None);
    for _ in 0..3 {
        let view = scene.leads_to("b1");
        assert_eq!((view.correct, leads_to(&view)), (None, Some("b")));
    }
    assert_eq!(scene.found(), []);
    // It was cut off from us only, and answers again: what was checked meanwhile says nothing.
    scene.nodes[0] = Some(master("a1"));
    scene.pass(3);
    assert_eq!(scene.view(EndpointKind::Primary).correct, None);
}

#[test]
fn where_the_primary_is_elsewhere_nothing_is_said_of_its_endpoint() {
    let mut scene = Scene::expecting(Expectations { external: true, ..Expectations::default() });
    scene.nodes[0] = Some(replica("a1").replace("master_host:a", "master_host:far"));
    for _ in 0..3 {
        assert_eq!(scene.leads_to("far").correct, None);
    }
    assert_eq!(scene.reads_from("a1").correct, Some(true));
    assert_eq!(scene.found(), []);
}

#[test]
fn where_several_masters_are_meant_any_of_them_is_right() {
    let mut scene = Scene::expecting(Expectations { masters: Some(2), ..Expectations::default() });
    scene.nodes[1] = Some(master("b1").replace(OURS, OTHER));
    scene.pass(1);
    for run_id in ["a1", "b1"] {
        assert_eq!(scene.leads_to(run_id).correct, Some(true));
    }
    scene.leads_to("elsewhere");
    scene.leads_to("elsewhere");
    assert!(evidence(&scene.found()[0]).contains(&("primary", "a,b".to_owned())));
    // One of them does not answer us, but may answer others.
    scene.nodes[1] = None;
    scene.pass(4);
    assert_eq!((scene.leads_to("b1").correct, scene.found()), (None, vec![]));
    assert_eq!(scene.leads_to("a1").correct, Some(true));
}

#[test]
fn a_reader_may_lead_to_any_node_that_serves_reads() {
    let mut scene = Scene::new();
    for (run_id, node) in [("a1", "a"), ("b1", "b")] {
        let view = scene.reads_from(run_id);
        assert_eq!((view.correct, leads_to(&view)), (Some(true), Some(node)));
    }
    scene.nodes[1] = Some(replica("b1").replace("loading:0", "loading:1"));
    scene.pass(1);
    assert_eq!(scene.reads_from("b1").correct, Some(false));
    assert_eq!((scene.reads_from("a1").correct, scene.found()), (Some(true), vec![]));
    scene.reads_from("b1");
    scene.reads_from("b1");
    assert_eq!(scene.severities(), [Severity::Warning]);
    assert_eq!(
        evidence(&scene.found()[0])[..2],
        [("endpoint", "reader".to_owned()), ("leads_to", "b".to_owned())]
    );
}

#[test]
fn a_reader_at_a_stranger_is_wrong_unless_a_node_may_have_restarted() {
    let mut scene = Scene::new();
    scene.reads_from("elsewhere");
    scene.reads_from("elsewhere");
    assert_eq!(scene.severities(), [Severity::Warning]);
    // It may be the one that does not answer us.
    scene.nodes[1] = None;
    scene.pass(4);
    for _ in 0..2 {
        scene.reads_from("b2");
    }
    assert_eq!((scene.view(EndpointKind::Reader).correct, scene.found()), (None, vec![]));
    scene.nodes[1] = Some(replica("b2"));
    assert_eq!(scene.reads_from("b2").correct, Some(true));
}

#[test]
fn both_endpoints_are_findings_of_their_own() {
    let mut scene = Scene::new();
    scene.leads_to("b1");
    scene.leads_to("b1");
    scene.reads_from("elsewhere");
    scene.reads_from("elsewhere");
    let found = scene.found();
    assert_eq!(scene.severities(), [Severity::Critical, Severity::Warning]);
    assert!(found[0].since < found[1].since);
}

#[test]
fn rounds_that_are_rare_take_up_all_checks_in_order() {
    let mut scene = Scene::new();
    scene.pass(5);
    let check = |millis: u64, run_id: &str| {
        let begun = scene.elapsed + Duration::from_millis(millis);
        EndpointCheckResult {
            endpoint: EndpointKind::Primary,
            begun,
            ended: begun + SECOND / 100,
            outcome: answers(run_id),
        }
    };
    let checks = vec![check(100, "b1"), check(200, "a1"), check(300, "b1"), check(400, "b1")];
    scene.round(checks);
    let view = scene.view(EndpointKind::Primary);
    assert_eq!((view.checks, view.wrong, view.correct), (4, 2, Some(false)));
}

#[test]
fn a_replica_that_sentinels_did_not_tell_of_yet_is_unknown_to_a_reader() {
    let hour = SECOND * 3600;
    let mut scene = Scene::of(|deployment| {
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
        assert_eq!(scene.check(EndpointKind::Reader, new(OURS)).correct, None);
    }
    assert_eq!(scene.check(EndpointKind::Reader, new(OTHER)).correct, Some(false), "other data");
}
