//! `rolecall diagnose`: a table of the nodes, then each finding with its runbook in short form and
//! its effects.
//!
//! Colours are escape sequences. The caller removes them if the output is not a terminal.

use std::fmt::{self, Write};
use std::sync::Arc;

use anstyle::{AnsiColor, Style};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use topology::tiers::first_causes;
use topology::{DeploymentKind, DeploymentView, Finding, Severity};

use crate::api::{rfc3339, upstream};
use crate::cause_keys::cause_keys;
use crate::deployment_status::{endpoint_status, failover_status, shard_status};
use crate::evidence::evidence_texts;
use crate::explanations::explanations;
use crate::labels::link_state;
use crate::node_status::{assigned_roles, claimed_role, notes};
use crate::placeholders::{Placeholders, guard_note, node_to_examine};
use crate::runbook::{Advice, runbook};

/// Line width, characters.
const WIDTH: usize = 100;

/// Indentation of the parts of a finding.
const INDENT: &str = "                 ";

/// Maximum number of effects that are listed below a finding.
const EFFECTS: usize = 20;

const BOLD: Style = Style::new().bold();

/// Returns the text for these deployments.
pub fn diagnose<'a>(views: impl IntoIterator<Item = &'a Arc<DeploymentView>>) -> String {
    let mut text = String::new();
    for view in views {
        // Writing to a string does not fail.
        let _ = write_deployment(view, &mut text);
    }
    text
}

fn write_deployment(view: &DeploymentView, text: &mut String) -> fmt::Result {
    writeln!(text, "{BOLD}{}{BOLD:#} ({})", view.deployment.name, view.deployment.kind.label())?;
    for shard in &view.shards {
        writeln!(text, "{}", shard_status(view, shard))?;
        if let Some(failover) = failover_status(view, shard) {
            writeln!(text, "{failover}")?;
        }
    }
    for endpoint in &view.endpoints {
        writeln!(text, "{}", endpoint_status(endpoint))?;
    }
    writeln!(text, "\n{}\n", node_table(view))?;
    let style = severity_style(Severity::Critical);
    if !view.has_reply() {
        writeln!(text, "{style}CRITICAL{style:#} No node of this deployment replies.\n")?;
    }
    if view.findings.is_empty() && view.has_reply() {
        let green = Style::new().fg_color(Some(AnsiColor::Green.into()));
        writeln!(text, "{green}No findings.{green:#}\n")?;
    }
    let causes = first_causes(&view.findings);
    for (position, finding) in view.findings.iter().enumerate() {
        if causes[position].is_none() {
            let effects = view.findings.iter().zip(&causes);
            let effects = effects.filter(|(_, cause)| **cause == Some(position));
            let effects: Vec<_> = effects.map(|(effect, _)| effect_text(effect)).collect();
            write_finding(view, finding, &effects, text)?;
        }
    }
    Ok(())
}

/// Returns a finding that another one explains, in one line.
fn effect_text(finding: &Finding) -> String {
    let subject = finding.node.as_ref().or(finding.shard.as_ref());
    let subject = subject.map(|subject| format!(" {subject}")).unwrap_or_default();
    let problem = runbook(finding.kind.label()).map_or("", |runbook| runbook.title);
    format!("{} {}{subject}: {problem}", finding.severity.label(), finding.kind.label())
}

fn node_table(view: &DeploymentView) -> String {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_header(["NODE", "ROLE", "UPSTREAM", "LINK", "LAG", "OFFSET", "NOTES"]);
    for (index, _) in view.members() {
        table.add_row(node_row(view, index));
    }
    table.trim_fmt()
}

fn node_row(view: &DeploymentView, index: topology::NodeIndex) -> [String; 7] {
    let node = &view.nodes[index];
    let snapshot = node.snapshot();
    let lag = node.lag.behind.map(|behind| format!("{:.1} s", behind.as_secs_f64()));
    let offset =
        snapshot.and_then(|snapshot| snapshot.replication.offset).map(|offset| offset.to_string());
    let notes = assigned_roles(view, index).into_iter().chain(notes(node));
    [
        node.node.name.clone(),
        claimed_role(node),
        upstream(view, node).unwrap_or_default(),
        snapshot.and(node.link.state).map(link_state).unwrap_or_default(),
        lag.unwrap_or_default(),
        offset.unwrap_or_default(),
        notes.map(|note| note.text).collect::<Vec<_>>().join("; "),
    ]
}

/// Writes a finding with the findings that it explains.
fn write_finding(
    view: &DeploymentView,
    finding: &Finding,
    effects: &[String],
    text: &mut String,
) -> fmt::Result {
    let style = severity_style(finding.severity);
    let node = finding.node.as_ref().map(|node| format!("  {node}")).unwrap_or_default();
    let severity = finding.severity.label().to_uppercase();
    writeln!(
        text,
        "{style}{severity:<8}{style:#} {BOLD}{}{BOLD:#}{node}  since {}",
        finding.kind.label(),
        rfc3339(finding.since)
    )?;
    let evidence: Vec<_> = evidence_texts(&finding.evidence)
        .into_iter()
        .map(|evidence| format!("{}: {}", evidence.name, evidence.text))
        .collect();
    let Some(runbook) = runbook(finding.kind.label()) else {
        return write_part(text, "Evidence", &evidence.join("; "));
    };
    let placeholders = Placeholders::of_finding(view, finding);
    write_part(text, "Problem", runbook.title)?;
    if !evidence.is_empty() {
        write_part(text, "Evidence", &evidence.join("; "))?;
    }
    if let Some(note) =
        guard_note(view, Some(finding), node_to_examine(view, finding), runbook.text)
    {
        write_part(text, "Note", &note)?;
    }
    let keys = cause_keys(view, finding);
    // Sentinels may be listed among the nodes.
    let kind = view.sentinels.as_ref().map_or(view.deployment.kind, |_| DeploymentKind::Sentinel);
    if let Some(Advice { paragraph, follows }) = runbook.cause(&keys, kind) {
        let name = if follows { "Likely cause" } else { "Usual cause" };
        write_part(text, name, &placeholders.replace(&paragraph.text))?;
    }
    let mut commands = Vec::new();
    if let Some(command) = runbook.first_command() {
        let command = placeholders.replace(&command);
        write_command(text, "First command", &command)?;
        commands.push(command);
    }
    if let Some(Advice { paragraph, .. }) = runbook.fix(&keys) {
        let fix = placeholders.replace(&paragraph.text);
        write_part(text, "Fix", &fix)?;
        commands.push(fix);
        for block in &paragraph.code_blocks {
            let block = placeholders.replace(block);
            block.lines().try_for_each(|command| write_command(text, "", command))?;
            commands.push(block);
        }
    }
    for (index, (names, meaning)) in explanations(&commands.join("\n")).iter().enumerate() {
        let name = if index == 0 { "Placeholders" } else { "" };
        write_part(text, name, &format!("{names}: {meaning}"))?;
    }
    for (index, warning) in runbook.paragraphs("Do not").iter().take(2).enumerate() {
        write_part(text, if index == 0 { "Do not" } else { "" }, &warning.text)?;
    }
    write_part(text, "Runbook", &format!("alerts/runbooks/{}.md", finding.kind.label()))?;
    for (index, effect) in effects.iter().take(EFFECTS).enumerate() {
        write_part(text, if index == 0 { "Effects" } else { "" }, effect)?;
    }
    if effects.len() > EFFECTS {
        write_part(text, "", &format!("and {} more", effects.len() - EFFECTS))?;
    }
    writeln!(text)
}

/// Writes a command on one line, because a wrapped command could not be copied.
fn write_command(text: &mut String, name: &str, command: &str) -> fmt::Result {
    writeln!(text, "  {name:<15}{BOLD}{command}{BOLD:#}")
}

fn write_part(text: &mut String, name: &str, content: &str) -> fmt::Result {
    let first = format!("  {name:<15}");
    let options = textwrap::Options::new(WIDTH)
        .initial_indent(&first)
        .subsequent_indent(INDENT)
        .break_words(false);
    writeln!(text, "{}", textwrap::fill(content, options))
}

fn severity_style(severity: Severity) -> Style {
    let color = match severity {
        Severity::Critical => AnsiColor::Red,
        Severity::Warning => AnsiColor::Yellow,
        Severity::Info => AnsiColor::Blue,
    };
    Style::new().bold().fg_color(Some(color.into()))
}
