//! Trackers of single nodes.

pub(crate) mod counters;
pub(crate) mod link;
pub(crate) mod poll_history;
pub(crate) mod process;
pub(crate) mod refusals;
pub(crate) mod rising_errors;
pub(crate) mod state;
pub(crate) mod write_offset;

use std::sync::Arc;
use std::time::Duration;

use snapshot::{NodeSnapshot, Reason};

use self::link::UpstreamSyncs;
use self::process::ProcessChange;
use self::state::NodeState;
use crate::model::deployment::Deployment;
use crate::model::round::{PollOutcome, Round};
use crate::model::view::NodeView;

/// What is remembered of one node: the memories of its facts.
#[derive(Debug, Default)]
pub(crate) struct NodeTracker {
    pub(crate) last: Option<Arc<NodeSnapshot>>,
    pub(crate) presence: state::NodeStateTracker,
    pub(crate) askings: poll_history::PollHistory,
    pub(crate) process: process::ProcessTracker,
    pub(crate) link: link::LinkTracker,
    pub(crate) counters: counters::CountersTracker,
    pub(crate) access: rising_errors::RisingErrorsTracker,
    pub(crate) oom: rising_errors::RisingErrorsTracker,
    pub(crate) aof_failed: bool,
    /// Keys were evicted between the last two answers of one process.
    pub(crate) evicting: bool,
    /// See [`NodeView::written`].
    pub(crate) written: Option<u64>,
    pub(crate) appendfsync: Option<Arc<str>>,
}

impl NodeTracker {
    /// What is known of the node now, and how the process that answered in this round follows on the one before.
    pub(crate) fn observe(
        &mut self,
        index: usize,
        round: &Round,
        accrued: Duration,
        deployment: &Deployment,
        syncs: Option<UpstreamSyncs>,
    ) -> (NodeView, Option<ProcessChange>) {
        let (node, outcome) = (&deployment.nodes[index], &round.outcomes[index]);
        let stranger = matches!(outcome, PollOutcome::Answered(answer) if self.process.is_stranger(&answer.snapshot, round.elapsed));
        let outcome = if stranger { &PollOutcome::Failed(Reason::Identity) } else { outcome };
        self.presence.observe(outcome, round.blind, round.elapsed, accrued, deployment.down_after);
        poll_history::note(&mut self.askings, outcome, index, round);
        let mut succession = None;
        if let PollOutcome::Answered(answer) = outcome {
            let followed = self.process.observe(&answer.snapshot, round.elapsed);
            self.link.observe(&answer.snapshot, syncs, round.elapsed);
            self.counters.observe(answer, followed);
            let counters = self.counters.view();
            self.access.observe(&counters, rising_errors::ACCESS_CODES, round.elapsed);
            self.oom.observe(&counters, rising_errors::MEMORY_CODES, round.elapsed);
            let aof = &answer.snapshot.persistence.aof;
            // Switching it off is no recovery of the file.
            self.aof_failed =
                aof.failing() == Some(true) || (self.aof_failed && aof.enabled != Some(true));
            let policy =
                answer.snapshot.config.as_ref().and_then(|config| config.get("appendfsync"));
            if let Some(policy) =
                policy.filter(|policy| self.appendfsync.as_deref() != Some(policy))
            {
                self.appendfsync = Some(policy.into());
            }
            let evicted = |snapshot: &NodeSnapshot| snapshot.fields.count("evicted_keys");
            let before =
                self.last.as_deref().filter(|_| followed == ProcessChange::Same).and_then(evicted);
            self.evicting =
                before.zip(evicted(&answer.snapshot)).is_some_and(|(before, now)| now > before);
            let before = self.last.as_deref().filter(|_| followed == ProcessChange::Same);
            self.written = write_offset::last_write(before.zip(self.written), &answer.snapshot);
            self.last = Some(Arc::clone(&answer.snapshot));
            succession = Some(followed);
        }
        let presence = self.presence.presence();
        let polling = self.presence.polling().clone();
        let snapshot = self.last.as_deref().filter(|_| presence == NodeState::Up);
        let view = NodeView {
            presence,
            askings: Arc::clone(&self.askings),
            process: self.process.view(),
            link: self.link.view(),
            counters: self.counters.view(),
            access_denied: self.access.risen(),
            memory_refused: self.oom.risen(),
            aof_failed: self.aof_failed,
            written: self.written,
            appendfsync: self.appendfsync.clone(),
            writes_refused: snapshot
                .map(|snapshot| refusals::writes(snapshot, polling.failing, self.evicting))
                .unwrap_or_default(),
            reads_refused: snapshot
                .map(|snapshot| refusals::reads(snapshot, polling.failing))
                .unwrap_or_default(),
            polling,
            last: self.last.clone(),
            ..NodeView::pending(node)
        };
        (view, succession)
    }
}
