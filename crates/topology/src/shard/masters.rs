//! Classification of the nodes that claim the role of master: the primary, stale masters and
//! unrelated masters.

use std::collections::HashSet;

use crate::model::node::NodeView;
use crate::model::node_index::NodeIndex;
use crate::model::sentinels::SentinelsView;
use crate::node::process::{DuplicateProcess, duplicate_processes};
use crate::shard::context::ShardContext;
use crate::shard::evidence::{EvidenceTracker, Rivals};
use crate::shard::lineage::{LineageTracker, MasterRelations};
use crate::shard::nodes::ShardNodes;
use crate::shard::upstream::chain_end;
use crate::shard::verdict::Verdict;

/// The nodes that claim the role of master. All lists are in ascending order.
#[derive(Debug)]
pub(crate) struct MasterClaims {
    /// All of them.
    pub(crate) all: Vec<NodeIndex>,
    /// One of them may be the primary.
    pub(crate) has_candidate: bool,
    /// The verdict about the primary.
    pub(crate) verdict: Verdict,
    /// The primary, or all masters if the configuration expects several.
    pub(crate) primaries: Vec<NodeIndex>,
    /// Masters that share a history with the primary. If the configuration expects several
    /// masters, those whose history another one continued.
    pub(crate) stale: Vec<NodeIndex>,
    /// Masters that share a history with another one.
    pub(crate) split: Vec<NodeIndex>,
    /// Masters that share no history with the primary, or with any other master.
    pub(crate) unrelated: Vec<NodeIndex>,
}

/// Knowledge of earlier rounds about the masters.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) lineage: &'a LineageTracker,
    pub(crate) evidence: &'a EvidenceTracker,
    /// The last known primary.
    pub(crate) primary: Option<NodeIndex>,
    /// The verdict of the last round was disputed.
    pub(crate) disputed: bool,
    /// The primary is outside of the deployment.
    pub(crate) external: bool,
}

impl MasterClaims {
    /// Classifies the masters of a round.
    pub(crate) fn classify(
        nodes: ShardNodes<'_>,
        known: Known<'_>,
        context: &ShardContext<'_>,
    ) -> Self {
        let lineage = known.lineage;
        let all = distinct_masters(nodes, known.primary);
        let expected = context.expect.masters.map_or(1, |masters| masters as usize);
        let (too_many, expects_several) = (all.len() > expected, expected > 1);
        // A master without any relation to the deployment does not become the primary just because
        // no other node claims to be master.
        let is_foreign = is_foreign(nodes, known, &all, context.sentinels);
        let claimants: &[NodeIndex] = if is_foreign { &[] } else { &all };
        let relations = MasterRelations::new(lineage, &all);
        let rivals = Rivals { masters: claimants, nodes, relations: &relations };
        let verdict = if known.external || expects_several {
            Verdict::default()
        } else {
            let mut verdict = Verdict::decide(known.evidence.statements(rivals, context));
            // A master that missed this poll may have been demoted in the meantime.
            verdict.disputed &= known.disputed
                || claimants
                    .iter()
                    .all(|master| context.answered(*master) || nodes[*master].is_unreachable());
            verdict
        };
        let primary = verdict.primary.map(|primary| primary.node);
        let is_listed = |master: NodeIndex| context.is_listed(master);
        let several_listed = all.iter().filter(|master| is_listed(**master)).count() > 1;
        let has_relative = |master: NodeIndex| {
            relations.relatives(master).next().is_some() || (several_listed && is_listed(master))
        };
        let relatives_of_primary: HashSet<_> =
            primary.into_iter().flat_map(|primary| relations.relatives(primary)).collect();
        let is_relative = |primary: NodeIndex, master: NodeIndex| {
            relatives_of_primary.contains(&master) || (is_listed(primary) && is_listed(master))
        };
        let is_stale = |master: NodeIndex| match primary {
            Some(primary) => too_many && primary != master && is_relative(primary, master),
            None => too_many && expects_several && relations.is_succeeded(master),
        };
        let is_unrelated = |master: NodeIndex| match primary {
            Some(primary) => master != primary && !is_relative(primary, master),
            None => !has_relative(master),
        };
        let select = |condition: &dyn Fn(NodeIndex) -> bool| {
            all.iter().copied().filter(|master| condition(*master)).collect::<Vec<_>>()
        };
        MasterClaims {
            has_candidate: !claimants.is_empty(),
            primaries: if expects_several { all.clone() } else { primary.into_iter().collect() },
            stale: select(&is_stale),
            split: select(&|master| too_many && has_relative(master)),
            unrelated: select(&|master| (too_many || claimants.is_empty()) && is_unrelated(master)),
            verdict,
            all,
        }
    }

    /// Returns the primary.
    pub(crate) fn primary(&self) -> Option<NodeIndex> {
        self.verdict.primary.map(|primary| primary.node)
    }

    /// Returns the primary, if the verdict is not disputed.
    pub(crate) fn undisputed_primary(&self) -> Option<NodeIndex> {
        self.primary().filter(|_| !self.verdict.disputed)
    }
}

/// Returns the nodes that claim the role of master. A process with two addresses counts once: as
/// the previous primary, or as the first node.
fn distinct_masters(nodes: ShardNodes<'_>, previous: Option<NodeIndex>) -> Vec<NodeIndex> {
    let is_master = |index: &NodeIndex| nodes[*index].claims_master();
    let mut masters: Vec<_> = nodes.indices().filter(is_master).collect();
    let duplicates = duplicate_processes(nodes.deployment(), masters.iter().copied());
    let dropped = |duplicate: DuplicateProcess| {
        let DuplicateProcess { first, second } = duplicate;
        if previous == Some(second) { first } else { second }
    };
    let dropped: HashSet<_> = duplicates.into_iter().map(dropped).collect();
    masters.retain(|index| !dropped.contains(index));
    masters
}

/// Returns true if the only master shares no history with the last primary, and neither the
/// Sentinels nor the nodes that hold this history have accepted it. A majority of the Sentinels
/// accepts a master by naming it. Without one, the nodes accept it by following it, even if they
/// have not got its data yet: the last primary, which decides for its replicas, or all of them.
fn is_foreign(
    nodes: ShardNodes<'_>,
    known: Known<'_>,
    masters: &[NodeIndex],
    sentinels: Option<&SentinelsView>,
) -> bool {
    let ([master], Some(last)) = (masters, known.primary) else { return false };
    let lineage = known.lineage;
    if *master == last || lineage.related(*master, last) {
        return false;
    }
    let holds_its_history = |node: &NodeView| {
        let replid = node
            .snapshot()
            .filter(|_| node.is_replica())
            .and_then(|snapshot| snapshot.replication.replid.as_deref());
        replid.is_some_and(|replid| lineage.ids(last).any(|id| id == replid))
    };
    let has_majority = sentinels.is_some_and(|sentinels| sentinels.majority.is_some());
    let follows_it = |index: NodeIndex| {
        let is_it = |end| end == *master || nodes[end].is_same_process(&nodes[*master]);
        !has_majority && chain_end(nodes, index).is_some_and(is_it)
    };
    sentinels.and_then(SentinelsView::named_master) != Some(*master)
        && !follows_it(last)
        && nodes.iter().any(|(index, node)| holds_its_history(node) && !follows_it(index))
}
