//! Tracker of the former primary of a shard without masters, which a fix may promote again.

use snapshot::Role;

use crate::model::node::NodeView;
use crate::model::node_index::NodeIndex;
use crate::model::node_state::NodeState;
use crate::model::sentinels::SentinelsView;
use crate::shard::masters::MasterClaims;
use crate::shard::nodes::ShardNodes;

/// Tracks the last undisputed primary, until another node claims to be master.
#[derive(Debug, Default)]
pub(crate) struct FormerPrimaryTracker {
    last: Option<LastPrimary>,
}

/// The last undisputed primary as of its last reply as master.
#[derive(Debug)]
struct LastPrimary {
    node: NodeIndex,
    run_id: Box<str>,
    replid: Box<str>,
}

impl FormerPrimaryTracker {
    /// Processes one round. Returns the former primary if it is certain that no other node has
    /// become primary since: no node claims to be master, all nodes reply or are down, the same
    /// process still has the same replication history, and a majority of the Sentinels, if there
    /// are any, names it and none names another node.
    pub(crate) fn observe(
        &mut self,
        nodes: ShardNodes<'_>,
        masters: &MasterClaims,
        sentinels: Option<&SentinelsView>,
    ) -> Option<NodeIndex> {
        if !masters.all.is_empty() {
            let certain = masters.undisputed_primary().filter(|_| !masters.verdict.unconfirmed);
            self.last = certain.and_then(|primary| LastPrimary::of(primary, &nodes[primary]));
            return None;
        }
        let last = self.last.as_ref()?;
        let is_decided = |node: &NodeView| {
            node.snapshot().is_some() || matches!(node.presence, NodeState::Down { .. })
        };
        let is_named = sentinels.is_none_or(|sentinels| {
            let mut statements = sentinels.statements.iter();
            sentinels.majority.is_some()
                && statements.all(|statement| statement.node == Some(last.node))
        });
        let is_certain = last.is_unchanged(&nodes[last.node]) && nodes.values().all(is_decided);
        (is_certain && is_named).then_some(last.node)
    }

    /// Forgets a node that left.
    pub(crate) fn clear(&mut self, index: NodeIndex) {
        self.last = self.last.take().filter(|last| last.node != index);
    }
}

impl LastPrimary {
    fn of(index: NodeIndex, node: &NodeView) -> Option<Self> {
        let snapshot = node.snapshot()?;
        Some(LastPrimary {
            node: index,
            run_id: snapshot.identity.run_id.clone()?,
            replid: snapshot.replication.replid.clone()?,
        })
    }

    /// Returns true if the same process is a replica now and still has the same history.
    fn is_unchanged(&self, node: &NodeView) -> bool {
        node.snapshot().is_some_and(|snapshot| {
            snapshot.replication.role == Some(Role::Replica)
                && snapshot.identity.run_id.as_ref() == Some(&self.run_id)
                && snapshot.replication.replid.as_ref() == Some(&self.replid)
        })
    }
}
