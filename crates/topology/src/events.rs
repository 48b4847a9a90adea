//! Detection of events: the difference of two views, in a fixed order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use snapshot::{NodeSnapshot, Role};

use crate::discovery::sources::is_unresolved;
use crate::model::counters::CLIENT_PAUSE;
use crate::model::deployment::{Deployment, DeploymentKind, Node, NodeKind};
use crate::model::event::{Event, EventKind};
use crate::model::identity::DatasetReplacement;
use crate::model::monotonic::Monotonic;
use crate::model::node::{LinkState, NodeView};
use crate::model::node_state::NodeState;
use crate::model::round::SentinelMessage;
use crate::model::shard::ShardView;
use crate::model::view::DeploymentView;

/// Returns the events between two views, in the order node, role, link, primary, split brain,
/// others. The first state of a node or a shard is no event.
pub(crate) fn between(
    before: &DeploymentView,
    after: &DeploymentView,
    messages: &[SentinelMessage],
) -> Vec<Event> {
    let mut events = EventList {
        at: after.at.unwrap_or(SystemTime::UNIX_EPOCH),
        now: after.now,
        events: Vec::new(),
    };
    events.add_membership(before, after);
    events.add_node_changes(before, after, &[state_events, role_events, link_events]);
    let known: HashMap<_, _> = before.shards.iter().map(|shard| (&shard.shard, shard)).collect();
    for new in &after.shards {
        if let Some(old) = known.get(&new.shard) {
            events.add_shard_changes(old, new, after);
        }
    }
    events.add_node_changes(
        before,
        after,
        &[resync_events, aof_events, stats_events, command_events],
    );
    events.add_lagging_promotions(before, after);
    events.add_replacements(after);
    events.events.extend(messages.iter().map(message_event));
    events.events
}

/// The events of one round.
struct EventList {
    /// Wall time at which the round closed.
    at: SystemTime,
    /// Monotonic time at which the round closed.
    now: Monotonic,
    events: Vec<Event>,
}

/// A node before and after a round.
#[derive(Clone, Copy)]
struct NodeChange<'a> {
    old: &'a NodeView,
    new: &'a NodeView,
    now: Monotonic,
}

/// Returns the events of one aspect of a node.
type NodeEvents = fn(NodeChange<'_>) -> Vec<EventKind>;

impl EventList {
    fn add_node_event(&mut self, node: &Node, kind: EventKind) {
        self.events.push(Event { at: self.at, node: Some(node.name.clone()), shard: None, kind });
    }

    /// Adds discovered nodes and nodes that left. The first list of nodes is no event.
    fn add_membership(&mut self, before: &DeploymentView, after: &DeploymentView) {
        if Arc::ptr_eq(&before.deployment, &after.deployment) || !was_discovered(before) {
            return;
        }
        let (old, new) = (&before.deployment, &after.deployment);
        for node in missing_nodes(old, new) {
            self.add_node_event(node, EventKind::NodeGone);
        }
        for node in missing_nodes(new, old) {
            self.add_node_event(node, EventKind::NodeDiscovered);
        }
    }

    fn add_node_changes(
        &mut self,
        before: &DeploymentView,
        after: &DeploymentView,
        aspects: &[NodeEvents],
    ) {
        for aspect in aspects {
            for (old, new) in shown_pairs(before, after) {
                for kind in aspect(NodeChange { old, new, now: self.now }) {
                    self.add_node_event(&new.node, kind);
                }
            }
        }
    }

    fn add_shard_changes(&mut self, old: &ShardView, new: &ShardView, after: &DeploymentView) {
        let name = |index| after.name(index).to_owned();
        let mut add = |at, kind| {
            self.events.push(Event { at, node: None, shard: new.shard.clone(), kind });
        };
        for change in &new.primary_changes {
            let (from, to) = (name(change.from), name(change.to));
            add(change.at, EventKind::PrimaryChanged { from, to, cause: change.cause });
        }
        match (old.no_primary.why, new.no_primary.why) {
            (None, Some(why)) => add(self.at, EventKind::PrimaryLost { why }),
            (Some(_), None) => add(self.at, EventKind::PrimaryRegained),
            _ => {}
        }
        match (old.split_brain.masters.is_empty(), new.split_brain.masters.is_empty()) {
            (true, false) => {
                let masters = new.split_brain.masters.iter().map(|index| name(*index)).collect();
                add(self.at, EventKind::SplitBrainBegan { masters });
            }
            (false, true) => add(
                self.at,
                EventKind::SplitBrainEnded {
                    lasted: self.now.since(old.split_brain.since),
                    unreplicated_writes: new.lost_writes.lost_changes(),
                    unreplicated_bytes: old.lost_writes.bytes,
                },
            ),
            _ => {}
        }
        if old.primary_disputed != new.primary_disputed {
            let witnesses = after.witnesses(new);
            let kind = if new.primary_disputed {
                EventKind::PrimaryDisputed { witnesses }
            } else {
                EventKind::PrimaryUndisputed { witnesses }
            };
            add(self.at, kind);
        }
    }

    fn add_replacements(&mut self, after: &DeploymentView) {
        for shard in &after.shards {
            for replacement in &shard.dataset_replaced.new {
                let DatasetReplacement { node, from, keys_before, keys_after, .. } = replacement;
                self.events.push(Event {
                    at: self.at,
                    node: Some(node.clone()),
                    shard: shard.shard.clone(),
                    kind: EventKind::DatasetReplaced {
                        from: from.clone(),
                        keys_before: *keys_before,
                        keys_after: *keys_after,
                    },
                });
            }
        }
    }

    fn add_lagging_promotions(&mut self, before: &DeploymentView, after: &DeploymentView) {
        let is_promoted = |(old, new): &(&NodeView, &NodeView)| {
            (old.last_role(), new.last_role()) == (Some(Role::Replica), Some(Role::Master))
        };
        let mut promoted = shown_pairs(before, after).filter(is_promoted).peekable();
        if promoted.peek().is_none() {
            return;
        }
        let ends = last_writes(before);
        for (_, new) in promoted {
            if let Some(bytes) = missing_bytes(new, &ends) {
                self.add_node_event(&new.node, EventKind::LaggingPromotion { bytes });
            }
        }
    }
}

/// Returns the nodes whose events appear in this deployment, before and after the round.
fn shown_pairs<'a>(
    before: &'a DeploymentView,
    after: &'a DeploymentView,
) -> impl Iterator<Item = (&'a NodeView, &'a NodeView)> {
    before.nodes.values().zip(after.nodes.values()).filter(|(_, new)| new.shown())
}

fn message_event(message: &SentinelMessage) -> Event {
    Event {
        at: message.at,
        node: Some(message.sentinel.clone()),
        shard: None,
        kind: EventKind::SentinelEvent {
            channel: message.channel.clone(),
            payload: message.payload.clone(),
        },
    }
}

/// Returns true if the nodes of the deployment have been discovered before.
fn was_discovered(before: &DeploymentView) -> bool {
    match before.deployment.kind {
        DeploymentKind::Cluster => !before.shards.is_empty(),
        DeploymentKind::Dns => data_nodes(&before.deployment).any(|node| !is_unresolved(node)),
        DeploymentKind::Static | DeploymentKind::Sentinel => {
            before.sentinels.as_ref().is_some_and(|sentinels| sentinels.listed)
        }
    }
}

/// Returns the data nodes of one deployment whose names are missing in another.
fn missing_nodes<'a>(
    deployment: &'a Deployment,
    other: &'a Deployment,
) -> impl Iterator<Item = &'a Node> {
    let names: HashSet<_> = other.nodes.values().map(|node| &node.name).collect();
    data_nodes(deployment).filter(move |node| !names.contains(&node.name))
}

fn data_nodes(deployment: &Deployment) -> impl Iterator<Item = &Node> {
    let nodes = deployment.nodes.values().map(|node| &**node);
    nodes.filter(|node| node.kind == NodeKind::Data)
}

fn state_events(NodeChange { old, new, now }: NodeChange<'_>) -> Vec<EventKind> {
    let mut events = Vec::new();
    let has_changed =
        std::mem::discriminant(&old.presence) != std::mem::discriminant(&new.presence);
    match (old.presence.failed_since(), new.presence.failure()) {
        (_, Some(reason)) if has_changed => {
            events.push(EventKind::NodeUnreachable { reason, state: new.availability() });
        }
        (Some(since), None) if new.presence == NodeState::Up => {
            events.push(EventKind::NodeBack { down: now.since(since) });
        }
        _ => {}
    }
    if new.process.restarts > old.process.restarts {
        events.push(EventKind::Restarted);
    }
    if new.process.replacements > old.process.replacements {
        events.push(EventKind::NodeReplaced);
    }
    events
}

fn role_events(NodeChange { old, new, .. }: NodeChange<'_>) -> Vec<EventKind> {
    match (old.last_role(), new.last_role()) {
        (Some(from), Some(to)) if from != to => vec![EventKind::RoleChanged { from, to }],
        _ => Vec::new(),
    }
}

fn link_events(NodeChange { old, new, now }: NodeChange<'_>) -> Vec<EventKind> {
    match (old.link.down_since, new.link.down_since) {
        (None, Some(_)) => vec![EventKind::LinkDropped],
        // The link of a promoted replica ends. It is not restored.
        (Some(since), None) if new.link.state.is_some_and(LinkState::is_connected) => {
            vec![EventKind::LinkRestored { down: now.since(since) }]
        }
        _ => Vec::new(),
    }
}

fn resync_events(NodeChange { old, new, .. }: NodeChange<'_>) -> Vec<EventKind> {
    if new.resyncs > old.resyncs { vec![EventKind::FullResync] } else { Vec::new() }
}

fn aof_events(NodeChange { old, new, .. }: NodeChange<'_>) -> Vec<EventKind> {
    let (Some(before), Some(after)) = (&old.last, &new.last) else { return Vec::new() };
    let mut events = Vec::new();
    match (old.aof_failed, new.aof_failed) {
        (false, true) => events.push(EventKind::AofWriteFailed),
        (true, false) => events.push(EventKind::AofWriteRecovered),
        _ => {}
    }
    let rewrites = (before.persistence.aof.rewrite_ok, after.persistence.aof.rewrite_ok);
    if rewrites == (Some(true), Some(false)) {
        events.push(EventKind::AofRewriteFailed);
    }
    events
}

/// Detects that the counters of one process fell.
fn stats_events(NodeChange { old, new, .. }: NodeChange<'_>) -> Vec<EventKind> {
    let is_same_process = |old: &NodeView, new: &NodeView| {
        (old.process.restarts, old.process.replacements)
            == (new.process.restarts, new.process.replacements)
    };
    if !is_same_process(old, new) {
        return Vec::new();
    }
    let (Some(old), Some(new)) = (&old.last, &new.last) else { return Vec::new() };
    let processed = |snapshot: &NodeSnapshot| snapshot.fields.count("total_commands_processed");
    let fell = processed(old).zip(processed(new)).is_some_and(|(before, after)| after < before);
    if fell && old.identity.run_id == new.identity.run_id {
        vec![EventKind::StatsReset]
    } else {
        Vec::new()
    }
}

fn command_events(NodeChange { old, new, .. }: NodeChange<'_>) -> Vec<EventKind> {
    if Arc::ptr_eq(&old.counters, &new.counters) {
        return Vec::new();
    }
    let before = |command| old.counters.topology_commands(command);
    let grown = new.counters.topology().filter(|(command, total)| *total > before(*command));
    let event = |(command, _)| match command {
        CLIENT_PAUSE => EventKind::ClientsPaused,
        command => EventKind::Reconfigured { command },
    };
    grown.map(event).collect()
}

/// End of the history of a primary.
#[derive(Clone, Copy)]
struct HistoryEnd {
    offset: u64,
    last_write: u64,
}

/// Returns the ends of the histories of the last primaries, by replication ID.
fn last_writes(before: &DeploymentView) -> HashMap<&str, HistoryEnd> {
    let mut ends = HashMap::new();
    let primaries = before.shards.iter().filter_map(|shard| shard.last_primary);
    for node in primaries.map(|primary| &before.nodes[primary]) {
        let Some(last) = &node.last else { continue };
        let replication = &last.replication;
        if let (Some(Role::Master), Some(replid), Some(offset), Some(last_write)) =
            (replication.role, &replication.replid, replication.offset, node.last_write_offset)
        {
            ends.entry(&**replid).or_insert(HistoryEnd { offset, last_write });
        }
    }
    ends
}

/// Returns the bytes of the previous primary that a promoted node lacks; `None` if it lacks none.
///
/// The promoted node reports the offset at which it took over the history. In every failover the
/// previous primary has sent some messages of Sentinels beyond it, which are part of the stream.
/// So the promotion lags only if the last write of the previous primary is beyond that offset.
fn missing_bytes(promoted: &NodeView, ends: &HashMap<&str, HistoryEnd>) -> Option<u64> {
    let replication = &promoted.last.as_ref()?.replication;
    let taken_over = replication.second_offset?.checked_sub(1)?;
    let HistoryEnd { offset, last_write } = ends.get(replication.replid2.as_deref()?)?;
    (*last_write > taken_over).then(|| offset.saturating_sub(taken_over))
}
