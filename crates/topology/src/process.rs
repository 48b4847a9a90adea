//! Fact: which process answers as this node; restarts and replacements.

use std::time::Duration;

use snapshot::{Identity, NodeSnapshot, Role};

use crate::limits::UPTIME_SLACK;

/// What became of the processes that answered as this node, since the exporter started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessView {
    /// New processes of the same node.
    pub restarts: u64,
    /// Other, older processes that began to answer in its place.
    pub replacements: u64,
    /// Changes of the claimed role.
    pub role_changes: u64,
}

/// What the fact remembers of one node.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    run_id: Option<Box<str>>,
    role: Option<Role>,
    seen: Duration,
    view: ProcessView,
}

impl Memory {
    pub(crate) fn apply(&mut self, snapshot: &NodeSnapshot, elapsed: Duration) {
        if let (Some(before), Some(now)) = (&self.run_id, &snapshot.identity.run_id)
            && before != now
        {
            if started_since(&snapshot.identity, elapsed.saturating_sub(self.seen)) {
                self.view.restarts += 1;
            } else {
                self.view.replacements += 1;
            }
        }
        if let (Some(before), Some(now)) = (self.role, snapshot.replication.role)
            && before != now
        {
            self.view.role_changes += 1;
        }
        self.run_id = snapshot.identity.run_id.clone().or_else(|| self.run_id.take());
        self.role = snapshot.replication.role.or(self.role);
        self.seen = elapsed;
    }

    pub(crate) fn view(&self) -> ProcessView {
        self.view
    }
}

/// The process started after we last heard of the node. Unknown uptime says so too: a new name with no age is a new process.
fn started_since(identity: &Identity, gap: Duration) -> bool {
    identity.uptime.is_none_or(|uptime| uptime <= gap + UPTIME_SLACK)
}
