//! `/deployment/<name>`: the page of one deployment.

use maud::{Markup, html};
use topology::{DeploymentView, FailoverView, ShardView};

use super::findings::GroupedFindings;
use super::layout::Layout;
use super::links::Links;
use super::search::SearchQuery;
use super::status::shard_lines;
use super::{Site, drawing, nodes, tree};
use crate::deployment_status::{endpoint_status, excess_status, failover_status, omission_status};
use crate::node_status::{node_levels, role};

/// Maximum number of findings of one kind, trees, nodes and events on the page.
const FINDINGS: usize = 20;
const TREES: usize = 24;
const NODES: usize = 50;
const EVENTS: usize = 100;

/// Maximum number of shards whose readiness for a failover is listed.
const FAILOVERS: usize = 16;

/// Number of nodes up to which the page has no search form.
const FEW_NODES: usize = 10;

const LINKS: Links = Links::BELOW;

impl Site<'_> {
    /// Returns the page of a deployment.
    ///
    /// # Errors
    /// Returns the "not found" page if no deployment has this name.
    pub fn deployment(&self, name: &str, query: &SearchQuery) -> Result<String, String> {
        let not_found = || {
            self.not_found(
                LINKS,
                &format!("No deployment named {name}"),
                &html! { p { a href=(LINKS.to("")) { "All deployments" } } },
            )
        };
        let view = self.view(name).ok_or_else(not_found)?;
        let name = view.deployment.name.as_str();
        let levels = node_levels(view);
        let findings = GroupedFindings::of(view, |_| true);
        let matches = |index: &topology::NodeIndex| {
            let node = &view.nodes[*index].node;
            query.matches([node.name.as_str(), &node.address, &role(view, *index).text])
        };
        let indices = nodes::ordered(view, &levels).into_iter().filter(matches).collect();
        let list = query.paginate(indices, NODES);
        let labels = view.deployment.labels.iter().skip(1);
        let has_form = view.members().count() > FEW_NODES || !query.words.is_empty();
        let trees = tree::trees(view, &levels);
        let main = html! {
            h1 {
                (name) " "
                span.of {
                    (view.deployment.kind.label())
                    @for (label, value) in labels { ", " (label) " " (value) }
                }
            }
            (shard_lines(view))
            (self.rounds(view))
            @if let Some(omission) = omission_status(view) { p.rounds { (omission) } }
            (excess(view))
            (self.findings(LINKS, &findings, FINDINGS))
            (failovers(view))
            (endpoints(view))
            section aria-labelledby="topology" {
                h2 #topology { "Topology" }
                (drawing::drawing(view, &trees, TREES, "drawing"))
            }
            section aria-labelledby="nodes" {
                h2 #nodes { "Nodes" }
                @if has_form { (query.form("Search nodes")) }
                (self.table(LINKS, view, &list.items, &levels))
                (query.page_links(&list, "nodes"))
            }
            section aria-labelledby="events" {
                h2 #events { "Events" }
                (self.timeline(LINKS, view, EVENTS))
                (self.sentinel_events(LINKS, view, EVENTS))
            }
        };
        let breadcrumbs = &[("Status", LINKS.to(""))];
        Ok(self.page(&Layout { links: LINKS, title: name, breadcrumbs, main }))
    }

    /// Returns the time of the last round, and the counts of rounds.
    fn rounds(&self, view: &DeploymentView) -> Markup {
        let rounds = view.rounds;
        html! {
            p.rounds {
                "Last round: " (self.last_round(view)) ". Since Rolecall started: "
                (rounds.total) " rounds, " (rounds.missed) " missed rounds, "
                (rounds.blind) " blind rounds (Rolecall itself cut off or overloaded), "
                (rounds.slow) " slow rounds (took longer than a tenth of the interval to compute)."
            }
        }
    }
}

/// Returns what servers list beyond the limits, if there is anything.
fn excess(view: &DeploymentView) -> Markup {
    let exceeded: Vec<_> = view.excess.iter().filter(|(_, count)| *count > 0).collect();
    html! {
        @if !exceeded.is_empty() {
            section aria-labelledby="limits" {
                h2 #limits { "Exceeded limits" }
                ul.plain {
                    @for (kind, count) in exceeded {
                        li.warn { (excess_status(view, kind, count)) }
                    }
                }
            }
        }
    }
}

/// Returns the readiness of the shards for a failover, those that are not ready first.
fn failovers(view: &DeploymentView) -> Markup {
    let is_ready = |shard: &ShardView| shard.failover.as_ref().is_none_or(FailoverView::is_ready);
    let mut shards: Vec<_> = view
        .shards
        .iter()
        .filter_map(|shard| Some((shard, failover_status(view, shard)?)))
        .collect();
    shards.sort_by_key(|(shard, _)| is_ready(shard));
    let left_out = shards.len().saturating_sub(FAILOVERS);
    html! {
        @if !shards.is_empty() {
            section aria-labelledby="failover" {
                h2 #failover { "Failover" }
                ul.plain {
                    @for (shard, status) in shards.iter().take(FAILOVERS) {
                        li.(if is_ready(shard) { "idle" } else { "warn" }) {
                            @if let Some(label) = &shard.shard { "Shard " (label) ": " }
                            (status)
                        }
                    }
                }
                @if left_out > 0 { p.more { (left_out) " more shards" } }
            }
        }
    }
}

fn endpoints(view: &DeploymentView) -> Markup {
    html! {
        @if !view.endpoints.is_empty() {
            section aria-labelledby="endpoints" {
                h2 #endpoints { "Endpoints" }
                ul.plain {
                    @for endpoint in &view.endpoints {
                        li.(if endpoint.correct == Some(false) { "bad" } else { "idle" }) {
                            (endpoint_status(endpoint))
                        }
                    }
                }
            }
        }
    }
}
