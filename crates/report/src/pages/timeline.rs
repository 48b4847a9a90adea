//! What happened of late, the newest first.

use maud::{Markup, html};
use topology::{DeploymentView, Event, EventKind};

use super::Site;
use super::links::Links;
use crate::api::time;
use crate::tone::Tone;
use crate::words::{bytes, clock, span};

impl Site<'_> {
    /// The last of a deployment's events; what Sentinels announce is not among them.
    pub(super) fn timeline(&self, links: Links, view: &DeploymentView, most: usize) -> Markup {
        let events = view.history.events().rev().filter(|event| !is_announced(event));
        self.list(links, view, events.take(most), "Nothing happened since Rolecall watches.")
    }

    /// The last of those that change something: what Sentinel cleans up after a failover is not among them.
    pub(super) fn latest(&self, links: Links, view: &DeploymentView, most: usize) -> Markup {
        let events =
            view.history.events().rev().filter(|event| !is_announced(event) && !is_routine(event));
        self.list(links, view, events.take(most), "Nothing happened since Rolecall watches.")
    }

    /// The last that a node had a part in.
    pub(super) fn timeline_of(
        &self,
        links: Links,
        view: &DeploymentView,
        node: &str,
        most: usize,
    ) -> Markup {
        let events = view.history.events().rev().filter(|event| has_part(event, node));
        self.list(links, view, events.take(most), "Nothing happened to it since Rolecall watches.")
    }

    /// The last that Sentinels announced; nothing where there is none.
    pub(super) fn announcements(&self, links: Links, view: &DeploymentView, most: usize) -> Markup {
        let events: Vec<_> =
            view.history.events().rev().filter(|event| is_announced(event)).take(most).collect();
        html! {
            @if !events.is_empty() {
                details #announced {
                    summary { "What Sentinels announced (" (events.len()) ")" }
                    (self.list(links, view, events.into_iter(), ""))
                }
            }
        }
    }

    fn list<'a>(
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
                ol.timeline {
                    @for event in events {
                        li.(tone(&event.kind).class()) {
                            time datetime=(time(event.at)) { (clock(event.at, self.now)) }
                            " "
                            span.what {
                                @if let Some(node) = &event.node { a href=(links.node(&view.deployment.name, node)) { (node) } " " }
                                @if let Some(shard) = &event.shard { "shard " (shard) " " }
                                (sentence(&event.kind))
                            }
                            " " code { (event.kind.label()) }
                        }
                    }
                }
            }
        }
    }
}

fn has_part(event: &Event, node: &str) -> bool {
    event.node.as_deref() == Some(node)
        || match &event.kind {
            EventKind::PrimaryChanged { from, to, .. } => from == node || to == node,
            EventKind::SplitBrainBegan { masters } => masters.iter().any(|master| master == node),
            _ => false,
        }
}

fn is_announced(event: &Event) -> bool {
    matches!(event.kind, EventKind::SentinelEvent { .. })
}

fn is_routine(event: &Event) -> bool {
    matches!(event.kind, EventKind::Reconfigured { command: "client_kill" | "config_rewrite" })
}

/// How bad an event is.
fn tone(kind: &EventKind) -> Tone {
    match kind {
        EventKind::NodeUnreachable { .. }
        | EventKind::PrimaryLost { .. }
        | EventKind::SplitBrainBegan { .. }
        | EventKind::LaggingPromotion { .. }
        | EventKind::AofWriteFailed
        | EventKind::SplitBrainEnded { unreplicated_writes: 1.., .. } => Tone::Bad,
        EventKind::LinkDropped
        | EventKind::Restarted
        | EventKind::NodeReplaced
        | EventKind::PrimaryChanged { .. }
        | EventKind::RoleChanged { .. }
        | EventKind::AofRewriteFailed => Tone::Warn,
        EventKind::NodeBack { .. }
        | EventKind::LinkRestored { .. }
        | EventKind::PrimaryRegained
        | EventKind::SplitBrainEnded { .. }
        | EventKind::AofWriteRecovered => Tone::Good,
        EventKind::FullResync
        | EventKind::StatsReset
        | EventKind::Reconfigured { .. }
        | EventKind::NodeDiscovered
        | EventKind::NodeGone
        | EventKind::SentinelEvent { .. } => Tone::Info,
    }
}

/// What happened; the node it happened to comes before.
fn sentence(kind: &EventKind) -> String {
    match kind {
        EventKind::NodeUnreachable { reason } => format!("does not answer ({reason})"),
        EventKind::NodeBack { down } => format!("answers again, after {}", span(*down)),
        EventKind::Restarted => "restarted".to_owned(),
        EventKind::NodeReplaced => "was replaced by another server".to_owned(),
        EventKind::RoleChanged { from, to } => {
            format!("is {} now, and was {}", to.label(), from.label())
        }
        EventKind::LinkDropped => "lost the link to its master".to_owned(),
        EventKind::LinkRestored { down } => format!("has its link again, after {}", span(*down)),
        EventKind::PrimaryChanged { from, to, cause } => {
            format!("{to} is the primary now, and was {from} (cause: {})", cause.label())
        }
        EventKind::PrimaryLost { why } => format!("no primary any more ({})", why.label()),
        EventKind::PrimaryRegained => "there is a primary again".to_owned(),
        EventKind::SplitBrainBegan { masters } => {
            format!("split brain began: {}", masters.join(", "))
        }
        EventKind::SplitBrainEnded { lasted, unreplicated_writes: 0, .. } => {
            format!("split brain ended after {}, no writes lost", span(*lasted))
        }
        EventKind::SplitBrainEnded { lasted, unreplicated_writes, .. } => {
            format!("split brain ended after {}, {unreplicated_writes} writes lost", span(*lasted))
        }
        EventKind::FullResync => "was synchronised in full".to_owned(),
        EventKind::AofWriteFailed => "cannot write its append-only file".to_owned(),
        EventKind::AofWriteRecovered => "writes its append-only file again".to_owned(),
        EventKind::AofRewriteFailed => "failed to rewrite its append-only file".to_owned(),
        EventKind::StatsReset => "had its statistics reset".to_owned(),
        EventKind::Reconfigured { command } => {
            format!("was given {}", command.replace('_', " ").to_uppercase())
        }
        EventKind::LaggingPromotion { bytes: lacking } => {
            format!("was promoted without {} of its primary's writes", bytes(*lacking))
        }
        EventKind::NodeDiscovered => "was found".to_owned(),
        EventKind::NodeGone => "does not belong to the deployment any more".to_owned(),
        EventKind::SentinelEvent { channel, payload } => format!("{channel} {payload}"),
    }
}
