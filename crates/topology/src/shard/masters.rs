//! Fact: what the nodes that claim to be master are to one another: the primary, stale, split, or strangers.

use snapshot::Role;

use crate::discovery::sentinels::SentinelsView;
use crate::model::view::NodeView;
use crate::node::process::duplicate_processes;
use crate::shard::ShardContext;
use crate::shard::lineage;
use crate::shard::primary::{PrimaryCandidates, PrimaryView};

/// The nodes that claim to be master, by their places.
#[derive(Debug)]
pub(crate) struct MasterClaims {
    /// All of them, in order.
    pub(crate) all: Vec<usize>,
    /// One of them has something in common with the data of the deployment.
    pub(crate) claimed: bool,
    /// The primary.
    pub(crate) primary: Option<PrimaryView>,
    /// The primary, or all of them where several are meant.
    pub(crate) acting: Vec<usize>,
    /// Those beside the primary that share a history with it, and those whose history another one took over.
    pub(crate) stale: Vec<usize>,
    /// Those that share a history with another one.
    pub(crate) split: Vec<usize>,
    /// Those that share none with the primary, or with any other.
    pub(crate) unrelated: Vec<usize>,
}

impl MasterClaims {
    /// Tells them apart. `previous` is the primary so far.
    pub(crate) fn tell(
        nodes: &[NodeView],
        lineage: &lineage::LineageTracker,
        previous: Option<usize>,
        context: &ShardContext<'_>,
    ) -> Self {
        let mut all: Vec<_> =
            (0..nodes.len()).filter(|index| nodes[*index].role() == Some(Role::Master)).collect();
        // A process behind two addresses, as when a name leads astray for a while, is there once: where the primary was, else at the first.
        for (first, second) in duplicate_processes(nodes, all.iter().copied()) {
            let other = if previous == Some(second) { first } else { second };
            all.retain(|index| *index != other);
        }
        let meant = context.expect.masters.map_or(1, |masters| masters as usize);
        let (several, multiple) = (all.len() > meant, meant > 1);
        // A master that has nothing in common with the data of the deployment is not its primary for want of another.
        let named = context.sentinels.and_then(SentinelsView::named);
        let usurped = is_usurped(nodes, lineage, &all, previous)
            && (named.is_none() || named != all.first().copied());
        let claimants = if usurped { Vec::new() } else { all.clone() };
        let claims = PrimaryCandidates {
            nodes,
            masters: &claimants,
            lineage,
            named,
            owner: context.owner,
            previous,
        };
        let primary = claims.choose().filter(|_| !context.expect.external && !multiple);
        let akin = |one: usize, other: usize| {
            lineage.related(one, other) || context.lists_together(one, other)
        };
        let related =
            |master: usize| all.iter().any(|other| *other != master && akin(master, *other));
        let is_stale = |master: usize| {
            let beside =
                |primary: &PrimaryView| primary.node != master && akin(primary.node, master);
            several && (claims.is_succeeded(master) || primary.as_ref().is_some_and(beside))
        };
        let is_strange = |master: usize| match primary {
            Some(primary) => master != primary.node && !akin(primary.node, master),
            None => !related(master),
        };
        let those = |which: &dyn Fn(usize) -> bool| {
            all.iter().copied().filter(|master| which(*master)).collect::<Vec<_>>()
        };
        MasterClaims {
            claimed: !claimants.is_empty(),
            primary,
            acting: if multiple {
                all.clone()
            } else {
                primary.iter().map(|primary| primary.node).collect()
            },
            stale: those(&is_stale),
            split: those(&|master| several && related(master)),
            unrelated: those(&|master| (several || claimants.is_empty()) && is_strange(master)),
            all,
        }
    }
}

/// The only master is none of ours: it shares no history with the last primary, whose replicas are still there.
fn is_usurped(
    nodes: &[NodeView],
    lineage: &lineage::LineageTracker,
    masters: &[usize],
    previous: Option<usize>,
) -> bool {
    let ([master], Some(last)) = (masters, previous) else { return false };
    let holds_its_history = |node: &NodeView| {
        let replid = node
            .snapshot()
            .filter(|_| node.is_replica())
            .and_then(|snapshot| snapshot.replication.replid.as_deref());
        replid.is_some_and(|replid| lineage.ids(last).any(|id| id == replid))
    };
    *master != last && !lineage.related(*master, last) && nodes.iter().any(holds_its_history)
}
