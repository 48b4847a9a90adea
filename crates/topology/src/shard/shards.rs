//! The shards of a deployment: one for all nodes, or of a cluster one for each set of slots, whose nodes come and go.
//!
//! Each shard of a cluster has seats of its own, so that its memories know only its nodes. A shard is known by the lowest slot that it had
//! when it was first seen: that survives failovers and the moving of slots, so that no series becomes another's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use snapshot::Role;

use crate::discovery::cluster;
use crate::discovery::sentinels::SentinelsView;
use crate::model::deployment::{Deployment, Expectations, Labels, NodeKind};
use crate::model::round::{NodeReply, PollOutcome, Round};
use crate::model::saved_state::SavedNode;
use crate::model::view::{DeploymentView, NodeView, ShardView};
use crate::node::process::ProcessChange;
use crate::shard;
use crate::shard::ShardContext;
use crate::shard::lag;
use crate::shard::upstream::Upstream;
use crate::tracker::ReadRequest;

/// What is remembered of the shards.
#[derive(Debug, Default)]
pub(crate) struct ShardsTracker {
    /// Of all nodes, where there is one shard.
    whole: shard::ShardTracker,
    parts: Vec<TrackedShard>,
    /// What was kept of nodes that have no seat in a shard yet, by their places, and whether they were primary.
    kept: BTreeMap<usize, (bool, SavedNode)>,
}

/// What is remembered of one shard of a cluster.
#[derive(Debug)]
struct TrackedShard {
    label: String,
    labels: Arc<Labels>,
    /// The id of the node that serves its slots.
    owner: Box<str>,
    memory: shard::ShardTracker,
    /// The places of its nodes.
    seats: Vec<Option<usize>>,
}

/// One round, as all shards see it.
pub(crate) struct RoundContext<'a> {
    pub(crate) round: &'a Round,
    pub(crate) deployment: &'a Deployment,
    pub(crate) expect: Expectations,
    pub(crate) successions: &'a [Option<ProcessChange>],
    pub(crate) accrued: Duration,
    pub(crate) before: &'a DeploymentView,
    pub(crate) sentinels: Option<&'a SentinelsView>,
    pub(crate) listed: &'a [usize],
}

impl ShardsTracker {
    /// Forms the facts of the one shard that all nodes are.
    pub(crate) fn whole(
        &mut self,
        nodes: &mut [NodeView],
        context: &RoundContext<'_>,
    ) -> Vec<ShardView> {
        let late: Vec<_> = context.before.nodes.iter().map(|node| node.lag).collect();
        let answers: Vec<_> = (0..nodes.len()).map(|index| context.answer(index)).collect();
        let context = context.context(
            (context.successions, &answers),
            &late,
            &context.before.shards[0].labels,
            None,
            context.listed,
        );
        vec![self.whole.observe(nodes, &context)]
    }

    /// Forms the facts of each shard of a cluster.
    pub(crate) fn parts(
        &mut self,
        nodes: &mut [NodeView],
        cluster: &cluster::ClusterTracker,
        context: &RoundContext<'_>,
    ) -> Vec<ShardView> {
        self.divide(nodes, cluster, context.deployment);
        self.parts.iter_mut().map(|part| part.observe(nodes, cluster, context)).collect()
    }

    /// Finds the shards, and seats each node in its own.
    fn divide(
        &mut self,
        nodes: &[NodeView],
        cluster: &cluster::ClusterTracker,
        deployment: &Deployment,
    ) {
        for owner in cluster.shards() {
            let index = cluster.index(&owner.id);
            let same = |part: &TrackedShard| part.owner == owner.id;
            // A replica that was promoted serves the slots of the shard that it is in.
            let promoted = |part: &TrackedShard| {
                index.is_some_and(|index| part.seats.contains(&Some(index)))
                    && !cluster.shards().iter().any(|other| other.id == part.owner)
            };
            let known =
                self.parts.iter().position(same).or_else(|| self.parts.iter().position(promoted));
            match known {
                Some(known) => self.parts[known].owner.clone_from(&owner.id),
                None => self.found(owner, deployment),
            }
        }
        // One that was merged into others is no more.
        self.parts.retain(|part| cluster.shards().iter().any(|owner| owner.id == part.owner));
        for (index, node) in nodes.iter().enumerate() {
            let owner =
                cluster.id(index).and_then(|id| cluster.owner_of(id)).map(|owner| &owner.id);
            for part in &mut self.parts {
                let seat = part.seats.iter().position(|seat| *seat == Some(index));
                // A master whose slots another one took was that of its shard before; one that has none by its own word is of none.
                let lingers = || seat.is_some() && !cluster.is_empty_master(index, node);
                let there =
                    node.node.kind != NodeKind::Vacant && !cluster::ClusterTracker::was_reset(node);
                let belongs = there && owner.map_or_else(lingers, |owner| part.owner == *owner);
                match seat {
                    Some(seat) if !belongs => {
                        part.free(seat);
                        // It went elsewhere, and is not missed here.
                        part.memory.removed(usize::from(node.node.kind != NodeKind::Vacant));
                    }
                    None if belongs => part.seat(index, self.kept.remove(&index)),
                    _ => {}
                }
            }
        }
    }

    fn found(&mut self, owner: &cluster::Owner, deployment: &Deployment) {
        let taken = |label: &str| self.parts.iter().any(|part| part.label == label);
        let label = (owner.lowest..cluster::SLOTS)
            .map(|slot| slot.to_string())
            .find(|label| !taken(label))
            .unwrap_or_default();
        let mut labels = deployment.labels.clone();
        labels.insert(1, ("shard".to_owned(), label.clone()));
        let part = TrackedShard {
            label,
            labels: Arc::new(labels),
            owner: owner.id.clone(),
            memory: shard::ShardTracker::default(),
            seats: Vec::new(),
        };
        let later = self
            .parts
            .iter()
            .position(|other| other.number() > part.number())
            .unwrap_or(self.parts.len());
        self.parts.insert(later, part);
    }

    /// What the facts wait for.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = ReadRequest> {
        let of_part = |part: &TrackedShard, wanted: ReadRequest| match wanted {
            ReadRequest::CommandStats(seat) => {
                Some(ReadRequest::CommandStats((*part.seats.get(seat)?)?))
            }
            ReadRequest::ClientList(seat) => {
                Some(ReadRequest::ClientList((*part.seats.get(seat)?)?))
            }
            ReadRequest::ClusterMap(_) | ReadRequest::HostName(_) => None,
        };
        let of_parts = self.parts.iter().flat_map(move |part| {
            part.memory.wanted().filter_map(move |wanted| of_part(part, wanted))
        });
        self.whole.wanted().chain(of_parts)
    }

    /// The primaries, and the histories of the node at a place.
    pub(crate) fn remembered(&self, index: usize) -> (bool, Vec<String>) {
        let of = |memory: &shard::ShardTracker, seat: usize| {
            let (primary, lineage) = memory.remembered();
            (primary == Some(seat), lineage.ids(seat).map(str::to_owned).collect())
        };
        let part = self.parts.iter().find_map(|part| {
            Some((part, part.seats.iter().position(|seat| *seat == Some(index))?))
        });
        part.map_or_else(|| of(&self.whole, index), |(part, seat)| of(&part.memory, seat))
    }

    /// Takes up what was kept of the node at a place.
    pub(crate) fn remember(&mut self, index: usize, was_primary: bool, kept: SavedNode) {
        self.whole.remember(index, was_primary, &kept);
        self.kept.insert(index, (was_primary, kept));
    }

    /// The highest epoch at which a Sentinel named the node at a place.
    pub(crate) fn epoch(&self, index: usize) -> Option<u64> {
        self.whole.epoch(index)
    }

    /// Replicas were taken away: they are not missed.
    pub(crate) fn removed(&mut self, indices: &[usize]) {
        self.whole.removed(indices.len());
        for part in &mut self.parts {
            part.memory.removed(
                indices.iter().filter(|index| part.seats.contains(&Some(**index))).count(),
            );
        }
    }

    /// Forgets the node at a place, which is gone.
    pub(crate) fn clear(&mut self, index: usize) {
        self.whole.clear(index);
        self.kept.remove(&index);
        for part in &mut self.parts {
            if let Some(seat) = part.seats.iter().position(|seat| *seat == Some(index)) {
                part.free(seat);
            }
        }
    }
}

impl TrackedShard {
    fn number(&self) -> u16 {
        self.label.parse().unwrap_or_default()
    }

    fn seat(&mut self, index: usize, kept: Option<(bool, SavedNode)>) {
        let seat = self.seats.iter().position(Option::is_none).unwrap_or(self.seats.len());
        self.seats.resize(self.seats.len().max(seat + 1), None);
        self.seats[seat] = Some(index);
        if let Some((was_primary, kept)) = kept {
            self.memory.remember(seat, was_primary, &kept);
        }
    }

    fn free(&mut self, seat: usize) {
        self.seats[seat] = None;
        self.memory.clear(seat);
    }

    /// Forms the facts of the shard, from its own nodes: what they follow among themselves is known by their seats meanwhile.
    fn observe(
        &mut self,
        nodes: &mut [NodeView],
        cluster: &cluster::ClusterTracker,
        context: &RoundContext<'_>,
    ) -> ShardView {
        let seats = &self.seats;
        let seat_of = |index: usize| seats.iter().position(|seat| *seat == Some(index));
        let nobody = NodeView::vacant();
        let mut own: Vec<NodeView> = seats
            .iter()
            .map(|seat| seat.map_or_else(|| nobody.clone(), |index| nodes[index].clone()))
            .collect();
        for node in &mut own {
            if let Upstream::Node(index) = node.upstream {
                node.upstream = seat_of(index).map_or_else(
                    || Upstream::Unknown(nodes[index].node.address.clone()),
                    Upstream::Node,
                );
            }
        }
        let successions: Vec<_> = seats.iter().map(|seat| context.successions[(*seat)?]).collect();
        let late: Vec<_> = seats
            .iter()
            .map(|seat| {
                seat.map_or_else(lag::Lag::default, |index| context.before.nodes[index].lag)
            })
            .collect();
        let known = cluster.shards().iter().find(|owner| owner.id == self.owner);
        let promoted = known.and_then(|known| {
            own.iter().position(|node| {
                node.role() == Some(Role::Master) && epoch(node) > Some(known.epoch)
            })
        });
        let owner = promoted.or_else(|| cluster.index(&self.owner).and_then(seat_of));
        let all: Vec<_> = (0..own.len()).collect();
        let answers: Vec<_> = seats.iter().map(|seat| context.answer((*seat)?)).collect();
        let context = context.context((&successions, &answers), &late, &self.labels, owner, &all);
        let mut view = self.memory.observe(&mut own, &context);
        for (seat, mut node) in self.seats.iter().zip(own) {
            if let Some(index) = *seat {
                node.upstream = nodes[index].upstream.clone();
                nodes[index] = node;
            }
        }
        view.shard = Some(self.label.clone());
        view.at_places(|seat| self.seats[seat].unwrap_or_default());
        view
    }
}

impl<'a> RoundContext<'a> {
    fn answer(&self, index: usize) -> Option<&'a NodeReply> {
        match self.round.outcomes.get(index) {
            Some(PollOutcome::Answered(answer)) => Some(answer),
            _ => None,
        }
    }

    fn context(
        &self,
        (successions, answers): (&'a [Option<ProcessChange>], &'a [Option<&'a NodeReply>]),
        late: &'a [lag::Lag],
        labels: &'a Arc<Labels>,
        owner: Option<usize>,
        listed: &'a [usize],
    ) -> ShardContext<'a> {
        ShardContext {
            round: self.round,
            deployment: self.deployment,
            expect: self.expect,
            successions,
            answers,
            accrued: self.accrued,
            late: (late, self.before.elapsed),
            labels,
            sentinels: self.sentinels,
            owner,
            listed,
        }
    }
}

/// The epoch of the slots that a node serves, by its own word, which is newer than any map.
fn epoch(node: &NodeView) -> Option<u64> {
    node.snapshot()?.cluster.as_ref()?.count("cluster_my_epoch")
}
