//! Tracker of one node.

use std::sync::Arc;
use std::time::Duration;

use snapshot::{NodeSnapshot, Reason};

use crate::limits::servers_seen_within;
use crate::model::deployment::{Deployment, DeploymentKind};
use crate::model::monotonic::Monotonic;
use crate::model::node::NodeView;
use crate::model::node_index::NodeIndex;
use crate::model::node_state::NodeState;
use crate::model::round::{NodeReply, PollOutcome, Round};
use crate::model::saved_state::SavedNode;
use crate::node::counters::CountersTracker;
use crate::node::label_values::LabelValuesTracker;
use crate::node::link::{LinkTracker, UpstreamSyncs};
use crate::node::pause::PauseTracker;
use crate::node::poll_history::{self, PollHistory};
use crate::node::process::{Admission, ProcessChange, ProcessTracker};
use crate::node::rising_errors::{ACCESS_CODES, MEMORY_CODES, RisingErrorsTracker};
use crate::node::servers::SeenServers;
use crate::node::state::NodeStateTracker;
use crate::node::{refusals, write_offset};
use crate::witnesses::Testimony;

/// Tracks one node.
#[derive(Debug, Default)]
pub(crate) struct NodeTracker {
    last: Option<Arc<NodeSnapshot>>,
    state: NodeStateTracker,
    polls: PollHistory,
    process: ProcessTracker,
    servers: SeenServers,
    /// Fields that the replies of all servers have in common, while several servers take turns.
    common: Option<Arc<NodeSnapshot>>,
    link: LinkTracker,
    label_values: LabelValuesTracker,
    counters: CountersTracker,
    access_errors: RisingErrorsTracker,
    memory_errors: RisingErrorsTracker,
    pause: PauseTracker,
    aof_failed: bool,
    /// Keys were evicted between the last two replies of one process.
    evicting: bool,
    last_write_offset: Option<u64>,
    appendfsync: Option<Arc<str>>,
}

/// One round of one node.
#[derive(Debug)]
pub(crate) struct NodeObservation {
    /// The node after the round. Fields that depend on other nodes are still empty.
    pub(crate) view: NodeView,
    /// Relation of the process that replied to the one before; `None` without a reply.
    pub(crate) process_change: Option<ProcessChange>,
    /// Reply that counts instead of that of the round, if several servers take turns.
    pub(crate) common: Option<NodeReply>,
}

impl NodeTracker {
    /// Reads the outcome of one round.
    pub(crate) fn observe(
        &mut self,
        index: NodeIndex,
        round: &Round,
        deployment: &Deployment,
        upstream: Option<UpstreamSyncs>,
    ) -> NodeObservation {
        let judged = match &round.outcomes[index] {
            PollOutcome::Answered(reply) => self.judge(reply, deployment, round.now),
            _ => None,
        };
        let outcome = judged.as_ref().unwrap_or(&round.outcomes[index]);
        let contact = round.contacts.get(index).copied().flatten();
        self.state.observe(outcome, contact, round);
        poll_history::record(&mut self.polls, outcome, index, round);
        let process_change = match outcome {
            PollOutcome::Answered(reply) => {
                let snapshot =
                    self.label_values.limit(&reply.snapshot, deployment.limits.label_values);
                Some(self.observe_reply(reply, &snapshot, upstream, round))
            }
            PollOutcome::Missed(_) | PollOutcome::Failed(_) => {
                self.link.observe_missed_poll();
                None
            }
            PollOutcome::Pending => None,
        };
        let common = match judged {
            Some(PollOutcome::Answered(reply)) => Some(reply),
            _ => None,
        };
        NodeObservation { view: self.view(index, deployment), process_change, common }
    }

    /// Returns the outcome that counts instead of a reply; `None` if the reply itself counts.
    fn judge(
        &mut self,
        reply: &NodeReply,
        deployment: &Deployment,
        now: Monotonic,
    ) -> Option<PollOutcome> {
        let window = servers_seen_within(deployment.interval);
        let silence = self.process.silence(now);
        self.servers.observe(&reply.snapshot.identity, silence, window, now);
        if self.servers.alternating().is_some() {
            let before = self.common.as_ref().or(self.last.as_ref()).unwrap_or(&reply.snapshot);
            let common = Arc::new(before.in_common(&reply.snapshot));
            self.common = Some(Arc::clone(&common));
            return Some(PollOutcome::Answered(NodeReply {
                snapshot: common,
                commands_read: false,
                clients: None,
                ..reply.clone()
            }));
        }
        self.common = None;
        let alone = deployment.kind == DeploymentKind::Static && deployment.nodes.len() == 1;
        match self.process.admit(&reply.snapshot, alone, now) {
            Admission::Accepted => None,
            Admission::Held => Some(PollOutcome::Missed(Reason::Identity)),
            Admission::Rejected => Some(PollOutcome::Failed(Reason::Identity)),
        }
    }

    /// Decides the state of a node that does not reply, and returns the node.
    pub(crate) fn decide(
        &mut self,
        index: NodeIndex,
        testimony: Testimony,
        round: &Round,
        accrued: Duration,
        deployment: &Deployment,
    ) -> NodeView {
        self.state.decide(&testimony, round, accrued, deployment.down_after);
        NodeView { witnesses: testimony.witnesses.into(), ..self.view(index, deployment) }
    }

    fn observe_reply(
        &mut self,
        reply: &NodeReply,
        snapshot: &Arc<NodeSnapshot>,
        upstream: Option<UpstreamSyncs>,
        round: &Round,
    ) -> ProcessChange {
        let change = if self.common.is_some() {
            self.process.observe_ambiguous(reply, round.now);
            ProcessChange::Replaced
        } else {
            self.process.observe(reply, round.now)
        };
        self.link.observe(snapshot, upstream, change, round.now);
        self.counters.observe(reply, snapshot, change);
        let counters = self.counters.view();
        self.access_errors.observe(&counters, ACCESS_CODES, round.now);
        self.memory_errors.observe(&counters, MEMORY_CODES, round.now);
        self.pause.observe(snapshot, &counters, change, round.now);
        let aof = &snapshot.persistence.aof;
        // To disable the append-only file does not recover it.
        self.aof_failed =
            aof.failing() == Some(true) || (self.aof_failed && aof.enabled != Some(true));
        let policy = snapshot.config.as_ref().and_then(|config| config.get("appendfsync"));
        if let Some(policy) = policy.filter(|policy| self.appendfsync.as_deref() != Some(policy)) {
            self.appendfsync = Some(policy.into());
        }
        let before = self.last.as_deref().filter(|_| change == ProcessChange::Same);
        let evicted = |snapshot: &NodeSnapshot| snapshot.fields.count("evicted_keys");
        self.evicting = before
            .and_then(evicted)
            .zip(evicted(snapshot))
            .is_some_and(|(before, after)| after > before);
        self.last_write_offset =
            write_offset::last_write(before.zip(self.last_write_offset), snapshot);
        self.last = Some(Arc::clone(snapshot));
        change
    }

    fn view(&self, index: NodeIndex, deployment: &Deployment) -> NodeView {
        let state = self.state.state();
        let polling = self.state.polling().clone();
        let snapshot = self.last.as_deref().filter(|_| state == NodeState::Up);
        NodeView {
            presence: state,
            process: self.process.view(),
            servers: self.servers.alternating(),
            link: self.link.view(),
            access_denied: self.access_errors.last_rise(),
            memory_refused: self.memory_errors.last_rise(),
            pause: self.pause.view(),
            aof_failed: self.aof_failed,
            last_write_offset: self.last_write_offset,
            appendfsync: self.appendfsync.clone(),
            writes_refused: snapshot
                .map(|snapshot| {
                    refusals::writes(snapshot, polling.failing, self.evicting, self.pause.view())
                })
                .unwrap_or_default(),
            reads_refused: snapshot
                .map(|snapshot| refusals::reads(snapshot, polling.failing))
                .unwrap_or_default(),
            polling,
            last: self.last.clone(),
            ..NodeView::with(
                &deployment.nodes[index],
                Arc::clone(&self.polls),
                self.counters.view(),
            )
        }
    }

    /// Replaces the last reply by one that says the same about the node itself.
    pub(crate) fn replace_last(&mut self, last: Arc<NodeSnapshot>) {
        self.last = Some(last);
    }

    /// Returns the number of values of labels in the last reply that have no series of their own.
    pub(crate) fn excess_label_values(&self) -> usize {
        self.label_values.excess()
    }

    /// Forgets the availability of the node, which has another name now.
    pub(crate) fn reset_state(&mut self) {
        self.state = NodeStateTracker::default();
    }

    /// Restores the state that was saved `downtime` before the exporter started.
    pub(crate) fn restore(&mut self, saved: &SavedNode, downtime: Duration) {
        self.process.restore(saved, downtime);
        self.appendfsync = saved.appendfsync.as_deref().map(Into::into);
        if saved.run_id.is_some() {
            self.state.record_life();
        }
    }

    /// Returns the `run_id` of the last reply.
    pub(crate) fn run_id(&self) -> Option<&str> {
        self.process.run_id()
    }

    /// Returns the time since the last reply, also to an earlier exporter.
    pub(crate) fn silence(&self, now: Monotonic) -> Duration {
        self.process.silence(now)
    }

    /// Returns the last known value of CONFIG `appendfsync`.
    pub(crate) fn appendfsync(&self) -> Option<&str> {
        self.appendfsync.as_deref()
    }
}
