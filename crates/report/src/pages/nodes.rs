//! Nodes as a table.

use maud::{Markup, html};
use topology::{DeploymentView, NodeIndex, NodeKind, NodeVec};

use super::Site;
use super::links::Links;
use crate::api::upstream;
use crate::format::{bytes, duration, short_duration};
use crate::labels::link_state;
use crate::node_status::{aof_status, link_level, notes, role};
use crate::status_level::StatusLevel;

/// Returns the node indices in the order of the table: the worst first, then the primary, and
/// Sentinels last.
pub(super) fn ordered(view: &DeploymentView, levels: &NodeVec<StatusLevel>) -> Vec<NodeIndex> {
    let is_primary = |index: NodeIndex| {
        view.shards.iter().any(|shard| shard.primary.is_some_and(|primary| primary.node == index))
    };
    let rank = |index: NodeIndex| match view.nodes[index].node.kind {
        NodeKind::Sentinel { .. } => 2,
        _ if is_primary(index) => 0,
        _ => 1,
    };
    let mut indices: Vec<_> = view.members().map(|(index, _)| index).collect();
    indices.sort_by_cached_key(|index| (levels[*index], rank(*index), *index));
    indices
}

impl Site<'_> {
    /// Returns the table of these nodes.
    pub(super) fn table(
        &self,
        links: Links,
        view: &DeploymentView,
        indices: &[NodeIndex],
        levels: &NodeVec<StatusLevel>,
    ) -> Markup {
        let label = format!("Nodes of {}", view.deployment.name);
        html! {
            div.scroll role="region" tabindex="0" aria-label=(label) {
                table {
                    thead {
                        tr {
                            th scope="col" { "Node" }
                            th scope="col" { "Role" }
                            th scope="col" { "Upstream" }
                            th scope="col" { "Link" }
                            th scope="col" { "Lag" }
                            th scope="col" { "AOF" }
                            th scope="col" { "Last reply" }
                            th scope="col" { "Notes" }
                        }
                    }
                    tbody {
                        @for index in indices { (self.row(links, view, *index, levels[*index])) }
                    }
                }
            }
        }
    }

    fn row(
        &self,
        links: Links,
        view: &DeploymentView,
        index: NodeIndex,
        level: StatusLevel,
    ) -> Markup {
        let node = &view.nodes[index];
        let (name, role) = (node.node.name.as_str(), role(view, index));
        let link = node.snapshot().and(node.link.state).filter(|_| !node.is_unknown());
        let lag = node.lag.behind.map(short_duration).or_else(|| node.lag.bytes.map(bytes));
        let replied = node
            .polling
            .answered_at
            .map(|at| duration(self.now.duration_since(at).unwrap_or_default()) + " ago");
        let replied = if node.is_unknown() {
            replied.map(|replied| format!("last seen {replied}"))
        } else {
            replied
        };
        html! {
            tr.(level.class()) id={ "node-" (view.deployment.name) "-" (name) } {
                th scope="row" { a href=(links.node(&view.deployment.name, name)) { (name) } }
                td { span.(role.level.class()) { (role.text) } }
                td { (upstream(view, node).unwrap_or_default()) }
                td {
                    @if let Some(state) = link {
                        span.(link_level(state).class()) { (link_state(state)) }
                    }
                }
                td.number { (lag.unwrap_or_default()) }
                td {
                    @if let Some(aof) = aof_status(node).filter(|_| !node.is_unknown()) {
                        span.(aof.level.class()) { (aof.text) }
                    }
                }
                td.number { (replied.unwrap_or_default()) }
                td {
                    @for note in notes(node) { span.note.(note.level.class()) { (note.text) } " " }
                }
            }
        }
    }
}
