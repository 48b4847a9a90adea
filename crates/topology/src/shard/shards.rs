//! Tracker of all shards of a deployment: one for all nodes, or one for each set of slots of a
//! cluster.
//!
//! The label of a cluster shard is the lowest slot that it had when it was first seen. It stays
//! the same through failovers and slot migrations, so no series changes its meaning.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use snapshot::{Role, SLOTS};

use crate::discovery::cluster::{ClusterTracker, SlotOwner};
use crate::model::deployment::{Deployment, DeploymentKind, Labels, NodeKind};
use crate::model::node::NodeView;
use crate::model::node_index::{NodeIndex, NodeMap, NodeVec};
use crate::model::read_request::ReadRequest;
use crate::model::saved_state::SavedClaims;
use crate::model::shard::ShardView;
use crate::shard::context::{RoundContext, ShardContext};
use crate::shard::tracker::{SavedMember, ShardTracker};

/// Tracks the shards of a deployment.
#[derive(Debug, Default)]
pub(crate) struct ShardsTracker {
    /// The only shard of a deployment that is no cluster.
    single: ShardTracker,
    /// The shards of a cluster, ordered by their labels.
    cluster: Vec<ClusterShard>,
    /// Saved state of nodes that have not joined a shard yet.
    saved: BTreeMap<NodeIndex, SavedMember>,
}

/// Tracks one shard of a cluster.
#[derive(Debug)]
struct ClusterShard {
    label: String,
    labels: Arc<Labels>,
    /// Cluster ID of the node that serves the slots.
    owner: Box<str>,
    tracker: ShardTracker,
    /// The nodes of the shard, in ascending order.
    members: Vec<NodeIndex>,
}

impl ShardsTracker {
    /// Processes one round.
    pub(crate) fn observe(
        &mut self,
        nodes: &mut NodeVec<NodeView>,
        cluster: &ClusterTracker,
        round: &RoundContext<'_>,
    ) -> Vec<ShardView> {
        match round.deployment.kind {
            DeploymentKind::Cluster => self.observe_cluster(nodes, cluster, round),
            DeploymentKind::Static | DeploymentKind::Sentinel | DeploymentKind::Dns => {
                vec![self.observe_single(nodes, round)]
            }
        }
    }

    fn observe_single(
        &mut self,
        nodes: &mut NodeVec<NodeView>,
        round: &RoundContext<'_>,
    ) -> ShardView {
        let members: Vec<_> = nodes.indices().collect();
        let context = ShardContext {
            round,
            members: &members,
            listed: round.listed,
            labels: &round.previous.shards[0].labels,
            slot_owner: None,
        };
        self.single.observe(nodes, &context)
    }

    fn observe_cluster(
        &mut self,
        nodes: &mut NodeVec<NodeView>,
        cluster: &ClusterTracker,
        round: &RoundContext<'_>,
    ) -> Vec<ShardView> {
        self.update_owners(cluster, round.deployment);
        self.update_members(nodes, cluster);
        self.cluster.iter_mut().map(|shard| shard.observe(nodes, cluster, round)).collect()
    }

    /// Adds shards for new owners of slots, and removes shards without an owner.
    fn update_owners(&mut self, cluster: &ClusterTracker, deployment: &Deployment) {
        let mut ownerless = OwnerlessShards::of(&self.cluster, cluster);
        let with_shard: HashSet<_> = self.cluster.iter().map(|shard| &shard.owner).collect();
        let (mut renamed, mut new) = (HashMap::new(), Vec::new());
        for owner in cluster.owners().iter().filter(|owner| !with_shard.contains(&owner.id)) {
            match ownerless.take(owner, cluster) {
                Some(former) => drop(renamed.insert(former, owner.id.clone())),
                None => new.push(owner),
            }
        }
        for shard in &mut self.cluster {
            if let Some(owner) = renamed.remove(&shard.owner) {
                shard.owner = owner;
            }
        }
        for owner in new {
            self.add_shard(owner, deployment);
        }
        // The slots of the others were merged into other shards.
        self.cluster.retain(|shard| cluster.owner(&shard.owner).is_some());
    }

    /// Adds the nodes to their shards, and removes those that belong to other ones now.
    fn update_members(&mut self, nodes: &NodeVec<NodeView>, cluster: &ClusterTracker) {
        let owners = nodes.iter().map(|(index, node)| {
            let has_shard = node.node.kind != NodeKind::Vacant && !ClusterTracker::was_reset(node);
            let id = cluster.id(index).filter(|_| has_shard);
            Membership { has_shard, owner: id.and_then(|id| cluster.owner_of(id)) }
        });
        let memberships: NodeVec<Membership<'_>> = owners.collect();
        for shard in &mut self.cluster {
            let leaves = |index: &NodeIndex| {
                let Membership { has_shard, owner } = memberships[*index];
                // A master whose slots another node serves stays in its former shard, unless its
                // own map says that it serves no slots.
                let lingers = || !cluster.is_empty_master(*index, &nodes[*index]);
                !has_shard || !owner.map_or_else(lingers, |owner| shard.owner == owner.id)
            };
            let leaving: Vec<_> = shard.members.iter().copied().filter(leaves).collect();
            for index in leaving {
                shard.remove(index);
                // The replica belongs to another shard and is not missed here.
                let is_vacant = nodes[index].node.kind == NodeKind::Vacant;
                shard.tracker.remove_replicas(usize::from(!is_vacant));
            }
        }
        let position =
            |(at, shard): (usize, &ClusterShard)| Some((&cluster.owner(&shard.owner)?.id, at));
        let positions: HashMap<_, _> =
            self.cluster.iter().enumerate().filter_map(position).collect();
        for (index, Membership { owner, .. }) in memberships.iter() {
            let position = owner.and_then(|owner| positions.get(&owner.id));
            let shard = position.and_then(|position| self.cluster.get_mut(*position));
            if let Some(shard) = shard.filter(|shard| !shard.contains(index)) {
                shard.add(index, self.saved.remove(&index));
            }
        }
    }

    fn add_shard(&mut self, owner: &SlotOwner, deployment: &Deployment) {
        let is_taken =
            |number: &u16| self.cluster.binary_search_by_key(number, ClusterShard::number).is_ok();
        // A shard keeps its label without that slot, so all numbers from there on may be taken.
        let label = (owner.lowest..SLOTS)
            .chain(0..owner.lowest)
            .find(|number| !is_taken(number))
            .map(|number| number.to_string())
            .unwrap_or_default();
        let mut labels = deployment.labels.clone();
        labels.insert(1, ("shard".to_owned(), label.clone()));
        let shard = ClusterShard {
            label,
            labels: Arc::new(labels),
            owner: owner.id.clone(),
            tracker: ShardTracker::default(),
            members: Vec::new(),
        };
        let position = self.cluster.partition_point(|other| other.number() <= shard.number());
        self.cluster.insert(position, shard);
    }

    /// Returns the replies that should be read in the next round.
    pub(crate) fn read_requests(&self) -> impl Iterator<Item = ReadRequest> {
        let of_cluster = self.cluster.iter().flat_map(|shard| shard.tracker.read_requests());
        self.single.read_requests().chain(of_cluster)
    }

    /// Returns the tracker of each node that belongs to a shard of a cluster. The state of the
    /// other nodes is in [`single`](Self::single).
    pub(crate) fn trackers(&self) -> NodeMap<&ShardTracker> {
        let mut trackers = NodeMap::new();
        for shard in &self.cluster {
            for member in &shard.members {
                // A node may linger in several shards. The first one has its state.
                trackers.entry(*member).or_insert(&shard.tracker);
            }
        }
        trackers
    }

    /// Returns the tracker of the only shard, or of the nodes without a shard.
    pub(crate) fn single(&self) -> &ShardTracker {
        &self.single
    }

    /// Returns the claims of all nodes, which are kept over a restart of the exporter.
    pub(crate) fn saved_claims(&self, nodes: &NodeVec<NodeView>) -> Vec<SavedClaims> {
        let has_shard: HashSet<_> = self.cluster.iter().flat_map(|shard| &shard.members).collect();
        let of_cluster = self
            .cluster
            .iter()
            .flat_map(|shard| shard.tracker.saved_claims(nodes, |index| shard.contains(index)));
        let others = self.single.saved_claims(nodes, |index| !has_shard.contains(&index));
        of_cluster.chain(others).collect()
    }

    /// Restores the saved state of a node.
    pub(crate) fn restore(&mut self, index: NodeIndex, member: SavedMember) {
        self.single.restore(index, &member);
        self.saved.insert(index, member);
    }

    /// Returns the highest epoch at which a Sentinel named the node.
    pub(crate) fn epoch(&self, index: NodeIndex) -> Option<u64> {
        self.single.epoch(index)
    }

    /// Lowers the expected numbers of replicas by those that were removed on purpose.
    pub(crate) fn remove_replicas(&mut self, removed: &[NodeIndex]) {
        self.single.remove_replicas(removed.len());
        for shard in &mut self.cluster {
            let count = removed.iter().filter(|index| shard.contains(**index)).count();
            shard.tracker.remove_replicas(count);
        }
    }

    /// Forgets a node that left.
    pub(crate) fn clear(&mut self, index: NodeIndex) {
        self.single.clear(index);
        self.saved.remove(&index);
        for shard in &mut self.cluster {
            if shard.contains(index) {
                shard.remove(index);
            }
        }
    }
}

/// Membership of a node in the shards of a cluster.
#[derive(Debug, Clone, Copy)]
struct Membership<'a> {
    /// The node can belong to a shard.
    has_shard: bool,
    /// The node that serves the slots of its shard, if it is known.
    owner: Option<&'a SlotOwner>,
}

/// Shards whose owner serves no slots any more.
struct OwnerlessShards {
    /// Former owners of the shards of each member. A node may linger in several shards.
    by_member: HashMap<NodeIndex, Vec<Box<str>>>,
    /// Position of the shard of each former owner.
    positions: HashMap<Box<str>, usize>,
}

impl OwnerlessShards {
    fn of(shards: &[ClusterShard], cluster: &ClusterTracker) -> Self {
        let mut ownerless =
            OwnerlessShards { by_member: HashMap::new(), positions: HashMap::new() };
        let shards = shards.iter().enumerate();
        for (position, shard) in shards.filter(|(_, shard)| cluster.owner(&shard.owner).is_none()) {
            ownerless.positions.insert(shard.owner.clone(), position);
            for member in &shard.members {
                ownerless.by_member.entry(*member).or_default().push(shard.owner.clone());
            }
        }
        ownerless
    }

    /// Removes the shard that a new owner continues, and returns its former owner.
    fn take(&mut self, owner: &SlotOwner, cluster: &ClusterTracker) -> Option<Box<str>> {
        // A promoted replica serves the slots of its shard.
        let index = cluster.index(&owner.id);
        let shards = index.and_then(|index| self.by_member.get(&index)).into_iter().flatten();
        let promoted = { shards }.find(|former| self.positions.contains_key(*former)).cloned();
        // Another node took the slots as a whole.
        let inherited = || {
            let former = cluster.taken_by(&owner.id).filter(|id| self.positions.contains_key(*id));
            former.min_by_key(|id| self.positions.get(*id)).map(Into::into)
        };
        let former = promoted.or_else(inherited)?;
        self.positions.remove(&former);
        Some(former)
    }
}

impl ClusterShard {
    fn number(&self) -> u16 {
        self.label.parse().unwrap_or_default()
    }

    fn contains(&self, index: NodeIndex) -> bool {
        self.members.binary_search(&index).is_ok()
    }

    fn add(&mut self, index: NodeIndex, saved: Option<SavedMember>) {
        if let Err(position) = self.members.binary_search(&index) {
            self.members.insert(position, index);
        }
        if let Some(saved) = saved {
            self.tracker.restore(index, &saved);
        }
    }

    fn remove(&mut self, index: NodeIndex) {
        self.members.retain(|member| *member != index);
        self.tracker.clear(index);
    }

    fn observe(
        &mut self,
        nodes: &mut NodeVec<NodeView>,
        cluster: &ClusterTracker,
        round: &RoundContext<'_>,
    ) -> ShardView {
        let context = ShardContext {
            round,
            members: &self.members,
            listed: &self.members,
            labels: &self.labels,
            slot_owner: self.slot_owner(nodes, cluster),
        };
        let mut view = self.tracker.observe(nodes, &context);
        view.shard = Some(self.label.clone());
        view
    }

    /// Returns the member that serves the slots: one that reports a higher epoch than the maps,
    /// which are older than its own report, or the owner according to the maps.
    fn slot_owner(&self, nodes: &NodeVec<NodeView>, cluster: &ClusterTracker) -> Option<NodeIndex> {
        let known = cluster.owner(&self.owner);
        let promoted = known.and_then(|known| {
            self.members.iter().copied().find(|index| {
                let node = &nodes[*index];
                node.role() == Some(Role::Master) && slot_epoch(node) > Some(known.epoch)
            })
        });
        promoted.or_else(|| cluster.index(&self.owner).filter(|index| self.contains(*index)))
    }
}

/// Returns the epoch of the slots that a node serves, as the node itself reports it.
fn slot_epoch(node: &NodeView) -> Option<u64> {
    node.snapshot()?.cluster.as_ref()?.count("cluster_my_epoch")
}
