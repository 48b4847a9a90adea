//! Tracker of the full resyncs of a replica, counted when they complete.

use snapshot::{LinkStatus, NodeSnapshot, Role};

use crate::model::copying::copy_changed;

/// Tracks the full resyncs of one node.
#[derive(Debug, Default)]
pub(crate) struct ResyncTracker {
    total: u64,
    run_id: Option<Box<str>>,
    replid: Option<Box<str>>,
    was_connected: bool,
    /// A synchronization ran since the link went down.
    syncing: bool,
    /// Number of REPLICAOF commands when the link was last connected.
    replicaof_commands: u64,
    /// Counters of the upstream when the link was last connected.
    upstream: Option<SyncCounters>,
}

/// Synchronization counters of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SyncCounters {
    run_id: Option<Box<str>>,
    /// The `sync_full` field of INFO.
    full: u64,
    /// The `sync_partial_ok` field of INFO.
    partial: u64,
    /// The upstream has exactly one replica.
    single_replica: bool,
}

impl ResyncTracker {
    /// Processes one reply. `replicaof_commands` is the number of REPLICAOF commands so far,
    /// `upstream` the last reply of the upstream, if it is a node of the shard.
    pub(crate) fn observe(
        &mut self,
        snapshot: &NodeSnapshot,
        replicaof_commands: u64,
        upstream: Option<&NodeSnapshot>,
    ) {
        let replication = &snapshot.replication;
        let counters = upstream.and_then(SyncCounters::read);
        let link = replication.link.as_ref();
        let is_connected = link.is_some_and(|link| link.status == Some(LinkStatus::Up));
        if replication.role == Some(Role::Replica) {
            if is_connected
                && (self.has_new_history(snapshot)
                    || self.was_synced_fully(snapshot, replicaof_commands, counters.as_ref()))
            {
                self.total += 1;
            }
            let is_syncing = link.is_some_and(|link| link.syncing == Some(true));
            self.syncing = !is_connected && (self.syncing || is_syncing);
        } else {
            self.syncing = false;
        }
        if is_connected || self.upstream.is_none() {
            self.upstream = counters;
        }
        if is_connected || replication.role != Some(Role::Replica) {
            copy_changed(&mut self.replid, &replication.replid);
            copy_changed(&mut self.run_id, &snapshot.identity.run_id);
            self.replicaof_commands = replicaof_commands;
        }
        self.was_connected = is_connected;
    }

    /// Returns the number of full resyncs since the exporter started.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Returns true if the replica has another history and did not continue the previous one. A
    /// partial resync keeps the previous ID in `replid2`, a full resync clears it.
    fn has_new_history(&self, snapshot: &NodeSnapshot) -> bool {
        let replication = &snapshot.replication;
        self.replid.is_some() && self.replid != replication.replid && replication.replid2.is_none()
    }

    /// Returns true if the upstream completed a full resync that must have been the one of this
    /// replica.
    fn was_synced_fully(
        &self,
        snapshot: &NodeSnapshot,
        replicaof_commands: u64,
        counters: Option<&SyncCounters>,
    ) -> bool {
        let (Some(before), Some(now)) = (&self.upstream, counters) else { return self.syncing };
        if before.run_id != now.run_id {
            return self.syncing;
        }
        let reconnected = !self.was_connected
            || self.run_id != snapshot.identity.run_id
            || self.replicaof_commands != replicaof_commands
            || (before.single_replica && now.single_replica);
        now.full > before.full && reconnected && (now.partial == before.partial || self.syncing)
    }
}

impl SyncCounters {
    fn read(upstream: &NodeSnapshot) -> Option<Self> {
        Some(SyncCounters {
            run_id: upstream.identity.run_id.clone(),
            full: upstream.fields.count("sync_full")?,
            partial: upstream.fields.count("sync_partial_ok")?,
            single_replica: upstream.replication.connected_replicas == Some(1),
        })
    }
}
