//! Markdown as HTML: no markup of its own gets through, placeholders are filled, and names of alerts lead to their runbooks.

use maud::PreEscaped;
use pulldown_cmark::{CowStr, Event, LinkType, Options, Parser, Tag, TagEnd, html};

use crate::fill::Fill;
use crate::runbook::runbook;

/// How a text becomes HTML.
pub(super) struct Markdown<'a> {
    /// What takes the place of placeholders.
    pub(super) fill: &'a Fill,
    /// What links to other runbooks end with.
    pub(super) query: &'a str,
}

impl Markdown<'_> {
    /// The HTML of a text.
    pub(super) fn rendered(&self, text: &str) -> PreEscaped<String> {
        let mut events = Vec::new();
        let (mut in_block, mut in_link, mut dropped) = (false, false, false);
        for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
            match &event {
                Event::Start(Tag::CodeBlock(_)) => in_block = true,
                Event::End(TagEnd::CodeBlock) => in_block = false,
                Event::Start(Tag::Link { dest_url, .. }) => {
                    (in_link, dropped) = (true, !leads_on(dest_url));
                }
                _ => {}
            }
            match event {
                Event::Html(text) | Event::InlineHtml(text) => events.push(Event::Text(text)),
                Event::Code(code) => events.push(Event::Code(self.fill.text(&code).into())),
                Event::Text(text) if in_block || in_link => {
                    events.push(Event::Text(self.fill.text(&text).into()));
                }
                Event::Text(text) => self.link(&self.fill.text(&text), &mut events),
                Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => {}
                Event::Start(Tag::Link { .. }) if dropped => {}
                Event::End(TagEnd::Link) if std::mem::take(&mut dropped) => in_link = false,
                event => {
                    in_link &= !matches!(event, Event::End(TagEnd::Link));
                    events.push(event);
                }
            }
        }
        let mut page = String::new();
        html::push_html(&mut page, events.into_iter());
        PreEscaped(page)
    }

    /// A text in which names of alerts are links.
    fn link(&self, text: &str, events: &mut Vec<Event<'_>>) {
        let ends = |character: char| !character.is_ascii_alphanumeric();
        for word in text.split_inclusive(ends) {
            let (name, rest) = word.split_at(word.trim_end_matches(ends).len());
            if runbook(name).is_none() {
                events.push(Event::Text(word.to_owned().into()));
                continue;
            }
            let (dest_url, nothing) =
                (format!("{name}{}", self.query).into(), CowStr::Borrowed(""));
            let link = Tag::Link {
                link_type: LinkType::Inline,
                dest_url,
                title: nothing.clone(),
                id: nothing,
            };
            let texts = [name, rest].map(|text| Event::Text(text.to_owned().into()));
            let [name, rest] = texts;
            events.extend([Event::Start(link), name, Event::End(TagEnd::Link), rest]);
        }
    }
}

/// A link that a page may have: to the web, not to a script.
fn leads_on(address: &str) -> bool {
    address.starts_with("https://") || address.starts_with("http://")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> String {
        Markdown { fill: &Fill::default(), query: "?deployment=a" }.rendered(text).0
    }

    #[test]
    fn markup_in_a_text_stays_text() {
        let page = rendered(
            "<script>alert(1)</script>\n\na <b>b</b> [c](javascript:d) ![e](https://f/g.png)",
        );
        assert_eq!(
            page,
            "&lt;script&gt;alert(1)&lt;/script&gt;\n<p>a &lt;b&gt;b&lt;/b&gt; c e</p>\n"
        );
    }

    #[test]
    fn names_of_alerts_are_links_and_code_is_not() {
        let page = rendered("See RedisDown, `RedisDown` and [RedisDown](https://a).");
        let link = "<a href=\"RedisDown?deployment=a\">RedisDown</a>";
        assert_eq!(
            page,
            format!(
                "<p>See {link}, <code>RedisDown</code> and <a href=\"https://a\">RedisDown</a>.</p>\n"
            )
        );
    }
}
