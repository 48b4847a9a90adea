//! The runbooks: `alerts/runbooks/<Alert>.md`, in the binary.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use include_dir::{Dir, include_dir};
use pulldown_cmark::{Event, HeadingLevel, Parser, Tag, TagEnd};

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../alerts/runbooks");

static RUNBOOKS: LazyLock<BTreeMap<&'static str, Runbook>> = LazyLock::new(|| {
    let files = FILES
        .files()
        .filter_map(|file| Some((file.path().file_stem()?.to_str()?, file.contents_utf8()?)));
    files.map(|(alert, text)| (alert, Runbook::parse(text))).collect()
});

/// The headings of every runbook, in order.
pub const SECTIONS: [&str; 7] =
    ["Meaning", "First checks", "Causes", "Fix", "Do not", "Verify", "Prevent"];

/// What to do about an alert.
#[derive(Debug, Clone)]
pub struct Runbook {
    /// What is wrong, in one sentence.
    pub title: &'static str,
    /// The whole file, in Markdown.
    pub text: &'static str,
    /// Headings and the Markdown below them, in the order of the file.
    pub sections: Vec<(&'static str, &'static str)>,
}

/// A point or paragraph.
#[derive(Debug, Default)]
pub(crate) struct Point {
    /// As plain text.
    pub(crate) text: String,
    /// The parts of it that are code.
    codes: Vec<String>,
}

/// The runbook of an alert.
pub fn runbook(alert: &str) -> Option<&'static Runbook> {
    RUNBOOKS.get(alert)
}

/// Every runbook, by the name of its alert.
pub fn runbooks() -> impl Iterator<Item = (&'static str, &'static Runbook)> {
    RUNBOOKS.iter().map(|(alert, runbook)| (*alert, runbook))
}

impl Runbook {
    fn parse(text: &'static str) -> Self {
        let mut title = "";
        let mut headings = Vec::new();
        for (event, range) in Parser::new(text).into_offset_iter() {
            match event {
                Event::Start(Tag::Heading { level: HeadingLevel::H2, .. }) => headings.push(range),
                Event::Start(Tag::Paragraph) if title.is_empty() && headings.is_empty() => {
                    title = text[range].trim();
                }
                _ => {}
            }
        }
        let ends = headings.iter().skip(1).map(|next| next.start).chain([text.len()]);
        let section = |(heading, end): (&std::ops::Range<usize>, usize)| {
            (text[heading.clone()].trim_start_matches('#').trim(), text[heading.end..end].trim())
        };
        Runbook { title, text, sections: headings.iter().zip(ends).map(section).collect() }
    }

    /// The Markdown of a section.
    pub fn section(&self, heading: &str) -> Option<&'static str> {
        self.sections.iter().find(|(other, _)| *other == heading).map(|(_, text)| *text)
    }

    /// The first command of the first checks.
    pub(crate) fn first_command(&self) -> Option<String> {
        let mut events = Parser::new(self.section("First checks")?);
        events.find(|event| matches!(event, Event::Start(Tag::CodeBlock(_))))?;
        let Event::Text(code) = events.next()? else { return None };
        code.lines()
            .find(|line| !line.trim().is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
    }

    /// The cause that names one of these values in code; else the first, which is the most likely one.
    pub(crate) fn cause(&self, values: &[&str]) -> Option<String> {
        let points = self.points("Causes");
        let named = points
            .iter()
            .find(|point| point.codes.iter().any(|code| values.contains(&code.as_str())));
        named.or(points.first()).map(|point| point.text.clone())
    }

    /// The points and paragraphs of a section; code blocks are left out.
    pub(crate) fn points(&self, heading: &str) -> Vec<Point> {
        let mut points = Vec::new();
        let (mut current, mut in_block) = (Point::default(), false);
        for event in Parser::new(self.section(heading).unwrap_or_default()) {
            match event {
                Event::Start(Tag::CodeBlock(_)) => in_block = true,
                Event::End(TagEnd::CodeBlock) => in_block = false,
                Event::Start(Tag::Item | Tag::Paragraph)
                | Event::End(TagEnd::Item | TagEnd::Paragraph) => {
                    let point = std::mem::take(&mut current);
                    points.extend((!point.text.trim().is_empty()).then_some(point));
                }
                Event::Text(text) if !in_block => current.text.push_str(&text),
                Event::Code(code) => {
                    current.text.push_str(&code);
                    current.codes.push(code.into_string());
                }
                Event::SoftBreak | Event::HardBreak => current.text.push(' '),
                _ => {}
            }
        }
        points
    }
}
