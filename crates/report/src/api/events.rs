//! The document of events.

use std::sync::Arc;

use serde::Serialize;
use topology::{DeploymentView, Event, EventKind};

use super::{rfc3339, seconds};

/// The document of `/api/v1/events`: recent events, the newest last.
#[derive(Debug, Serialize)]
pub struct Events {
    /// The events of all requested deployments.
    pub events: Vec<EventDocument>,
}

/// One event.
#[derive(Debug, Default, Serialize)]
pub struct EventDocument {
    /// End of the round in which the event was detected.
    pub at: String,
    /// The kind, a label from a closed set.
    pub kind: &'static str,
    /// The deployment.
    pub deployment: String,
    /// The affected node; absent if the event concerns no single node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The affected shard of a cluster; absent if the event concerns no single shard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    /// `role_changed`: the previous role. `primary_changed`: the previous primary.
    /// `dataset_replaced`: the source of the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// `role_changed`: the new role. `primary_changed`: the new primary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// `primary_changed`: the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
    /// `node_unreachable`: the reason of the failed poll.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// `node_unreachable`: the state of the node, `down`, `unreachable` or `unknown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
    /// `primary_lost`: the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'static str>,
    /// `node_back`, `link_restored`, `split_brain_ended`: duration of the ended condition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// `split_brain_began`: the nodes that claim to be master.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masters: Option<Vec<String>>,
    /// `split_brain_ended`: changes that stale masters accepted and the primary does not have; the
    /// lower bound if there is no upper one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreplicated_writes: Option<u64>,
    /// `split_brain_ended`: lower bound of these changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreplicated_writes_min: Option<u64>,
    /// `split_brain_ended`: upper bound of these changes; absent if a save, a restart or a gap
    /// hides a part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreplicated_writes_max: Option<u64>,
    /// `split_brain_ended`: these writes as replication stream, bytes; absent if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreplicated_bytes: Option<u64>,
    /// `primary_disputed`, `primary_undisputed`: the nodes with the evidence that each of them is
    /// the primary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub witnesses: Option<Vec<String>>,
    /// `lagging_promotion`: replication stream that the promoted node lacked, bytes. A lower bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// `dataset_replaced`: number of keys before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys_before: Option<u64>,
    /// `dataset_replaced`: number of keys after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys_after: Option<u64>,
    /// `reconfigured`: the command that the node executed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<&'static str>,
    /// `sentinel_event`: the Pub/Sub channel, which is the type of the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// `sentinel_event`: the Pub/Sub message, which names the affected instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
}

/// Returns the events of deployments, sorted by time.
pub fn events<'a>(views: impl IntoIterator<Item = &'a Arc<DeploymentView>>) -> Events {
    let of = |view: &'a Arc<DeploymentView>| {
        view.history.events().map(|event| (&view.deployment.name, event))
    };
    let mut found: Vec<_> = views.into_iter().flat_map(of).collect();
    found.sort_by_key(|(_, event)| event.at);
    Events {
        events: found
            .into_iter()
            .map(|(deployment, event)| self::event(deployment, event))
            .collect(),
    }
}

/// Returns the document of one event.
pub fn event(deployment: &str, event: &Event) -> EventDocument {
    let document = EventDocument {
        at: rfc3339(event.at),
        kind: event.kind.label(),
        deployment: deployment.to_owned(),
        node: event.node.clone(),
        shard: event.shard.clone(),
        ..EventDocument::default()
    };
    match event.kind.clone() {
        EventKind::NodeUnreachable { reason, state } => {
            EventDocument { reason: Some(reason.label()), state: Some(state.label()), ..document }
        }
        EventKind::NodeBack { down } | EventKind::LinkRestored { down } => {
            EventDocument { seconds: Some(seconds(down)), ..document }
        }
        EventKind::RoleChanged { from, to } => EventDocument {
            from: Some(from.label().to_owned()),
            to: Some(to.label().to_owned()),
            ..document
        },
        EventKind::PrimaryChanged { from, to, cause } => {
            EventDocument { from: Some(from), to: Some(to), cause: Some(cause.label()), ..document }
        }
        EventKind::PrimaryLost { why } => EventDocument { why: Some(why.label()), ..document },
        EventKind::SplitBrainBegan { masters } => {
            EventDocument { masters: Some(masters), ..document }
        }
        EventKind::SplitBrainEnded { lasted, unreplicated_writes, unreplicated_bytes } => {
            EventDocument {
                seconds: Some(seconds(lasted)),
                unreplicated_writes: Some(unreplicated_writes.about),
                unreplicated_writes_min: Some(unreplicated_writes.low),
                unreplicated_writes_max: (!unreplicated_writes.at_least)
                    .then_some(unreplicated_writes.high),
                unreplicated_bytes,
                ..document
            }
        }
        EventKind::PrimaryDisputed { witnesses } | EventKind::PrimaryUndisputed { witnesses } => {
            EventDocument { witnesses: Some(witnesses), ..document }
        }
        EventKind::Reconfigured { command } => EventDocument { command: Some(command), ..document },
        EventKind::LaggingPromotion { bytes } => EventDocument { bytes: Some(bytes), ..document },
        EventKind::DatasetReplaced { from, keys_before, keys_after } => EventDocument {
            from: Some(from),
            keys_before: Some(keys_before),
            keys_after: Some(keys_after),
            ..document
        },
        EventKind::SentinelEvent { channel, payload } => {
            EventDocument { channel: Some(channel), payload: Some(payload), ..document }
        }
        EventKind::Restarted
        | EventKind::NodeReplaced
        | EventKind::LinkDropped
        | EventKind::PrimaryRegained
        | EventKind::FullResync
        | EventKind::AofWriteFailed
        | EventKind::AofWriteRecovered
        | EventKind::AofRewriteFailed
        | EventKind::StatsReset
        | EventKind::ClientsPaused
        | EventKind::NodeDiscovered
        | EventKind::NodeGone => document,
    }
}
