//! Fact: full synchronisations of a replica, as they come to an end.

use snapshot::{LinkStatus, NodeSnapshot, Role};

/// What the fact remembers of one node.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    total: u64,
    replid: Option<Box<str>>,
    stood: bool,
    /// A synchronisation was seen since the link was lost.
    syncing: bool,
    /// What its master had counted when the link was lost: full and partial synchronisations.
    master: Option<(u64, u64)>,
}

impl Memory {
    /// Takes up one answer; `master` is the last answer of the node that it follows, if that is one of ours.
    pub(crate) fn apply(&mut self, snapshot: &NodeSnapshot, master: Option<&NodeSnapshot>) {
        let replication = &snapshot.replication;
        let counted = master.and_then(|master| Some((master.fields.count("sync_full")?, master.fields.count("sync_partial_ok")?)));
        let stands = replication.link.as_ref().is_some_and(|link| link.status == Some(LinkStatus::Up));
        if replication.role == Some(Role::Replica) {
            let was = self.replid.as_ref();
            // One that continues takes the new history and keeps the old one; one that starts over forgets it.
            let starts_over = was.is_some() && was != replication.replid.as_ref() && replication.replid2.is_none();
            let begins_again = match (self.master, counted) {
                (Some((full, partial)), Some((now_full, now_partial))) => now_full > full && (now_partial == partial || self.syncing),
                _ => self.syncing,
            };
            if stands && (starts_over || (!self.stood && begins_again)) {
                self.total += 1;
            }
            let link_syncs = replication.link.as_ref().is_some_and(|link| link.syncing == Some(true));
            self.syncing = !stands && (self.syncing || link_syncs);
        } else {
            self.syncing = false;
        }
        if stands || self.master.is_none() {
            self.master = counted;
        }
        if stands || replication.role != Some(Role::Replica) {
            self.replid.clone_from(&replication.replid);
        }
        self.stood = stands;
    }

    /// How many there were since the exporter started.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}
