//! Renders Markdown as HTML. HTML in the source stays text, placeholders are replaced, and names of
//! alerts become links to their runbooks.

use maud::PreEscaped;
use pulldown_cmark::{
    CowStr, Event, LinkType, Options, Parser, Tag, TagEnd, TextMergeStream, html,
};

use crate::placeholders::Placeholders;
use crate::runbook::runbook;

/// Renderer of Markdown as HTML.
pub(super) struct MarkdownRenderer<'a> {
    /// The placeholders to replace.
    pub(super) placeholders: &'a Placeholders,
    /// Query string of the links to other runbooks.
    pub(super) query: &'a str,
}

impl MarkdownRenderer<'_> {
    /// Returns the HTML of a text.
    pub(super) fn render(&self, text: &str) -> PreEscaped<String> {
        let mut events = Vec::new();
        let (mut in_block, mut in_link, mut dropped) = (false, false, false);
        // The lines of a code block are one text, because they are about one node.
        for event in TextMergeStream::new(Parser::new_ext(text, Options::ENABLE_TABLES)) {
            match &event {
                Event::Start(Tag::CodeBlock(_)) => in_block = true,
                Event::End(TagEnd::CodeBlock) => in_block = false,
                Event::Start(Tag::Link { dest_url, .. }) => {
                    (in_link, dropped) = (true, !is_web_address(dest_url));
                }
                _ => {}
            }
            match event {
                Event::Html(text) | Event::InlineHtml(text) => events.push(Event::Text(text)),
                Event::Code(code) => {
                    events.push(Event::Code(self.placeholders.replace(&code).into()));
                }
                Event::Text(text) if in_block || in_link => {
                    events.push(Event::Text(self.placeholders.replace(&text).into()));
                }
                Event::Text(text) => self.add_links(&self.placeholders.replace(&text), &mut events),
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

    /// Adds a text in which the names of alerts are links.
    fn add_links(&self, text: &str, events: &mut Vec<Event<'_>>) {
        let ends = |character: char| !character.is_ascii_alphanumeric();
        for word in text.split_inclusive(ends) {
            let (name, rest) = word.split_at(word.trim_end_matches(ends).len());
            if runbook(name).is_none() {
                events.push(Event::Text(word.to_owned().into()));
                continue;
            }
            let dest_url = format!("{name}{}", self.query).into();
            let empty = CowStr::Borrowed("");
            let link = Tag::Link {
                link_type: LinkType::Inline,
                dest_url,
                title: empty.clone(),
                id: empty,
            };
            let texts = [name, rest].map(|text| Event::Text(text.to_owned().into()));
            let [name, rest] = texts;
            events.extend([Event::Start(link), name, Event::End(TagEnd::Link), rest]);
        }
    }
}

/// Returns whether a link leads to the web. Other links, such as `javascript:`, are dropped.
fn is_web_address(address: &str) -> bool {
    address.starts_with("https://") || address.starts_with("http://")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> String {
        let placeholders = Placeholders::default();
        MarkdownRenderer { placeholders: &placeholders, query: "?deployment=a" }.render(text).0
    }

    #[test]
    fn html_in_markdown_stays_text() {
        let page = rendered(
            "<script>alert(1)</script>\n\na <b>b</b> [c](javascript:d) ![e](https://f/g.png)",
        );
        assert_eq!(
            page,
            "&lt;script&gt;alert(1)&lt;/script&gt;\n<p>a &lt;b&gt;b&lt;/b&gt; c e</p>\n"
        );
    }

    #[test]
    fn alert_names_become_links_except_in_code() {
        let page = rendered("See RedisDown, `RedisDown` and [RedisDown](https://a).");
        let link = "<a href=\"RedisDown?deployment=a\">RedisDown</a>";
        assert_eq!(
            page,
            format!(
                "<p>See {link}, <code>RedisDown</code> \
                 and <a href=\"https://a\">RedisDown</a>.</p>\n"
            )
        );
    }
}
