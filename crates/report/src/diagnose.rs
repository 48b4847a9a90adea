//! `rolecall diagnose`: the nodes as a table, then each finding with what to do about it, to be read at 3 a.m.
//!
//! Colours are escape sequences; whoever prints the text to something other than a terminal takes them out.

use std::fmt::{self, Write};
use std::sync::Arc;

use anstyle::{AnsiColor, Style};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use topology::{DeploymentView, EndpointView, Finding, MisroutedView, Presence, Severity, ShardView, Value, holding};

use crate::api::{follows, time};
use crate::runbook::runbook;

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
        writeln!(text, "{}", standing(view, shard))?;
    }
    for endpoint in &view.endpoints {
        writeln!(text, "{}", self::endpoint(endpoint))?;
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

/// Who is primary, and what is accepted.
fn standing(view: &DeploymentView, shard: &ShardView) -> String {
    let primary = match (shard.primary, shard.no_primary.why) {
        (Some(primary), _) => format!("primary {} ({})", view.name(primary.node), primary.evidence.label()),
        (None, Some(why)) => format!("no primary ({})", why.label()),
        (None, None) => "primary unknown".to_owned(),
    };
    let is = |known: Option<bool>, what: &str, yes: &str, no: &str| match known {
        Some(known) => format!("{what} {}", if known { yes } else { no }),
        None => format!("{what} unknown"),
    };
    [primary, is(shard.writable, "writes", "accepted", "REFUSED"), is(shard.readable, "reads", "served", "REFUSED")].join(", ")
}

/// Where an endpoint leads.
fn endpoint(endpoint: &EndpointView) -> String {
    let found = match (endpoint.up, endpoint.reason, &endpoint.leads_to) {
        (None, ..) => "not checked yet".to_owned(),
        (_, Some(reason), _) => format!("cannot be checked ({})", reason.label()),
        (.., None) => "answers, but does not say which server it is".to_owned(),
        (.., Some(leads_to)) => {
            let role = endpoint.role.map_or("?", snapshot::Role::label);
            let correct = match endpoint.correct {
                Some(true) => "right",
                Some(false) => "WRONG",
                None => "right or wrong unknown",
            };
            format!("leads to {} ({role}), {correct}", leads_to.label())
        }
    };
    format!("{} endpoint {}: {found}", endpoint.configured.kind.label(), endpoint.configured.address)
}

fn nodes(view: &DeploymentView) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["NODE", "ROLE", "FOLLOWS", "LINK", "LAG", "OFFSET", "NOTES"]);
    for (place, _) in view.members() {
        table.add_row(row(view, place));
    }
    table.trim_fmt()
}

fn row(view: &DeploymentView, place: usize) -> [String; 7] {
    let node = &view.nodes[place];
    let snapshot = node.snapshot();
    let role = match node.presence {
        Presence::Pending => "connecting".to_owned(),
        Presence::Down { reason, .. } => format!("down: {}", reason.label()),
        Presence::Up => node.role().map_or("?", snapshot::Role::label).to_owned(),
    };
    let lag = node.lag.behind.map(|behind| format!("{:.1} s", behind.as_secs_f64()));
    let offset = snapshot.and_then(|snapshot| snapshot.replication.offset).map(|offset| offset.to_string());
    let link = snapshot.and(node.link.state).map(|state| state.label().to_owned());
    [
        node.node.name.clone(),
        role,
        follows(view, node).unwrap_or_default(),
        link.unwrap_or_default(),
        lag.unwrap_or_default(),
        offset.unwrap_or_default(),
        notes(view, place),
    ]
}

fn notes(view: &DeploymentView, place: usize) -> String {
    let node = &view.nodes[place];
    let mut notes = Vec::new();
    for shard in &view.shards {
        let is_primary = shard.primary.is_some_and(|primary| primary.node == place);
        notes.extend(is_primary.then(|| "primary".to_owned()));
        notes.extend(shard.stale.contains(&place).then(|| "stale master".to_owned()));
        notes.extend(shard.unrelated.contains(&place).then(|| "unrelated master".to_owned()));
        notes.extend(shard.looped.contains(&place).then(|| "in a circle".to_owned()));
    }
    if let Presence::Down { .. } = node.presence
        && let Some(role) = node.last.as_ref().and_then(|last| last.replication.role)
    {
        notes.push(format!("was {}", role.label()));
    }
    notes.extend(holding(&node.writes_refused).iter().map(|reason| format!("refuses writes: {reason}")));
    notes.extend(holding(&node.reads_refused).iter().map(|reason| format!("refuses reads: {reason}")));
    notes.extend(node.orphan.map(|why| format!("orphaned: {}", why.label())));
    notes.extend(node.diverged.then(|| "diverged".to_owned()));
    notes.extend(node.misrouted.as_deref().map(misrouted));
    notes.join("; ")
}

/// A look of seconds cannot tell whether it lasts, so it is a note, and a finding only once it does.
fn misrouted(misrouted: &MisroutedView) -> String {
    let commands = Some(misrouted.commands.join(", ")).filter(|commands| !commands.is_empty());
    let writers = misrouted.writers.as_ref().filter(|writers| writers.total > 0);
    let parts = [
        Some(format!("clients write here: {:.1}/s refused", misrouted.per_second)),
        commands.map(|commands| format!(" ({commands})")),
        writers.map(|writers| format!(" of {} clients ({})", writers.total, writers.versions.join(", "))),
    ];
    parts.into_iter().flatten().collect()
}

fn finding(view: &DeploymentView, finding: &Finding, text: &mut String) -> fmt::Result {
    let style = style(finding.severity);
    let subject = finding.node.as_ref().map(|node| format!("  {node}")).unwrap_or_default();
    let severity = finding.severity.label().to_uppercase();
    writeln!(text, "{style}{severity:<8}{style:#} {BOLD}{}{BOLD:#}{subject}  seen since {}", finding.kind.label(), time(finding.since))?;
    let evidence: Vec<_> = finding.evidence.iter().map(|(name, value)| format!("{name} {}", shown(value))).collect();
    let Some(runbook) = runbook(finding.kind.label()) else { return part(text, "Evidence", &evidence.join(", ")) };
    part(text, "What is wrong", runbook.title)?;
    if !evidence.is_empty() {
        part(text, "Evidence", &evidence.join(", "))?;
    }
    part(text, "Likely cause", &runbook.cause(&named(finding)).unwrap_or_default())?;
    if let Some(command) = runbook.first_command() {
        // A command is to be copied, so it is never wrapped.
        writeln!(text, "  {:<15}{BOLD}{}{BOLD:#}", "First command", filled(&command, view, finding))?;
    }
    let fix = runbook.points("Fix").into_iter().next().map(|point| point.text).unwrap_or_default();
    part(text, "Fix", &filled(&fix, view, finding))?;
    for (place, point) in runbook.points("Do not").iter().take(2).enumerate() {
        part(text, if place == 0 { "Do not" } else { "" }, &point.text)?;
    }
    part(text, "Runbook", &format!("alerts/runbooks/{}.md", finding.kind.label()))?;
    writeln!(text)
}

fn part(text: &mut String, name: &str, what: &str) -> fmt::Result {
    let first = format!("  {name:<15}");
    let options = textwrap::Options::new(WIDTH).initial_indent(&first).subsequent_indent(INDENT).break_words(false);
    writeln!(text, "{}", textwrap::fill(what, options))
}

/// A command, with the address of the node that it is about.
fn filled(command: &str, view: &DeploymentView, finding: &Finding) -> String {
    let Some(address) = address(view, finding) else { return command.to_owned() };
    match address.rsplit_once(':') {
        Some((host, port)) if !address.starts_with('/') => {
            command.replace("$HOST", host.trim_matches(['[', ']'])).replace("$PORT", port).replace("$NODE", address)
        }
        _ => command.replace("-h $HOST -p $PORT", &format!("-s {address}")).replace("$NODE", address),
    }
}

/// The address of the node or the endpoint that a finding is about, or where to look first.
fn address<'a>(view: &'a DeploymentView, finding: &Finding) -> Option<&'a str> {
    if let Some(kind) = finding.endpoint {
        return view.endpoints.iter().map(|endpoint| &endpoint.configured).find(|of| of.kind == kind).map(|of| of.address.as_str());
    }
    if let Some(name) = &finding.node {
        return view.nodes.iter().find(|node| node.node.name == *name).map(|node| node.node.address.as_str());
    }
    let shard = view.shards.first()?;
    let first = shard.stale.first().or(shard.looped.first()).copied();
    let place = first.or(shard.primary.map(|primary| primary.node)).or(shard.last_primary).unwrap_or_default();
    view.nodes.get(place).map(|node| node.node.address.as_str())
}

/// The names in the evidence.
fn named(finding: &Finding) -> Vec<&str> {
    let mut names = Vec::new();
    for (_, value) in &finding.evidence {
        match value {
            Value::Text(text) => names.push(text.as_str()),
            Value::List(items) => names.extend(items.iter().map(String::as_str)),
            Value::Number(_) => {}
        }
    }
    names
}

fn shown(value: &Value) -> String {
    match value {
        Value::Number(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::List(items) => format!("[{}]", items.join(", ")),
    }
}

fn style(severity: Severity) -> Style {
    let color = match severity {
        Severity::Critical => AnsiColor::Red,
        Severity::Warning => AnsiColor::Yellow,
        Severity::Info => AnsiColor::Blue,
    };
    Style::new().bold().fg_color(Some(color.into()))
}
