//! Fact: full synchronisations of a replica, as they come to an end.

use snapshot::{LinkStatus, NodeSnapshot, Role};

/// What the fact remembers of one node.
#[derive(Debug, Default)]
pub(crate) struct ResyncTracker {
    total: u64,
    run_id: Option<Box<str>>,
    replid: Option<Box<str>>,
    stood: bool,
    /// A synchronisation was seen since the link was lost.
    syncing: bool,
    /// How often the node was told whom to follow.
    told: u64,
    /// What its master had counted when the link stood last.
    master: Option<Counted>,
}

/// What a master counted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Counted {
    run_id: Option<Box<str>>,
    full: u64,
    partial: u64,
    /// It has this one replica and no other.
    alone: bool,
}

impl ResyncTracker {
    /// Takes up one answer. `told` is how often the node was told whom to follow, `master` the last answer of the node that it follows,
    /// if that is one of ours.
    pub(crate) fn observe(
        &mut self,
        snapshot: &NodeSnapshot,
        told: u64,
        master: Option<&NodeSnapshot>,
    ) {
        let replication = &snapshot.replication;
        let counted = master.and_then(Counted::of);
        let stands =
            replication.link.as_ref().is_some_and(|link| link.status == Some(LinkStatus::Up));
        if replication.role == Some(Role::Replica) {
            if stands
                && (self.starts_over(snapshot)
                    || self.begins_again(snapshot, told, counted.as_ref()))
            {
                self.total += 1;
            }
            let link_syncs =
                replication.link.as_ref().is_some_and(|link| link.syncing == Some(true));
            self.syncing = !stands && (self.syncing || link_syncs);
        } else {
            self.syncing = false;
        }
        if stands || self.master.is_none() {
            self.master = counted;
        }
        if stands || replication.role != Some(Role::Replica) {
            self.replid.clone_from(&replication.replid);
            self.run_id.clone_from(&snapshot.identity.run_id);
            self.told = told;
        }
        self.stood = stands;
    }

    /// How many there were since the exporter started.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// A replica that continues takes the new history and keeps the old one; one that starts over forgets it.
    fn starts_over(&self, snapshot: &NodeSnapshot) -> bool {
        let replication = &snapshot.replication;
        self.replid.is_some() && self.replid != replication.replid && replication.replid2.is_none()
    }

    /// Its master began a full synchronisation of some replica, and it must have been this one's.
    fn begins_again(&self, snapshot: &NodeSnapshot, told: u64, counted: Option<&Counted>) -> bool {
        let (Some(before), Some(now)) = (&self.master, counted) else { return self.syncing };
        if before.run_id != now.run_id {
            return self.syncing;
        }
        let anew = self.run_id != snapshot.identity.run_id
            || self.told != told
            || (before.alone && now.alone);
        let lost_link = !self.stood || anew;
        now.full > before.full && lost_link && (now.partial == before.partial || self.syncing)
    }
}

impl Counted {
    fn of(master: &NodeSnapshot) -> Option<Self> {
        Some(Counted {
            run_id: master.identity.run_id.clone(),
            full: master.fields.count("sync_full")?,
            partial: master.fields.count("sync_partial_ok")?,
            alone: master.replication.connected_replicas == Some(1),
        })
    }
}
