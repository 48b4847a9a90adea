//! The common parts of all pages: head, navigation and time of the last update.

use maud::{DOCTYPE, Markup, html};

use super::links::Links;
use super::{Site, assets};
use crate::api::rfc3339;
use crate::format::time_of_day;

/// The parts in which pages differ.
pub(super) struct Layout<'a> {
    /// The links from this page.
    pub(super) links: Links,
    /// The title.
    pub(super) title: &'a str,
    /// The parent pages: text and link.
    pub(super) breadcrumbs: &'a [(&'a str, String)],
    /// The content.
    pub(super) main: Markup,
}

impl Site<'_> {
    /// Returns a complete page.
    pub(super) fn page(&self, layout: &Layout<'_>) -> String {
        let (links, [style, script, icon]) = (layout.links, assets::names());
        let asset = |name: &str| links.to(&format!("static/{name}"));
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (layout.title) " · Rolecall" }
                    link rel="icon" href=(asset(icon));
                    link rel="stylesheet" href=(asset(style));
                    script src=(asset(script)) defer {}
                }
                body {
                    a.skip href="#main" { "Skip to content" }
                    header {
                        nav aria-label="Main" {
                            a.brand href=(links.to("")) { "Rolecall" }
                            a href=(links.to("runbooks")) { "Runbooks" }
                            a href=(links.to("metrics")) { "Metrics" }
                        }
                        p #updated {
                            "Updated "
                            time datetime=(rfc3339(self.now)) { (time_of_day(self.now, self.now)) }
                            " UTC"
                        }
                    }
                    p #silent role="alert" hidden {}
                    main #main tabindex="-1" {
                        @if !layout.breadcrumbs.is_empty() {
                            nav.trail aria-label="Breadcrumb" {
                                @for (text, link) in layout.breadcrumbs {
                                    a href=(link) { (text) } " / "
                                }
                            }
                        }
                        (layout.main)
                    }
                    footer { p { "Rolecall " (self.version) } }
                }
            }
        };
        page.into_string()
    }

    /// Returns the page for an unknown deployment, node or runbook.
    pub(super) fn not_found(&self, links: Links, message: &str, alternative: &Markup) -> String {
        let main = html! { h1 { (message) } (alternative) };
        self.page(&Layout { links, title: "Not found", breadcrumbs: &[], main })
    }
}
