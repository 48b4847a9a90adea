//! Writer of a recording, line by line.

use std::sync::Arc;

use serde::Serialize;
use topology::{
    Deployment, EndpointCheckResult, HostNames, NodeIndex, NodeReply, PollOutcome, ResolvedName,
    Round, SharedNode,
};

use crate::expectation::Expectation;
use crate::header::Header;
use crate::lines::{
    AnswerLine, CheckLine, ContactLine, DiskLine, Line, MessageLine, NodeLine, ResolvedLine,
    RoundLine, SharedLine,
};
use crate::reply::{NodeState, state_patch};
use crate::time::{nanos, wall_nanos};

/// Writer of a recording. Each line refers to the lines before, so all of them must be written in
/// this order.
///
/// ```
/// use std::sync::Arc;
/// use std::time::{Duration, SystemTime};
///
/// use recording::{Encoder, Header, Recording};
/// use topology::{Deployment, DeploymentKind, Monotonic, PollOutcome, Round};
///
/// let second = Duration::from_secs(1);
/// let mut deployment =
///     Deployment::new("orders", DeploymentKind::Static, &[], second, second * 3);
/// deployment.add("a", "10.0.0.1:6379", None);
/// let deployment = Arc::new(deployment);
/// let round = Round::new(SystemTime::UNIX_EPOCH, Monotonic::START, vec![PollOutcome::Pending]);
///
/// let mut encoder = Encoder::default();
/// let rolecall = "0.1.0".to_owned();
/// let header = Header { rolecall, deployment: Arc::clone(&deployment), restored: None };
/// let text = encoder.header(&header) + &encoder.round(&round, &deployment);
/// let recording = Recording::read(text.as_bytes()).expect("a recording");
/// assert_eq!(recording.header, header);
/// assert_eq!(recording.rounds.len(), 1);
/// ```
#[derive(Debug, Default)]
pub struct Encoder {
    /// The next round refers to an earlier one.
    continues: bool,
    /// The last state of each node that answered, by node index.
    nodes: Vec<NodeState>,
    /// Name of the master of the deployment in the Sentinels; empty without Sentinels.
    master: String,
    /// Deployment of the last round, whose nodes are `members`.
    deployment: Option<Arc<Deployment>>,
    members: Arc<[String]>,
    host_names: Arc<HostNames>,
    resolved: Arc<[ResolvedName]>,
}

impl Encoder {
    /// Returns the first line of a recording, with its line feed.
    pub fn header(&mut self, header: &Header) -> String {
        let discovery = header.deployment.discovery.as_ref();
        self.master = discovery.map(|discovery| discovery.master.clone()).unwrap_or_default();
        self.restart();
        text(&Line { header: Some(header.to_line()), ..Line::default() })
    }

    /// Makes the next round independent of all earlier ones, so that a reader can begin there.
    pub fn restart(&mut self) {
        *self = Encoder { master: std::mem::take(&mut self.master), ..Encoder::default() };
    }

    /// Returns the line of a round, with its line feed. `deployment` has the nodes before the
    /// round: those of [`topology::DeploymentTracker::view`].
    pub fn round(&mut self, round: &Round, deployment: &Arc<Deployment>) -> String {
        if !self.deployment.as_ref().is_some_and(|last| Arc::ptr_eq(last, deployment)) {
            self.deployment = Some(Arc::clone(deployment));
            let members: Vec<_> =
                deployment.nodes.values().map(|node| node.address.clone()).collect();
            return self.round_of(round, &members.into());
        }
        let members = Arc::clone(&self.members);
        self.round_of(round, &members)
    }

    /// Returns the line of a round of nodes at these addresses.
    pub(crate) fn round_of(&mut self, round: &Round, members: &Arc<[String]>) -> String {
        let has_members = !self.continues || self.members != *members;
        self.members = Arc::clone(members);
        let has_names = !Arc::ptr_eq(&self.host_names, &round.host_names)
            && self.host_names != round.host_names;
        self.host_names = Arc::clone(&round.host_names);
        let has_resolved =
            !Arc::ptr_eq(&self.resolved, &round.resolved) && self.resolved != round.resolved;
        self.resolved = Arc::clone(&round.resolved);
        let line = RoundLine {
            at: wall_nanos(round.at),
            now: nanos(round.now.since_start()),
            duration: nanos(round.duration),
            missed: round.missed,
            blind: round.blind,
            cut_off_for: round.cut_off_for.map(nanos),
            nodes_left: round.nodes_left,
            full: !self.continues,
            members: has_members.then(|| members.to_vec()),
            nodes: round.outcomes.indices().map(|index| self.node(round, index)).collect(),
            messages: round
                .messages
                .iter()
                .map(|message| MessageLine {
                    at: wall_nanos(message.at),
                    sentinel: message.sentinel.clone(),
                    channel: message.channel.clone(),
                    payload: message.payload.clone(),
                })
                .collect(),
            checks: round.checks.iter().map(check).collect(),
            host_names: has_names.then(|| HostNames::clone(&round.host_names)),
            shared: round.shared.iter().map(shared).collect(),
            resolved: has_resolved.then(|| round.resolved.iter().map(resolved).collect()),
        };
        self.continues = true;
        text(&Line { round: Some(line), ..Line::default() })
    }

    /// Returns the line that states that rounds are missing at this place, with its line feed.
    pub fn dropped(&mut self, rounds: u64) -> String {
        text(&Line { dropped: Some(rounds), ..Line::default() })
    }

    /// Returns the line of a verdict that the replay should give, with its line feed.
    pub fn expectation(&mut self, expectation: &Expectation) -> String {
        text(&Line { expect: Some(expectation.clone()), ..Line::default() })
    }

    fn node(&mut self, round: &Round, index: NodeIndex) -> NodeLine {
        let mut line = NodeLine {
            detail: round.details.get(index).cloned().flatten().map(|detail| (*detail).to_owned()),
            contact: round.contacts.get(index).copied().flatten().map(|contact| ContactLine {
                since: nanos(contact.since.since_start()),
                refused: contact.refused,
            }),
            disk: round.disks.get(index).copied().flatten().map(|disk| DiskLine {
                free_bytes: disk.free_bytes,
                free_inodes: disk.free_inodes,
            }),
            ..NodeLine::default()
        };
        match &round.outcomes[index] {
            PollOutcome::Pending => {}
            PollOutcome::Missed(reason) => line.missed = Some(reason.label().to_owned()),
            PollOutcome::Failed(reason) => line.failed = Some(reason.label().to_owned()),
            PollOutcome::Answered(reply) => line.answered = Some(self.answer(reply, index)),
        }
        line
    }

    fn answer(&mut self, reply: &NodeReply, index: NodeIndex) -> AnswerLine {
        let state = NodeState {
            snapshot: Arc::clone(&reply.snapshot),
            peer: reply.peer,
            certificate_expiry: reply.certificate_expiry,
        };
        if self.nodes.len() <= index.get() {
            self.nodes.resize_with(index.get() + 1, NodeState::default);
        }
        let known = &mut self.nodes[index.get()];
        let patch = state_patch(known, &state, &self.master);
        *known = state;
        AnswerLine {
            at: wall_nanos(reply.at),
            requested: reply.requested.map(|requested| nanos(requested.since_start())),
            duration: nanos(reply.duration),
            own_errors: reply.own_errors.clone(),
            commands_read: reply.commands_read,
            clients: reply
                .clients
                .as_ref()
                .map(|clients| clients.iter().map(snapshot::Client::anonymous_line).collect()),
            state: patch,
        }
    }
}

fn check(check: &EndpointCheckResult) -> CheckLine {
    let server = check.outcome.as_ref().ok();
    CheckLine {
        endpoint: check.endpoint.label().to_owned(),
        started: nanos(check.started.since_start()),
        ended: nanos(check.ended.since_start()),
        interval: nanos(check.interval),
        failed: check.outcome.as_ref().err().map(|reason| reason.label().to_owned()),
        run_id: server.and_then(|server| server.run_id.clone()),
        role: server.and_then(|server| server.role).map(|role| role.label().to_owned()),
        replid: server.and_then(|server| server.replid.clone()),
    }
}

fn shared(shared: &SharedNode) -> SharedLine {
    SharedLine {
        node: shared.node.get(),
        deployment: shared.deployment.clone(),
        follows_there: shared.follows_there,
    }
}

fn resolved(name: &ResolvedName) -> ResolvedLine {
    ResolvedLine {
        host: name.host.clone(),
        port: name.port,
        addresses: name.addresses.as_ref().map(|addresses| addresses.to_vec()),
        lookups: name.lookups,
        failures: name.failures,
    }
}

/// Returns a line of JSON with its line feed.
fn text(line: &impl Serialize) -> String {
    serde_json::to_string(line).expect("all keys are strings, so a line is valid JSON") + "\n"
}
