//! `/`: what is wrong, then the deployments: those in trouble drawn, the others as rows.

use std::sync::Arc;

use maud::{Markup, html};
use topology::{DeploymentView, Finding, Severity, ShardView};

use super::findings::Cards;
use super::frame::Frame;
use super::links::Links;
use super::search::SearchQuery;
use super::{Site, drawing, forest, nodes};
use crate::standing::{standing, tones};
use crate::tone::Tone;
use crate::words::{count, span};

/// Deployments on a page, and how many of them are drawn.
const DEPLOYMENTS: usize = 100;
const DRAWN: usize = 5;

/// What is shown of findings, and of a deployment that is drawn.
const FINDINGS: usize = 6;
const TREES: usize = 6;
const NODES: usize = 15;
const EVENTS: usize = 10;

/// Deployments that are named as the worst.
const NAMED: usize = 5;

/// So few deployments are drawn also when they are well, and so few nodes need no search.
const FEW: usize = 3;
const FEW_NODES: usize = 20;

const LINKS: Links = Links::TOP;

impl Site<'_> {
    /// The page at `/`.
    pub fn status(&self, asked: &SearchQuery) -> String {
        let mut shown: Vec<_> = self.views.iter().filter(|view| is_meant(asked, view)).collect();
        shown.sort_by_key(|view| tone(view));
        let mut cards = Cards::default();
        for view in &shown {
            cards.add(view, |finding| is_about(asked, view, finding));
        }
        let part = asked.part(shown, DEPLOYMENTS);
        let few = self.views.len() <= FEW;
        let is_drawn = |(number, view): &(usize, &&Arc<DeploymentView>)| {
            *number < DRAWN && (few || tone(view) < Tone::Good)
        };
        let drawn = part.items.iter().enumerate().take_while(is_drawn).count();
        let (troubled, well) = part.items.split_at(drawn);
        let members: usize = self.views.iter().map(|view| view.members().count()).sum();
        let main = html! {
            (self.verdict(members))
            @if members > FEW_NODES || !asked.words.is_empty() { (asked.form("Find a deployment or node")) }
            (self.findings(LINKS, &cards, FINDINGS))
            @for (view, number) in troubled.iter().zip(0..) { (self.section(view, asked, number)) }
            @if !well.is_empty() { (self.others(well, !troubled.is_empty())) }
            @if part.total == 0 { p.none { "No deployment and no node is called that." } }
            (asked.turn(&part, "deployments"))
        };
        self.page(&Frame { links: LINKS, title: "Status", trail: &[], main })
    }

    /// How it stands, in two lines.
    fn verdict(&self, members: usize) -> Markup {
        let of = |severity| {
            self.views
                .iter()
                .flat_map(|view| &view.findings)
                .filter(|finding| finding.severity == severity)
                .count()
        };
        let (critical, warnings, info) =
            (of(Severity::Critical), of(Severity::Warning), of(Severity::Info));
        let counts = [
            (critical, format!("{critical} critical")),
            (warnings, count(warnings, "warning")),
            (info, format!("{info} info")),
        ];
        let counts: Vec<_> =
            counts.into_iter().filter(|(number, _)| *number > 0).map(|(_, text)| text).collect();
        let worst = self.views.iter().map(|view| tone(view)).min().unwrap_or_default();
        let worst_of: Vec<_> = self
            .views
            .iter()
            .filter(|view| tone(view) == worst)
            .map(|view| view.deployment.name.as_str())
            .collect();
        let answering: usize = self
            .views
            .iter()
            .flat_map(|view| view.members())
            .filter(|(_, node)| node.up() == Some(true))
            .count();
        html! {
            div.verdict.(worst.class()) role="status" {
                h1 {
                    @if !counts.is_empty() { (counts.join(", ")) }
                    @else if worst == Tone::Good { "No findings" }
                    @else { "Waiting for the first round" }
                }
                p {
                    @if !counts.is_empty() {
                        "Worst in " (worst_of[..worst_of.len().min(NAMED)].join(", "))
                        @if worst_of.len() > NAMED { " and " (worst_of.len() - NAMED) " more" }
                        ". "
                    }
                    (count(self.views.len(), "deployment")) ", " (answering) " of " (count(members, "node")) " answering."
                }
            }
        }
    }

    /// A deployment that is drawn.
    fn section(&self, view: &DeploymentView, asked: &SearchQuery, number: usize) -> Markup {
        let (name, tones) = (view.deployment.name.as_str(), tones(view));
        let wanted = |index: &topology::NodeIndex| {
            is_called(asked, view) || asked.matches(names(view, *index))
        };
        let indices: Vec<_> = nodes::ordered(view, &tones).into_iter().filter(wanted).collect();
        let left_out = indices.len().saturating_sub(NODES);
        html! {
            section.deployment.(tone(view).class()) id={ "deployment-" (name) } aria-labelledby={ "heading-" (number) } {
                h2 id={ "heading-" (number) } { a href=(LINKS.deployment(name)) { (name) } " " span.of { (view.deployment.kind.label()) } }
                (standings(view))
                div.picture {
                    (drawing::drawing(view, &forest::forest(view, &tones), TREES, &format!("drawing-{number}")))
                    div.events { h3 { "Latest events" } (self.latest(LINKS, view, EVENTS)) }
                }
                h3.unseen { "Nodes of " (name) }
                (self.table(LINKS, view, &indices[..indices.len() - left_out], &tones))
                @if left_out > 0 { p.more { a href=(LINKS.deployment(name)) { "All " (count(indices.len(), "node")) " of " (name) } } }
            }
        }
    }

    /// Deployments as rows.
    fn others(&self, views: &[&Arc<DeploymentView>], beside: bool) -> Markup {
        html! {
            section aria-labelledby="others" {
                h2 #others { @if beside { "Other deployments" } @else { "Deployments" } }
                div.scroll role="region" tabindex="0" aria-labelledby="others" {
                    table {
                        thead { tr { @for head in ["Deployment", "Kind", "Standing", "Nodes", "Last round"] { th scope="col" { (head) } } } }
                        tbody {
                            @for view in views {
                                tr.(tone(view).class()) id={ "deployment-" (view.deployment.name) } {
                                    th scope="row" { a href=(LINKS.deployment(&view.deployment.name)) { (view.deployment.name) } }
                                    td { (view.deployment.kind.label()) }
                                    td { (standings(view)) }
                                    td.number { (view.members().filter(|(_, node)| node.up() == Some(true)).count()) " of " (view.members().count()) }
                                    td.number { (self.round(view)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// How long ago the last round was.
    pub(super) fn round(&self, view: &DeploymentView) -> String {
        view.at.map_or_else(
            || "none yet".to_owned(),
            |at| span(self.now.duration_since(at).unwrap_or_default()) + " ago",
        )
    }
}

/// Who is primary, and what is accepted; of a large cluster how many shards are as they should be.
pub(super) fn standings(view: &DeploymentView) -> Markup {
    const MOST: usize = 4;
    let well = view.shards.iter().filter(|shard| is_well(shard)).count();
    let mut worst_first: Vec<_> = view.shards.iter().collect();
    worst_first.sort_by_key(|shard| is_well(shard));
    let shown = if well == view.shards.len() && view.shards.len() > MOST { 0 } else { MOST };
    html! {
        @if view.at.is_none() { p.standing { "Waiting for the first round." } }
        @else {
            @if view.shards.len() > MOST { p.standing { (well) " of " (view.shards.len()) " shards take writes and serve reads" } }
            @for shard in worst_first.into_iter().take(shown) {
                p.standing.(if is_well(shard) { Tone::Good } else { Tone::Bad }.class()) {
                    @if !shard.split_brain.masters.is_empty() { "SPLIT BRAIN of " (shard.split_brain.masters.len()) " masters: " }
                    @if let Some(label) = &shard.shard { "Shard " (label) ": " }
                    (standing(view, shard))
                }
            }
        }
    }
}

fn is_well(shard: &ShardView) -> bool {
    let serves = shard.writable == Some(true) && shard.readable == Some(true);
    serves && shard.primary.is_some() && shard.split_brain.masters.is_empty()
}

/// How a deployment is: as bad as the worst that is found.
pub(super) fn tone(view: &DeploymentView) -> Tone {
    if view.at.is_none() {
        return Tone::Idle;
    }
    view.findings.first().map_or(Tone::Good, |worst| worst.severity.into())
}

fn names(view: &DeploymentView, index: topology::NodeIndex) -> [&str; 2] {
    let node = &view.nodes[index].node;
    [&node.name, &node.address]
}

/// The deployment itself is what is looked for: by its name, or a label.
fn is_called(asked: &SearchQuery, view: &DeploymentView) -> bool {
    asked.matches(view.deployment.labels.iter().map(|(_, value)| value.as_str()))
}

/// The deployment, or something in it, is what is looked for.
fn is_meant(asked: &SearchQuery, view: &DeploymentView) -> bool {
    is_called(asked, view)
        || view.members().any(|(index, _)| asked.matches(names(view, index)))
        || view.findings.iter().any(|finding| asked.matches([finding.kind.label()]))
}

fn is_about(asked: &SearchQuery, view: &DeploymentView, finding: &Finding) -> bool {
    is_called(asked, view)
        || asked.matches(finding.node.as_deref().into_iter().chain([finding.kind.label()]))
}
