//! Findings on pages, the worst first. Findings of the same kind and severity share one box, which
//! also has their effects.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};
use topology::tiers::first_causes;
use topology::{DeploymentView, Finding, FindingKind, Severity, Value};

use super::Site;
use super::links::Links;
use crate::evidence::evidence_texts;
use crate::explanations::explanations;
use crate::format::{count, duration, time_of_day};
use crate::placeholders::Placeholders;
use crate::runbook::{Runbook, runbook};
use crate::status_level::StatusLevel;

/// Findings with their deployments.
type Listed<'a> = Vec<(&'a DeploymentView, &'a Finding)>;

/// Findings grouped by severity and kind; what is over is last. The number of groups is bounded by
/// the number of kinds, not by the number of nodes.
#[derive(Default)]
pub(super) struct GroupedFindings<'a>(BTreeMap<(bool, Severity, FindingKind), Group<'a>>);

/// Findings of one kind and severity that no other finding explains, and their effects.
#[derive(Default)]
struct Group<'a> {
    findings: Listed<'a>,
    effects: GroupedFindings<'a>,
}

/// Returns whether a finding affects a node, or names the node in its evidence.
pub(super) fn concerns(finding: &Finding, node: &str) -> bool {
    let names = |value: &Value| match value {
        Value::Text(text) => text == node,
        Value::List(items) => items.iter().any(|item| item == node),
        Value::Number(_) => false,
    };
    finding.node.as_deref() == Some(node)
        || finding.evidence.values().iter().any(|(_, value)| names(value))
}

impl<'a> GroupedFindings<'a> {
    /// Groups the matching findings of a deployment.
    pub(super) fn of(view: &'a DeploymentView, matches: impl Fn(&Finding) -> bool) -> Self {
        let mut grouped = GroupedFindings::default();
        grouped.add(view, matches);
        grouped
    }

    /// Adds the matching findings of another deployment.
    pub(super) fn add(&mut self, view: &'a DeploymentView, matches: impl Fn(&Finding) -> bool) {
        let causes = first_causes(&view.findings);
        for (finding, cause) in view.findings.iter().zip(causes) {
            if !matches(finding) {
                continue;
            }
            // Without its cause, an effect stands for itself: on the page of another node.
            let cause = cause.map(|cause| &view.findings[cause]).filter(|cause| matches(cause));
            let group = match cause {
                Some(cause) => self.group(cause).effects.group(finding),
                None => self.group(finding),
            };
            group.findings.push((view, finding));
        }
    }

    /// Returns the group of a finding.
    fn group(&mut self, finding: &Finding) -> &mut Group<'a> {
        self.0.entry((finding.is_over(), finding.severity, finding.kind)).or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn has_critical(&self) -> bool {
        self.0.keys().any(|(_, severity, _)| *severity == Severity::Critical)
    }
}

/// Returns the explanations of the placeholders that a text still contains.
pub(super) fn placeholder_list(text: &str) -> Markup {
    let explanations = explanations(text);
    html! {
        @if !explanations.is_empty() {
            ul.placeholders {
                @for (names, meaning) in &explanations {
                    li { code { (names) } ": " (meaning) }
                }
            }
        }
    }
}

impl Site<'_> {
    /// Returns the section "Findings", with at most `max` findings in each group. Returns nothing
    /// without findings.
    pub(super) fn findings(
        &self,
        links: Links,
        findings: &GroupedFindings<'_>,
        max: usize,
    ) -> Markup {
        html! {
            @if !findings.is_empty() {
                section aria-labelledby="findings" {
                    h2 #findings { "Findings" }
                    (self.finding_groups(links, findings, max))
                }
            }
        }
    }

    /// Returns the groups without a heading.
    pub(super) fn finding_groups(
        &self,
        links: Links,
        findings: &GroupedFindings<'_>,
        max: usize,
    ) -> Markup {
        self.groups_below("finding", links, findings, max)
    }

    /// Returns the groups. Their identifiers begin with `prefix`, because the effects of two causes
    /// may be of the same kind.
    fn groups_below(
        &self,
        prefix: &str,
        links: Links,
        findings: &GroupedFindings<'_>,
        max: usize,
    ) -> Markup {
        html! {
            @for ((_, severity, kind), group) in &findings.0 {
                @let id = format!("{prefix}-{}-{}", kind.label(), severity.label());
                (self.finding_group(&id, links, (*severity, *kind), group, max))
            }
        }
    }

    fn finding_group(
        &self,
        id: &str,
        links: Links,
        (severity, kind): (Severity, FindingKind),
        Group { findings, effects }: &Group<'_>,
        max: usize,
    ) -> Markup {
        let Some((view, first)) = findings.first() else { return Markup::default() };
        let kind = kind.label();
        let hidden: usize = effects.0.values().map(|group| group.findings.len()).sum();
        let (deployment, runbook) = (view.deployment.name.as_str(), runbook(kind));
        let deployments: BTreeSet<_> =
            findings.iter().map(|(view, _)| view.deployment.name.as_str()).collect();
        let is_one = deployments.len() == 1;
        let runbook_link = if is_one {
            links.runbook(kind, deployment, first.node.as_deref())
        } else {
            links.to(&format!("runbooks/{kind}"))
        };
        let command = runbook
            .and_then(Runbook::first_command)
            .map(|command| Placeholders::of_finding(view, first).replace(&command));
        let left_out = findings.len().saturating_sub(max);
        let level = StatusLevel::from(severity);
        html! {
            article.finding.(level.class()) id=(id) {
                h3 {
                    span.tag { (severity.label()) }
                    @if is_one {
                        a.where href=(links.deployment(deployment)) { (deployment) }
                    } @else {
                        span.where { (count(deployments.len(), "deployment")) }
                    }
                    a href=(runbook_link) { (runbook.map_or(kind, |runbook| runbook.title)) }
                    code.kind { (kind) }
                }
                ul {
                    @for (view, finding) in findings.iter().take(max) {
                        li { (self.finding_line(links, &view.deployment.name, finding, is_one)) }
                    }
                    @if left_out > 0 {
                        li {
                            a href=(links.to(&format!("?q={kind}"))) { "and " (left_out) " more" }
                        }
                    }
                }
                @if let Some(command) = command {
                    p.command { "First command: " code { (command) } }
                    (placeholder_list(&command))
                }
                @if hidden > 0 {
                    // The reader of a page about an outage should see all of it.
                    details id={ (id) "-effects" } open[effects.has_critical()] {
                        summary { (count(hidden, "effect")) }
                        (self.groups_below(id, links, effects, max))
                    }
                }
            }
        }
    }

    /// Returns the affected node or shard of a finding, its age and its evidence.
    fn finding_line(
        &self,
        links: Links,
        deployment: &str,
        finding: &Finding,
        is_one: bool,
    ) -> Markup {
        let age = self.now.duration_since(finding.since).unwrap_or_default();
        // The line already shows the duration. The lag of a replica is something else.
        let is_lag = finding.kind == FindingKind::RedisReplicationLag;
        let mut evidence = evidence_texts(&finding.evidence);
        evidence.retain(|evidence| is_lag || evidence.key != "seconds");
        html! {
            @if !is_one { a.node href=(links.deployment(deployment)) { (deployment) } " " }
            @if let Some(node) = &finding.node {
                a.node href=(links.node(deployment, node)) { (node) } " "
            }
            @if let Some(shard) = &finding.shard { "shard " (shard) " " }
            span.since {
                "for " (duration(age)) ", since " (time_of_day(finding.since, self.now))
            }
            @for evidence in evidence {
                " " span.evidence { (evidence.name) ": " b { (evidence.text) } }
            }
        }
    }
}
