//! A deployment of three Sentinels and the servers that they list.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::recorded::RecordedTracker;
use snapshot::{
    DownState, MasterReport, MasterSettings, NodeSnapshot, Quorum, Reason, SentinelEntry,
    SentinelReport,
};
use topology::{
    Deployment, DeploymentKind, DeploymentView, Discovery, EventKind, FindingKind, HostNames,
    NodeIndex, NodeNameTemplate, NodeReply, PrimaryEvidence,
};
use topology::{NodeKind, NodeView, PollOutcome, ReadRequest, Round, Severity, Value};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const A: &str = "10.0.0.1:6379";
pub(crate) const B: &str = "10.0.0.2:6379";
pub(crate) const C: &str = "10.0.0.3:6379";
pub(crate) const D: &str = "10.0.0.4:6379";
pub(crate) const SENTINELS: [&str; 3] = [
    "run_id:s1\nredis_mode:sentinel\n",
    "run_id:s2\nredis_mode:sentinel\n",
    "run_id:s3\nredis_mode:sentinel\n",
];
const TILTED: &str = "run_id:s3\nredis_mode:sentinel\nsentinel_tilt:1\n";
pub(crate) const PLAIN: &str = "{host}:{port}";

/// A deployment of three Sentinels, their reports, and INFO replies of the servers by address.
/// Other addresses refuse connections.
pub(crate) struct TestDeployment {
    pub(crate) tracker: RecordedTracker,
    pub(crate) sentinels: [Option<MasterReport>; 3],
    pub(crate) servers: BTreeMap<&'static str, String>,
    /// Addresses that do not answer at all.
    pub(crate) silent: Vec<&'static str>,
    /// The third Sentinel is in TILT mode.
    pub(crate) tilt: bool,
    pub(crate) names: HostNames,
    /// Number of nodes that may join in a round.
    pub(crate) nodes_left: Option<usize>,
    pub(crate) requests: Vec<ReadRequest>,
    pub(crate) events: Vec<(&'static str, String)>,
}

impl TestDeployment {
    pub(crate) fn new(template: &str, with: impl FnOnce(&mut Deployment)) -> Self {
        let mut deployment =
            Deployment::new("sessions", DeploymentKind::Sentinel, &[], SECOND, SECOND * 3);
        for sentinel in 1..=3 {
            deployment.add_sentinel(
                format!("s{sentinel}"),
                format!("10.0.1.{sentinel}:26379"),
                true,
            );
        }
        let (master, names, address_map) = (
            "mymaster".to_owned(),
            NodeNameTemplate::new(template).expect(template),
            BTreeMap::new(),
        );
        deployment.discovery = Some(Discovery {
            master,
            names,
            address_map,
            ghost_after: SECOND * 600,
            forget_after: SECOND * 10,
        });
        with(&mut deployment);
        let servers =
            [(A, master_of("x", 'a')), (B, replica("y", 'a', A)), (C, replica("z", 'a', A))].into();
        let host_name =
            |(ip, name): (&str, &str)| (format!("10.0.0.{ip}"), Some(format!("{name}.svc")));
        let names = [("1", "redis-0"), ("2", "redis-1"), ("3", "redis-2"), ("4", "redis-2")]
            .map(host_name)
            .into();
        let (tracker, sentinels) =
            (RecordedTracker::new(Arc::new(deployment), None), [const { None }; 3]);
        TestDeployment {
            tracker,
            sentinels,
            servers,
            silent: Vec::new(),
            tilt: false,
            names,
            nodes_left: None,
            requests: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Creates the primary A and its replicas B and C, which all Sentinels list.
    pub(crate) fn healthy(template: &str) -> Self {
        let mut test = TestDeployment::new(template, |_| {});
        test.set_reports(&master_report(A, 1));
        test.rounds(3);
        test
    }

    pub(crate) fn set_reports(&mut self, report: &MasterReport) {
        self.sentinels = [(); 3].map(|()| Some(report.clone()));
    }

    pub(crate) fn rounds(&mut self, count: usize) -> Arc<DeploymentView> {
        for _ in 0..count {
            let before = self.tracker.view();
            let now = before.now + SECOND;
            let outcomes = before.nodes.iter().map(|(index, node)| match node.node.kind {
                NodeKind::Sentinel { .. } => outcome(
                    self.sentinels[index.get()]
                        .as_ref()
                        .map(|report| (self.sentinel(index.get()), Some(report))),
                ),
                NodeKind::Data if self.silent.contains(&&*node.node.address) => {
                    PollOutcome::Failed(Reason::Timeout)
                }
                NodeKind::Data => {
                    outcome(self.servers.get(&*node.node.address).map(|info| (info.as_str(), None)))
                }
                NodeKind::Vacant => PollOutcome::Pending,
            });
            let host_names = Arc::new(self.names.clone());
            let round = Round {
                host_names,
                nodes_left: self.nodes_left,
                ..Round::new(SystemTime::UNIX_EPOCH + now.since_start(), now, outcomes.collect())
            };
            let result = self.tracker.observe(&round);
            self.requests = result.requests;
            self.events.extend(result.events.into_iter().map(|event| match &event.kind {
                EventKind::PrimaryChanged { from, to, cause } => {
                    (event.kind.label(), format!("{from} to {to}, {}", cause.label()))
                }
                kind => (kind.label(), event.node.unwrap_or_default()),
            }));
        }
        self.tracker.view()
    }

    /// Returns the INFO reply of a Sentinel.
    fn sentinel(&self, position: usize) -> &'static str {
        if self.tilt && position == 2 { TILTED } else { SENTINELS[position] }
    }

    pub(crate) fn events_of(&self, kind: &str) -> Vec<&str> {
        self.events
            .iter()
            .filter(|(other, _)| *other == kind)
            .map(|(_, node)| node.as_str())
            .collect()
    }
}

pub(crate) fn outcome(report: Option<(&str, Option<&MasterReport>)>) -> PollOutcome {
    let Some((info, report)) = report else { return PollOutcome::Failed(Reason::Refused) };
    let sentinel = report.map(|report| Arc::new(SentinelReport::new(vec![report.clone()])));
    let snapshot =
        NodeSnapshot { sentinel, ..NodeSnapshot::from_info(info).expect("an INFO reply") };
    PollOutcome::Answered(NodeReply::new(snapshot, Duration::ZERO, SystemTime::UNIX_EPOCH))
}

/// Returns a replication ID. Panics if the digit is not hexadecimal: servers report no such ID, and
/// a test with it proves nothing.
fn replication_id(digit: char) -> String {
    assert!(digit.is_ascii_hexdigit(), "{digit} is not hexadecimal");
    digit.to_string().repeat(40)
}

/// Returns the INFO reply of a master with an uptime of 1000 s.
pub(crate) fn master_of(run_id: &str, history: char) -> String {
    format!(
        "run_id:{run_id}\nuptime_in_seconds:1000\nrole:master\nmaster_replid:{}\n",
        replication_id(history)
    )
}

pub(crate) fn promoted(run_id: &str, from: char, to: char) -> String {
    format!(
        "{}master_replid2:{}\nsecond_repl_offset:1\n",
        master_of(run_id, to),
        replication_id(from)
    )
}

pub(crate) fn replica(run_id: &str, history: char, follows: &str) -> String {
    let (host, port) = follows.split_once(':').expect("host:port");
    let role = format!(
        "slave\nmaster_host:{host}\nmaster_port:{port}\nmaster_link_status:up\nslave_read_only:1\n"
    );
    master_of(run_id, history).replace("master\n", &role)
}

/// Returns the reply of a replica without its link.
pub(crate) fn cut(replica: &str) -> String {
    replica.replace("status:up", "status:down\nmaster_link_down_since_seconds:1")
}

pub(crate) fn up(address: &str) -> SentinelEntry {
    let (ip, port) = address.split_once(':').expect("host:port");
    SentinelEntry {
        name: address.into(),
        ip: ip.into(),
        port: port.parse().expect("a port"),
        ..SentinelEntry::default()
    }
}

pub(crate) fn down(address: &str, seconds: u32) -> SentinelEntry {
    SentinelEntry {
        down_state: DownState::SubjectivelyDown,
        down_for: Some(SECOND * seconds),
        ..up(address)
    }
}

pub(crate) fn report(master: &str, epoch: u64, replicas: &[SentinelEntry]) -> MasterReport {
    let settings =
        MasterSettings { epoch, quorum: 2, other_sentinels: 2, ..MasterSettings::default() };
    let master = SentinelEntry { name: "mymaster".into(), settings: Some(settings), ..up(master) };
    let quorum = Some(Quorum { ok: true, usable: Some(3) });
    MasterReport {
        master,
        replicas: Some(replicas.into()),
        sentinels: Some(Arc::new([])),
        quorum,
        lists_age: Duration::ZERO,
    }
}

/// Returns a report with one of A, B and C as the master of the others.
pub(crate) fn master_report(master: &str, epoch: u64) -> MasterReport {
    report(
        master,
        epoch,
        &[A, B, C].into_iter().filter(|node| *node != master).map(up).collect::<Vec<_>>(),
    )
}

pub(crate) fn changed(
    mut report: MasterReport,
    change: impl FnOnce(&mut MasterReport),
) -> MasterReport {
    change(&mut report);
    report
}

pub(crate) fn at(position: usize) -> NodeIndex {
    NodeIndex::new(position)
}

pub(crate) fn data(view: &DeploymentView) -> Vec<&str> {
    view.members()
        .filter(|(_, node)| node.holds_data())
        .map(|(_, node)| node.node.name.as_str())
        .collect()
}

pub(crate) fn node<'a>(view: &'a DeploymentView, name: &str) -> (NodeIndex, &'a NodeView) {
    view.members().find(|(_, node)| node.node.name == name).expect(name)
}

pub(crate) fn primary(view: &DeploymentView) -> Option<(&str, PrimaryEvidence)> {
    view.shards[0].primary.map(|primary| (view.name(primary.node), primary.evidence))
}

pub(crate) fn kinds(view: &DeploymentView) -> Vec<(FindingKind, Severity)> {
    view.findings.iter().map(|finding| (finding.kind, finding.severity)).collect()
}

pub(crate) fn severity_of(view: &DeploymentView, kind: FindingKind) -> Option<Severity> {
    view.findings.iter().find(|finding| finding.kind == kind).map(|finding| finding.severity)
}

pub(crate) fn evidence<const N: usize>(
    view: &DeploymentView,
    kind: FindingKind,
    names: [&str; N],
) -> [String; N] {
    let finding = view.findings.iter().find(|finding| finding.kind == kind).expect("a finding");
    let values = finding.evidence.values();
    names.map(|name| match values.iter().find(|(other, _)| *other == name).expect(name) {
        (_, Value::Number(number)) => number.to_string(),
        (_, Value::Text(text)) => text.clone(),
        (_, Value::List(list)) => list.join(", "),
    })
}
