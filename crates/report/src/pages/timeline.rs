//! Events on pages, the newest first.

use maud::{Markup, html};
use topology::{Availability, DeploymentView, Event, EventKind};

use super::Site;
use super::links::Links;
use crate::api::rfc3339;
use crate::format::{bytes, duration, time_of_day};
use crate::labels;
use crate::status_level::StatusLevel;

const NO_EVENTS: &str = "No events since Rolecall started.";

impl Site<'_> {
    /// Returns the last events of a deployment, without the events of Sentinels.
    pub(super) fn timeline(&self, links: Links, view: &DeploymentView, max: usize) -> Markup {
        let events = view.history.events().rev().filter(|event| !is_sentinel_event(event));
        self.event_list(links, view, events.take(max), NO_EVENTS)
    }

    /// Returns the last events of a deployment, without the events of Sentinels and without the
    /// commands that Sentinels send to nodes after a failover.
    pub(super) fn latest_events(&self, links: Links, view: &DeploymentView, max: usize) -> Markup {
        let events = view
            .history
            .events()
            .rev()
            .filter(|event| !is_sentinel_event(event) && !is_routine(event));
        self.event_list(links, view, events.take(max), NO_EVENTS)
    }

    /// Returns the last events that concern a node.
    pub(super) fn node_timeline(
        &self,
        links: Links,
        view: &DeploymentView,
        node: &str,
        max: usize,
    ) -> Markup {
        let events = view.history.events().rev().filter(|event| concerns(event, node));
        let message = "No events of this node since Rolecall started.";
        self.event_list(links, view, events.take(max), message)
    }

    /// Returns the last events of Sentinels. Returns nothing without such events.
    pub(super) fn sentinel_events(
        &self,
        links: Links,
        view: &DeploymentView,
        max: usize,
    ) -> Markup {
        let events: Vec<_> = view
            .history
            .events()
            .rev()
            .filter(|event| is_sentinel_event(event))
            .take(max)
            .collect();
        html! {
            @if !events.is_empty() {
                details #announced {
                    summary { "Messages from Sentinels (" (events.len()) ")" }
                    (self.event_list(links, view, events.into_iter(), ""))
                }
            }
        }
    }

    fn event_list<'a>(
        &self,
        links: Links,
        view: &DeploymentView,
        events: impl Iterator<Item = &'a Event>,
        none: &str,
    ) -> Markup {
        let mut events = events.peekable();
        html! {
            @if events.peek().is_none() { p.none { (none) } }
            @else {
                ol.timeline { @for event in events { (self.event(links, view, event)) } }
            }
        }
    }

    fn event(&self, links: Links, view: &DeploymentView, event: &Event) -> Markup {
        html! {
            li.(event_level(&event.kind).class()) {
                time datetime=(rfc3339(event.at)) { (time_of_day(event.at, self.now)) }
                " "
                span.what {
                    @if let Some(node) = &event.node {
                        a href=(links.node(&view.deployment.name, node)) { (node) } " "
                    }
                    @if let Some(shard) = &event.shard { "shard " (shard) ": " }
                    (sentence(&event.kind))
                }
                " " code { (event.kind.label()) }
            }
        }
    }
}

fn concerns(event: &Event, node: &str) -> bool {
    event.node.as_deref() == Some(node)
        || match &event.kind {
            EventKind::PrimaryChanged { from, to, .. } => from == node || to == node,
            EventKind::SplitBrainBegan { masters } => masters.iter().any(|master| master == node),
            _ => false,
        }
}

fn is_sentinel_event(event: &Event) -> bool {
    matches!(event.kind, EventKind::SentinelEvent { .. })
}

fn is_routine(event: &Event) -> bool {
    matches!(event.kind, EventKind::Reconfigured { command: "client_kill" | "config_rewrite" })
}

/// Returns the status level of an event.
fn event_level(kind: &EventKind) -> StatusLevel {
    match kind {
        EventKind::NodeUnreachable { state: Availability::Down, .. }
        | EventKind::PrimaryLost { .. }
        | EventKind::SplitBrainBegan { .. }
        | EventKind::LaggingPromotion { .. }
        | EventKind::DatasetReplaced { .. }
        | EventKind::AofWriteFailed => StatusLevel::Critical,
        EventKind::SplitBrainEnded { unreplicated_writes, .. } if unreplicated_writes.about > 0 => {
            StatusLevel::Critical
        }
        EventKind::NodeUnreachable { .. }
        | EventKind::LinkDropped
        | EventKind::Restarted
        | EventKind::NodeReplaced
        | EventKind::PrimaryChanged { .. }
        | EventKind::RoleChanged { .. }
        | EventKind::PrimaryDisputed { .. }
        | EventKind::ClientsPaused
        | EventKind::AofRewriteFailed => StatusLevel::Warning,
        EventKind::NodeBack { .. }
        | EventKind::LinkRestored { .. }
        | EventKind::PrimaryRegained
        | EventKind::PrimaryUndisputed { .. }
        | EventKind::SplitBrainEnded { .. }
        | EventKind::AofWriteRecovered => StatusLevel::Ok,
        EventKind::FullResync
        | EventKind::StatsReset
        | EventKind::Reconfigured { .. }
        | EventKind::NodeDiscovered
        | EventKind::NodeGone
        | EventKind::SentinelEvent { .. } => StatusLevel::Info,
    }
}

/// Returns the text of an event. The name of the affected node precedes it.
fn sentence(kind: &EventKind) -> String {
    match kind {
        EventKind::NodeUnreachable { reason, state } => match state {
            Availability::Down => format!("went down ({reason})"),
            Availability::Unreachable => format!("cannot be reached, but its peers do ({reason})"),
            Availability::Up | Availability::Unknown => format!("cannot be read ({reason})"),
        },
        EventKind::NodeBack { down } => format!("is up again after {}", duration(*down)),
        EventKind::Restarted => "restarted".to_owned(),
        EventKind::NodeReplaced => "was replaced by another server".to_owned(),
        EventKind::RoleChanged { from, to } => {
            format!("changed its role from {} to {}", from.label(), to.label())
        }
        EventKind::LinkDropped => "lost its replication link".to_owned(),
        EventKind::LinkRestored { down } => {
            // After a promotion the node has no link, so the text must not state that it is up.
            format!("was without a replication link for {}", duration(*down))
        }
        EventKind::PrimaryChanged { from, to, cause } => {
            format!("primary changed from {from} to {to} (cause: {})", labels::cause(*cause))
        }
        EventKind::PrimaryLost { why } => format!("no primary: {}", labels::no_primary(*why)),
        EventKind::PrimaryRegained => "primary available again".to_owned(),
        EventKind::SplitBrainBegan { masters } => {
            format!("split brain began: {}", masters.join(", "))
        }
        EventKind::SplitBrainEnded { lasted, unreplicated_writes, .. } => {
            let lasted = duration(*lasted);
            let lost = match unreplicated_writes.about {
                0 => "no changes lost".to_owned(),
                _ => format!("{unreplicated_writes} changes lost"),
            };
            format!("split brain ended after {lasted}, {lost}")
        }
        EventKind::PrimaryDisputed { witnesses } => {
            format!("the evidence about the primary is contradictory: {}", witnesses.join(", "))
        }
        EventKind::PrimaryUndisputed { witnesses } => {
            format!("the evidence about the primary agrees: {}", witnesses.join(", "))
        }
        EventKind::FullResync => "completed a full resync".to_owned(),
        EventKind::AofWriteFailed => "cannot write its AOF".to_owned(),
        EventKind::AofWriteRecovered => "can write its AOF again".to_owned(),
        EventKind::AofRewriteFailed => "failed to rewrite its AOF".to_owned(),
        EventKind::StatsReset => "reset its statistics".to_owned(),
        EventKind::Reconfigured { command } => {
            format!("executed {}", command.replace('_', " ").to_uppercase())
        }
        EventKind::ClientsPaused => "paused its clients (CLIENT PAUSE)".to_owned(),
        EventKind::LaggingPromotion { bytes: lag } => {
            format!("was promoted while at least {} behind its primary", bytes(*lag))
        }
        EventKind::DatasetReplaced { from, keys_before, keys_after } => {
            format!("replaced its data ({keys_before} keys) by that of {from} ({keys_after} keys)")
        }
        EventKind::NodeDiscovered => "was discovered".to_owned(),
        EventKind::NodeGone => "was removed from the deployment".to_owned(),
        EventKind::SentinelEvent { channel, payload } => format!("{channel} {payload}"),
    }
}
