//! Classification of the nodes that claim the role of master: the primary, stale masters and
//! unrelated masters.

use snapshot::Role;

use crate::model::node::NodeView;
use crate::model::node_index::NodeIndex;
use crate::model::sentinels::SentinelsView;
use crate::model::shard::PrimaryView;
use crate::node::process::{DuplicateProcess, duplicate_processes};
use crate::shard::context::ShardContext;
use crate::shard::lineage::LineageTracker;
use crate::shard::nodes::ShardNodes;
use crate::shard::primary::PrimaryCandidates;

/// The nodes that claim the role of master. All lists are in ascending order.
#[derive(Debug)]
pub(crate) struct MasterClaims {
    /// All of them.
    pub(crate) all: Vec<NodeIndex>,
    /// One of them may be the primary.
    pub(crate) has_candidate: bool,
    /// The primary.
    pub(crate) primary: Option<PrimaryView>,
    /// The primary, or all masters if the configuration expects several.
    pub(crate) primaries: Vec<NodeIndex>,
    /// Masters that share a history with the primary, and masters whose history another one
    /// continued.
    pub(crate) stale: Vec<NodeIndex>,
    /// Masters that share a history with another one.
    pub(crate) split: Vec<NodeIndex>,
    /// Masters that share no history with the primary, or with any other master.
    pub(crate) unrelated: Vec<NodeIndex>,
}

impl MasterClaims {
    /// Classifies the masters of a round. `previous` is the last known primary.
    pub(crate) fn classify(
        nodes: ShardNodes<'_>,
        lineage: &LineageTracker,
        previous: Option<NodeIndex>,
        context: &ShardContext<'_>,
    ) -> Self {
        let all = distinct_masters(nodes, previous);
        let expected = context.expect.masters.map_or(1, |masters| masters as usize);
        let (too_many, expects_several) = (all.len() > expected, expected > 1);
        let named = context.sentinels.and_then(SentinelsView::named_master);
        // A master without any relation to the data of the deployment does not become the primary
        // just because no other node claims to be master.
        let is_foreign = is_foreign(nodes, lineage, &all, previous)
            && (named.is_none() || named != all.first().copied());
        let claimants = if is_foreign { Vec::new() } else { all.clone() };
        let candidates = PrimaryCandidates {
            nodes,
            masters: &claimants,
            lineage,
            named,
            slot_owner: context.slot_owner,
            previous,
        };
        let primary = candidates.choose().filter(|_| !context.expect.external && !expects_several);
        let are_related = |one: NodeIndex, other: NodeIndex| {
            lineage.related(one, other) || context.lists_together(one, other)
        };
        let has_relative = |master: NodeIndex| {
            all.iter().any(|other| *other != master && are_related(master, *other))
        };
        let is_stale = |master: NodeIndex| {
            let beside =
                |primary: &PrimaryView| primary.node != master && are_related(primary.node, master);
            too_many && (candidates.is_succeeded(master) || primary.as_ref().is_some_and(beside))
        };
        let is_unrelated = |master: NodeIndex| match primary {
            Some(primary) => master != primary.node && !are_related(primary.node, master),
            None => !has_relative(master),
        };
        let select = |condition: &dyn Fn(NodeIndex) -> bool| {
            all.iter().copied().filter(|master| condition(*master)).collect::<Vec<_>>()
        };
        MasterClaims {
            has_candidate: !claimants.is_empty(),
            primary,
            primaries: if expects_several {
                all.clone()
            } else {
                primary.iter().map(|primary| primary.node).collect()
            },
            stale: select(&is_stale),
            split: select(&|master| too_many && has_relative(master)),
            unrelated: select(&|master| (too_many || claimants.is_empty()) && is_unrelated(master)),
            all,
        }
    }
}

/// Returns the nodes that claim the role of master. A process with two addresses counts once: as
/// the previous primary, or as the first node.
fn distinct_masters(nodes: ShardNodes<'_>, previous: Option<NodeIndex>) -> Vec<NodeIndex> {
    let is_master = |index: &NodeIndex| nodes[*index].role() == Some(Role::Master);
    let mut masters: Vec<_> = nodes.indices().filter(is_master).collect();
    let duplicates = duplicate_processes(nodes.deployment(), masters.iter().copied());
    for DuplicateProcess { first, second } in duplicates {
        let dropped = if previous == Some(second) { first } else { second };
        masters.retain(|index| *index != dropped);
    }
    masters
}

/// Returns true if the only master shares no history with the last primary, while replicas still
/// hold the history of that primary.
fn is_foreign(
    nodes: ShardNodes<'_>,
    lineage: &LineageTracker,
    masters: &[NodeIndex],
    previous: Option<NodeIndex>,
) -> bool {
    let ([master], Some(last)) = (masters, previous) else { return false };
    let holds_its_history = |node: &NodeView| {
        let replid = node
            .snapshot()
            .filter(|_| node.is_replica())
            .and_then(|snapshot| snapshot.replication.replid.as_deref());
        replid.is_some_and(|replid| lineage.ids(last).any(|id| id == replid))
    };
    *master != last && !lineage.related(*master, last) && nodes.values().any(holds_its_history)
}
