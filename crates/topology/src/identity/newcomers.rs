//! Tracker of the nodes that joined after the primary was known. A newcomer with keys of an unknown
//! history brings foreign data.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use snapshot::{NodeSnapshot, Role};

use crate::identity::histories::Histories;
use crate::identity::reign::keys;
use crate::limits::FOREIGN_FOR;
use crate::model::counters::succeeded;
use crate::model::deployment::{Deployment, DeploymentKind, Node, NodeKind};
use crate::model::monotonic::Monotonic;
use crate::model::node_index::{NodeIndex, NodeMap};

/// The largest number of names of former members.
const MAX_FORMER: usize = 1024;

/// Time within which a newcomer usually replies.
const REPLIES_WITHIN: Duration = Duration::from_secs(10);

/// Commands that a cluster node receives with the slots of another one.
const IMPORT_COMMANDS: [&str; 4] =
    ["restore-asking", "cluster|setslot", "cluster|syncslots", "cluster|migration"];

/// Tracks the newcomers of a deployment.
#[derive(Debug, Default)]
pub(crate) struct NewcomersTracker {
    standings: NodeMap<Standing>,
    /// Names of nodes that were members. One that returns is no newcomer.
    former: BTreeSet<String>,
    /// Nodes whose saved state says that they are foreign.
    restored: BTreeSet<String>,
}

/// Relation of a node to the deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It belongs to the deployment.
    Member,
    /// It joined later, and its first reply as a master or a connected replica is missing.
    Undecided { since: Monotonic },
    /// It joined later, as a master with keys of an unknown history.
    Foreign { since: Monotonic },
}

impl NewcomersTracker {
    /// Adds the nodes that joined. `is_established` is true if a node that joins now is a newcomer.
    pub(crate) fn observe_members(
        &mut self,
        deployment: &Deployment,
        is_established: bool,
        now: Monotonic,
    ) {
        let is_data = |node: &Arc<Node>| node.kind == NodeKind::Data;
        for (index, node) in deployment.nodes.iter().filter(|(_, node)| is_data(node)) {
            if self.standings.contains_key(&index) {
                continue;
            }
            let is_newcomer = is_established
                && !deployment.is_configured(index)
                && !self.former.contains(&node.name);
            let standing = if self.restored.remove(&node.name) {
                Standing::Foreign { since: now }
            } else if is_newcomer {
                Standing::Undecided { since: now }
            } else {
                Standing::Member
            };
            self.standings.insert(index, standing);
            if standing == Standing::Member && self.former.len() < MAX_FORMER {
                self.former.insert(node.name.clone());
            }
        }
    }

    /// Processes one reply.
    pub(crate) fn observe(
        &mut self,
        index: NodeIndex,
        snapshot: &NodeSnapshot,
        histories: &Histories,
        kind: DeploymentKind,
        now: Monotonic,
    ) {
        let Some(standing) = self.standings.get_mut(&index) else { return };
        let since = match *standing {
            Standing::Member => return,
            Standing::Undecided { since } | Standing::Foreign { since } => since,
        };
        let replication = &snapshot.replication;
        // Both its own history and the one that it continues count if they were written here. A
        // copy of an older dump continues a history that only was loaded here.
        let is_known = [&replication.replid, &replication.replid2]
            .into_iter()
            .flatten()
            .any(|id| histories.contains(id));
        if is_known || now.since(since) > FOREIGN_FOR {
            *standing = Standing::Member;
        } else if matches!(standing, Standing::Undecided { .. })
            && snapshot.persistence.loading != Some(true)
            && replication.role == Some(Role::Master)
        {
            *standing = match brings_data(snapshot, kind) {
                Some(true) => Standing::Foreign { since },
                Some(false) => Standing::Member,
                None => *standing,
            };
        }
    }

    /// Returns the relation of a node to the deployment.
    pub(crate) fn standing(&self, index: NodeIndex) -> Standing {
        self.standings.get(&index).copied().unwrap_or(Standing::Member)
    }

    /// Returns true if a node brought foreign data.
    pub(crate) fn is_foreign(&self, index: NodeIndex) -> bool {
        matches!(self.standing(index), Standing::Foreign { .. })
    }

    /// Makes a node a member.
    pub(crate) fn adopt(&mut self, index: NodeIndex) {
        if let Some(standing) = self.standings.get_mut(&index) {
            *standing = Standing::Member;
        }
    }

    /// Restores the saved state of a node.
    pub(crate) fn restore(&mut self, name: &str, is_foreign: bool) {
        if is_foreign {
            self.restored.insert(name.to_owned());
        } else if self.former.len() < MAX_FORMER {
            self.former.insert(name.to_owned());
        }
    }

    /// Forgets a node that left.
    pub(crate) fn clear(&mut self, index: NodeIndex) {
        self.standings.remove(&index);
    }
}

impl Standing {
    /// Returns true if the node had the time to reply, but its data is still not known.
    pub(crate) fn is_overdue(self, now: Monotonic) -> bool {
        matches!(self, Standing::Undecided { since } if now.since(since) > REPLIES_WITHIN)
    }
}

/// Returns true if a master has keys that it did not receive with slots of the cluster; `None`
/// while this is unknown.
fn brings_data(snapshot: &NodeSnapshot, kind: DeploymentKind) -> Option<bool> {
    if keys(snapshot) == 0 {
        return Some(false);
    }
    if kind != DeploymentKind::Cluster {
        return Some(true);
    }
    let commands = snapshot.commands.as_ref()?;
    Some(IMPORT_COMMANDS.iter().all(|command| succeeded(commands, command) == 0))
}
