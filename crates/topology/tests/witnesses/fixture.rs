//! Deployments whose nodes observe each other. Replies are those of real servers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::recorded::RecordedTracker;
use snapshot::{MasterReport, NodeSnapshot, Reason, SentinelEntry, SentinelReport};
use topology::{
    Availability, Deployment, DeploymentKind, DeploymentView, Discovery, EndpointCheckResult,
    EventKind, FailedContact, FindingKind, Monotonic, NodeIndex, NodeNameTemplate, NodeReply,
    NodeView, PollOutcome, Round,
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Returns a recorded reply of Redis 7.0.15.
pub(crate) fn capture(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../snapshot/captures/redis-7.0.15")
        .join(format!("{name}.txt"));
    std::fs::read_to_string(&path).expect(name)
}

pub(crate) fn info(text: &str) -> NodeSnapshot {
    NodeSnapshot::from_info(text).expect("an INFO reply")
}

/// Returns the recorded replies of a primary, at port 17200, and its two replicas.
pub(crate) fn replication() -> [String; 3] {
    ["master", "replica1", "replica2"]
        .map(|node| capture(&format!("03-replication-healthy.{node}.info-everything")))
}

/// Returns the first entry of SENTINEL MASTERS in a transcript.
pub(crate) fn sentinel_master(name: &str) -> SentinelEntry {
    let transcript = capture(name);
    let reply = transcript.split(">>> SENTINEL MASTERS").nth(1).expect("the command");
    let words: Vec<_> = reply.split('\n').map(|line| line.trim_end_matches('\r')).collect();
    let begin = words.iter().position(|word| word.starts_with('*')).expect("a list") + 2;
    let bulks: Vec<_> = words[begin..]
        .chunks_exact(2)
        .take_while(|bulk| bulk[0].starts_with('$'))
        .map(|bulk| bulk[1])
        .collect();
    SentinelEntry::from_pairs(bulks.chunks_exact(2).map(|pair| (pair[0], pair[1])))
        .expect("an entry")
}

/// A deployment that is polled once a second. Replies take no time.
pub(crate) struct TestDeployment {
    pub(crate) tracker: RecordedTracker,
    pub(crate) now: Monotonic,
    /// Replies; a node without one is silent for this reason.
    pub(crate) nodes: Vec<Result<NodeSnapshot, Reason>>,
    /// Start of the failed contact and refused attempts of each node that does not reply.
    contacts: BTreeMap<usize, FailedContact>,
    pub(crate) checks: Vec<EndpointCheckResult>,
    pub(crate) events: Vec<EventKind>,
}

impl TestDeployment {
    pub(crate) fn new(kind: DeploymentKind, with: impl FnOnce(&mut Deployment)) -> Self {
        let mut deployment = Deployment::new("orders", kind, &[], SECOND, SECOND * 3);
        with(&mut deployment);
        if kind != DeploymentKind::Static {
            deployment.discovery = Some(Discovery {
                master: "mymaster".to_owned(),
                names: NodeNameTemplate::default(),
                address_map: BTreeMap::new(),
                ghost_after: SECOND * 600,
                forget_after: SECOND * 600,
            });
        }
        TestDeployment {
            tracker: RecordedTracker::new(Arc::new(deployment), None),
            now: Monotonic::from_start(SECOND * 100),
            nodes: Vec::new(),
            contacts: BTreeMap::new(),
            checks: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Creates a primary and two replicas with recorded replies, polled once.
    pub(crate) fn replication() -> Self {
        let mut test = TestDeployment::new(DeploymentKind::Static, |deployment| {
            for port in 17200..17203 {
                deployment.add(format!("n{port}"), format!("127.0.0.1:{port}"), None);
            }
        });
        test.nodes = replication().iter().map(|text| Ok(info(text))).collect();
        test.round();
        test
    }

    /// Lets a node fail from now on.
    pub(crate) fn fail(&mut self, node: usize, reason: Reason) {
        self.nodes[node] = Err(reason);
        let refused = if reason == Reason::Refused { 2 } else { 0 };
        self.contacts.insert(node, FailedContact { since: self.now, refused });
    }

    /// Changes the recorded reply of a node.
    pub(crate) fn reply(&mut self, node: usize, text: &str) {
        self.nodes[node] = Ok(info(text));
        self.contacts.remove(&node);
    }

    /// Sets the only entry that a Sentinel at an index reports.
    pub(crate) fn report(&mut self, sentinel: usize, master: SentinelEntry) {
        let master = SentinelEntry { name: "mymaster".into(), ..master };
        let report = MasterReport {
            master,
            replicas: None,
            sentinels: None,
            quorum: None,
            lists_age: Duration::ZERO,
        };
        let snapshot = info(&format!("run_id:s{sentinel}\nredis_mode:sentinel\n"));
        let sentinel_report = Some(Arc::new(SentinelReport::new(vec![report])));
        self.nodes[sentinel] = Ok(NodeSnapshot { sentinel: sentinel_report, ..snapshot });
    }

    pub(crate) fn round(&mut self) -> Arc<DeploymentView> {
        self.round_with(|_| {})
    }

    pub(crate) fn round_with(&mut self, with: impl FnOnce(&mut Round)) -> Arc<DeploymentView> {
        self.now += SECOND;
        let at = SystemTime::UNIX_EPOCH + self.now.since_start();
        let count = self.tracker.view().nodes.len();
        let outcome = |index: usize| match self.nodes.get(index) {
            Some(Ok(snapshot)) => PollOutcome::Answered(NodeReply {
                requested: Some(self.now),
                ..NodeReply::new(snapshot.clone(), Duration::ZERO, at)
            }),
            Some(Err(reason)) => PollOutcome::Failed(*reason),
            None => PollOutcome::Pending,
        };
        let contacts: Vec<_> = (0..count).map(|index| self.contacts.get(&index).copied()).collect();
        let mut round = Round::new(at, self.now, (0..count).map(outcome).collect());
        (round.contacts, round.checks) = (contacts.into(), std::mem::take(&mut self.checks));
        with(&mut round);
        let result = self.tracker.observe(&round);
        self.events.extend(result.events.into_iter().map(|event| event.kind));
        result.view
    }

    /// Runs rounds until a node is decided. Returns its state and the number of rounds.
    pub(crate) fn decide(&mut self, node: usize) -> (Availability, usize) {
        for round in 1..30 {
            let view = self.round();
            let node = &view.nodes[NodeIndex::new(node)];
            if node.up() == Some(false) {
                return (node.availability(), round);
            }
        }
        panic!("the node is not decided");
    }

    pub(crate) fn lost_contacts(&self) -> Vec<Availability> {
        let state = |event: &EventKind| match event {
            EventKind::NodeUnreachable { state, .. } => Some(*state),
            _ => None,
        };
        self.events.iter().filter_map(state).collect()
    }
}

pub(crate) fn node(view: &DeploymentView, index: usize) -> &NodeView {
    &view.nodes[NodeIndex::new(index)]
}

pub(crate) fn found(view: &DeploymentView) -> Vec<FindingKind> {
    view.findings.iter().map(|finding| finding.kind).collect()
}
