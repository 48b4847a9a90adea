//! The fold: one round and what is remembered give the next view and its events.

use std::sync::Arc;
use std::time::Duration;

use snapshot::{NodeSnapshot, Reason};

use crate::deployment::address;
use crate::limits::MAX_ACCRUED_INTERVALS;
use crate::{
    AttachedView, Deployment, DeploymentView, Event, Node, NodeView, Outcome, Presence, Round, counters, events, link, presence, process,
    refusals,
};

/// What is remembered of a deployment from round to round.
#[derive(Debug)]
pub struct Fold {
    nodes: Vec<Memory>,
    view: Arc<DeploymentView>,
}

/// What one round came to.
#[derive(Debug)]
pub struct Step {
    /// What is known now.
    pub view: Arc<DeploymentView>,
    /// What changed, in order.
    pub events: Vec<Event>,
}

/// What is remembered of one node: the memories of its facts.
#[derive(Debug, Default)]
struct Memory {
    last: Option<Arc<NodeSnapshot>>,
    presence: presence::Memory,
    process: process::Memory,
    link: link::Memory,
    counters: counters::Memory,
}

impl Fold {
    /// Nothing is known yet.
    pub fn new(deployment: Arc<Deployment>) -> Self {
        Fold { nodes: deployment.nodes.iter().map(|_| Memory::default()).collect(), view: Arc::new(DeploymentView::empty(deployment)) }
    }

    /// What is known after the last round.
    pub fn view(&self) -> Arc<DeploymentView> {
        Arc::clone(&self.view)
    }

    /// Takes up one round.
    ///
    /// # Panics
    /// When the round does not have one outcome for each node.
    pub fn apply(&mut self, round: &Round) -> Step {
        assert_eq!(round.outcomes.len(), self.nodes.len(), "a round has one outcome for each node");
        let deployment = Arc::clone(&self.view.deployment);
        let accrued = self.accrued(round, &deployment);
        let nodes = deployment
            .nodes
            .iter()
            .zip(&mut self.nodes)
            .zip(&round.outcomes)
            .map(|((node, memory), outcome)| memory.apply(node, outcome, round, accrued, &deployment))
            .collect();
        let mut rounds = self.view.rounds;
        rounds.total += 1;
        rounds.missed += round.missed;
        rounds.blind += u64::from(round.blind);
        rounds.took = round.took;
        let view = Arc::new(DeploymentView { deployment, at: Some(round.at), elapsed: round.elapsed, rounds, nodes });
        let events = events::between(&self.view, &view);
        self.view = Arc::clone(&view);
        Step { view, events }
    }

    /// The time this round may add to anything that accrues.
    fn accrued(&self, round: &Round, deployment: &Deployment) -> Duration {
        if self.view.at.is_none() {
            return deployment.interval;
        }
        round.elapsed.saturating_sub(self.view.elapsed).min(deployment.interval * MAX_ACCRUED_INTERVALS)
    }
}

// === impl Memory ===

impl Memory {
    fn apply(&mut self, node: &Arc<Node>, outcome: &Outcome, round: &Round, accrued: Duration, deployment: &Deployment) -> NodeView {
        let stranger = matches!(outcome, Outcome::Answered(answer) if self.process.is_stranger(&answer.snapshot, round.elapsed));
        let outcome = if stranger { &Outcome::Failed(Reason::Identity) } else { outcome };
        if !(round.blind && matches!(outcome, Outcome::Missed(_) | Outcome::Failed(_))) {
            self.presence.apply(outcome, round.elapsed, accrued, deployment.down_after);
        }
        if let Outcome::Answered(answer) = outcome {
            let succession = self.process.apply(&answer.snapshot, round.elapsed);
            self.link.apply(&answer.snapshot, round.elapsed);
            self.counters.apply(answer, succession);
            self.last = Some(Arc::clone(&answer.snapshot));
        }
        let presence = self.presence.presence();
        let polling = self.presence.polling().clone();
        let snapshot = self.last.as_deref().filter(|_| presence == Presence::Up);
        NodeView {
            node: Arc::clone(node),
            presence,
            process: self.process.view(),
            link: self.link.view(),
            attached: snapshot.map(|snapshot| attached(snapshot, deployment)).unwrap_or_default(),
            expected_aof: deployment
                .expect
                .aof
                .zip(snapshot.and_then(|snapshot| snapshot.replication.role))
                .and_then(|(aof, role)| aof.of(role)),
            counters: self.counters.view(),
            writes_refused: snapshot.map(|snapshot| refusals::writes(snapshot, polling.failing)).unwrap_or_default(),
            reads_refused: snapshot.map(|snapshot| refusals::reads(snapshot, polling.failing)).unwrap_or_default(),
            polling,
            last: self.last.clone(),
        }
    }
}

fn attached(snapshot: &NodeSnapshot, deployment: &Deployment) -> Vec<AttachedView> {
    let replicas = snapshot.replication.attached.iter();
    let mut views: Vec<_> =
        replicas.map(|seen| AttachedView { name: deployment.name_of(address(&seen.ip, seen.port)), seen: seen.clone() }).collect();
    // Two connections of one replica: the old one stays listed until it times out.
    views.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| b.seen.liveness().cmp(&a.seen.liveness())));
    views.dedup_by(|b, a| a.name == b.name);
    views
}
