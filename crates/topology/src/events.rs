//! Events: the difference of two views, in a fixed order.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use snapshot::{NodeSnapshot, Reason, Role};

use crate::discovery::membership::is_unresolved;
use crate::model::deployment::{DeploymentKind, Node, NodeKind};
use crate::model::round::SentinelMessage;
use crate::model::view::{DeploymentView, NodeView, ShardView};
use crate::node::state::NodeState;
use crate::shard::change_cause::Cause;
use crate::shard::no_primary::NoPrimaryReason;

/// A change between two rounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Wall time of the round that showed it.
    pub at: SystemTime,
    /// Label of the node it happened to, if it happened to one.
    pub node: Option<String>,
    /// Label of the shard that it happened to, in a cluster, if it happened to one.
    pub shard: Option<String>,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum EventKind {
    /// The node does not answer any more.
    NodeUnreachable {
        /// Why.
        reason: Reason,
    },
    /// The node answers again.
    NodeBack {
        /// For how long it was down; zero for one that was found down at first.
        down: Duration,
    },
    /// A new process answers as this node.
    Restarted,
    /// Another, older process answers as this node.
    NodeReplaced,
    /// The node claims another role.
    RoleChanged {
        /// The role before.
        from: Role,
        /// The role now.
        to: Role,
    },
    /// The link to the master went down.
    LinkDropped,
    /// The link to the master stands again, or the node needs none any more.
    LinkRestored {
        /// For how long it was down.
        down: Duration,
    },
    /// Another node is the primary now.
    PrimaryChanged {
        /// Label of the primary before.
        from: String,
        /// Label of the primary now.
        to: String,
        /// What caused it.
        cause: Cause,
    },
    /// No node is primary any more.
    PrimaryLost {
        /// Why.
        why: NoPrimaryReason,
    },
    /// There is a primary again.
    PrimaryRegained,
    /// Several nodes claim to be master of one data set.
    SplitBrainBegan {
        /// Their labels.
        masters: Vec<String>,
    },
    /// At most one node does any more.
    SplitBrainEnded {
        /// For how long it lasted.
        lasted: Duration,
        /// Writes that stale masters accepted meanwhile and the primary does not have.
        unreplicated_writes: u64,
        /// The same as replication stream, bytes; `None` where no formula holds.
        unreplicated_bytes: Option<u64>,
    },
    /// A full synchronisation of the node came to its end.
    FullResync,
    /// Writing the append-only file began to fail.
    AofWriteFailed,
    /// The append-only file is written again.
    AofWriteRecovered,
    /// Rewriting the append-only file failed.
    AofRewriteFailed,
    /// The statistics of the server were reset.
    StatsReset,
    /// A command that changes the topology ran on the node.
    Reconfigured {
        /// Which.
        command: &'static str,
    },
    /// The node was promoted without all that the primary before had written.
    LaggingPromotion {
        /// Replication stream that it lacked, bytes; at least that much.
        bytes: u64,
    },
    /// The node was found.
    NodeDiscovered,
    /// The node does not belong to the deployment any more.
    NodeGone,
    /// A Sentinel announced something.
    SentinelEvent {
        /// What happened.
        channel: String,
        /// To whom.
        payload: String,
    },
}

impl Event {
    /// What events are sorted by: time, and within a round node, role, link, primary, split brain, others.
    pub fn order(&self) -> (SystemTime, u8) {
        let rank = match self.kind {
            EventKind::NodeDiscovered
            | EventKind::NodeGone
            | EventKind::NodeUnreachable { .. }
            | EventKind::NodeBack { .. }
            | EventKind::Restarted
            | EventKind::NodeReplaced => 0,
            EventKind::RoleChanged { .. } => 1,
            EventKind::LinkDropped | EventKind::LinkRestored { .. } => 2,
            EventKind::PrimaryChanged { .. }
            | EventKind::PrimaryLost { .. }
            | EventKind::PrimaryRegained => 3,
            EventKind::SplitBrainBegan { .. } | EventKind::SplitBrainEnded { .. } => 4,
            _ => 5,
        };
        (self.at, rank)
    }
}

impl EventKind {
    /// The labels of every kind, in the order of the reference.
    pub const LABELS: [&str; 22] = [
        "node_unreachable",
        "node_back",
        "restarted",
        "node_replaced",
        "role_changed",
        "link_dropped",
        "link_restored",
        "primary_changed",
        "primary_lost",
        "primary_regained",
        "split_brain_began",
        "split_brain_ended",
        "full_resync",
        "aof_write_failed",
        "aof_write_recovered",
        "aof_rewrite_failed",
        "stats_reset",
        "reconfigured",
        "lagging_promotion",
        "node_discovered",
        "node_gone",
        "sentinel_event",
    ];

    /// The value of `kind` in the API, in the log line and of the label.
    pub const fn label(&self) -> &'static str {
        Self::LABELS[self.index()]
    }

    /// Where the kind stands in [`EventKind::LABELS`].
    pub(crate) const fn index(&self) -> usize {
        match self {
            EventKind::NodeUnreachable { .. } => 0,
            EventKind::NodeBack { .. } => 1,
            EventKind::Restarted => 2,
            EventKind::NodeReplaced => 3,
            EventKind::RoleChanged { .. } => 4,
            EventKind::LinkDropped => 5,
            EventKind::LinkRestored { .. } => 6,
            EventKind::PrimaryChanged { .. } => 7,
            EventKind::PrimaryLost { .. } => 8,
            EventKind::PrimaryRegained => 9,
            EventKind::SplitBrainBegan { .. } => 10,
            EventKind::SplitBrainEnded { .. } => 11,
            EventKind::FullResync => 12,
            EventKind::AofWriteFailed => 13,
            EventKind::AofWriteRecovered => 14,
            EventKind::AofRewriteFailed => 15,
            EventKind::StatsReset => 16,
            EventKind::Reconfigured { .. } => 17,
            EventKind::LaggingPromotion { .. } => 18,
            EventKind::NodeDiscovered => 19,
            EventKind::NodeGone => 20,
            EventKind::SentinelEvent { .. } => 21,
        }
    }
}

/// The events between two views, in the order node, role, link, primary, split brain, others. First sight is no change.
pub(crate) fn between(
    before: &DeploymentView,
    after: &DeploymentView,
    messages: &[SentinelMessage],
) -> Vec<Event> {
    let at = after.at.unwrap_or(SystemTime::UNIX_EPOCH);
    let pairs = || before.nodes.iter().zip(&after.nodes).filter(|(_, new)| new.shown());
    let mut events = membership(before, after, at);
    let of_nodes = |events: &mut Vec<Event>, facts: &[NodeFact]| {
        for fact in facts {
            for (old, new) in pairs() {
                fact(old, new, after.elapsed, &mut |kind| {
                    events.push(Event { at, node: Some(new.node.name.clone()), shard: None, kind });
                });
            }
        }
    };
    of_nodes(&mut events, &[presence, role, link]);
    for new in &after.shards {
        // A shard that was not there before is no change.
        if let Some(old) = before.shards.iter().find(|old| old.shard == new.shard) {
            primary(old, new, after, at, &mut events);
        }
    }
    of_nodes(&mut events, &[resync, aof, stats, commands]);
    for (old, new) in pairs() {
        if let Some(bytes) = lagging_promotion(before, old, new) {
            events.push(Event {
                at,
                node: Some(new.node.name.clone()),
                shard: None,
                kind: EventKind::LaggingPromotion { bytes },
            });
        }
    }
    for message in messages {
        let kind = EventKind::SentinelEvent {
            channel: message.channel.clone(),
            payload: message.payload.clone(),
        };
        events.push(Event {
            at: message.at,
            node: Some(message.sentinel.clone()),
            shard: None,
            kind,
        });
    }
    events
}

type Emit<'a> = &'a mut dyn FnMut(EventKind);
type NodeFact = fn(&NodeView, &NodeView, Duration, Emit<'_>);

/// Nodes that were found, and nodes that are gone. Those of the first list are no change.
fn membership(before: &DeploymentView, after: &DeploymentView, at: SystemTime) -> Vec<Event> {
    let (old, new) = (&before.deployment.nodes, &after.deployment.nodes);
    let is_data = |node: &&Arc<Node>| node.kind == NodeKind::Data;
    let listed = match after.deployment.kind {
        DeploymentKind::Cluster => !before.shards.is_empty(),
        DeploymentKind::Dns => old.iter().filter(is_data).any(|node| !is_unresolved(node)),
        DeploymentKind::Static | DeploymentKind::Sentinel => {
            before.sentinels.as_ref().is_some_and(|sentinels| sentinels.listed)
        }
    };
    if Arc::ptr_eq(&before.deployment, &after.deployment) || !listed {
        return Vec::new();
    }
    let lacks = |nodes: &[Arc<Node>], name: &str| !nodes.iter().any(|node| node.name == name);
    let found = new
        .iter()
        .filter(is_data)
        .filter(|node| lacks(old, &node.name))
        .map(|node| (node, EventKind::NodeDiscovered));
    let gone = old
        .iter()
        .filter(is_data)
        .filter(|node| lacks(new, &node.name))
        .map(|node| (node, EventKind::NodeGone));
    gone.chain(found)
        .map(|(node, kind)| Event { at, node: Some(node.name.clone()), shard: None, kind })
        .collect()
}

fn presence(old: &NodeView, new: &NodeView, elapsed: Duration, emit: Emit<'_>) {
    match (old.presence, new.presence) {
        (NodeState::Up | NodeState::Pending, NodeState::Down { reason, .. }) => {
            emit(EventKind::NodeUnreachable { reason });
        }
        (NodeState::Down { since, .. }, NodeState::Up) => {
            emit(EventKind::NodeBack { down: elapsed.saturating_sub(since) });
        }
        _ => {}
    }
    if new.process.restarts > old.process.restarts {
        emit(EventKind::Restarted);
    }
    if new.process.replacements > old.process.replacements {
        emit(EventKind::NodeReplaced);
    }
}

fn role(old: &NodeView, new: &NodeView, _: Duration, emit: Emit<'_>) {
    if let (Some(from), Some(to)) = (claimed(old), claimed(new))
        && from != to
    {
        emit(EventKind::RoleChanged { from, to });
    }
}

fn link(old: &NodeView, new: &NodeView, elapsed: Duration, emit: Emit<'_>) {
    match (old.link.down_since, new.link.down_since) {
        (None, Some(_)) => emit(EventKind::LinkDropped),
        (Some(since), None) => {
            emit(EventKind::LinkRestored { down: elapsed.saturating_sub(since) });
        }
        _ => {}
    }
}

fn primary(
    old: &ShardView,
    new: &ShardView,
    after: &DeploymentView,
    at: SystemTime,
    events: &mut Vec<Event>,
) {
    let mut emit = |at, kind| events.push(Event { at, node: None, shard: new.shard.clone(), kind });
    for change in &new.changed {
        let (from, to) = (after.name(change.from).to_owned(), after.name(change.to).to_owned());
        emit(change.at, EventKind::PrimaryChanged { from, to, cause: change.cause });
    }
    match (old.no_primary.why, new.no_primary.why) {
        (None, Some(why)) => emit(at, EventKind::PrimaryLost { why }),
        (Some(_), None) => emit(at, EventKind::PrimaryRegained),
        _ => {}
    }
    match (old.split_brain.masters.is_empty(), new.split_brain.masters.is_empty()) {
        (true, false) => {
            let masters =
                new.split_brain.masters.iter().map(|index| after.name(*index).to_owned()).collect();
            emit(at, EventKind::SplitBrainBegan { masters });
        }
        (false, true) => emit(
            at,
            EventKind::SplitBrainEnded {
                lasted: after.elapsed.saturating_sub(old.split_brain.since),
                unreplicated_writes: new.lost_writes.of_split,
                unreplicated_bytes: old.lost_writes.bytes,
            },
        ),
        _ => {}
    }
}

fn resync(old: &NodeView, new: &NodeView, _: Duration, emit: Emit<'_>) {
    if new.resyncs > old.resyncs {
        emit(EventKind::FullResync);
    }
}

fn aof(old: &NodeView, new: &NodeView, _: Duration, emit: Emit<'_>) {
    let (Some(before), Some(now)) = (&old.last, &new.last) else { return };
    match (old.aof_failed, new.aof_failed) {
        (false, true) => emit(EventKind::AofWriteFailed),
        (true, false) => emit(EventKind::AofWriteRecovered),
        _ => {}
    }
    if (before.persistence.aof.rewrite_ok, now.persistence.aof.rewrite_ok)
        == (Some(true), Some(false))
    {
        emit(EventKind::AofRewriteFailed);
    }
}

/// The counters of one process fell.
fn stats(old: &NodeView, new: &NodeView, _: Duration, emit: Emit<'_>) {
    let (Some(old), Some(new)) = (&old.last, &new.last) else { return };
    let processed = |snapshot: &NodeSnapshot| snapshot.fields.count("total_commands_processed");
    if let (Some(before), Some(now)) = (processed(old), processed(new))
        && old.identity.run_id == new.identity.run_id
        && now < before
    {
        emit(EventKind::StatsReset);
    }
}

fn commands(old: &NodeView, new: &NodeView, _: Duration, emit: Emit<'_>) {
    if Arc::ptr_eq(&old.counters, &new.counters) {
        return;
    }
    let before = |command| {
        old.counters.topology().find(|(name, _)| *name == command).map_or(0, |(_, total)| total)
    };
    for (command, total) in new.counters.topology() {
        if total > before(command) {
            emit(EventKind::Reconfigured { command });
        }
    }
}

/// A promoted node says up to where it took over the history of the primary before, which had more when last seen. Greetings of Sentinels
/// are part of that history, and are under way in every failover: it lags only if there may have been a write.
fn lagging_promotion(before: &DeploymentView, old: &NodeView, new: &NodeView) -> Option<u64> {
    if (claimed(old)?, claimed(new)?) != (Role::Replica, Role::Master) {
        return None;
    }
    let promoted = &new.last.as_ref()?.replication;
    let taken_over = promoted.second_offset?.checked_sub(1)?;
    let mut primaries =
        before.shards.iter().filter_map(|shard| Some(&before.nodes[shard.last_primary?]));
    let last_of = |node: &NodeView| {
        let last = &node.last.as_ref()?.replication;
        let same = last.role == Some(Role::Master)
            && last.replid.is_some()
            && last.replid == promoted.replid2;
        same.then_some((last.offset?, node.written?))
    };
    let (offset, written) = primaries.find_map(last_of)?;
    (written > taken_over).then(|| offset.saturating_sub(taken_over))
}

/// What a node claimed to be when it last answered.
fn claimed(node: &NodeView) -> Option<Role> {
    node.last.as_ref()?.replication.role
}
