//! A static deployment of a few servers.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::recorded::RecordedTracker;
use snapshot::{NodeSnapshot, Reason};
use topology::{
    Deployment, DeploymentKind, DeploymentView, EventKind, FindingKind, Monotonic, NodeReply,
    PollOutcome, PrimaryEvidence, Round, SavedState, Severity, SharedNode,
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A deployment of nodes at the ports 1, 2 and 3 of one host.
pub(crate) struct TestDeployment {
    pub(crate) tracker: RecordedTracker,
    pub(crate) now: Monotonic,
    pub(crate) events: Vec<EventKind>,
}

impl TestDeployment {
    pub(crate) fn new(nodes: u16) -> Self {
        Self::of(nodes, |_| {})
    }

    pub(crate) fn of(nodes: u16, with: impl FnOnce(&mut Deployment)) -> Self {
        let mut deployment =
            Deployment::new("orders", DeploymentKind::Static, &[], SECOND, SECOND * 3);
        with(&mut deployment);
        for node in deployment.nodes.len() + 1..=usize::from(nodes) {
            deployment.add(format!("n{node}"), format!("h:{node}"), None);
        }
        TestDeployment {
            tracker: RecordedTracker::new(Arc::new(deployment), None),
            now: Monotonic::START,
            events: Vec::new(),
        }
    }

    pub(crate) fn round(&mut self, outcomes: Vec<PollOutcome>) -> Arc<DeploymentView> {
        self.now += SECOND;
        let result = self.tracker.observe(&Round::new(
            SystemTime::UNIX_EPOCH + self.now.since_start(),
            self.now,
            outcomes,
        ));
        self.events.extend(result.events.into_iter().map(|event| event.kind));
        result.view
    }

    /// Runs the same round several times.
    pub(crate) fn rounds(&mut self, count: usize, outcomes: &[PollOutcome]) -> Arc<DeploymentView> {
        (0..count).map(|_| self.round(outcomes.to_vec())).last().expect("a round")
    }

    /// Runs a round in which nodes are nodes of other deployments, too.
    pub(crate) fn shared_round(
        &mut self,
        outcomes: Vec<PollOutcome>,
        shared: Vec<SharedNode>,
    ) -> Arc<DeploymentView> {
        self.now += SECOND;
        let at = SystemTime::UNIX_EPOCH + self.now.since_start();
        let round = Round { shared, ..Round::new(at, self.now, outcomes) };
        self.tracker.observe(&round).view
    }

    /// Restarts the exporter, which takes a second.
    pub(crate) fn restarted(&self) -> Self {
        self.restored(self.tracker.saved_state(), SECOND)
    }

    /// Starts the exporter with a saved state.
    pub(crate) fn restored(&self, state: SavedState, downtime: Duration) -> Self {
        let deployment = Arc::clone(&self.tracker.view().deployment);
        TestDeployment {
            tracker: RecordedTracker::new(deployment, Some((state, downtime))),
            now: Monotonic::START,
            events: Vec::new(),
        }
    }

    pub(crate) fn event_count(&self, kind: &str) -> usize {
        self.events.iter().filter(|event| event.label() == kind).count()
    }
}

/// INFO reply of a process. Histories are letters.
#[derive(Clone, Default)]
pub(crate) struct InfoReply {
    pub(crate) run_id: &'static str,
    pub(crate) uptime: u64,
    pub(crate) history: char,
    pub(crate) continues: Option<char>,
    pub(crate) follows: Option<u16>,
    pub(crate) offset: u64,
    pub(crate) changes: u64,
    pub(crate) more: &'static str,
}

/// Returns a replication ID. Panics if the digit is not hexadecimal: servers report no such ID, and
/// a test with it proves nothing.
fn replication_id(digit: char) -> String {
    assert!(digit.is_ascii_hexdigit(), "{digit} is not hexadecimal");
    digit.to_string().repeat(40)
}

pub(crate) fn reply(info: &InfoReply) -> PollOutcome {
    let InfoReply { run_id, uptime, history, continues, follows, offset, changes, more } = info;
    let role = match follows {
        Some(port) => format!(
            "role:slave\nmaster_host:h\nmaster_port:{port}\nmaster_link_status:up\n\
             slave_read_only:1\n"
        ),
        None => "role:master\n".to_owned(),
    };
    let continues = continues
        .as_ref()
        .map(|other| format!("master_replid2:{}\nsecond_repl_offset:1\n", replication_id(*other)))
        .unwrap_or_default();
    // If a field occurs twice, the first one counts.
    let info = format!(
        "{more}\nrun_id:{run_id}\nuptime_in_seconds:{uptime}\nloading:0\nrdb_last_save_time:1\n\
         {role}{continues}master_replid:{}\n\
         master_repl_offset:{offset}\nrdb_changes_since_last_save:{changes}\n",
        replication_id(*history)
    );
    PollOutcome::Answered(NodeReply::new(
        NodeSnapshot::from_info(&info).expect("an INFO reply"),
        Duration::from_millis(1),
        SystemTime::UNIX_EPOCH,
    ))
}

pub(crate) fn master(run_id: &'static str, history: char) -> InfoReply {
    InfoReply { run_id, uptime: 1000, history, ..InfoReply::default() }
}

pub(crate) fn replica(run_id: &'static str, history: char, follows: u16) -> InfoReply {
    InfoReply { follows: Some(follows), ..master(run_id, history) }
}

/// Returns the reply of a replica that lost its link.
pub(crate) fn cut_replica(run_id: &'static str, history: char, follows: u16) -> InfoReply {
    let more = "master_link_status:down\nmaster_link_down_since_seconds:1";
    InfoReply { more, ..replica(run_id, history, follows) }
}

pub(crate) fn refused() -> PollOutcome {
    PollOutcome::Failed(Reason::Refused)
}

pub(crate) fn severity_of(view: &DeploymentView, kind: FindingKind) -> Option<Severity> {
    view.findings.iter().find(|finding| finding.kind == kind).map(|finding| finding.severity)
}

pub(crate) fn primary(view: &DeploymentView) -> Option<(&str, PrimaryEvidence)> {
    view.shards[0].primary.map(|primary| (view.name(primary.node), primary.evidence))
}

/// Creates the primary n1 with the replica n2, and returns the reply of n2 after its promotion: it
/// continues the history `a` as `b`.
pub(crate) fn failed_over(old: &InfoReply) -> (TestDeployment, PollOutcome) {
    let mut test = TestDeployment::new(2);
    test.rounds(2, &[reply(old), reply(&replica("y", 'a', 1))]);
    let promoted = reply(&InfoReply { continues: Some('a'), ..master("y", 'b') });
    (test, promoted)
}
