//! The fold: one round and what is remembered give the next view and its events.

use std::sync::Arc;
use std::time::Duration;

use snapshot::{NodeSnapshot, Reason};

use crate::deployment::address;
use crate::limits::MAX_ACCRUED_INTERVALS;
use crate::link::Syncs;
use crate::process::Succession;
use crate::{
    AttachedView, Deployment, DeploymentView, Event, History, Node, NodeView, Outcome, Presence, Remembered, RememberedNode, Round,
    counters, events, findings, following, link, places, presence, process, refusals, rising, shard,
};

/// What is remembered of a deployment from round to round.
#[derive(Debug)]
pub struct Fold {
    nodes: Vec<Memory>,
    places: places::Places,
    shard: shard::Memory,
    findings: findings::Memory,
    view: Arc<DeploymentView>,
}

/// What one round came to.
#[derive(Debug)]
pub struct Step {
    /// What is known now.
    pub view: Arc<DeploymentView>,
    /// What changed, in order.
    pub events: Vec<Event>,
    /// What would be worth reading at the next round.
    pub wanted: Vec<Wanted>,
}

/// A reading that a fact waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The statistics by command of the node at a place: what changed the primary.
    Commands(usize),
}

/// What is remembered of one node: the memories of its facts.
#[derive(Debug, Default)]
struct Memory {
    last: Option<Arc<NodeSnapshot>>,
    presence: presence::Memory,
    process: process::Memory,
    link: link::Memory,
    counters: counters::Memory,
    access: rising::Memory,
    oom: rising::Memory,
    aof_failed: bool,
    appendfsync: Option<Arc<str>>,
}

impl Fold {
    /// Nothing is known yet.
    pub fn new(deployment: Arc<Deployment>) -> Self {
        Fold {
            nodes: deployment.nodes.iter().map(|_| Memory::default()).collect(),
            places: places::Places::default(),
            shard: shard::Memory::default(),
            findings: findings::Memory::default(),
            view: Arc::new(DeploymentView::empty(deployment)),
        }
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
        let before = Arc::clone(&self.view);
        let deployment = Arc::clone(&before.deployment);
        let accrued = self.accrued(round, &deployment);
        let expect = deployment.expect.at(round.at);

        // Each node by itself.
        let syncs = link::syncs(&before.nodes);
        let taken = deployment.nodes.iter().zip(&mut self.nodes).zip(&round.outcomes).zip(syncs);
        let (mut nodes, successions): (Vec<_>, Vec<_>) =
            taken.map(|(((node, memory), outcome), syncs)| memory.apply(node, outcome, round, accrued, &deployment, syncs)).unzip();

        // Who is where, and who follows whom.
        for (place, outcome) in round.outcomes.iter().enumerate() {
            if let (Outcome::Answered(answer), Some(_)) = (outcome, successions[place]) {
                self.places.learn(place, &answer.snapshot, answer.peer);
            }
        }
        self.places.settle();
        for (place, node) in nodes.iter_mut().enumerate() {
            node.attached = self.attached(node);
            node.upstream = following::upstream(node, place, &deployment, &self.places);
            node.expected_aof = expect.aof.zip(node.role()).and_then(|(aof, role)| aof.of(role));
        }

        // All of them together.
        let scene = shard::Scene {
            round,
            deployment: &deployment,
            expect,
            places: &self.places,
            successions: &successions,
            accrued,
            before: &before,
        };
        let shards = vec![self.shard.apply(&mut nodes, &scene)];

        let mut rounds = before.rounds;
        rounds.total += 1;
        rounds.missed += round.missed;
        rounds.blind += u64::from(round.blind);
        rounds.took = round.took;
        let mut view = DeploymentView {
            at: Some(round.at),
            elapsed: round.elapsed,
            expect,
            rounds,
            nodes,
            shards,
            findings: Vec::new(),
            history: Arc::clone(&before.history),
            deployment,
        };
        view.findings = self.findings.apply(&view);
        let events = events::between(&before, &view, &round.messages);
        if !events.is_empty() {
            let mut history = History::clone(&view.history);
            history.add(&events, view.nodes.len());
            view.history = Arc::new(history);
        }
        self.view = Arc::new(view);
        Step { view: Arc::clone(&self.view), events, wanted: self.shard.wanted().map(Wanted::Commands).collect() }
    }

    /// What is worth keeping over a restart of the exporter.
    pub fn remembered(&self) -> Remembered {
        let (primary, lineage) = self.shard.remembered();
        let node = |(place, memory): (usize, &Memory)| {
            let node = RememberedNode {
                run_id: memory.process.run_id().map(str::to_owned),
                replication_ids: lineage.ids(place).map(str::to_owned).collect(),
                appendfsync: memory.appendfsync.as_deref().map(str::to_owned),
            };
            (self.view.name(place).to_owned(), node)
        };
        Remembered {
            primary: primary.map(|primary| self.view.name(primary).to_owned()),
            nodes: self.nodes.iter().enumerate().map(node).collect(),
        }
    }

    /// Takes up what was kept, before the first round. `away` is the time since it was. Nodes that are no longer configured are left out.
    pub fn remember(&mut self, kept: &Remembered, away: Duration) {
        let place = |name: &str| self.view.nodes.iter().position(|node| node.node.name == name);
        let mut ids = Vec::new();
        for (place, node) in kept.nodes.iter().filter_map(|(name, node)| Some((place(name)?, node))) {
            ids.extend(node.replication_ids.iter().map(|id| (place, id.clone())));
            self.nodes[place].process.remember(node.run_id.as_deref(), &node.replication_ids, away);
            self.nodes[place].appendfsync = node.appendfsync.as_deref().map(Into::into);
        }
        self.shard.remember(kept.primary.as_deref().and_then(place), ids.into_iter());
    }

    /// The time this round may add to anything that accrues.
    fn accrued(&self, round: &Round, deployment: &Deployment) -> Duration {
        if self.view.at.is_none() {
            return deployment.interval;
        }
        round.elapsed.saturating_sub(self.view.elapsed).min(deployment.interval * MAX_ACCRUED_INTERVALS)
    }

    /// The replicas attached to a node, by the names of the nodes that they are.
    fn attached(&self, node: &NodeView) -> Vec<AttachedView> {
        let Some(snapshot) = node.snapshot() else { return Vec::new() };
        let named = |address: String| {
            let place = self.places.at(&self.view.deployment, &address);
            place.map_or(address, |place| self.view.name(place).to_owned())
        };
        let replicas = snapshot.replication.attached.iter();
        let mut views: Vec<_> =
            replicas.map(|seen| AttachedView { name: named(address(&seen.ip, seen.port)), seen: seen.clone() }).collect();
        // Two connections of one replica: the old one stays listed until it times out.
        views.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| b.seen.liveness().cmp(&a.seen.liveness())));
        views.dedup_by(|b, a| a.name == b.name);
        views
    }
}

// === impl Memory ===

impl Memory {
    /// What is known of the node now, and how the process that answered in this round follows on the one before.
    fn apply(
        &mut self,
        node: &Arc<Node>,
        outcome: &Outcome,
        round: &Round,
        accrued: Duration,
        deployment: &Deployment,
        syncs: Option<Syncs>,
    ) -> (NodeView, Option<Succession>) {
        let stranger = matches!(outcome, Outcome::Answered(answer) if self.process.is_stranger(&answer.snapshot, round.elapsed));
        let outcome = if stranger { &Outcome::Failed(Reason::Identity) } else { outcome };
        self.presence.apply(outcome, round.blind, round.elapsed, accrued, deployment.down_after);
        let mut succession = None;
        if let Outcome::Answered(answer) = outcome {
            let followed = self.process.apply(&answer.snapshot, round.elapsed);
            self.link.apply(&answer.snapshot, syncs, round.elapsed);
            self.counters.apply(answer, followed);
            let counters = self.counters.view();
            self.access.apply(&counters, rising::ACCESS_CODES, round.elapsed);
            self.oom.apply(&counters, rising::MEMORY_CODES, round.elapsed);
            let aof = &answer.snapshot.persistence.aof;
            // Switching it off is no recovery of the file.
            self.aof_failed = aof.failing() == Some(true) || (self.aof_failed && aof.enabled != Some(true));
            let policy = answer.snapshot.config.as_ref().and_then(|config| config.get("appendfsync"));
            if let Some(policy) = policy.filter(|policy| self.appendfsync.as_deref() != Some(policy)) {
                self.appendfsync = Some(policy.into());
            }
            self.last = Some(Arc::clone(&answer.snapshot));
            succession = Some(followed);
        }
        let presence = self.presence.presence();
        let polling = self.presence.polling().clone();
        let snapshot = self.last.as_deref().filter(|_| presence == Presence::Up);
        let view = NodeView {
            presence,
            process: self.process.view(),
            link: self.link.view(),
            counters: self.counters.view(),
            access_denied: self.access.risen(),
            memory_refused: self.oom.risen(),
            aof_failed: self.aof_failed,
            appendfsync: self.appendfsync.clone(),
            writes_refused: snapshot.map(|snapshot| refusals::writes(snapshot, polling.failing)).unwrap_or_default(),
            reads_refused: snapshot.map(|snapshot| refusals::reads(snapshot, polling.failing)).unwrap_or_default(),
            polling,
            last: self.last.clone(),
            ..NodeView::pending(node)
        };
        (view, succession)
    }
}
