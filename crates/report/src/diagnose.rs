//! `rolecall diagnose`: the nodes as a table, then each finding with what to do about it, to be read at 3 a.m.
//!
//! Colours are escape sequences; whoever prints the text to something other than a terminal takes them out.

use std::fmt::{self, Write};
use std::sync::Arc;

use anstyle::{AnsiColor, Style};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use topology::{DeploymentView, Finding, Severity, Value};

use crate::api::{follows, time};
use crate::fill::Fill;
use crate::runbook::runbook;
use crate::standing::{self, claim, verdicts};
use crate::words::shown;

/// Where text is wrapped, characters.
const WIDTH: usize = 100;

/// How far the parts of a finding are indented, characters.
const INDENT: &str = "                 ";

const BOLD: Style = Style::new().bold();

/// The text for deployments.
pub fn diagnose<'a>(views: impl IntoIterator<Item = &'a Arc<DeploymentView>>) -> String {
    let mut text = String::new();
    for view in views {
        // Writing to a string does not fail.
        let _ = deployment(view, &mut text);
    }
    text
}

fn deployment(view: &DeploymentView, text: &mut String) -> fmt::Result {
    writeln!(text, "{BOLD}{}{BOLD:#} ({})", view.deployment.name, view.deployment.kind.label())?;
    for shard in &view.shards {
        writeln!(text, "{}", standing::standing(view, shard))?;
    }
    for endpoint in &view.endpoints {
        writeln!(text, "{}", standing::endpoint(endpoint))?;
    }
    writeln!(text, "\n{}\n", nodes(view))?;
    if view.findings.is_empty() {
        let fine = Style::new().fg_color(Some(AnsiColor::Green.into()));
        writeln!(text, "{fine}No findings.{fine:#}\n")?;
    }
    for finding in &view.findings {
        self::finding(view, finding, text)?;
    }
    Ok(())
}

fn nodes(view: &DeploymentView) -> String {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_header(["NODE", "ROLE", "FOLLOWS", "LINK", "LAG", "OFFSET", "NOTES"]);
    for (index, _) in view.members() {
        table.add_row(row(view, index));
    }
    table.trim_fmt()
}

fn row(view: &DeploymentView, index: usize) -> [String; 7] {
    let node = &view.nodes[index];
    let snapshot = node.snapshot();
    let lag = node.lag.behind.map(|behind| format!("{:.1} s", behind.as_secs_f64()));
    let offset =
        snapshot.and_then(|snapshot| snapshot.replication.offset).map(|offset| offset.to_string());
    let link = snapshot.and(node.link.state).map(|state| state.label().to_owned());
    [
        node.node.name.clone(),
        claim(node),
        follows(view, node).unwrap_or_default(),
        link.unwrap_or_default(),
        lag.unwrap_or_default(),
        offset.unwrap_or_default(),
        notes(view, index),
    ]
}

fn notes(view: &DeploymentView, index: usize) -> String {
    let notes = verdicts(view, index).into_iter().chain(standing::notes(&view.nodes[index]));
    notes.map(|note| note.text).collect::<Vec<_>>().join("; ")
}

fn finding(view: &DeploymentView, finding: &Finding, text: &mut String) -> fmt::Result {
    let style = style(finding.severity);
    let subject = finding.node.as_ref().map(|node| format!("  {node}")).unwrap_or_default();
    let severity = finding.severity.label().to_uppercase();
    writeln!(
        text,
        "{style}{severity:<8}{style:#} {BOLD}{}{BOLD:#}{subject}  seen since {}",
        finding.kind.label(),
        time(finding.since)
    )?;
    let values = finding.evidence.values();
    let evidence: Vec<_> =
        values.iter().map(|(name, value)| format!("{name} {}", shown(value))).collect();
    let Some(runbook) = runbook(finding.kind.label()) else {
        return part(text, "Evidence", &evidence.join(", "));
    };
    let fill = Fill::of_finding(view, finding);
    part(text, "What is wrong", runbook.title)?;
    if !evidence.is_empty() {
        part(text, "Evidence", &evidence.join(", "))?;
    }
    part(text, "Likely cause", &runbook.cause(&texts(&values)).unwrap_or_default())?;
    if let Some(command) = runbook.first_command() {
        // A command is to be copied, so it is never wrapped.
        writeln!(text, "  {:<15}{BOLD}{}{BOLD:#}", "First command", fill.text(&command))?;
    }
    let fix = runbook.points("Fix").into_iter().next().map(|point| point.text).unwrap_or_default();
    part(text, "Fix", &fill.text(&fix))?;
    for (index, point) in runbook.points("Do not").iter().take(2).enumerate() {
        part(text, if index == 0 { "Do not" } else { "" }, &point.text)?;
    }
    part(text, "Runbook", &format!("alerts/runbooks/{}.md", finding.kind.label()))?;
    writeln!(text)
}

fn part(text: &mut String, name: &str, what: &str) -> fmt::Result {
    let first = format!("  {name:<15}");
    let options = textwrap::Options::new(WIDTH)
        .initial_indent(&first)
        .subsequent_indent(INDENT)
        .break_words(false);
    writeln!(text, "{}", textwrap::fill(what, options))
}

/// Returns the texts among the values of the evidence.
fn texts<'a>(values: &'a [(&'static str, Value)]) -> Vec<&'a str> {
    let mut texts = Vec::new();
    for (_, value) in values {
        match value {
            Value::Text(text) => texts.push(text.as_str()),
            Value::List(items) => texts.extend(items.iter().map(String::as_str)),
            Value::Number(_) => {}
        }
    }
    texts
}

fn style(severity: Severity) -> Style {
    let color = match severity {
        Severity::Critical => AnsiColor::Red,
        Severity::Warning => AnsiColor::Yellow,
        Severity::Info => AnsiColor::Blue,
    };
    Style::new().bold().fg_color(Some(color.into()))
}
