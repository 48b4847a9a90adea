//! Peers that observe a node while it does not reply to Rolecall, on the page of the node.

use maud::{Markup, html};
use topology::{DeploymentView, NodeView, Witness};

use crate::format::short_duration;
use crate::labels::{observation, witness_kind};
use crate::status_level::StatusLevel;

/// Maximum number of witnesses on the page.
const WITNESSES: usize = 50;

/// Returns the peers with the times of their last contact; nothing while the node replies.
pub(super) fn witnesses(view: &DeploymentView, node: &NodeView) -> Markup {
    if node.polling.failing_since.is_none() || node.is_known_up() {
        return Markup::default();
    }
    let mut witnesses: Vec<_> = node.witnesses.iter().collect();
    witnesses.sort_by_key(|witness| (!witness.vouches, witness.says_down(), witness.kind));
    let alive = node.vouching().count();
    let down = witnesses.iter().filter(|witness| witness.says_down()).count();
    html! {
        section aria-labelledby="witnesses" {
            h2 #witnesses { "Peers that observe this node" }
            @if witnesses.is_empty() {
                p.none { "No peer that replies to Rolecall observes this node." }
            } @else {
                p { (alive) " report it alive, " (down) " report it down." }
                table {
                    thead {
                        tr {
                            @for head in ["Peer", "Kind", "Observation", "Last contact"] {
                                th scope="col" { (head) }
                            }
                        }
                    }
                    tbody {
                        @for witness in witnesses.iter().take(WITNESSES) {
                            (row(view, witness))
                        }
                    }
                }
                @if witnesses.len() > WITNESSES {
                    p.none { "and " (witnesses.len() - WITNESSES) " more" }
                }
            }
        }
    }
}

fn row(view: &DeploymentView, witness: &Witness) -> Markup {
    let level = match (witness.vouches, witness.says_down()) {
        (true, _) => StatusLevel::Ok,
        (_, true) => StatusLevel::Critical,
        _ => StatusLevel::Unknown,
    };
    html! {
        tr.(level.class()) {
            th scope="row" { (witness.peer.map_or("", |peer| view.name(peer))) }
            td { (witness_kind(witness.kind)) }
            td { (observation(witness)) }
            td {
                @if let Some(alive_at) = witness.alive_at {
                    (short_duration(view.now.since(alive_at))) " ago"
                    @if !witness.vouches { ", too old to count" }
                }
            }
        }
    }
}
