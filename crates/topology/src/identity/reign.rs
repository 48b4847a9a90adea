//! Observation of one process as the primary, and of what happens to its data afterwards.

use std::time::Duration;

use snapshot::{LinkStatus, NodeSnapshot};

use crate::limits::CAUSE_WITHIN_ROUNDS;
use crate::model::counters::{saturating_sum, succeeded};
use crate::model::monotonic::Monotonic;
use crate::model::round::NodeReply;
use crate::model::saved_state::SavedReign;

/// One process that was the undisputed primary.
#[derive(Debug, Clone)]
pub(crate) struct Reign {
    run_id: Box<str>,
    /// Its replication ID in the last reply as a master.
    replid: Box<str>,
    /// Keys in that reply.
    pub(crate) keys: u64,
    /// Successful REPLICAOF commands of the process in that reply; `None` if they are unknown.
    replicaof: Option<u64>,
    /// The `sync_full` field of INFO in that reply.
    syncs: Option<u64>,
    /// Monotonic time of that reply.
    replied: Monotonic,
    /// Time between that reply and the start of this exporter, if an earlier one received it.
    silence_before: Duration,
    /// In a gap between two replies, a server that is no node may have copied the data.
    pub(crate) may_be_copied: bool,
    /// Label of the shard.
    pub(crate) shard: Option<String>,
    demotion: Option<Demotion>,
}

/// The process after it became a replica.
#[derive(Debug, Clone, Default)]
struct Demotion {
    /// Successful REPLICAOF commands, if they were read since then.
    replicaof: Option<u64>,
    /// Rounds in which the process was connected to its new master.
    rounds: u32,
    /// Monotonic time of the first of these rounds.
    connected: Option<Monotonic>,
}

/// Replica that completed a full resync of another history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resync {
    /// Not yet.
    Running,
    /// It is a replica of its own history, or it continued another one by a partial resync.
    Continued,
    /// It did. `planned` is true if an operator sent REPLICAOF to it.
    Completed { planned: bool },
}

impl Reign {
    /// Returns the observation of a primary; `None` if it reports no process or no history.
    pub(crate) fn read(
        reply: &NodeReply,
        shard: Option<&String>,
        before: Option<&Reign>,
        now: Monotonic,
        allowed_gap: Duration,
    ) -> Option<Self> {
        let snapshot = &*reply.snapshot;
        let run_id = snapshot.identity.run_id.clone()?;
        let syncs = snapshot.fields.count("sync_full");
        let same = before.filter(|before| before.run_id == run_id);
        let was_copied = |before: &Reign| {
            before.may_be_copied || (before.gap(now) > allowed_gap && before.syncs != syncs)
        };
        Some(Reign {
            run_id,
            replid: snapshot.replication.replid.clone()?,
            keys: keys(snapshot),
            replicaof: replicaof_commands(snapshot)
                .or_else(|| same.and_then(|before| before.replicaof)),
            syncs,
            replied: now,
            silence_before: Duration::ZERO,
            may_be_copied: same.is_some_and(was_copied),
            shard: shard.cloned(),
            demotion: None,
        })
    }

    /// Returns true if the reply is one of this process.
    pub(crate) fn is_process(&self, snapshot: &NodeSnapshot) -> bool {
        snapshot.identity.run_id.as_deref() == Some(&*self.run_id)
    }

    /// Returns the time since the last reply as a master.
    pub(crate) fn gap(&self, now: Monotonic) -> Duration {
        now.since(self.replied).saturating_add(self.silence_before)
    }

    /// Returns true if the process replied to this exporter.
    pub(crate) fn is_observed(&self) -> bool {
        self.silence_before.is_zero()
    }

    /// Returns true if the process was seen as a replica since it was the primary.
    pub(crate) fn is_over(&self) -> bool {
        self.demotion.is_some()
    }

    /// Returns the time for which the process has had the data of its new master.
    pub(crate) fn connected_for(&self, now: Monotonic) -> Duration {
        let connected = self.demotion.as_ref().and_then(|demotion| demotion.connected);
        connected.map_or(Duration::ZERO, |connected| now.since(connected))
    }

    /// Processes a reply of the process as a replica.
    pub(crate) fn observe_replica(&mut self, reply: &NodeReply, now: Monotonic) -> Resync {
        let snapshot = &*reply.snapshot;
        let demotion = self.demotion.get_or_insert_default();
        if reply.commands_read {
            demotion.replicaof = replicaof_commands(snapshot);
        }
        let replication = &snapshot.replication;
        let link = replication.link.as_ref();
        let is_connected = link.is_some_and(|link| link.status == Some(LinkStatus::Up))
            && snapshot.persistence.loading != Some(true);
        let Some(replid) = replication.replid.as_deref().filter(|_| is_connected) else {
            return Resync::Running;
        };
        // A partial resync keeps the previous ID in `replid2`, a full resync clears it.
        if replid == &*self.replid || replication.replid2.is_some() {
            return Resync::Continued;
        }
        demotion.rounds += 1;
        demotion.connected.get_or_insert(now);
        if demotion.replicaof.is_none() && demotion.rounds <= CAUSE_WITHIN_ROUNDS {
            return Resync::Running;
        }
        // CONFIG RESETSTAT sets the number to zero.
        let grew = |now: u64| self.replicaof.is_none_or(|before| now != before) && now > 0;
        Resync::Completed { planned: demotion.replicaof.is_some_and(grew) }
    }

    /// Returns the state that is kept over a restart of the exporter.
    pub(crate) fn saved(&self, now: Monotonic) -> SavedReign {
        SavedReign {
            run_id: self.run_id.as_ref().to_owned(),
            replid: self.replid.as_ref().to_owned(),
            keys: self.keys,
            replicaof: self.replicaof,
            syncs: self.syncs,
            silence: self.gap(now).as_secs(),
            may_be_copied: self.may_be_copied,
            demoted: self.demotion.is_some(),
        }
    }

    /// Restores the state that was saved `downtime` before the exporter started.
    pub(crate) fn restore(saved: &SavedReign, downtime: Duration) -> Self {
        Reign {
            run_id: saved.run_id.as_str().into(),
            replid: saved.replid.as_str().into(),
            keys: saved.keys,
            replicaof: saved.replicaof,
            syncs: saved.syncs,
            replied: Monotonic::START,
            silence_before: downtime.saturating_add(Duration::from_secs(saved.silence)),
            may_be_copied: saved.may_be_copied,
            shard: None,
            demotion: saved.demoted.then(Demotion::default),
        }
    }
}

/// Returns the number of keys of all databases.
pub(crate) fn keys(snapshot: &NodeSnapshot) -> u64 {
    saturating_sum(snapshot.keyspace.iter().map(|database| database.keys))
}

/// Returns the number of successful REPLICAOF commands; `None` if it was not read. Sentinels send
/// SLAVEOF, and the nodes of a cluster neither.
fn replicaof_commands(snapshot: &NodeSnapshot) -> Option<u64> {
    snapshot.commands.as_ref().map(|commands| succeeded(commands, "replicaof"))
}
