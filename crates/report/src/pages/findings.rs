//! Findings as cards, the worst first; those of one kind share a card.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};
use topology::{DeploymentView, Finding, FindingKind, Severity, Value};

use super::Site;
use super::links::Links;
use crate::fill::Fill;
use crate::runbook::{Runbook, runbook};
use crate::tone::Tone;
use crate::words::{bytes, clock, count, shown, span};

/// Findings by severity and kind, each with the deployment that it is in: as many cards as there are kinds, however many nodes.
#[derive(Default)]
pub(super) struct Cards<'a>(BTreeMap<(Severity, FindingKind), Vec<Found<'a>>>);

/// A finding, and where.
type Found<'a> = (&'a DeploymentView, &'a Finding);

/// Whether a finding is about a node, or names it in its evidence.
pub(super) fn concerns(finding: &Finding, node: &str) -> bool {
    let names = |value: &Value| match value {
        Value::Text(text) => text == node,
        Value::List(items) => items.iter().any(|item| item == node),
        Value::Number(_) => false,
    };
    finding.node.as_deref() == Some(node)
        || finding.evidence.values().iter().any(|(_, value)| names(value))
}

impl<'a> Cards<'a> {
    /// The cards of a deployment, of those findings that are wanted.
    pub(super) fn of(view: &'a DeploymentView, wanted: impl Fn(&Finding) -> bool) -> Self {
        let mut cards = Cards::default();
        cards.add(view, wanted);
        cards
    }

    /// Adds those of another deployment.
    pub(super) fn add(&mut self, view: &'a DeploymentView, wanted: impl Fn(&Finding) -> bool) {
        for finding in view.findings.iter().filter(|finding| wanted(finding)) {
            self.0.entry((finding.severity, finding.kind)).or_default().push((view, finding));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Site<'_> {
    /// Cards as a section of their own, if there are any; with at most that many findings on each.
    pub(super) fn findings(&self, links: Links, cards: &Cards<'_>, most: usize) -> Markup {
        html! {
            @if !cards.is_empty() { section aria-labelledby="findings" { h2 #findings { "Findings" } (self.cards(links, cards, most)) } }
        }
    }

    /// Cards as a list.
    pub(super) fn cards(&self, links: Links, cards: &Cards<'_>, most: usize) -> Markup {
        html! { @for ((severity, kind), found) in &cards.0 { (self.card(links, *severity, kind.label(), found, most)) } }
    }

    fn card(
        &self,
        links: Links,
        severity: Severity,
        kind: &str,
        found: &[Found<'_>],
        most: usize,
    ) -> Markup {
        let Some((view, first)) = found.first() else { return Markup::default() };
        let (deployment, runbook) = (view.deployment.name.as_str(), runbook(kind));
        let deployments: BTreeSet<_> =
            found.iter().map(|(view, _)| view.deployment.name.as_str()).collect();
        let is_one = deployments.len() == 1;
        let lead = if is_one {
            links.runbook(kind, deployment, first.node.as_deref())
        } else {
            links.to(&format!("runbooks/{kind}"))
        };
        let command = runbook
            .and_then(Runbook::first_command)
            .map(|command| Fill::of_finding(view, first).text(&command));
        let left_out = found.len().saturating_sub(most);
        html! {
            article.finding.(Tone::from(severity).class()) id={ "finding-" (kind) "-" (severity.label()) } {
                h3 {
                    span.tag { (severity.label()) }
                    @if is_one { a.where href=(links.deployment(deployment)) { (deployment) } }
                    @else { span.where { (count(deployments.len(), "deployment")) } }
                    a href=(lead) { (runbook.map_or(kind, |runbook| runbook.title)) }
                    code.kind { (kind) }
                }
                ul {
                    @for (view, finding) in found.iter().take(most) { li { (self.line(links, &view.deployment.name, finding, is_one)) } }
                    @if left_out > 0 { li { a href=(links.to(&format!("?q={kind}"))) { "and " (left_out) " more" } } }
                }
                @if let Some(command) = command { p.command { "First: " code { (command) } } }
            }
        }
    }

    /// What one finding is about, since when, and what shows it.
    fn line(&self, links: Links, deployment: &str, finding: &Finding, is_one: bool) -> Markup {
        let since = self.now.duration_since(finding.since).unwrap_or_default();
        // How long it lasts is said already; of a lag it is how late.
        let is_late = finding.kind == FindingKind::RedisReplicationLag;
        let values = finding.evidence.values();
        let evidence = values.iter().filter(|(name, _)| is_late || *name != "seconds");
        html! {
            @if !is_one { a.node href=(links.deployment(deployment)) { (deployment) } " " }
            @if let Some(node) = &finding.node { a.node href=(links.node(deployment, node)) { (node) } " " }
            @if let Some(shard) = &finding.shard { "shard " (shard) " " }
            span.since { (span(since)) ", since " (clock(finding.since, self.now)) }
            @for (name, value) in evidence {
                " " span.evidence { (if *name == "seconds" { "behind".to_owned() } else { name.replace('_', " ") }) " " b { (measured(name, value)) } }
            }
        }
    }
}

/// A value with its unit, which its name says.
fn measured(name: &str, value: &Value) -> String {
    match value {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an amount of data is no negative number"
        )]
        Value::Number(number) if name.ends_with("bytes") => bytes(*number as u64),
        Value::Number(number) if name.ends_with("seconds") => format!("{number} s"),
        Value::Text(why) if name == "why" => why.replace('_', " "),
        Value::List(items) if items.is_empty() => "none".to_owned(),
        Value::List(items) => items.join(", "),
        value => shown(value),
    }
}
