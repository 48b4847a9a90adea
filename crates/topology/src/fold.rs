//! The fold: one round and what is remembered give the next view and its events.

use std::sync::Arc;
use std::time::Duration;

use snapshot::{NodeSnapshot, Reason};

use crate::deployment::address;
use crate::limits::MAX_ACCRUED_INTERVALS;
use crate::link::Syncs;
use crate::process::Succession;
use crate::{
    AttachedView, Deployment, DeploymentView, Event, History, Kind, NodeView, Outcome, Presence,
    Remembered, RememberedNode, Round, SentinelsView, cluster, counters, endpoints, events,
    findings, following, link, lost_writes, membership, places, presence, process, recent,
    refusals, rising, shards,
};

/// What is remembered of a deployment from round to round.
#[derive(Debug)]
pub struct Fold {
    nodes: Vec<Memory>,
    membership: membership::Memory,
    places: places::Places,
    cluster: cluster::Memory,
    shards: shards::Memory,
    endpoints: endpoints::Memory,
    findings: findings::Memory,
    /// What was kept from before, and how long ago; for nodes that were not found yet.
    kept: (Remembered, Duration),
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The statistics by command of the node at a place: what changed the primary.
    Commands(usize),
    /// The map of the cluster, from the node at a place.
    Map(usize),
    /// The list of the clients of the node at a place: who writes to a replica.
    Clients(usize),
    /// The host name of an address, which the label of a node takes.
    HostName(String),
}

/// What is remembered of one node: the memories of its facts.
#[derive(Debug, Default)]
struct Memory {
    last: Option<Arc<NodeSnapshot>>,
    presence: presence::Memory,
    askings: recent::Askings,
    process: process::Memory,
    link: link::Memory,
    counters: counters::Memory,
    access: rising::Memory,
    oom: rising::Memory,
    aof_failed: bool,
    /// Keys were evicted between the last two answers of one process.
    evicting: bool,
    /// See [`NodeView::written`].
    written: Option<u64>,
    appendfsync: Option<Arc<str>>,
}

impl Fold {
    /// Nothing is known yet.
    pub fn new(deployment: Arc<Deployment>) -> Self {
        Fold {
            nodes: deployment.nodes.iter().map(|_| Memory::default()).collect(),
            membership: membership::Memory::default(),
            places: places::Places::default(),
            cluster: cluster::Memory::default(),
            shards: shards::Memory::default(),
            endpoints: endpoints::Memory::default(),
            findings: findings::Memory::default(),
            kept: Default::default(),
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
        let mut before = Arc::clone(&self.view);
        let mut deployment = Arc::clone(&before.deployment);
        let accrued = self.accrued(round, &deployment);
        let expect = deployment.expect.at(round.at);

        // Each node by itself.
        let syncs = link::syncs(&before.nodes);
        let taken = self.nodes.iter_mut().enumerate().zip(syncs);
        let (mut nodes, mut successions): (Vec<_>, Vec<_>) = taken
            .map(|((place, memory), syncs)| memory.apply(place, round, accrued, &deployment, syncs))
            .unzip();

        // Who belongs to the deployment.
        let is_cluster = deployment.kind == Kind::Cluster;
        if is_cluster {
            let answered: Vec<_> = successions.iter().map(Option::is_some).collect();
            self.cluster.learn(&nodes, &answered, round.elapsed);
        }
        let changes = self.membership.apply(&deployment, &nodes, &mut self.cluster, round);
        if let Some(changed) = changes.deployment {
            deployment = changed;
            self.shards.removed(&changes.removed);
            before = self.regroup(&before, &deployment, &changes.gone, &changes.moved, &mut nodes);
            successions.resize(nodes.len(), None);
            changes.gone.iter().for_each(|place| successions[*place] = None);
        }

        // Who is where, and who follows whom.
        for (place, outcome) in round.outcomes.iter().enumerate() {
            if let (Outcome::Answered(answer), Some(_)) = (outcome, successions[place]) {
                self.places.learn(place, &answer.snapshot, answer.peer);
            }
        }
        self.places.settle();
        let mut sentinels = SentinelsView::hear(&nodes, &deployment, &self.places);
        for (place, node) in nodes.iter_mut().enumerate() {
            node.disk = round.disks.get(place).copied().flatten();
            node.attached = self.attached(node, &deployment);
            node.upstream = following::upstream(node, place, &deployment, &self.places);
            node.expected_aof = expect.aof.zip(node.role()).and_then(|(aof, role)| aof.of(role));
        }

        // All of them together.
        let stage = shards::Stage {
            round,
            deployment: &deployment,
            expect,
            successions: &successions,
            accrued,
            before: &before,
            sentinels: sentinels.as_ref(),
            listed: &changes.listed,
        };
        let (shards, cluster) = if is_cluster {
            let shards = self.shards.parts(&mut nodes, &self.cluster, &stage);
            let replaced: Vec<_> = shards.iter().flat_map(|shard| &shard.stale).copied().collect();
            let cluster = self.cluster.view(&nodes, &replaced, changes.ghosts);
            (shards, Some(cluster))
        } else {
            (self.shards.whole(&mut nodes, &stage), None)
        };
        let acting: Vec<_> = shards.iter().flat_map(|shard| &shard.acting).copied().collect();
        let endpoints = self.endpoints.apply(&nodes, &acting, &stage);
        if let Some(sentinels) = &mut sentinels {
            let was_listed = before.sentinels.as_ref().is_some_and(|before| before.listed);
            sentinels.listed = was_listed || (sentinels.listed && changes.unnamed.is_empty());
            sentinels.compare(
                shards.first().and_then(|shard| shard.primary).map(|primary| primary.node),
            );
        }

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
            endpoints,
            sentinels,
            cluster,
            names: Arc::clone(&round.resolved),
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
        let mut wanted: Vec<_> = self.shards.wanted().collect();
        wanted.extend(changes.unnamed.into_iter().map(Wanted::HostName));
        if is_cluster {
            wanted.extend(self.cluster.wanted(&self.view.nodes).into_iter().map(Wanted::Map));
        }
        Step { view: Arc::clone(&self.view), events, wanted }
    }

    /// Takes up that other nodes belong to the deployment: room for new ones, and no memory of those that are gone. Gives what was known
    /// before, by the places of now.
    fn regroup(
        &mut self,
        before: &DeploymentView,
        deployment: &Deployment,
        gone: &[usize],
        moved: &[usize],
        nodes: &mut Vec<NodeView>,
    ) -> Arc<DeploymentView> {
        let mut before = before.clone();
        for place in gone {
            self.nodes[*place] = Memory::default();
            self.places.clear(*place);
            self.shards.clear(*place);
            self.cluster.clear(*place);
        }
        for (place, node) in deployment.nodes.iter().enumerate() {
            let pending = || NodeView::pending(node);
            match nodes.get_mut(place) {
                Some(known) if Arc::ptr_eq(&known.node, node) => continue,
                // It moved, and keeps what is known of it.
                Some(known) if moved.contains(&place) => {
                    if known.node.name != node.name {
                        // Whether it answers under its new name is not known yet.
                        self.nodes[place].presence = presence::Memory::default();
                        for view in [&mut *known, &mut before.nodes[place]] {
                            (view.presence, view.polling) =
                                (Presence::Pending, crate::Polling::default());
                        }
                    }
                    known.node = Arc::clone(node);
                    self.places.clear(place);
                    continue;
                }
                Some(known) => (*known, before.nodes[place]) = (pending(), pending()),
                None => {
                    nodes.push(pending());
                    before.nodes.push(pending());
                    self.nodes.push(Memory::default());
                }
            }
            self.recall(place, &node.name);
        }
        Arc::new(before)
    }

    /// What is worth keeping over a restart of the exporter.
    pub fn remembered(&self) -> Remembered {
        let is_cluster = self.view.deployment.kind == Kind::Cluster;
        let mut last = None;
        let node = |(place, view): (usize, &NodeView)| {
            let memory = &self.nodes[place];
            let (was_primary, replication_ids) = self.shards.remembered(place);
            if was_primary {
                last = Some(view.node.name.clone());
            }
            let node = RememberedNode {
                primary: was_primary && is_cluster,
                run_id: memory.process.run_id().map(str::to_owned),
                replication_ids,
                epoch: self.shards.epoch(place),
                appendfsync: memory.appendfsync.as_deref().map(str::to_owned),
            };
            (view.node.name.clone(), node)
        };
        // What was kept of nodes that were not found yet is kept further.
        let (kept, _) = &self.kept;
        let mut nodes = kept.nodes.clone();
        nodes.extend(self.view.members().map(node));
        let last = last.filter(|_| !is_cluster).or_else(|| kept.primary.clone());
        Remembered { primary: last, nodes }
    }

    /// Takes up what was kept, before the first round. `away` is the time since it was. What was kept of a node that is still to be found
    /// is taken up when it is.
    pub fn remember(&mut self, kept: Remembered, away: Duration) {
        self.kept = (kept, away);
        for (place, node) in self.view.deployment.nodes.clone().iter().enumerate() {
            self.recall(place, &node.name);
        }
    }

    /// Takes up what was kept of the node at a place.
    fn recall(&mut self, place: usize, name: &str) {
        let (kept, away) = &mut self.kept;
        let Some(node) = kept.nodes.remove(name) else { return };
        self.nodes[place].process.remember(node.run_id.as_deref(), &node.replication_ids, *away);
        self.nodes[place].appendfsync = node.appendfsync.as_deref().map(Into::into);
        let was_primary = node.primary || kept.primary.as_deref() == Some(name);
        self.shards.remember(place, was_primary, node);
    }

    /// The time this round may add to anything that accrues.
    fn accrued(&self, round: &Round, deployment: &Deployment) -> Duration {
        if self.view.at.is_none() {
            return deployment.interval;
        }
        round
            .elapsed
            .saturating_sub(self.view.elapsed)
            .min(deployment.interval * MAX_ACCRUED_INTERVALS)
    }

    /// The replicas attached to a node, by the names of the nodes that they are.
    fn attached(&self, node: &NodeView, deployment: &Deployment) -> Vec<AttachedView> {
        let Some(snapshot) = node.snapshot() else { return Vec::new() };
        let named = |address: String| {
            let place = self.places.at(deployment, &address);
            place.map_or(address, |place| deployment.nodes[place].name.clone())
        };
        let replicas = snapshot.replication.attached.iter();
        let mut views: Vec<_> = replicas
            .map(|seen| AttachedView {
                name: named(address(&seen.ip, seen.port)),
                seen: seen.clone(),
            })
            .collect();
        // Two connections of one replica: the old one stays listed until it times out.
        views.sort_by(|a, b| {
            a.name.cmp(&b.name).then_with(|| b.seen.liveness().cmp(&a.seen.liveness()))
        });
        views.dedup_by(|b, a| a.name == b.name);
        views
    }
}

// === impl Memory ===

impl Memory {
    /// What is known of the node now, and how the process that answered in this round follows on the one before.
    fn apply(
        &mut self,
        place: usize,
        round: &Round,
        accrued: Duration,
        deployment: &Deployment,
        syncs: Option<Syncs>,
    ) -> (NodeView, Option<Succession>) {
        let (node, outcome) = (&deployment.nodes[place], &round.outcomes[place]);
        let stranger = matches!(outcome, Outcome::Answered(answer) if self.process.is_stranger(&answer.snapshot, round.elapsed));
        let outcome = if stranger { &Outcome::Failed(Reason::Identity) } else { outcome };
        self.presence.apply(outcome, round.blind, round.elapsed, accrued, deployment.down_after);
        recent::note(&mut self.askings, outcome, place, round);
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
                self.last.as_deref().filter(|_| followed == Succession::Same).and_then(evicted);
            self.evicting =
                before.zip(evicted(&answer.snapshot)).is_some_and(|(before, now)| now > before);
            let before = self.last.as_deref().filter(|_| followed == Succession::Same);
            self.written = lost_writes::written(before.zip(self.written), &answer.snapshot);
            self.last = Some(Arc::clone(&answer.snapshot));
            succession = Some(followed);
        }
        let presence = self.presence.presence();
        let polling = self.presence.polling().clone();
        let snapshot = self.last.as_deref().filter(|_| presence == Presence::Up);
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
