//! Nodes as a table: the same as what is drawn, and more.

use maud::{Markup, html};
use topology::{DeploymentView, NodeIndex, NodeKind, NodeVec};

use super::Site;
use super::links::Links;
use crate::api::follows;
use crate::standing::{self, role};
use crate::tone::Tone;
use crate::words::{bytes, lag, span};

/// The places of nodes in the order of the table: the worst first, then the primary, and Sentinels last.
pub(super) fn ordered(view: &DeploymentView, tones: &NodeVec<Tone>) -> Vec<NodeIndex> {
    let is_primary = |index: NodeIndex| {
        view.shards.iter().any(|shard| shard.primary.is_some_and(|primary| primary.node == index))
    };
    let rank = |index: NodeIndex| match view.nodes[index].node.kind {
        NodeKind::Sentinel { .. } => 2,
        _ if is_primary(index) => 0,
        _ => 1,
    };
    let mut indices: Vec<_> = view.members().map(|(index, _)| index).collect();
    indices.sort_by_cached_key(|index| (tones[*index], rank(*index), *index));
    indices
}

impl Site<'_> {
    /// The table of these nodes.
    pub(super) fn table(
        &self,
        links: Links,
        view: &DeploymentView,
        indices: &[NodeIndex],
        tones: &NodeVec<Tone>,
    ) -> Markup {
        html! {
            div.scroll role="region" tabindex="0" aria-label={ "Nodes of " (view.deployment.name) } {
                table {
                    thead {
                        tr {
                            th scope="col" { "Node" }
                            th scope="col" { "Role" }
                            th scope="col" { "Follows" }
                            th scope="col" { "Link" }
                            th scope="col" { "Lag" }
                            th scope="col" { "AOF" }
                            th scope="col" { "Answered" }
                            th scope="col" { "Remarks" }
                        }
                    }
                    tbody { @for index in indices { (self.row(links, view, *index, tones[*index])) } }
                }
            }
        }
    }

    fn row(&self, links: Links, view: &DeploymentView, index: NodeIndex, tone: Tone) -> Markup {
        let node = &view.nodes[index];
        let (name, role) = (node.node.name.as_str(), role(view, index));
        let link = node.snapshot().and(node.link.state);
        let late = node.lag.behind.map(lag).or_else(|| node.lag.bytes.map(bytes));
        let answered = node
            .polling
            .answered_at
            .map(|at| span(self.now.duration_since(at).unwrap_or_default()) + " ago");
        html! {
            tr.(tone.class()) id={ "node-" (view.deployment.name) "-" (name) } {
                th scope="row" { a href=(links.node(&view.deployment.name, name)) { (name) } }
                td { span.(role.tone.class()) { (role.text) } }
                td { (follows(view, node).unwrap_or_default()) }
                td { @if let Some(state) = link { span.(standing::link(state).class()) { (state.label().replace('_', " ")) } } }
                td.number { (late.unwrap_or_default()) }
                td { @if let Some(aof) = standing::aof(node) { span.(aof.tone.class()) { (aof.text) } } }
                td.number { (answered.unwrap_or_default()) }
                td {
                    @for note in standing::notes(node) { span.note.(note.tone.class()) { (note.text) } " " }
                }
            }
        }
    }
}
