//! Events: the difference of two views, in a fixed order.

use std::time::{Duration, SystemTime};

use snapshot::{Reason, Role};

use crate::{DeploymentView, NodeView, Presence};

/// A change between two rounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Wall time of the round that showed it.
    pub at: SystemTime,
    /// Label of the node it happened to, if it happened to one.
    pub node: Option<String>,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq)]
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
    /// The link to the master stands again.
    LinkRestored {
        /// For how long it was down.
        down: Duration,
    },
    /// Writing the append-only file began to fail.
    AofWriteFailed,
    /// The append-only file is written again.
    AofWriteRecovered,
}

impl EventKind {
    /// The value of `kind` in the API and of the log line.
    pub const fn label(self) -> &'static str {
        match self {
            EventKind::NodeUnreachable { .. } => "node_unreachable",
            EventKind::NodeBack { .. } => "node_back",
            EventKind::Restarted => "restarted",
            EventKind::NodeReplaced => "node_replaced",
            EventKind::RoleChanged { .. } => "role_changed",
            EventKind::LinkDropped => "link_dropped",
            EventKind::LinkRestored { .. } => "link_restored",
            EventKind::AofWriteFailed => "aof_write_failed",
            EventKind::AofWriteRecovered => "aof_write_recovered",
        }
    }
}

/// The events between two views, in the order node, role, link, others. First sight is no change.
pub(crate) fn between(before: &DeploymentView, after: &DeploymentView) -> Vec<Event> {
    let at = after.at.unwrap_or(SystemTime::UNIX_EPOCH);
    let pairs = || before.nodes.iter().zip(&after.nodes);
    let mut events = Vec::new();
    for kinds in [presence, role, link, aof] {
        for (old, new) in pairs() {
            kinds(old, new, after.elapsed, &mut |kind| events.push(Event { at, node: Some(new.node.name.clone()), kind }));
        }
    }
    events
}

type Emit<'a> = &'a mut dyn FnMut(EventKind);

fn presence(old: &NodeView, new: &NodeView, elapsed: Duration, emit: Emit<'_>) {
    match (old.presence, new.presence) {
        (Presence::Up | Presence::Pending, Presence::Down { reason, .. }) => emit(EventKind::NodeUnreachable { reason }),
        (Presence::Down { since, .. }, Presence::Up) => emit(EventKind::NodeBack { down: elapsed.saturating_sub(since) }),
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
    let claimed = |node: &NodeView| node.last.as_ref().and_then(|last| last.replication.role);
    if let (Some(from), Some(to)) = (claimed(old), claimed(new))
        && from != to
    {
        emit(EventKind::RoleChanged { from, to });
    }
}

fn link(old: &NodeView, new: &NodeView, elapsed: Duration, emit: Emit<'_>) {
    match (old.link.down_since, new.link.down_since) {
        (None, Some(_)) => emit(EventKind::LinkDropped),
        (Some(since), None) => emit(EventKind::LinkRestored { down: elapsed.saturating_sub(since) }),
        _ => {}
    }
}

fn aof(old: &NodeView, new: &NodeView, _: Duration, emit: Emit<'_>) {
    let failing = |node: &NodeView| node.last.as_ref().and_then(|last| last.persistence.aof.failing());
    match (failing(old), failing(new)) {
        (Some(false), Some(true)) => emit(EventKind::AofWriteFailed),
        (Some(true), Some(false)) => emit(EventKind::AofWriteRecovered),
        _ => {}
    }
}
