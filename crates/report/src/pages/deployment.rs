//! `/deployment/<name>`: all of one deployment.

use maud::html;

use super::findings::Cards;
use super::frame::Frame;
use super::links::Links;
use super::search::SearchQuery;
use super::status::standings;
use super::{Site, drawing, forest, nodes};
use crate::standing::{endpoint, role, tones};

/// What is shown of it.
const FINDINGS: usize = 20;
const TREES: usize = 24;
const NODES: usize = 50;
const EVENTS: usize = 100;
const FEW_NODES: usize = 10;

const LINKS: Links = Links::BELOW;

impl Site<'_> {
    /// The page of a deployment.
    ///
    /// # Errors
    /// There is none of that name: the page that says so.
    pub fn deployment(&self, name: &str, asked: &SearchQuery) -> Result<String, String> {
        let missing = || {
            self.missing(
                LINKS,
                &format!("No deployment is called {name}"),
                &html! { p { a href=(LINKS.to("")) { "All deployments" } } },
            )
        };
        let view = self.named(name).ok_or_else(missing)?;
        let (name, tones, cards) =
            (view.deployment.name.as_str(), tones(view), Cards::of(view, |_| true));
        let wanted = |index: &topology::NodeIndex| {
            let node = &view.nodes[*index].node;
            asked.matches([node.name.as_str(), &node.address, &role(view, *index).text])
        };
        let part =
            asked.part(nodes::ordered(view, &tones).into_iter().filter(wanted).collect(), NODES);
        let labels = view.deployment.labels.iter().skip(1);
        let main = html! {
            h1 { (name) " " span.of { (view.deployment.kind.label()) @for (label, value) in labels { ", " (label) " " (value) } } }
            (standings(view))
            p.rounds { "Last round " (self.round(view)) ", " (view.rounds.total) " so far, " (view.rounds.missed) " missed, " (view.rounds.blind) " blind" }
            (self.findings(LINKS, &cards, FINDINGS))
            @if !view.endpoints.is_empty() {
                section aria-labelledby="endpoints" {
                    h2 #endpoints { "Endpoints" }
                    ul.plain { @for endpoint in &view.endpoints { li.(if endpoint.correct == Some(false) { "bad" } else { "idle" }) { (self::endpoint(endpoint)) } } }
                }
            }
            section aria-labelledby="topology" {
                h2 #topology { "Topology" }
                (drawing::drawing(view, &forest::forest(view, &tones), TREES, "drawing"))
            }
            section aria-labelledby="nodes" {
                h2 #nodes { "Nodes" }
                @if view.members().count() > FEW_NODES || !asked.words.is_empty() { (asked.form("Find a node")) }
                (self.table(LINKS, view, &part.items, &tones))
                (asked.turn(&part, "nodes"))
            }
            section aria-labelledby="events" {
                h2 #events { "Events" }
                (self.timeline(LINKS, view, EVENTS))
                (self.announcements(LINKS, view, EVENTS))
            }
        };
        Ok(self.page(&Frame {
            links: LINKS,
            title: name,
            trail: &[("Status", LINKS.to(""))],
            main,
        }))
    }
}
