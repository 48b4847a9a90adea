//! Tracker of the server process of a node: restarts and replacements.

use std::collections::HashMap;
use std::time::Duration;

use snapshot::{Identity, NodeSnapshot, Role};

use crate::limits::{STRANGER_ACCEPTED_AFTER, UPTIME_SLACK};
use crate::model::monotonic::Monotonic;
use crate::model::node::{NodeView, ProcessView};
use crate::model::node_index::{NodeIndex, NodeVec};
use crate::model::round::NodeReply;
use crate::model::saved_state::SavedNode;

/// Relation of the process that replied to the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProcessChange {
    /// The same process, or the first one.
    Same,
    /// A new process of the same server. Its counters started at zero since the last reply.
    Restarted,
    /// An older process. Its counters say nothing about events on this node.
    Replaced,
}

/// Tracks the server process of one node.
#[derive(Debug, Default)]
pub(crate) struct ProcessTracker {
    run_id: Option<Box<str>>,
    role: Option<Role>,
    replication_ids: Vec<Box<str>>,
    /// Request of the last reply. The network may deliver a reply long after its process ended.
    last_requested: Monotonic,
    /// Time between the last reply to an earlier exporter and the start of this one; zero after the
    /// first reply to this one.
    silence_before: Duration,
    stranger: Option<Stranger>,
    view: ProcessView,
}

/// A server without any relation to the node that replies at its address.
#[derive(Debug)]
struct Stranger {
    run_id: Box<str>,
    /// First reply.
    since: Monotonic,
}

/// Two nodes whose addresses lead to the same process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DuplicateProcess {
    /// The first node of this process.
    pub(crate) first: NodeIndex,
    /// Another one.
    pub(crate) second: NodeIndex,
}

impl ProcessTracker {
    /// Returns true if the reply comes from another server: an older process that shares no
    /// replication history with the node. For a while this is taken for a mistake in the network,
    /// and the reply is ignored.
    pub(crate) fn is_stranger(&mut self, snapshot: &NodeSnapshot, now: Monotonic) -> bool {
        let (Some(known), Some(run_id)) = (&self.run_id, &snapshot.identity.run_id) else {
            return false;
        };
        let related = self.replication_ids.is_empty()
            || replication_ids(snapshot)
                .any(|id| self.replication_ids.iter().any(|known| **known == *id));
        if known == run_id || related || started_within(&snapshot.identity, self.silence(now)) {
            self.stranger = None;
            return false;
        }
        let since = match &self.stranger {
            Some(stranger) if stranger.run_id == *run_id => stranger.since,
            _ => now,
        };
        self.stranger = Some(Stranger { run_id: run_id.clone(), since });
        now.since(since) < STRANGER_ACCEPTED_AFTER
    }

    /// Processes one reply of the node.
    pub(crate) fn observe(&mut self, reply: &NodeReply, now: Monotonic) -> ProcessChange {
        let snapshot = &*reply.snapshot;
        let change = match (&self.run_id, &snapshot.identity.run_id) {
            (Some(before), Some(after)) if before == after => ProcessChange::Same,
            (Some(_), Some(_)) if started_within(&snapshot.identity, self.silence(now)) => {
                ProcessChange::Restarted
            }
            (Some(_), Some(_)) => ProcessChange::Replaced,
            _ => ProcessChange::Same,
        };
        self.view.restarts += u64::from(change == ProcessChange::Restarted);
        self.view.replacements += u64::from(change == ProcessChange::Replaced);
        if let (Some(before), Some(after)) = (self.role, snapshot.replication.role)
            && before != after
        {
            self.view.role_changes += 1;
        }
        self.run_id = snapshot.identity.run_id.clone().or_else(|| self.run_id.take());
        self.role = snapshot.replication.role.or(self.role);
        self.replication_ids = replication_ids(snapshot).map(Into::into).collect();
        self.stranger = None;
        self.last_requested = reply.requested.unwrap_or(now);
        self.silence_before = Duration::ZERO;
        change
    }

    /// Returns the `run_id` of the last reply.
    pub(crate) fn run_id(&self) -> Option<&str> {
        self.run_id.as_deref()
    }

    /// Restores the state that was saved `downtime` before the exporter started.
    pub(crate) fn restore(&mut self, saved: &SavedNode, downtime: Duration) {
        self.run_id = saved.run_id.as_deref().map(Into::into);
        self.replication_ids = saved.replication_ids.iter().map(|id| id.as_str().into()).collect();
        self.silence_before = downtime.saturating_add(Duration::from_secs(saved.silence));
    }

    /// Returns the time since the request of the last reply.
    pub(crate) fn silence(&self, now: Monotonic) -> Duration {
        now.since(self.last_requested).saturating_add(self.silence_before)
    }

    /// Returns the changes so far.
    pub(crate) fn view(&self) -> ProcessView {
        self.view
    }
}

/// Returns the IDs of the replication histories that the data of a node belongs to.
fn replication_ids(snapshot: &NodeSnapshot) -> impl Iterator<Item = &str> {
    [&snapshot.replication.replid, &snapshot.replication.replid2]
        .into_iter()
        .filter_map(|id| id.as_deref())
}

/// Returns true if a process started within the last `silence`. A process without a known uptime
/// counts as started: its `run_id` is new.
fn started_within(identity: &Identity, silence: Duration) -> bool {
    identity.uptime.is_none_or(|uptime| uptime <= silence.saturating_add(UPTIME_SLACK))
}

/// Returns the pairs among some nodes whose addresses lead to the same process, for example an
/// IPv4 and an IPv6 address.
pub(crate) fn duplicate_processes(
    nodes: &NodeVec<NodeView>,
    indices: impl Iterator<Item = NodeIndex>,
) -> Vec<DuplicateProcess> {
    let mut by_run_id: HashMap<&str, NodeIndex> = HashMap::new();
    let mut duplicates = Vec::new();
    for second in indices {
        let Some(run_id) = nodes[second].run_id() else { continue };
        let first = *by_run_id.entry(run_id).or_insert(second);
        if first != second {
            duplicates.push(DuplicateProcess { first, second });
        }
    }
    duplicates
}
