//! Findings about replicas.

use snapshot::NodeSnapshot;

use super::FindingsCollector;
use crate::model::finding::evidence::{
    OrphanEvidence, ReplicaEvidence, ReplicationLagEvidence, ReplicationLinkEvidence,
    WritableReplicaEvidence,
};
use crate::model::finding::{Evidence, Severity};

use crate::limits::{LAG_HIGH, REFUSED_WITHIN};
use crate::model::deployment::address;
use crate::model::node::LinkState;
use crate::model::node::NodeView;
use crate::model::node::Upstream;
use crate::model::refusals::RefusalReason;

impl FindingsCollector<'_> {
    pub(super) fn check_replica(&mut self, node: &NodeView, snapshot: &NodeSnapshot) {
        self.check_sync(node);
        self.check_link(node);
        self.check_refused_reads(node);
        let master = self.master(node);
        if let Some(reason) = node.orphan {
            let evidence = OrphanEvidence { reason, master: master.clone() };
            self.add(Severity::Warning, Some(node), Evidence::RedisReplicaOrphaned(evidence));
        }
        if let Some(behind) = node.lag.behind.filter(|behind| *behind > LAG_HIGH) {
            let evidence = ReplicationLagEvidence { bytes: node.lag.bytes, behind };
            self.add(Severity::Warning, Some(node), Evidence::RedisReplicationLag(evidence));
        }
        let link = snapshot.replication.link.as_ref();
        if link.and_then(|link| link.read_only) == Some(false) {
            let evidence = Evidence::RedisReplicaWritable(WritableReplicaEvidence);
            self.add(Severity::Warning, Some(node), evidence);
        }
        if node.diverged {
            let evidence = Evidence::RedisReplicaDiverged(ReplicaEvidence { master });
            self.add(Severity::Warning, Some(node), evidence);
        }
    }

    /// Checks for failed authentication to the master, and for full resyncs that never complete.
    fn check_sync(&mut self, node: &NodeView) {
        let evidence = ReplicaEvidence { master: self.master(node) };
        let denied = self.is_denied(node);
        let evidence = match node.link.state {
            Some(LinkState::Lost | LinkState::NeverUp) if denied => {
                Evidence::RedisReplicationAuthFailing(evidence)
            }
            // A rejected replica may appear to be syncing. Then its master lists no replica that
            // is being synchronized.
            Some(LinkState::Syncing | LinkState::SyncLooping)
                if denied && !self.master_is_syncing(node) =>
            {
                Evidence::RedisReplicationAuthFailing(evidence)
            }
            Some(LinkState::SyncLooping) => Evidence::RedisFullSyncLoop(evidence),
            _ => return,
        };
        self.add(Severity::Critical, Some(node), evidence);
    }

    /// Checks for a link that is down or stalled.
    pub(super) fn check_link(&mut self, node: &NodeView) {
        // A replica that loads its data from disk does not connect to its master yet.
        let Some(state @ (LinkState::Lost | LinkState::NeverUp | LinkState::Stalled)) =
            node.link.state.filter(|_| !is_loading(node))
        else {
            return;
        };
        let evidence = ReplicationLinkEvidence { state, master: self.master(node) };
        // A master that loads its data rejects replicas.
        let waits =
            matches!(&node.upstream, Upstream::Node(index) if is_loading(&self.view.nodes[*index]));
        let (severity, evidence) = match state {
            LinkState::Stalled => (Severity::Warning, Evidence::RedisReplicaLinkStalled(evidence)),
            _ if self.overview.has_link || waits => {
                (Severity::Warning, Evidence::RedisReplicaLinkDown(evidence))
            }
            _ => (Severity::Critical, Evidence::RedisReplicaLinkDown(evidence)),
        };
        self.add(severity, Some(node), evidence);
    }

    /// Checks whether the replica refuses reads because its link is down.
    fn check_refused_reads(&mut self, node: &NodeView) {
        // A replica is expected to refuse reads until its first sync completes.
        let was_up = node.link.down_since.is_some() || node.link.state == Some(LinkState::Lost);
        if !was_up || !node.reads_refused.contains(&(RefusalReason::Masterdown, true)) {
            return;
        }
        let other_serves = self.overview.has_readable_replica;
        let severity = if other_serves { Severity::Warning } else { Severity::Critical };
        let evidence = ReplicaEvidence { master: self.master(node) };
        self.add(severity, Some(node), Evidence::RedisReplicaRejectsReads(evidence));
    }

    /// Returns the upstream of a replica: a node, or an address without a node. For a node whose
    /// role is not known, returns the address that it reports.
    pub(super) fn master(&self, node: &NodeView) -> Option<String> {
        match &node.upstream {
            Upstream::Node(index) => Some(self.view.name(*index).to_owned()),
            Upstream::Unknown(address) => Some(address.clone()),
            Upstream::Nothing => {
                let link = node.snapshot()?.replication.link_of_unknown_role.as_ref()?;
                Some(address(link.master_host.as_deref()?, link.master_port?))
            }
        }
    }

    /// Returns whether the master rejected credentials recently, while this replica could have
    /// tried to connect.
    fn is_denied(&self, node: &NodeView) -> bool {
        let Upstream::Node(index) = &node.upstream else { return false };
        let master = &self.view.nodes[*index];
        let recent = master
            .access_denied
            .is_some_and(|denied| self.view.now.since(denied) <= REFUSED_WITHIN);
        recent && master.up() == Some(true) && !is_loading(node)
    }

    /// Returns whether the master lists a replica that is being synchronized.
    fn master_is_syncing(&self, node: &NodeView) -> bool {
        let Upstream::Node(index) = &node.upstream else { return false };
        let attached = &self.view.nodes[*index].attached_replicas;
        attached.iter().any(|replica| replica.reported.is_online() == Some(false))
    }
}

/// Returns whether a node loads its data set.
fn is_loading(node: &NodeView) -> bool {
    node.reads_refused.contains(&(RefusalReason::Loading, true))
}
