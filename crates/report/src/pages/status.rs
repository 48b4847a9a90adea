//! `/`: the status page. Lists findings first, then deployments: those with problems as drawings,
//! the others as rows of a table.

use std::sync::Arc;

use maud::{Markup, html};
use topology::{DeploymentView, Finding, NodeView, Severity, ShardView};

use super::findings::GroupedFindings;
use super::layout::Layout;
use super::links::Links;
use super::search::SearchQuery;
use super::{Site, drawing, nodes, tree};
use crate::deployment_status::shard_status;
use crate::format::{count, duration};
use crate::node_status::node_levels;
use crate::status_level::StatusLevel;

/// Maximum number of deployments on a page, and of drawn deployments among them.
const DEPLOYMENTS: usize = 100;
const DRAWN: usize = 5;

/// Maximum number of findings of one kind, and of the parts of a drawn deployment.
const FINDINGS: usize = 6;
const TREES: usize = 6;
const NODES: usize = 15;
const EVENTS: usize = 10;

/// Maximum number of deployments that the summary names.
const NAMED: usize = 5;

/// Number of deployments up to which healthy ones are drawn too, and number of nodes up to which
/// the page has no search form.
const FEW: usize = 3;
const FEW_NODES: usize = 20;

const LINKS: Links = Links::TOP;

impl Site<'_> {
    /// Returns the page at `/`.
    pub fn status(&self, query: &SearchQuery) -> String {
        let mut views: Vec<_> =
            self.views.iter().filter(|view| matches_anything(query, view)).collect();
        views.sort_by_key(|view| deployment_level(view));
        let mut findings = GroupedFindings::default();
        for view in &views {
            findings.add(view, |finding| matches_finding(query, view, finding));
        }
        let list = query.paginate(views, DEPLOYMENTS);
        let few = self.views.len() <= FEW;
        let is_drawn = |(number, view): &(usize, &&Arc<DeploymentView>)| {
            *number < DRAWN && (few || deployment_level(view) < StatusLevel::Ok)
        };
        let drawn = list.items.iter().enumerate().take_while(is_drawn).count();
        let (drawn, others) = list.items.split_at(drawn);
        let members: usize = self.views.iter().map(|view| view.members().count()).sum();
        let has_form = members > FEW_NODES || !query.words.is_empty();
        let main = html! {
            (self.summary(members))
            @if has_form { (query.form("Search deployments and nodes")) }
            (self.findings(LINKS, &findings, FINDINGS))
            @for (view, number) in drawn.iter().zip(0..) {
                (self.drawn_deployment(view, query, number))
            }
            @if !others.is_empty() { (self.deployment_table(others, !drawn.is_empty())) }
            @if list.total == 0 { p.none { "No deployment or node matches the search." } }
            (query.page_links(&list, "deployments"))
        };
        self.page(&Layout { links: LINKS, title: "Status", breadcrumbs: &[], main })
    }

    /// Returns the number of findings, and the number of nodes that are up.
    fn summary(&self, members: usize) -> Markup {
        let findings = |severity| {
            self.views
                .iter()
                .flat_map(|view| &view.findings)
                .filter(|finding| finding.severity == severity)
                .count()
        };
        let (critical, warnings, info) =
            (findings(Severity::Critical), findings(Severity::Warning), findings(Severity::Info));
        let counts = [
            (critical, format!("{critical} critical")),
            (warnings, count(warnings, "warning")),
            (info, format!("{info} info")),
        ];
        let counts: Vec<_> =
            counts.into_iter().filter(|(number, _)| *number > 0).map(|(_, text)| text).collect();
        let any_node =
            |is: fn(&NodeView) -> bool| self.views.iter().any(|view| view.nodes.values().any(is));
        let (cut_off, unknown) = (any_node(NodeView::is_cut_off), any_node(NodeView::is_unknown));
        let worst = self.views.iter().map(|view| deployment_level(view)).min().unwrap_or_default();
        // Healthy deployments must not turn the page green while others are unknown.
        let worst = if unknown && worst == StatusLevel::Ok { StatusLevel::Unknown } else { worst };
        let worst_of: Vec<_> = self
            .views
            .iter()
            .filter(|view| deployment_level(view) == worst)
            .map(|view| view.deployment.name.as_str())
            .collect();
        let up: usize = self.views.iter().map(|view| nodes_up(view)).sum();
        html! {
            div.verdict.(worst.class()) role="status" {
                h1 {
                    @if !counts.is_empty() { (counts.join(", ")) }
                    @else if worst == StatusLevel::Ok { "No findings" }
                    @else if unknown { "State unknown" }
                    @else { "Waiting for the first round" }
                }
                p {
                    @if cut_off {
                        "Rolecall is cut off from nodes, or all their hosts are gone: "
                        "the state of these nodes is unknown. "
                    } @else if unknown && counts.is_empty() {
                        "Some nodes do not reply, and their state is not decided yet. "
                    }
                    @if !counts.is_empty() {
                        "Most severe: " (worst_of[..worst_of.len().min(NAMED)].join(", "))
                        @if worst_of.len() > NAMED { " and " (worst_of.len() - NAMED) " more" }
                        ". "
                    }
                    (count(self.views.len(), "deployment")) ", "
                    (up) " of " (count(members, "node")) " up."
                }
            }
        }
    }

    fn drawn_deployment(
        &self,
        view: &DeploymentView,
        query: &SearchQuery,
        number: usize,
    ) -> Markup {
        let (name, levels) = (view.deployment.name.as_str(), node_levels(view));
        let matches = |index: &topology::NodeIndex| {
            matches_deployment(query, view) || query.matches(name_and_address(view, *index))
        };
        let indices: Vec<_> = nodes::ordered(view, &levels).into_iter().filter(matches).collect();
        let left_out = indices.len().saturating_sub(NODES);
        let (heading, drawing_id) = (format!("heading-{number}"), format!("drawing-{number}"));
        let class = deployment_level(view).class();
        let trees = tree::trees(view, &levels);
        html! {
            section.deployment.(class) id={ "deployment-" (name) } aria-labelledby=(heading) {
                h2 id=(heading) {
                    a href=(LINKS.deployment(name)) { (name) }
                    " " span.of { (view.deployment.kind.label()) }
                }
                (shard_lines(view))
                div.picture {
                    (drawing::drawing(view, &trees, TREES, &drawing_id))
                    div.events {
                        h3 { "Latest events" }
                        (self.latest_events(LINKS, view, EVENTS))
                    }
                }
                h3.unseen { "Nodes of " (name) }
                (self.table(LINKS, view, &indices[..indices.len() - left_out], &levels))
                @if left_out > 0 {
                    p.more {
                        a href=(LINKS.deployment(name)) {
                            "All " (count(indices.len(), "node")) " of " (name)
                        }
                    }
                }
            }
        }
    }

    /// Returns deployments as a table. `others` is true if drawn deployments precede it.
    fn deployment_table(&self, views: &[&Arc<DeploymentView>], others: bool) -> Markup {
        html! {
            section aria-labelledby="others" {
                h2 #others { @if others { "Other deployments" } @else { "Deployments" } }
                div.scroll role="region" tabindex="0" aria-labelledby="others" {
                    table {
                        thead {
                            tr {
                                th scope="col" { "Deployment" }
                                th scope="col" { "Kind" }
                                th scope="col" { "Status" }
                                th scope="col" { "Nodes up" }
                                th scope="col" { "Last round" }
                            }
                        }
                        tbody { @for view in views { (self.deployment_row(view)) } }
                    }
                }
            }
        }
    }

    fn deployment_row(&self, view: &DeploymentView) -> Markup {
        let name = view.deployment.name.as_str();
        html! {
            tr.(deployment_level(view).class()) id={ "deployment-" (name) } {
                th scope="row" { a href=(LINKS.deployment(name)) { (name) } }
                td { (view.deployment.kind.label()) }
                td { (shard_lines(view)) }
                td.number { (nodes_up(view)) " of " (view.members().count()) }
                td.number { (self.last_round(view)) }
            }
        }
    }

    /// Returns the time since the last round.
    pub(super) fn last_round(&self, view: &DeploymentView) -> String {
        view.at.map_or_else(
            || "none yet".to_owned(),
            |at| duration(self.now.duration_since(at).unwrap_or_default()) + " ago",
        )
    }
}

/// Returns the status of each shard. For a deployment with many shards, returns the number of
/// healthy shards and the status of some unhealthy ones.
pub(super) fn shard_lines(view: &DeploymentView) -> Markup {
    const MAX: usize = 4;
    let shards = &view.shards;
    let healthy =
        if view.is_unknown() { 0 } else { shards.iter().filter(|shard| is_healthy(shard)).count() };
    let mut worst_first: Vec<_> = shards.iter().collect();
    worst_first.sort_by_key(|shard| is_healthy(shard));
    let shown = if healthy == shards.len() && shards.len() > MAX { 0 } else { MAX };
    html! {
        @if view.at.is_none() { p.standing { "Waiting for the first round." } }
        @else {
            @if shards.len() > MAX {
                p.standing {
                    (healthy) " of " (shards.len()) " shards accept writes and serve reads"
                }
            }
            @for shard in worst_first.into_iter().take(shown) { (shard_line(view, shard)) }
        }
    }
}

fn shard_line(view: &DeploymentView, shard: &ShardView) -> Markup {
    let level = shard_level(view, shard);
    let masters = shard.split_brain.masters.len();
    html! {
        p.standing.(level.class()) {
            @if masters > 0 { "SPLIT BRAIN of " (masters) " masters: " }
            @if let Some(label) = &shard.shard { "Shard " (label) ": " }
            (shard_status(view, shard))
        }
    }
}

fn shard_level(view: &DeploymentView, shard: &ShardView) -> StatusLevel {
    let fails = [shard.writable, shard.readable].contains(&Some(false))
        || shard.no_primary.why.is_some()
        || !shard.split_brain.masters.is_empty();
    let primary = shard.primary.map(|primary| &view.nodes[primary.node]);
    let is_undecided = primary.is_some_and(NodeView::is_unknown);
    match () {
        () if view.is_unknown() || is_undecided => StatusLevel::Unknown,
        () if is_healthy(shard) => StatusLevel::Ok,
        () if fails => StatusLevel::Critical,
        () if primary.is_some_and(NodeView::is_unreachable) => StatusLevel::Warning,
        () => StatusLevel::Unknown,
    }
}

fn is_healthy(shard: &ShardView) -> bool {
    let serves = shard.writable == Some(true) && shard.readable == Some(true);
    serves && shard.primary.is_some() && shard.split_brain.masters.is_empty()
}

/// Returns the status level of a deployment, which is the level of its worst finding. Without
/// findings it is unknown before the first round, and while Rolecall is cut off from a node.
pub(super) fn deployment_level(view: &DeploymentView) -> StatusLevel {
    if view.at.is_none() {
        return StatusLevel::Unknown;
    }
    let is_unknown = view.nodes.values().any(NodeView::is_unknown);
    let healthy = if is_unknown { StatusLevel::Unknown } else { StatusLevel::Ok };
    view.findings.first().map_or(healthy, |worst| worst.severity.into())
}

fn nodes_up(view: &DeploymentView) -> usize {
    view.members().filter(|(_, node)| node.is_known_up()).count()
}

fn name_and_address(view: &DeploymentView, index: topology::NodeIndex) -> [&str; 2] {
    let node = &view.nodes[index].node;
    [&node.name, &node.address]
}

/// Returns whether the search words match the name or a label of the deployment.
fn matches_deployment(query: &SearchQuery, view: &DeploymentView) -> bool {
    query.matches(view.deployment.labels.iter().map(|(_, value)| value.as_str()))
}

/// Returns whether the search words match the deployment, one of its nodes or one of its findings.
fn matches_anything(query: &SearchQuery, view: &DeploymentView) -> bool {
    matches_deployment(query, view)
        || view.members().any(|(index, _)| query.matches(name_and_address(view, index)))
        || view.findings.iter().any(|finding| query.matches([finding.kind.label()]))
}

fn matches_finding(query: &SearchQuery, view: &DeploymentView, finding: &Finding) -> bool {
    matches_deployment(query, view)
        || query.matches(finding.node.as_deref().into_iter().chain([finding.kind.label()]))
}
