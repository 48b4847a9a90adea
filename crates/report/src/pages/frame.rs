//! What all pages have around them: head, way around, and when they were last updated.

use maud::{DOCTYPE, Markup, html};

use super::links::Links;
use super::{Site, assets};
use crate::api::time;
use crate::words::clock;

/// The parts of a page that differ.
pub(super) struct Frame<'a> {
    /// From where its links lead.
    pub(super) links: Links,
    /// Its title.
    pub(super) title: &'a str,
    /// What leads to it: text and link.
    pub(super) trail: &'a [(&'a str, String)],
    /// What it is about.
    pub(super) main: Markup,
}

impl Site<'_> {
    /// The page as a whole.
    pub(super) fn page(&self, frame: &Frame<'_>) -> String {
        let (links, [style, script, icon]) = (frame.links, assets::names());
        let asset = |name: &str| links.to(&format!("static/{name}"));
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (frame.title) " · Rolecall" }
                    link rel="icon" href=(asset(icon));
                    link rel="stylesheet" href=(asset(style));
                    script src=(asset(script)) defer {}
                }
                body {
                    a.skip href="#main" { "Skip to content" }
                    header {
                        nav aria-label="Pages" {
                            a.brand href=(links.to("")) { "Rolecall" }
                            a href=(links.to("runbooks")) { "Runbooks" }
                            a href=(links.to("metrics")) { "Metrics" }
                        }
                        p #updated { "Updated " time datetime=(time(self.now)) { (clock(self.now, self.now)) } " UTC" }
                    }
                    p #silent role="alert" hidden {}
                    main #main tabindex="-1" {
                        @if !frame.trail.is_empty() {
                            nav.trail aria-label="Where this page is" {
                                @for (text, link) in frame.trail { a href=(link) { (text) } " / " }
                            }
                        }
                        (frame.main)
                    }
                    footer { p { "Rolecall " (self.version) } }
                }
            }
        };
        page.into_string()
    }

    /// The page that says that there is no such thing, and where to go instead.
    pub(super) fn missing(&self, links: Links, what: &str, instead: &Markup) -> String {
        let main = html! { h1 { (what) } (instead) };
        self.page(&Frame { links, title: "Not found", trail: &[], main })
    }
}
