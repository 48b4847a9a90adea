//! `/runbooks` and `/runbooks/<Alert>`: what to do about an alert, with the live values of the deployment that it is about.

use maud::{Markup, html};
use topology::{DeploymentView, Finding, FindingKind};

use super::findings::Cards;
use super::frame::Frame;
use super::links::Links;
use super::markdown::Markdown;
use super::status::standings;
use super::{Site, nodes};
use crate::fill::{Fill, index, subject};
use crate::runbook::{Runbook, runbook, runbooks};
use crate::standing::{role, tones};
use crate::tone::Tone;
use crate::words::count;

/// What is shown of the deployment.
const FINDINGS: usize = 20;
const NODES: usize = 15;

const LINKS: Links = Links::BELOW;

impl Site<'_> {
    /// The page at `/runbooks`.
    pub fn runbooks(&self) -> String {
        let main = html! { h1 { "Runbooks" } (self.index(Links::TOP)) };
        self.page(&Frame {
            links: Links::TOP,
            title: "Runbooks",
            trail: &[("Status", Links::TOP.to(""))],
            main,
        })
    }

    /// The page of a runbook, about a deployment and one of its nodes, as far as they are named.
    ///
    /// # Errors
    /// There is none of that name: the page that says so.
    pub fn runbook(
        &self,
        alert: &str,
        deployment: Option<&str>,
        node: Option<&str>,
    ) -> Result<String, String> {
        let missing =
            || self.missing(LINKS, &format!("There is no runbook {alert}"), &self.index(LINKS));
        let runbook = runbook(alert).ok_or_else(missing)?;
        let view = deployment.and_then(|name| self.named(name));
        let asked = view.and_then(|view| index(view, node?));
        let fill = view.map_or_else(Fill::default, |view| fill_in(view, alert, asked));
        let query =
            view.map(|view| LINKS.runbook("", &view.deployment.name, node)).unwrap_or_default();
        let query = query.find('?').map_or("", |from| &query[from..]);
        let body = Markdown { fill: &fill, query }.rendered(below_title(runbook));
        let main = html! {
            h1 { code { (alert) } }
            p.lead { (runbook.title) }
            @match view {
                Some(view) => (self.live(alert, view, asked)),
                None => (self.where_found(alert, deployment)),
            }
            article.runbook { (body) }
        };
        let trail = [("Status", LINKS.to("")), ("Runbooks", LINKS.to("runbooks"))];
        Ok(self.page(&Frame { links: LINKS, title: alert, trail: &trail, main }))
    }

    /// How the deployment is now.
    fn live(&self, alert: &str, view: &DeploymentView, asked: Option<usize>) -> Markup {
        let (name, node) = (view.deployment.name.as_str(), asked.map(|index| view.name(index)));
        let is_meant = |about: Option<&str>| node.is_none() || about.is_none() || about == node;
        let cards = Cards::of(view, |finding| {
            finding.kind.label() == alert && is_meant(finding.node.as_deref())
        });
        let is_finding = FindingKind::ALL.iter().any(|kind| kind.label() == alert);
        let meant = asked.or_else(|| {
            found(view, alert)
                .filter(|finding| finding.endpoint().is_none())
                .and_then(|finding| subject(view, finding))
        });
        let tones = tones(view);
        let indices = nodes::ordered(view, &tones);
        html! {
            section.live aria-labelledby="live" {
                h2 #live { "Now in " a href=(LINKS.deployment(name)) { (name) } }
                (standings(view))
                (self.cards(LINKS, &cards, FINDINGS))
                @if cards.is_empty() && is_finding { p.standing.good { "This is not found now." } }
                (self.table(LINKS, view, &indices[..indices.len().min(NODES)], &tones))
                @if indices.len() > NODES { p.more { a href=(LINKS.deployment(name)) { "All " (count(indices.len(), "node")) } } }
                @if let Some(index) = meant { p.filled { "The commands below are for " b { (view.name(index)) } ", " (role(view, index).text) "." } }
            }
        }
    }

    /// Where an alert is found, where no deployment is named.
    fn where_found(&self, alert: &str, asked: Option<&str>) -> Markup {
        let mut cards = Cards::default();
        for view in self.views {
            cards.add(view, |finding| finding.kind.label() == alert);
        }
        html! {
            @if let Some(name) = asked { p.none { "No deployment is called " (name) "." } }
            @if !cards.is_empty() {
                section.live aria-labelledby="live" { h2 #live { "Found now" } (self.cards(LINKS, &cards, FINDINGS)) }
            }
        }
    }

    /// Every runbook, and how often it is needed now.
    fn index(&self, links: Links) -> Markup {
        let findings = || self.views.iter().flat_map(|view| &view.findings);
        let found = |alert: &str| {
            findings()
                .filter(|finding| finding.kind.label() == alert)
                .map(|finding| Tone::from(finding.severity))
                .collect::<Vec<_>>()
        };
        html! {
            table.index {
                thead { tr { th scope="col" { "Alert" } th scope="col" { "What is wrong" } th scope="col" { "Found now" } } }
                tbody {
                    @for (alert, runbook) in runbooks() {
                        @let found = found(alert);
                        tr.(found.iter().min().copied().map_or("", Tone::class)) {
                            th scope="row" { a href=(links.to(&format!("runbooks/{alert}"))) { (alert) } }
                            td { (runbook.title) }
                            td.number { @if !found.is_empty() { span { (count(found.len(), "finding")) } } }
                        }
                    }
                }
            }
        }
    }
}

/// What takes the place of placeholders: by the node that is asked for, else by the finding, if there is one.
fn fill_in(view: &DeploymentView, alert: &str, asked: Option<usize>) -> Fill {
    match (asked, found(view, alert)) {
        (None, Some(finding)) => Fill::of_finding(view, finding),
        (asked, _) => Fill::of_node(view, asked),
    }
}

fn found<'a>(view: &'a DeploymentView, alert: &str) -> Option<&'a Finding> {
    view.findings.iter().find(|finding| finding.kind.label() == alert)
}

/// The text of a runbook after its heading and title, which the page has already.
fn below_title(runbook: &Runbook) -> &'static str {
    let title = runbook.text.find(runbook.title).unwrap_or_default();
    &runbook.text[title + runbook.title.len()..]
}
