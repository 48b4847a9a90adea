//! Findings as cards, the worst first; those of one kind in one deployment share a card.

use maud::{Markup, html};
use topology::{DeploymentView, Finding, Value};

use super::Site;
use super::links::Links;
use crate::fill::Fill;
use crate::runbook::runbook;
use crate::tone::Tone;
use crate::words::{bytes, clock, count, shown, span};

/// Findings of one kind and severity in one deployment.
pub(super) struct Card<'a> {
    view: &'a DeploymentView,
    findings: Vec<&'a Finding>,
}

/// How much is shown.
#[derive(Clone, Copy)]
pub(super) struct Most {
    /// Cards.
    pub(super) cards: usize,
    /// Findings on a card.
    pub(super) findings: usize,
}

/// Whether a finding is about a node, or names it in its evidence.
pub(super) fn concerns(finding: &Finding, node: &str) -> bool {
    let names = |value: &Value| match value {
        Value::Text(text) => text == node,
        Value::List(items) => items.iter().any(|item| item == node),
        Value::Number(_) => false,
    };
    finding.node.as_deref() == Some(node) || finding.evidence.iter().any(|(_, value)| names(value))
}

impl<'a> Card<'a> {
    /// The cards of a deployment, of those findings that are wanted.
    pub(super) fn of(view: &'a DeploymentView, wanted: impl Fn(&Finding) -> bool) -> Vec<Self> {
        let mut cards: Vec<Card<'a>> = Vec::new();
        for finding in view.findings.iter().filter(|finding| wanted(finding)) {
            let same = |card: &&mut Card<'a>| (card.first().kind, card.first().severity) == (finding.kind, finding.severity);
            match cards.iter_mut().find(same) {
                Some(card) => card.findings.push(finding),
                None => cards.push(Card { view, findings: vec![finding] }),
            }
        }
        cards
    }

    /// The first of its findings; there is at least one.
    pub(super) fn first(&self) -> &'a Finding {
        self.findings[0]
    }
}

impl Site<'_> {
    /// Cards as a list.
    pub(super) fn cards(&self, links: Links, cards: &[Card<'_>], most: Most) -> Markup {
        let left_out = cards.len().saturating_sub(most.cards);
        html! {
            @for card in cards.iter().take(most.cards) { (self.card(links, card, most.findings)) }
            @if left_out > 0 { p.more { (count(left_out, "more kind")) " of finding, less severe: the pages of the deployments have them." } }
        }
    }

    fn card(&self, links: Links, card: &Card<'_>, most: usize) -> Markup {
        let (first, deployment) = (card.first(), card.view.deployment.name.as_str());
        let (kind, tone) = (first.kind.label(), Tone::from(first.severity));
        let runbook = runbook(kind);
        let command = runbook.and_then(crate::Runbook::first_command).map(|command| Fill::of_finding(card.view, first).text(&command));
        let left_out = card.findings.len().saturating_sub(most);
        html! {
            article.finding.(tone.class()) {
                h3 {
                    span.tag { (first.severity.label()) }
                    a.where href=(links.deployment(deployment)) { (deployment) }
                    a href=(links.runbook(kind, deployment, first.node.as_deref())) { (runbook.map_or(kind, |runbook| runbook.title)) }
                    code.kind { (kind) }
                }
                ul {
                    @for finding in card.findings.iter().take(most) { li { (self.line(links, deployment, finding)) } }
                    @if left_out > 0 { li { "and " (left_out) " more" } }
                }
                @if let Some(command) = command { p.command { "First: " code { (command) } } }
            }
        }
    }

    /// What one finding is about, since when, and what shows it.
    fn line(&self, links: Links, deployment: &str, finding: &Finding) -> Markup {
        let since = self.now.duration_since(finding.since).unwrap_or_default();
        html! {
            @if let Some(node) = &finding.node { a.node href=(links.node(deployment, node)) { (node) } " " }
            @if let Some(shard) = &finding.shard { "shard " (shard) " " }
            span.since { (span(since)) ", since " (clock(finding.since, self.now)) }
            @for (name, value) in &finding.evidence {
                " " span.evidence { (name.replace('_', " ")) " " b { (measured(name, value)) } }
            }
        }
    }
}

/// A value with its unit, which its name says.
fn measured(name: &str, value: &Value) -> String {
    match value {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an amount of data is no negative number")]
        Value::Number(number) if name.ends_with("bytes") => bytes(*number as u64),
        Value::Number(number) if name.ends_with("seconds") => format!("{number} s"),
        Value::List(items) => items.join(", "),
        value => shown(value),
    }
}
