//! `/runbooks` and `/runbooks/<Alert>`: the runbooks, with the current values of a deployment.

use maud::{Markup, html};
use topology::{DeploymentView, Finding, FindingKind};

use super::findings::{GroupedFindings, placeholder_list};
use super::layout::Layout;
use super::links::Links;
use super::markdown::MarkdownRenderer;
use super::status::shard_lines;
use super::{Site, nodes};
use crate::explanations::explanations;
use crate::format::count;
use crate::node_status::{node_levels, role};
use crate::placeholders::{Placeholders, guard_note, node_index, node_to_examine};
use crate::runbook::{Runbook, runbook, runbooks};
use crate::status_level::StatusLevel;

/// Maximum number of findings of one kind and of nodes on the page.
const FINDINGS: usize = 20;
const NODES: usize = 15;

const LINKS: Links = Links::BELOW;

impl Site<'_> {
    /// Returns the page at `/runbooks`.
    pub fn runbooks(&self) -> String {
        let main = html! { h1 { "Runbooks" } (self.index(Links::TOP)) };
        self.page(&Layout {
            links: Links::TOP,
            title: "Runbooks",
            breadcrumbs: &[("Status", Links::TOP.to(""))],
            main,
        })
    }

    /// Returns the page of a runbook, with the values of a deployment and one of its nodes if these
    /// are given.
    ///
    /// # Errors
    /// Returns the "not found" page if no runbook has this name.
    pub fn runbook(
        &self,
        alert: &str,
        deployment: Option<&str>,
        node: Option<&str>,
    ) -> Result<String, String> {
        let not_found =
            || self.not_found(LINKS, &format!("No runbook named {alert}"), &self.index(LINKS));
        let runbook = runbook(alert).ok_or_else(not_found)?;
        let view = deployment.and_then(|name| self.view(name));
        let requested = view.and_then(|view| node_index(view, node?));
        let placeholders =
            view.map_or_else(Placeholders::default, |view| placeholders(view, alert, requested));
        let link = view.map(|view| LINKS.runbook("", &view.deployment.name, node));
        let query = link.as_deref().and_then(|link| Some(&link[link.find('?')?..]));
        let renderer =
            MarkdownRenderer { placeholders: &placeholders, query: query.unwrap_or_default() };
        let article = renderer.render(below_title(runbook));
        let remaining = &article.0;
        let main = html! {
            h1 { code { (alert) } }
            p.lead { (runbook.title) }
            @match view {
                Some(view) => (self.current_state(alert, runbook, view, requested)),
                None => (self.active_findings(alert, deployment)),
            }
            article.runbook { (article) }
            @if !explanations(remaining).is_empty() {
                section aria-labelledby="placeholders" {
                    h2 #placeholders { "Placeholders" }
                    (placeholder_list(remaining))
                }
            }
        };
        let breadcrumbs = [("Status", LINKS.to("")), ("Runbooks", LINKS.to("runbooks"))];
        let layout = Layout { links: LINKS, title: alert, breadcrumbs: &breadcrumbs, main };
        Ok(self.page(&layout))
    }

    /// Returns the current state of a deployment.
    fn current_state(
        &self,
        alert: &str,
        runbook: &Runbook,
        view: &DeploymentView,
        requested: Option<topology::NodeIndex>,
    ) -> Markup {
        let name = view.deployment.name.as_str();
        let node = requested.map(|index| view.name(index));
        let affects = |other: Option<&str>| node.is_none() || other.is_none() || other == node;
        let findings = GroupedFindings::of(view, |finding| {
            finding.kind.label() == alert && affects(finding.node.as_deref())
        });
        let is_finding = FindingKind::ALL.iter().any(|kind| kind.label() == alert);
        let target = requested.or_else(|| {
            finding(view, alert)
                .filter(|finding| finding.endpoint().is_none())
                .and_then(|finding| node_to_examine(view, finding))
        });
        let warning = guard_note(view, finding(view, alert), target, runbook.text);
        let levels = node_levels(view);
        let indices = nodes::ordered(view, &levels);
        let shown = &indices[..indices.len().min(NODES)];
        html! {
            section.live aria-labelledby="live" {
                h2 #live { "Current state of " a href=(LINKS.deployment(name)) { (name) } }
                (shard_lines(view))
                (self.finding_groups(LINKS, &findings, FINDINGS))
                @if findings.is_empty() && is_finding { p.standing.good { "Not active." } }
                (self.table(LINKS, view, shown, &levels))
                @if indices.len() > NODES {
                    p.more {
                        a href=(LINKS.deployment(name)) { "All " (count(indices.len(), "node")) }
                    }
                }
                @if let Some(index) = target {
                    p.filled {
                        "The commands below are for " b { (view.name(index)) } " ("
                        (role(view, index).text) ")."
                    }
                }
                @if let Some(warning) = warning { p.filled { (warning) } }
            }
        }
    }

    /// Returns the active findings of an alert in all deployments.
    fn active_findings(&self, alert: &str, deployment: Option<&str>) -> Markup {
        let mut findings = GroupedFindings::default();
        for view in self.views {
            findings.add(view, |finding| finding.kind.label() == alert);
        }
        html! {
            @if let Some(name) = deployment { p.none { "No deployment named " (name) "." } }
            @if !findings.is_empty() {
                section.live aria-labelledby="live" {
                    h2 #live { "Active findings" }
                    (self.finding_groups(LINKS, &findings, FINDINGS))
                }
            }
        }
    }

    /// Returns the list of all runbooks with the number of active findings.
    fn index(&self, links: Links) -> Markup {
        let findings = || self.views.iter().flat_map(|view| &view.findings);
        let levels = |alert: &str| {
            findings()
                .filter(|finding| finding.kind.label() == alert)
                .map(|finding| StatusLevel::from(finding.severity))
                .collect::<Vec<_>>()
        };
        html! {
            table.index {
                thead {
                    tr {
                        th scope="col" { "Alert" }
                        th scope="col" { "Problem" }
                        th scope="col" { "Active findings" }
                    }
                }
                tbody {
                    @for (alert, runbook) in runbooks() {
                        @let levels = levels(alert);
                        tr.(levels.iter().min().copied().map_or("", StatusLevel::class)) {
                            th scope="row" {
                                a href=(links.to(&format!("runbooks/{alert}"))) { (alert) }
                            }
                            td { (runbook.title) }
                            td.number {
                                @if !levels.is_empty() {
                                    span { (count(levels.len(), "finding")) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Returns the placeholders for the requested node, or else for the finding of this alert.
fn placeholders(
    view: &DeploymentView,
    alert: &str,
    requested: Option<topology::NodeIndex>,
) -> Placeholders {
    match (requested, finding(view, alert)) {
        (None, Some(finding)) => Placeholders::of_finding(view, finding),
        (requested, _) => Placeholders::of_node(view, requested),
    }
}

fn finding<'a>(view: &'a DeploymentView, alert: &str) -> Option<&'a Finding> {
    view.findings.iter().find(|finding| finding.kind.label() == alert)
}

/// Returns the text of a runbook below its heading and title, which the page shows itself.
fn below_title(runbook: &Runbook) -> &'static str {
    let title = runbook.text.find(runbook.title).unwrap_or_default();
    &runbook.text[title + runbook.title.len()..]
}
