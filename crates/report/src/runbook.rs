//! The runbooks `alerts/runbooks/<Alert>.md`, which are compiled into the binary.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use include_dir::{Dir, include_dir};
use pulldown_cmark::{Event, HeadingLevel, Parser, Tag, TagEnd};
use topology::DeploymentKind;

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../alerts/runbooks");

static RUNBOOKS: LazyLock<BTreeMap<&'static str, Runbook>> = LazyLock::new(|| {
    let files = FILES
        .files()
        .filter_map(|file| Some((file.path().file_stem()?.to_str()?, file.contents_utf8()?)));
    files.map(|(alert, text)| (alert, Runbook::parse(text))).collect()
});

/// The section headings of every runbook, in order.
pub const SECTIONS: [&str; 7] =
    ["Meaning", "First checks", "Causes", "Fix", "Do not", "Verify", "Prevent"];

/// The runbook of one alert.
#[derive(Debug, Clone)]
pub struct Runbook {
    /// The problem, in one sentence.
    pub title: &'static str,
    /// The whole file, as Markdown.
    pub text: &'static str,
    /// Headings with the Markdown below them, in the order of the file.
    pub sections: Vec<(&'static str, &'static str)>,
}

/// A list item or paragraph.
#[derive(Debug, Default)]
pub(crate) struct Paragraph {
    /// The plain text.
    pub(crate) text: String,
    /// The code spans in the text.
    code_spans: Vec<String>,
}

/// Returns the runbook of an alert.
pub fn runbook(alert: &str) -> Option<&'static Runbook> {
    RUNBOOKS.get(alert)
}

/// Returns every runbook, sorted by the name of its alert.
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

    /// Returns the Markdown of a section.
    pub fn section(&self, heading: &str) -> Option<&'static str> {
        self.sections.iter().find(|(other, _)| *other == heading).map(|(_, text)| *text)
    }

    /// Returns the first command of the section "First checks".
    pub(crate) fn first_command(&self) -> Option<String> {
        let mut events = Parser::new(self.section("First checks")?);
        events.find(|event| matches!(event, Event::Start(Tag::CodeBlock(_))))?;
        let Event::Text(code) = events.next()? else { return None };
        code.lines()
            .find(|line| !line.trim().is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
    }

    /// Returns the cause that contains one of these values as code, otherwise the cause for this
    /// kind of deployment (`kind="static"`). Without a match, returns the first cause, which is the
    /// most likely one.
    pub(crate) fn cause(&self, values: &[&str], kind: DeploymentKind) -> Option<String> {
        let of_kind = format!("kind=\"{}\"", kind.label());
        self.matching("Causes", &[values, &[of_kind.as_str()]])
    }

    /// Returns the fix that contains one of these values as code. Without a match, returns the
    /// first fix.
    pub(crate) fn fix(&self, values: &[&str]) -> Option<String> {
        self.matching("Fix", &[values])
    }

    /// Returns the first paragraph of a section that contains one of these values as code, or else
    /// the first paragraph. Earlier groups of values come first.
    fn matching(&self, heading: &str, groups: &[&[&str]]) -> Option<String> {
        let paragraphs = self.paragraphs(heading);
        let with_code = |values: &&[&str]| {
            let contains = |code: &String| values.contains(&code.as_str());
            paragraphs.iter().find(|paragraph| paragraph.code_spans.iter().any(contains))
        };
        let matching = groups.iter().find_map(with_code);
        matching.or(paragraphs.first()).map(|paragraph| paragraph.text.clone())
    }

    /// Returns the list items and paragraphs of a section, without code blocks.
    pub(crate) fn paragraphs(&self, heading: &str) -> Vec<Paragraph> {
        let mut paragraphs = Vec::new();
        let (mut current, mut in_block) = (Paragraph::default(), false);
        for event in Parser::new(self.section(heading).unwrap_or_default()) {
            match event {
                Event::Start(Tag::CodeBlock(_)) => in_block = true,
                Event::End(TagEnd::CodeBlock) => in_block = false,
                Event::Start(Tag::Item | Tag::Paragraph)
                | Event::End(TagEnd::Item | TagEnd::Paragraph) => {
                    let paragraph = std::mem::take(&mut current);
                    if !paragraph.text.trim().is_empty() {
                        paragraphs.push(paragraph);
                    }
                }
                Event::Text(text) if !in_block => current.text.push_str(&text),
                Event::Code(code) => {
                    current.text.push_str(&code);
                    current.code_spans.push(code.into_string());
                }
                Event::SoftBreak | Event::HardBreak => current.text.push(' '),
                _ => {}
            }
        }
        paragraphs
    }
}

#[cfg(test)]
mod tests {
    use snapshot::Reason;

    use super::*;

    #[test]
    fn each_reason_not_to_read_a_node_has_its_cause_and_fix() {
        use Reason::{Closed, Dns, Refused, Reset, Timeout, Unreachable};
        let runbook = runbook("RolecallCannotRead").expect("a runbook");
        let silent = [Refused, Timeout, Reset, Closed, Dns, Unreachable];
        for reason in Reason::ALL.into_iter().filter(|reason| !silent.contains(reason)) {
            for found in [
                runbook.cause(&[reason.label()], DeploymentKind::Static),
                runbook.fix(&[reason.label()]),
            ] {
                let found = found.expect("a paragraph");
                let mut words = found.split(|letter: char| !letter.is_alphanumeric());
                assert!(words.any(|word| word == reason.label()), "{found}");
            }
        }
    }

    #[test]
    fn reason_local_is_a_problem_of_the_exporter() {
        let runbook = runbook("RolecallCannotRead").expect("a runbook");
        let cause = runbook.cause(&["local"], DeploymentKind::Static).expect("a cause");
        assert!(cause.contains("file descriptors") && cause.contains("password file"), "{cause}");
        assert!(!cause.contains("rotation"), "{cause}");
        let fix = runbook.fix(&["local"]).expect("a fix");
        assert!(fix.contains("limit of open files") && !fix.contains("credentials"), "{fix}");
    }

    #[test]
    fn each_reason_of_unreached_primaries_has_its_cause() {
        let runbook = runbook("RedisSentinelCannotReach").expect("a runbook");
        for reason in topology::UnreachedReason::LABELS {
            let cause = runbook.cause(&[reason], DeploymentKind::Sentinel).expect("a cause");
            assert!(cause.starts_with(reason), "{reason}: {cause}");
        }
        for reason in ["auth", "misconf", "network"] {
            let fix = runbook.fix(&[reason]).expect("a fix");
            assert!(fix.starts_with(reason), "{reason}: {fix}");
        }
    }

    #[test]
    fn the_fix_of_paused_writes_is_that_of_the_operation() {
        let runbook = runbook("RedisWritesBlocked").expect("a runbook");
        let fix = |paused_by| runbook.fix(&["paused", paused_by]).expect("a fix");
        assert!(fix("failover").contains("abort it"), "{}", fix("failover"));
        assert!(fix("client_pause").contains("who paused the clients"), "{}", fix("client_pause"));
        assert!(fix("shutdown").contains("shutdown-timeout"), "{}", fix("shutdown"));
        let cause = runbook.cause(&["paused", "failover"], DeploymentKind::Static);
        assert!(cause.expect("a cause").contains("FAILOVER without TIMEOUT waits forever"));
    }
}
