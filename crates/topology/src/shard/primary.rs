//! Fact: the primary, the one node that the evidence of the whole deployment says is the real master.

use std::collections::HashSet;

use snapshot::{Replication, Role};

use crate::model::view::NodeView;
use crate::shard::lineage;

/// What says that a node is the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrimaryEvidence {
    /// It took over the history of the other masters, or the deployment's replicas hold its history.
    Lineage,
    /// Most Sentinels name it, at the highest epoch.
    Sentinel,
    /// No other node claims to be master.
    Sole,
    /// It serves the slots at the highest epoch of the cluster.
    Epoch,
    /// The configuration expects it to be master.
    Expected,
    /// It was the primary before, and nothing says otherwise.
    Previous,
}

/// The primary, and what says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrimaryView {
    /// Its place among the nodes.
    pub node: usize,
    /// What says so.
    pub evidence: PrimaryEvidence,
}

/// What the choice is made from.
pub(crate) struct PrimaryCandidates<'a> {
    pub(crate) nodes: &'a [NodeView],
    /// The places of the nodes that claim to be master, in order.
    pub(crate) masters: &'a [usize],
    pub(crate) lineage: &'a lineage::LineageTracker,
    /// The node that most Sentinels name, if they do not flag it down.
    pub(crate) named: Option<usize>,
    /// The node that serves the slots at the highest epoch, in a cluster.
    pub(crate) owner: Option<usize>,
    /// The primary so far.
    pub(crate) previous: Option<usize>,
}

impl PrimaryEvidence {
    /// The value of the label `evidence`.
    pub const fn label(self) -> &'static str {
        match self {
            PrimaryEvidence::Lineage => "lineage",
            PrimaryEvidence::Sentinel => "sentinel",
            PrimaryEvidence::Sole => "sole",
            PrimaryEvidence::Epoch => "epoch",
            PrimaryEvidence::Expected => "expected",
            PrimaryEvidence::Previous => "previous",
        }
    }
}

impl PrimaryCandidates<'_> {
    /// The primary by the strongest evidence there is; `None` when no node claims to be master, or nothing tells those that do apart.
    pub(crate) fn choose(&self) -> Option<PrimaryView> {
        let found = |node, evidence| Some(PrimaryView { node, evidence });
        let unsucceeded: Vec<_> =
            self.masters.iter().copied().filter(|master| !self.is_succeeded(*master)).collect();
        // In a circle of successions none is the last.
        let candidates = if unsucceeded.is_empty() { self.masters } else { &unsucceeded };
        // In a cluster slots decide.
        if let Some(node) =
            self.owner.filter(|owner| self.masters.len() > 1 && self.masters.contains(owner))
        {
            return found(node, PrimaryEvidence::Epoch);
        }
        if let [node] = *candidates
            && self.masters.len() > 1
        {
            return found(node, PrimaryEvidence::Lineage);
        }
        if self.masters.len() > 1 {
            let followed = self.followed();
            if let Some(node) = only(candidates, |master| {
                self.replid(master).is_some_and(|id| followed.contains(id))
            }) {
                return found(node, PrimaryEvidence::Lineage);
            }
        }
        if let Some(node) = self.named.filter(|named| candidates.contains(named)) {
            return found(node, PrimaryEvidence::Sentinel);
        }
        if let [node] = *self.masters {
            return found(node, PrimaryEvidence::Sole);
        }
        // Of masters of one history, what the configuration expects says less than what was so before: it knows no failover.
        let previous = self.previous.filter(|previous| candidates.contains(previous));
        let related = |previous: &usize| {
            candidates
                .iter()
                .all(|other| other == previous || self.lineage.related(*other, *previous))
        };
        let expected =
            only(candidates, |master| self.nodes[master].node.expected_role == Some(Role::Master));
        match (previous, expected) {
            (Some(previous), _) if related(&previous) => found(previous, PrimaryEvidence::Previous),
            (_, Some(expected)) => found(expected, PrimaryEvidence::Expected),
            (Some(previous), None) => found(previous, PrimaryEvidence::Previous),
            (None, None) => None,
        }
    }

    /// Another master took over the history of this one.
    pub(crate) fn is_succeeded(&self, master: usize) -> bool {
        self.lineage
            .relatives(master)
            .filter(|other| self.masters.binary_search(other).is_ok())
            .any(|other| match (self.replication(other), self.replication(master)) {
                (Some(new), Some(old)) => self.lineage.succeeds((other, new), (master, old)),
                _ => false,
            })
    }

    /// The histories that replicas of the deployment hold.
    fn followed(&self) -> HashSet<&str> {
        let replicas = self.nodes.iter().filter(|node| node.role() == Some(Role::Replica));
        replicas.filter_map(|node| node.snapshot()?.replication.replid.as_deref()).collect()
    }

    fn replid(&self, index: usize) -> Option<&str> {
        self.replication(index)?.replid.as_deref()
    }

    fn replication(&self, index: usize) -> Option<&Replication> {
        Some(&self.nodes[index].snapshot()?.replication)
    }
}

/// The one place of which something holds.
fn only(indices: &[usize], holds: impl Fn(usize) -> bool) -> Option<usize> {
    let mut found = indices.iter().copied().filter(|index| holds(*index));
    let first = found.next()?;
    found.next().is_none().then_some(first)
}
