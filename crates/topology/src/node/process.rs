//! Tracker of the server process of a node: restarts and replacements.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Duration;

use snapshot::{Identity, NodeSnapshot, Role};

use crate::limits::{STRANGER_ACCEPTED_AFTER, UPTIME_SLACK};
use crate::model::copying::copy_changed;
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
    /// Process ID and uptime in the last reply, which decide for servers without a `run_id`.
    process_id: Option<u64>,
    uptime: Option<Duration>,
    /// Several servers took turns in the last reply, so the next one has no process before it.
    was_ambiguous: bool,
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

/// Another server that ran before and replies at the address of the node.
#[derive(Debug)]
struct Stranger {
    run_id: Box<str>,
    /// First reply.
    since: Monotonic,
}

/// Treatment of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The reply is that of the node.
    Accepted,
    /// The reply is the first one of another server. If the next one is from the same server, it
    /// took the place of the node.
    Held,
    /// The reply is that of a server without any relation to the node. For a while this is taken
    /// for a mistake in the network.
    Rejected,
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
    /// Decides about a reply before it is processed. `alone` is true if the deployment has no other
    /// node: nothing contradicts the new server then.
    pub(crate) fn admit(
        &mut self,
        snapshot: &NodeSnapshot,
        alone: bool,
        now: Monotonic,
    ) -> Admission {
        let (Some(known), Some(run_id)) = (&self.run_id, &snapshot.identity.run_id) else {
            return Admission::Accepted;
        };
        if known == run_id || started_within(&snapshot.identity, self.silence(now)) {
            self.stranger = None;
            return Admission::Accepted;
        }
        let is_related = self.replication_ids.is_empty()
            || replication_ids(snapshot)
                .any(|id| self.replication_ids.iter().any(|known| **known == *id));
        let first = match &self.stranger {
            Some(stranger) if stranger.run_id == *run_id => Some(stranger.since),
            _ => None,
        };
        let since = first.unwrap_or(now);
        self.stranger = Some(Stranger { run_id: run_id.clone(), since });
        match first {
            _ if !is_related && !alone && now.since(since) < STRANGER_ACCEPTED_AFTER => {
                Admission::Rejected
            }
            None => Admission::Held,
            Some(_) => Admission::Accepted,
        }
    }

    /// Processes one reply of the node.
    pub(crate) fn observe(&mut self, reply: &NodeReply, now: Monotonic) -> ProcessChange {
        let snapshot = &*reply.snapshot;
        let identity = &snapshot.identity;
        let was_ambiguous = std::mem::take(&mut self.was_ambiguous);
        let change = match (&self.run_id, &identity.run_id) {
            _ if was_ambiguous => ProcessChange::Replaced,
            (Some(before), Some(after)) if before == after => ProcessChange::Same,
            (Some(_), Some(_)) if started_within(identity, self.silence(now)) => {
                ProcessChange::Restarted
            }
            (Some(_), Some(_)) => ProcessChange::Replaced,
            _ => self.change_without_run_id(identity, now),
        };
        self.view.restarts += u64::from(change == ProcessChange::Restarted);
        if change == ProcessChange::Replaced && !was_ambiguous {
            self.view.replacements += 1;
            self.view.replaced_at = Some(now);
        }
        if let (Some(before), Some(after)) = (self.role, snapshot.replication.role)
            && before != after
        {
            self.view.role_changes += 1;
        }
        if identity.run_id.is_some() || change != ProcessChange::Same {
            copy_changed(&mut self.run_id, &identity.run_id);
        }
        (self.process_id, self.uptime) = (identity.process_id, identity.uptime);
        self.role = snapshot.replication.role.or(self.role);
        if !replication_ids(snapshot).eq(self.replication_ids.iter().map(|id| &**id)) {
            self.replication_ids = replication_ids(snapshot).map(Into::into).collect();
        }
        self.record_reply(reply, now);
        change
    }

    /// Records a reply while several servers take turns. No process is known then.
    pub(crate) fn observe_ambiguous(&mut self, reply: &NodeReply, now: Monotonic) {
        *self = ProcessTracker { view: self.view, was_ambiguous: true, ..Self::default() };
        self.record_reply(reply, now);
    }

    fn record_reply(&mut self, reply: &NodeReply, now: Monotonic) {
        self.stranger = None;
        self.last_requested = reply.requested.unwrap_or(now);
        self.silence_before = Duration::ZERO;
    }

    /// Returns the relation of a process to the one before, if one of them has no `run_id`.
    ///
    /// The uptime decides first: in containers every process has the same ID. A clock that is set
    /// back lets the uptime fall a little, but not to the time since the last reply.
    fn change_without_run_id(&self, identity: &Identity, now: Monotonic) -> ProcessChange {
        let same_id =
            self.process_id.zip(identity.process_id).map(|(before, after)| before == after);
        let uptime = self.uptime.zip(identity.uptime).map(|(before, after)| after.cmp(&before));
        let has_started = started_within(identity, self.silence(now));
        match (uptime, same_id) {
            (Some(Ordering::Less), _) | (_, Some(false)) if has_started => ProcessChange::Restarted,
            (_, Some(false)) => ProcessChange::Replaced,
            _ => ProcessChange::Same,
        }
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
