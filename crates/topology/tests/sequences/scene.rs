//! A deployment of a few servers, and what each of them says.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use snapshot::{NodeSnapshot, Reason};
use topology::{
    Deployment, DeploymentKind, DeploymentTracker, DeploymentView, EventKind, FindingKind,
    Monotonic, NodeReply, PollOutcome, PrimaryEvidence, Round, Severity,
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A deployment of nodes at ports 1, 2, 3 of one host.
pub(crate) struct Scene {
    pub(crate) fold: DeploymentTracker,
    pub(crate) now: Monotonic,
    pub(crate) events: Vec<EventKind>,
}

impl Scene {
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
        Scene {
            fold: DeploymentTracker::new(Arc::new(deployment)),
            now: Monotonic::START,
            events: Vec::new(),
        }
    }

    pub(crate) fn round(&mut self, outcomes: Vec<PollOutcome>) -> Arc<DeploymentView> {
        self.now += SECOND;
        let step = self.fold.observe(&Round::new(
            SystemTime::UNIX_EPOCH + self.now.since_start(),
            self.now,
            outcomes,
        ));
        self.events.extend(step.events.into_iter().map(|event| event.kind));
        step.view
    }

    /// The same round several times.
    pub(crate) fn rounds(&mut self, count: usize, outcomes: &[PollOutcome]) -> Arc<DeploymentView> {
        (0..count).map(|_| self.round(outcomes.to_vec())).last().expect("a round")
    }

    pub(crate) fn happened(&self, kind: &str) -> usize {
        self.events.iter().filter(|event| event.label() == kind).count()
    }
}

/// What a process says of itself; the history is a letter.
#[derive(Clone, Default)]
pub(crate) struct Says {
    pub(crate) run_id: &'static str,
    pub(crate) uptime: u64,
    pub(crate) history: char,
    pub(crate) continues: Option<char>,
    pub(crate) follows: Option<u16>,
    pub(crate) offset: u64,
    pub(crate) changes: u64,
    pub(crate) more: &'static str,
}

pub(crate) fn says(says: &Says) -> PollOutcome {
    let Says { run_id, uptime, history, continues, follows, offset, changes, more } = says;
    let id = |letter: &char| letter.to_string().repeat(40);
    let role = match follows {
        Some(port) => format!(
            "role:slave\nmaster_host:h\nmaster_port:{port}\nmaster_link_status:up\nslave_read_only:1\n"
        ),
        None => "role:master\n".to_owned(),
    };
    let continues = continues
        .as_ref()
        .map(|other| format!("master_replid2:{}\nsecond_repl_offset:1\n", id(other)))
        .unwrap_or_default();
    // Of a field that is there twice the first counts.
    let info = format!(
        "{more}\nrun_id:{run_id}\nuptime_in_seconds:{uptime}\nloading:0\nrdb_last_save_time:1\n{role}{continues}master_replid:{}\n\
         master_repl_offset:{offset}\nrdb_changes_since_last_save:{changes}\n",
        id(history)
    );
    PollOutcome::Answered(NodeReply::new(
        NodeSnapshot::from_info(&info).expect("an INFO reply"),
        Duration::from_millis(1),
        SystemTime::UNIX_EPOCH,
    ))
}

pub(crate) fn master(run_id: &'static str, history: char) -> Says {
    Says { run_id, uptime: 1000, history, ..Says::default() }
}

pub(crate) fn replica(run_id: &'static str, history: char, follows: u16) -> Says {
    Says { follows: Some(follows), ..master(run_id, history) }
}

pub(crate) fn refused() -> PollOutcome {
    PollOutcome::Failed(Reason::Refused)
}

pub(crate) fn found(view: &DeploymentView, kind: FindingKind) -> Option<Severity> {
    view.findings.iter().find(|finding| finding.kind == kind).map(|finding| finding.severity)
}

pub(crate) fn primary(view: &DeploymentView) -> Option<(&str, PrimaryEvidence)> {
    view.shards[0].primary.map(|primary| (view.name(primary.node), primary.evidence))
}

/// n1 was primary with n2 as its replica; then n2 took over its history `a` as `b`.
pub(crate) fn failed_over(old: &Says) -> (Scene, PollOutcome) {
    let mut scene = Scene::new(2);
    scene.rounds(2, &[says(old), says(&replica("y", 'a', 1))]);
    let promoted = says(&Says { continues: Some('a'), ..master("y", 'b') });
    (scene, promoted)
}
