//! Choice of the primary: the node that the evidence of the whole deployment identifies as the
//! real master.

use std::collections::HashSet;

use snapshot::{Replication, Role};

use crate::model::node_index::NodeIndex;
use crate::model::shard::{PrimaryEvidence, PrimaryView};
use crate::shard::lineage::{LineageTracker, MasterHistory};
use crate::shard::nodes::ShardNodes;

/// Evidence for the choice of the primary.
pub(crate) struct PrimaryCandidates<'a> {
    pub(crate) nodes: ShardNodes<'a>,
    /// The nodes that claim the role of master, in ascending order.
    pub(crate) masters: &'a [NodeIndex],
    pub(crate) lineage: &'a LineageTracker,
    /// The master that a majority of the Sentinels names and does not report as down.
    pub(crate) named: Option<NodeIndex>,
    /// In a cluster, the node that serves the slots at the highest epoch.
    pub(crate) slot_owner: Option<NodeIndex>,
    /// The last known primary.
    pub(crate) previous: Option<NodeIndex>,
}

impl PrimaryCandidates<'_> {
    /// Chooses the primary by the strongest evidence. Returns `None` if no node claims the role of
    /// master, or if nothing distinguishes those that do.
    pub(crate) fn choose(&self) -> Option<PrimaryView> {
        let unsucceeded: Vec<_> =
            self.masters.iter().copied().filter(|master| !self.is_succeeded(*master)).collect();
        // If each master continues the history of another one, none is the last.
        let candidates = if unsucceeded.is_empty() { self.masters } else { &unsucceeded };
        self.by_slots()
            .or_else(|| self.by_lineage(candidates))
            .or_else(|| self.by_sentinels(candidates))
            .or_else(|| self.by_default(candidates))
    }

    /// In a cluster, the slots decide.
    fn by_slots(&self) -> Option<PrimaryView> {
        let owner = self.slot_owner.filter(|owner| self.masters.contains(owner))?;
        (self.masters.len() > 1)
            .then_some(PrimaryView { node: owner, evidence: PrimaryEvidence::Epoch })
    }

    fn by_lineage(&self, candidates: &[NodeIndex]) -> Option<PrimaryView> {
        if self.masters.len() < 2 {
            return None;
        }
        let node = if let [node] = *candidates {
            node
        } else {
            let histories = self.replica_histories();
            only(candidates, |master| self.replid(master).is_some_and(|id| histories.contains(id)))?
        };
        Some(PrimaryView { node, evidence: PrimaryEvidence::Lineage })
    }

    fn by_sentinels(&self, candidates: &[NodeIndex]) -> Option<PrimaryView> {
        let node = self.named.filter(|named| candidates.contains(named))?;
        Some(PrimaryView { node, evidence: PrimaryEvidence::Sentinel })
    }

    fn by_default(&self, candidates: &[NodeIndex]) -> Option<PrimaryView> {
        if let [node] = *self.masters {
            return Some(PrimaryView { node, evidence: PrimaryEvidence::Sole });
        }
        // The expected role knows no failover. Among masters of one history the previous primary
        // is stronger evidence.
        let previous = self.previous.filter(|previous| candidates.contains(previous));
        let is_related = |previous: NodeIndex| {
            candidates
                .iter()
                .all(|other| *other == previous || self.lineage.related(*other, previous))
        };
        let expected =
            only(candidates, |master| self.nodes[master].node.expected_role == Some(Role::Master));
        let (node, evidence) = match (previous, expected) {
            (Some(previous), _) if is_related(previous) => (previous, PrimaryEvidence::Previous),
            (_, Some(expected)) => (expected, PrimaryEvidence::Expected),
            (Some(previous), None) => (previous, PrimaryEvidence::Previous),
            (None, None) => return None,
        };
        Some(PrimaryView { node, evidence })
    }

    /// Returns true if another master continued the history of this one.
    pub(crate) fn is_succeeded(&self, master: NodeIndex) -> bool {
        let Some(old) = self.history(master) else { return false };
        self.lineage
            .relatives(master)
            .filter(|other| self.masters.binary_search(other).is_ok())
            .filter_map(|other| self.history(other))
            .any(|new| self.lineage.succeeds(new, old))
    }

    /// Returns the histories that the replicas of the deployment hold.
    fn replica_histories(&self) -> HashSet<&str> {
        let replicas = self.nodes.values().filter(|node| node.role() == Some(Role::Replica));
        replicas.filter_map(|node| node.snapshot()?.replication.replid.as_deref()).collect()
    }

    fn replid(&self, index: NodeIndex) -> Option<&str> {
        self.replication(index)?.replid.as_deref()
    }

    fn history(&self, node: NodeIndex) -> Option<MasterHistory<'_>> {
        Some(MasterHistory { node, replication: self.replication(node)? })
    }

    fn replication(&self, index: NodeIndex) -> Option<&Replication> {
        Some(&self.nodes[index].snapshot()?.replication)
    }
}

/// Returns the node that fulfils a condition, if it is the only one.
fn only(indices: &[NodeIndex], condition: impl Fn(NodeIndex) -> bool) -> Option<NodeIndex> {
    let mut matching = indices.iter().copied().filter(|index| condition(*index));
    let first = matching.next()?;
    matching.next().is_none().then_some(first)
}
