//! The shards of a deployment: one for all nodes, or of a cluster one for each set of slots, whose nodes come and go.
//!
//! Each shard of a cluster has seats of its own, so that its memories know only its nodes. A shard is known by the lowest slot that it had
//! when it was first seen: that survives failovers and the moving of slots, so that no series becomes another's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use snapshot::Role;

use crate::process::Succession;
use crate::shard::Scene;
use crate::{
    Answer, Deployment, DeploymentView, Expectations, Labels, NodeKind, NodeView, Outcome,
    RememberedNode, Round, SentinelsView, ShardView, Upstream, Wanted,
};
use crate::{cluster, lag, shard};

/// What is remembered of the shards.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Of all nodes, where there is one shard.
    whole: shard::Memory,
    parts: Vec<Part>,
    /// What was kept of nodes that have no seat in a shard yet, by their places, and whether they were primary.
    kept: BTreeMap<usize, (bool, RememberedNode)>,
}

/// What is remembered of one shard of a cluster.
#[derive(Debug)]
struct Part {
    label: String,
    labels: Arc<Labels>,
    /// The id of the node that serves its slots.
    owner: Box<str>,
    memory: shard::Memory,
    /// The places of its nodes.
    seats: Vec<Option<usize>>,
}

/// One round, as all shards see it.
pub(crate) struct Stage<'a> {
    pub(crate) round: &'a Round,
    pub(crate) deployment: &'a Deployment,
    pub(crate) expect: Expectations,
    pub(crate) successions: &'a [Option<Succession>],
    pub(crate) accrued: Duration,
    pub(crate) before: &'a DeploymentView,
    pub(crate) sentinels: Option<&'a SentinelsView>,
    pub(crate) listed: &'a [usize],
}

impl Memory {
    /// Forms the facts of the one shard that all nodes are.
    pub(crate) fn whole(&mut self, nodes: &mut [NodeView], stage: &Stage<'_>) -> Vec<ShardView> {
        let late: Vec<_> = stage.before.nodes.iter().map(|node| node.lag).collect();
        let answers: Vec<_> = (0..nodes.len()).map(|place| stage.answer(place)).collect();
        let scene = stage.scene(
            (stage.successions, &answers),
            &late,
            &stage.before.shards[0].labels,
            None,
            stage.listed,
        );
        vec![self.whole.apply(nodes, &scene)]
    }

    /// Forms the facts of each shard of a cluster.
    pub(crate) fn parts(
        &mut self,
        nodes: &mut [NodeView],
        cluster: &cluster::Memory,
        stage: &Stage<'_>,
    ) -> Vec<ShardView> {
        self.divide(nodes, cluster, stage.deployment);
        self.parts.iter_mut().map(|part| part.apply(nodes, cluster, stage)).collect()
    }

    /// Finds the shards, and seats each node in its own.
    fn divide(&mut self, nodes: &[NodeView], cluster: &cluster::Memory, deployment: &Deployment) {
        for owner in cluster.shards() {
            let place = cluster.place(&owner.id);
            let same = |part: &Part| part.owner == owner.id;
            // A replica that was promoted serves the slots of the shard that it is in.
            let promoted = |part: &Part| {
                place.is_some_and(|place| part.seats.contains(&Some(place)))
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
        for (place, node) in nodes.iter().enumerate() {
            let owner =
                cluster.id(place).and_then(|id| cluster.owner_of(id)).map(|owner| &owner.id);
            for part in &mut self.parts {
                let seat = part.seats.iter().position(|seat| *seat == Some(place));
                // A master whose slots another one took was that of its shard before; one that has none by its own word is of none.
                let lingers = || seat.is_some() && !cluster.is_empty_master(place, node);
                let there = node.node.kind != NodeKind::Vacant && !cluster::Memory::was_reset(node);
                let belongs = there && owner.map_or_else(lingers, |owner| part.owner == *owner);
                match seat {
                    Some(seat) if !belongs => {
                        part.free(seat);
                        // It went elsewhere, and is not missed here.
                        part.memory.removed(usize::from(node.node.kind != NodeKind::Vacant));
                    }
                    None if belongs => part.seat(place, self.kept.remove(&place)),
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
        let part = Part {
            label,
            labels: Arc::new(labels),
            owner: owner.id.clone(),
            memory: shard::Memory::default(),
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
    pub(crate) fn wanted(&self) -> impl Iterator<Item = Wanted> {
        let of_part = |part: &Part, wanted: Wanted| match wanted {
            Wanted::Commands(seat) => Some(Wanted::Commands((*part.seats.get(seat)?)?)),
            Wanted::Clients(seat) => Some(Wanted::Clients((*part.seats.get(seat)?)?)),
            Wanted::Map(_) | Wanted::HostName(_) => None,
        };
        let of_parts = self.parts.iter().flat_map(move |part| {
            part.memory.wanted().filter_map(move |wanted| of_part(part, wanted))
        });
        self.whole.wanted().chain(of_parts)
    }

    /// The primaries, and the histories of the node at a place.
    pub(crate) fn remembered(&self, place: usize) -> (bool, Vec<String>) {
        let of = |memory: &shard::Memory, seat: usize| {
            let (primary, lineage) = memory.remembered();
            (primary == Some(seat), lineage.ids(seat).map(str::to_owned).collect())
        };
        let part = self.parts.iter().find_map(|part| {
            Some((part, part.seats.iter().position(|seat| *seat == Some(place))?))
        });
        part.map_or_else(|| of(&self.whole, place), |(part, seat)| of(&part.memory, seat))
    }

    /// Takes up what was kept of the node at a place.
    pub(crate) fn remember(&mut self, place: usize, was_primary: bool, kept: RememberedNode) {
        self.whole.remember(place, was_primary, &kept);
        self.kept.insert(place, (was_primary, kept));
    }

    /// The highest epoch at which a Sentinel named the node at a place.
    pub(crate) fn epoch(&self, place: usize) -> Option<u64> {
        self.whole.epoch(place)
    }

    /// Replicas were taken away: they are not missed.
    pub(crate) fn removed(&mut self, places: &[usize]) {
        self.whole.removed(places.len());
        for part in &mut self.parts {
            part.memory
                .removed(places.iter().filter(|place| part.seats.contains(&Some(**place))).count());
        }
    }

    /// Forgets the node at a place, which is gone.
    pub(crate) fn clear(&mut self, place: usize) {
        self.whole.clear(place);
        self.kept.remove(&place);
        for part in &mut self.parts {
            if let Some(seat) = part.seats.iter().position(|seat| *seat == Some(place)) {
                part.free(seat);
            }
        }
    }
}

impl Part {
    fn number(&self) -> u16 {
        self.label.parse().unwrap_or_default()
    }

    fn seat(&mut self, place: usize, kept: Option<(bool, RememberedNode)>) {
        let seat = self.seats.iter().position(Option::is_none).unwrap_or(self.seats.len());
        self.seats.resize(self.seats.len().max(seat + 1), None);
        self.seats[seat] = Some(place);
        if let Some((was_primary, kept)) = kept {
            self.memory.remember(seat, was_primary, &kept);
        }
    }

    fn free(&mut self, seat: usize) {
        self.seats[seat] = None;
        self.memory.clear(seat);
    }

    /// Forms the facts of the shard, from its own nodes: what they follow among themselves is known by their seats meanwhile.
    fn apply(
        &mut self,
        nodes: &mut [NodeView],
        cluster: &cluster::Memory,
        stage: &Stage<'_>,
    ) -> ShardView {
        let seats = &self.seats;
        let seat_of = |place: usize| seats.iter().position(|seat| *seat == Some(place));
        let nobody = NodeView::vacant();
        let mut own: Vec<NodeView> = seats
            .iter()
            .map(|seat| seat.map_or_else(|| nobody.clone(), |place| nodes[place].clone()))
            .collect();
        for node in &mut own {
            if let Upstream::Node(place) = node.upstream {
                node.upstream = seat_of(place).map_or_else(
                    || Upstream::Unknown(nodes[place].node.address.clone()),
                    Upstream::Node,
                );
            }
        }
        let successions: Vec<_> = seats.iter().map(|seat| stage.successions[(*seat)?]).collect();
        let late: Vec<_> = seats
            .iter()
            .map(|seat| seat.map_or_else(lag::Lag::default, |place| stage.before.nodes[place].lag))
            .collect();
        let known = cluster.shards().iter().find(|owner| owner.id == self.owner);
        let promoted = known.and_then(|known| {
            own.iter().position(|node| {
                node.role() == Some(Role::Master) && epoch(node) > Some(known.epoch)
            })
        });
        let owner = promoted.or_else(|| cluster.place(&self.owner).and_then(seat_of));
        let all: Vec<_> = (0..own.len()).collect();
        let answers: Vec<_> = seats.iter().map(|seat| stage.answer((*seat)?)).collect();
        let scene = stage.scene((&successions, &answers), &late, &self.labels, owner, &all);
        let mut view = self.memory.apply(&mut own, &scene);
        for (seat, mut node) in self.seats.iter().zip(own) {
            if let Some(place) = *seat {
                node.upstream = nodes[place].upstream.clone();
                nodes[place] = node;
            }
        }
        view.shard = Some(self.label.clone());
        view.at_places(|seat| self.seats[seat].unwrap_or_default());
        view
    }
}

impl<'a> Stage<'a> {
    fn answer(&self, place: usize) -> Option<&'a Answer> {
        match self.round.outcomes.get(place) {
            Some(Outcome::Answered(answer)) => Some(answer),
            _ => None,
        }
    }

    fn scene(
        &self,
        (successions, answers): (&'a [Option<Succession>], &'a [Option<&'a Answer>]),
        late: &'a [lag::Lag],
        labels: &'a Arc<Labels>,
        owner: Option<usize>,
        listed: &'a [usize],
    ) -> Scene<'a> {
        Scene {
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
