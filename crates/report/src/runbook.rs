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
#[derive(Debug, Default, Clone)]
pub(crate) struct Paragraph {
    /// The plain text.
    pub(crate) text: String,
    /// The code spans in the text.
    code_spans: Vec<String>,
    /// The code blocks below the text.
    pub(crate) code_blocks: Vec<String>,
}

/// A cause or a fix that a runbook gives for a finding.
#[derive(Debug)]
pub(crate) struct Advice {
    /// The list item.
    pub(crate) paragraph: Paragraph,
    /// It follows from the evidence. Otherwise it is the first of the list, which is the most
    /// frequent one.
    pub(crate) follows: bool,
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

    /// Returns the cause that contains one of these keys as code, the first key first, otherwise
    /// the cause for this kind of deployment (`kind="static"`). Without a match, returns the first
    /// cause.
    pub(crate) fn cause(&self, keys: &[&str], kind: DeploymentKind) -> Option<Advice> {
        let of_kind = format!("kind=\"{}\"", kind.label());
        self.advice("Causes", keys.iter().copied().chain([of_kind.as_str()]))
    }

    /// Returns the fix that contains one of these keys as code, the first key first. Without a
    /// match, returns the first fix.
    pub(crate) fn fix(&self, keys: &[&str]) -> Option<Advice> {
        self.advice("Fix", keys.iter().copied())
    }

    /// Returns the first paragraph of a section that contains one of these keys as code, or else
    /// the first paragraph.
    fn advice<'k>(&self, heading: &str, mut keys: impl Iterator<Item = &'k str>) -> Option<Advice> {
        let paragraphs = self.paragraphs(heading);
        let matching = keys.find_map(|key| {
            paragraphs.iter().find(|paragraph| paragraph.code_spans.iter().any(|code| code == key))
        });
        let paragraph = matching.or(paragraphs.first())?.clone();
        Some(Advice { paragraph, follows: matching.is_some() })
    }

    /// Returns the list items and paragraphs of a section.
    pub(crate) fn paragraphs(&self, heading: &str) -> Vec<Paragraph> {
        let mut paragraphs: Vec<Paragraph> = Vec::new();
        let mut current = Paragraph::default();
        let mut in_block = false;
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
                // A code block belongs to the text above it.
                Event::Text(code) if in_block => {
                    let above = if current.text.trim().is_empty() {
                        paragraphs.last_mut()
                    } else {
                        Some(&mut current)
                    };
                    if let Some(above) = above {
                        above.code_blocks.push(code.into_string());
                    }
                }
                Event::Text(text) => current.text.push_str(&text),
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
    use super::*;

    /// Values that select the cause in the runbooks, by alert.
    const KEYS: [(&str, &[&str]); 14] = [
        (
            "RolecallCannotRead",
            &[
                "missing",
                "auth",
                "noperm",
                "tls",
                "maxclients",
                "busy",
                "protocol",
                "toolarge",
                "unsupported",
                "identity",
                "local",
            ],
        ),
        ("RolecallNeverReached", &SILENT),
        ("RedisDown", &SILENT),
        ("RedisUnreachable", &SILENT),
        ("RedisSentinelDown", &SILENT),
        ("RedisNoPrimary", &["all_down", "loop", "primary_down", "all_replicas"]),
        (
            "RedisWritesBlocked",
            &[
                "misconf_aof",
                "misconf_rdb",
                "oom",
                "noreplicas",
                "loading",
                "busy",
                "clusterdown",
                "importing_slots",
                "failover",
                "client_pause",
                "shutdown",
                "slot_migration",
            ],
        ),
        ("RedisReplicaOrphaned", &["unknown_address", "dead_node", "stale_master", "broken_chain"]),
        ("RedisReplicaLinkDown", &["unknown_address", "dead_node", "master_up"]),
        ("RedisWritesHitReplica", &["wrong_endpoint", "demotion", "stale_topology", "unknown"]),
        ("RedisClusterDown", &["majority", "minority"]),
        ("RedisSentinelDisagreement", &["majority", "role_reported", "dissenter"]),
        ("RedisSentinelMisconfigured", &["self_replication", "mixed_names", "unknown_master"]),
        ("RedisSplitBrain", &["sentinel", "operator", "failover_command", "cluster", "restart"]),
    ];

    const SILENT: [&str; 6] = ["refused", "timeout", "reset", "closed", "dns", "unreachable"];

    #[test]
    fn each_key_of_the_evidence_has_its_cause() {
        for (alert, keys) in KEYS {
            let runbook = runbook(alert).expect("a runbook");
            for key in keys {
                let cause = runbook.cause(&[*key], DeploymentKind::Static).expect("a cause");
                let has_key = cause.paragraph.code_spans.iter().any(|code| code == key);
                assert!(cause.follows && has_key, "{alert}: {key}: {cause:?}");
            }
        }
    }

    #[test]
    fn each_reason_not_to_read_a_node_has_its_fix() {
        let runbook = runbook("RolecallCannotRead").expect("a runbook");
        let (_, reasons) = KEYS[0];
        for reason in reasons.iter().filter(|reason| **reason != "missing") {
            let fix = runbook.fix(&[*reason]).expect("a fix");
            assert!(fix.follows, "{reason}: {fix:?}");
        }
    }

    #[test]
    fn a_fix_is_not_for_another_key() {
        for (alert, keys) in KEYS {
            let runbook = runbook(alert).expect("a runbook");
            for key in keys {
                let Advice { paragraph, follows } = runbook.fix(&[*key]).expect("a fix");
                let of_other =
                    paragraph.code_spans.iter().any(|code| keys.contains(&code.as_str()));
                assert!(follows || !of_other, "{alert}: {key}: {paragraph:?}");
            }
        }
    }

    #[test]
    fn only_rejected_credentials_are_a_password_problem() {
        let runbook = runbook("RolecallCannotRead").expect("a runbook");
        let (_, reasons) = KEYS[0];
        for reason in
            reasons.iter().filter(|reason| !["missing", "auth", "local"].contains(*reason))
        {
            for advice in
                [runbook.cause(&[*reason], DeploymentKind::Static), runbook.fix(&[*reason])]
            {
                let text = advice.expect("an advice").paragraph.text;
                assert!(!text.contains("password") && !text.contains("credentials"), "{text}");
            }
        }
    }

    #[test]
    fn reason_local_is_a_problem_of_the_exporter() {
        let runbook = runbook("RolecallCannotRead").expect("a runbook");
        let cause = runbook.cause(&["local"], DeploymentKind::Static).expect("a cause");
        let cause = cause.paragraph.text;
        assert!(cause.contains("file descriptors") && cause.contains("password file"), "{cause}");
        assert!(!cause.contains("rotation"), "{cause}");
        let fix = runbook.fix(&["local"]).expect("a fix").paragraph.text;
        assert!(fix.contains("limit of open files") && !fix.contains("credentials"), "{fix}");
    }

    #[test]
    fn without_a_match_the_first_cause_does_not_follow() {
        let runbook = runbook("RedisDown").expect("a runbook");
        let cause = runbook.cause(&["orders-0"], DeploymentKind::Static).expect("a cause");
        assert!(!cause.follows, "{cause:?}");
        assert_eq!(cause.paragraph.text, runbook.paragraphs("Causes")[0].text);
    }

    #[test]
    fn a_fix_has_its_commands() {
        let runbook = runbook("RedisReplicationLoop").expect("a runbook");
        let fix = runbook.fix(&[]).expect("a fix").paragraph;
        assert_eq!(
            fix.code_blocks,
            ["redis-cli -h $FORMER_PRIMARY_HOST -p $FORMER_PRIMARY_PORT replicaof no one\n"]
        );
    }

    #[test]
    fn each_reason_of_unreached_primaries_has_its_cause() {
        let runbook = runbook("RedisSentinelCannotReach").expect("a runbook");
        for reason in topology::UnreachedReason::LABELS {
            let cause = runbook.cause(&[reason], DeploymentKind::Sentinel).expect("a cause");
            assert!(cause.follows && cause.paragraph.text.starts_with(reason), "{cause:?}");
        }
        for reason in ["auth", "misconf", "network"] {
            let fix = runbook.fix(&[reason]).expect("a fix");
            assert!(fix.follows && fix.paragraph.text.starts_with(reason), "{fix:?}");
        }
    }

    #[test]
    fn the_fix_of_paused_writes_is_that_of_the_operation() {
        let runbook = runbook("RedisWritesBlocked").expect("a runbook");
        let fix = |paused_by| runbook.fix(&[paused_by, "paused"]).expect("a fix").paragraph.text;
        assert!(fix("failover").contains("abort it"), "{}", fix("failover"));
        assert!(fix("client_pause").contains("who paused the clients"), "{}", fix("client_pause"));
        assert!(fix("shutdown").contains("shutdown-timeout"), "{}", fix("shutdown"));
        let cause = runbook.cause(&["failover", "paused"], DeploymentKind::Static);
        let cause = cause.expect("a cause").paragraph.text;
        assert!(cause.contains("FAILOVER without TIMEOUT waits forever"));
    }
}
