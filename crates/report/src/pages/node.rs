//! `/deployment/<name>/node/<node>`: all that is known of one node.

use maud::{Markup, html};
use snapshot::Reason;
use topology::{DeploymentView, MisroutedClients, NodeState, NodeView, PollRecord, PollResult};

use super::Site;
use super::findings::{Cards, concerns};
use super::frame::Frame;
use super::links::Links;
use crate::api::follows;
use crate::fill::index;
use crate::standing::{self, role, tones};
use crate::tone::Tone;
use crate::words::{bytes, clock, count, lag, millis, reason, span, tenths};

/// What is shown of it.
const FINDINGS: usize = 4;
const EVENTS: usize = 100;
const ATTACHED: usize = 50;

const LINKS: Links = Links::NODE;

/// A name and its value; a value that is not known is left out.
type Facts = Vec<(&'static str, Option<String>)>;

impl Site<'_> {
    /// The page of a node.
    ///
    /// # Errors
    /// There is none of that name: the page that says so.
    pub fn node(&self, deployment: &str, node: &str) -> Result<String, String> {
        let missing = || {
            let instead = html! { p { a href=(LINKS.deployment(deployment)) { "All nodes of " (deployment) } } };
            self.missing(LINKS, &format!("No node of {deployment} is called {node}"), &instead)
        };
        let found = self.named(deployment).and_then(|view| Some((view, index(view, node)?)));
        let (view, index) = found.ok_or_else(missing)?;
        let (node, role, tone) = (&view.nodes[index], role(view, index), tones(view)[index]);
        let name = node.node.name.as_str();
        let cards = Cards::of(view, |finding| concerns(finding, name));
        let main = html! {
            h1 { (name) }
            p.standing.(tone.class()) { (role.text) @for note in standing::notes(node) { "; " (note.text) } }
            (self.findings(LINKS, &cards, FINDINGS))
            section aria-labelledby="facts" { h2 #facts { @if node.up() == Some(true) { "What it says" } @else { "What it said last" } } (listed(&said(view, node))) }
            section aria-labelledby="polling" { h2 #polling { "Asking it" } (self.polling(node)) (self.rounds(node)) }
            (clients(node))
            (attached(node))
            (refusals(node))
            section aria-labelledby="events" { h2 #events { "Events" } (self.timeline_of(LINKS, view, name, EVENTS)) }
        };
        let trail = [("Status", LINKS.to("")), (deployment, LINKS.deployment(deployment))];
        Ok(self.page(&Frame { links: LINKS, title: name, trail: &trail, main }))
    }

    /// What asking the node has come to.
    fn polling(&self, node: &NodeView) -> Markup {
        let polling = &node.polling;
        let failures: Vec<_> = Reason::ALL
            .into_iter()
            .zip(polling.failures)
            .filter(|(_, failures)| *failures > 0)
            .collect();
        let down = match node.presence {
            NodeState::Down { reason, .. } => Some(reason),
            NodeState::Pending | NodeState::Up => None,
        };
        let failing = down.or(polling.failing).map(|why| {
            (why, if down.is_some() { "It is down" } else { "The last round brought no answer" })
        });
        let at = |at| {
            format!(
                "{} UTC, {} ago",
                clock(at, self.now),
                span(self.now.duration_since(at).unwrap_or_default())
            )
        };
        let facts = vec![
            ("Last answer", polling.answered_at.map(at)),
            ("It took", polling.took.map(millis)),
            ("Silent for", Some(polling.silence).filter(|silence| !silence.is_zero()).map(span)),
            ("Asked", Some(format!("{} times", polling.polls))),
        ];
        html! {
            @if let Some((why, what)) = failing { p.standing.bad { (what) ": " code { (why) } ". " (reason(why)) @if let Some(detail) = detail(node) { " It was told: " code { (detail) } } } }
            (listed(&facts))
            @if failures.is_empty() { p.none { "Every round was answered." } }
            @else {
                table.reasons {
                    caption { "Rounds without an answer" }
                    thead { tr { th scope="col" { "Reason" } th scope="col" { "Rounds" } th scope="col" { "Meaning" } } }
                    tbody { @for (why, failures) in failures { tr { th scope="row" { (why) } td.number { (failures) } td { (reason(why)) } } } }
                }
            }
        }
    }

    /// The last rounds, one by one, the newest first. Open where not all is well.
    fn rounds(&self, node: &NodeView) -> Markup {
        let silent = node
            .askings
            .iter()
            .filter(|asking| !matches!(asking.came, PollResult::Replied(_)))
            .count();
        html! {
            @if !node.askings.is_empty() {
                details #rounds open[silent > 0] {
                    summary { "The last " (count(node.askings.len(), "round")) @if silent > 0 { ", " (silent) " without an answer" } }
                    table.last {
                        thead { tr { th scope="col" { "At, UTC" } th scope="col" { "What came of it" } } }
                        tbody { @for asking in node.askings.iter().rev() { (self.asking(asking)) } }
                    }
                }
            }
        }
    }

    fn asking(&self, asking: &PollRecord) -> Markup {
        let (tone, what, why) = match &asking.came {
            PollResult::Replied(took) => {
                (Tone::Good, format!("answered in {}", millis(*took)), None)
            }
            PollResult::Missed(reason, detail) => {
                (Tone::Warn, "no answer".to_owned(), Some((*reason, detail)))
            }
            PollResult::Failed(reason, detail) => {
                (Tone::Bad, "failed".to_owned(), Some((*reason, detail)))
            }
        };
        html! {
            tr.(tone.class()) {
                th scope="row" { (tenths(asking.at, self.now)) }
                td {
                    span { (what) }
                    @if let Some((why, detail)) = why {
                        ", " (why) ": " @if let Some(detail) = detail { code { (detail) } } @else { (reason(why)) }
                    }
                    @if asking.blind { " Rolecall itself was held up." }
                }
            }
        }
    }
}

/// The text of what went wrong last; nothing when it answered since.
fn detail(node: &NodeView) -> Option<&str> {
    match &node.askings.back()?.came {
        PollResult::Replied(_) => None,
        PollResult::Missed(_, detail) | PollResult::Failed(_, detail) => detail.as_deref(),
    }
}

/// What the node said last.
fn said(view: &DeploymentView, node: &NodeView) -> Facts {
    let last = node.last.as_deref();
    let field = |name: &str| last.and_then(|last| last.fields.get(name)).map(str::to_owned);
    let amount = |name: &str| last.and_then(|last| last.fields.count(name)).map(bytes);
    let config =
        |name: &str| last.and_then(|last| last.config.as_ref()?.get(name)).map(str::to_owned);
    let yes = |known: Option<bool>| known.map(|known| if known { "yes" } else { "no" }.to_owned());
    let aof = last.map(|last| &last.persistence.aof);
    vec![
        ("Address", Some(node.node.address.clone())),
        ("Expected role", node.node.expected_role.map(|role| role.label().to_owned())),
        ("Follows", follows(view, node)),
        ("Link", node.snapshot().and(node.link.state).map(|state| state.label().replace('_', " "))),
        ("Behind the primary", node.lag.behind.map(lag)),
        ("Behind, in data", node.lag.bytes.map(bytes)),
        ("Age of its data", node.lag.age.map(lag)),
        (
            "Replication id",
            last.and_then(|last| last.replication.replid.as_deref()).map(str::to_owned),
        ),
        ("Offset", last.and_then(|last| last.replication.offset).map(|offset| offset.to_string())),
        ("Version", field("valkey_version").or_else(|| field("redis_version"))),
        ("Process", field("run_id")),
        ("Running for", last.and_then(|last| last.identity.uptime).map(span)),
        ("Clients", field("connected_clients")),
        ("Memory", amount("used_memory")),
        ("Memory limit", amount("maxmemory").filter(|limit| limit != "0 B")),
        (
            "Keys",
            last.map(|last| {
                last.keyspace.iter().map(|database| database.keys).sum::<u64>().to_string()
            }),
        ),
        ("Append-only file", yes(aof.and_then(|aof| aof.enabled))),
        (
            "It can be written",
            yes(aof.filter(|aof| aof.enabled == Some(true)).and_then(|aof| aof.write_ok)),
        ),
        ("appendfsync", node.appendfsync.as_deref().map(str::to_owned)),
        (
            "Saves to disk",
            config("save").map(|save| if save.is_empty() { "never".to_owned() } else { save }),
        ),
        ("Last save succeeded", yes(last.and_then(|last| last.persistence.rdb.save_ok))),
        ("Room left for its data", node.disk.map(|disk| bytes(disk.free_bytes))),
        (
            "Restarts",
            Some(node.process.restarts)
                .filter(|restarts| *restarts > 0)
                .map(|restarts| restarts.to_string()),
        ),
        ("Strange in its reply", last.map(issues).filter(|issues| !issues.is_empty())),
    ]
}

fn issues(last: &snapshot::NodeSnapshot) -> String {
    last.issues
        .iter()
        .map(|issue| format!("{}: {}", issue.field, issue.excerpt))
        .collect::<Vec<_>>()
        .join("; ")
}

fn listed(facts: &Facts) -> Markup {
    html! {
        dl.facts { @for (name, value) in facts { @if let Some(value) = value { div { dt { (name) } dd { (value) } } } } }
    }
}

/// Who writes to it, though it is a replica.
fn clients(node: &NodeView) -> Markup {
    let Some(misrouted) = node.misrouted.as_deref() else { return Markup::default() };
    let listed = |clients: &MisroutedClients| {
        clients.busiest.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let facts = vec![
        ("Why", Some(misrouted.why.label().replace('_', " "))),
        ("Refused", Some(format!("{:.1} writes per second", misrouted.per_second))),
        ("Commands", Some(misrouted.commands.join(", ")).filter(|commands| !commands.is_empty())),
        ("Libraries", misrouted.writers.as_ref().map(|writers| writers.versions.join(", "))),
        ("Busiest", misrouted.writers.as_deref().map(listed)),
        (
            "Connected since before it was demoted",
            misrouted.stale.as_deref().map(|stale| format!("{}: {}", stale.total, listed(stale))),
        ),
    ];
    html! { section aria-labelledby="clients" { h2 #clients { "Clients that write to it, a replica" } (self::listed(&facts)) } }
}

/// The replicas, as it sees them.
fn attached(node: &NodeView) -> Markup {
    html! {
        @if !node.attached.is_empty() {
            section aria-labelledby="attached" {
                h2 #attached { "Replicas, as it sees them" }
                table {
                    thead { tr { @for head in ["Replica", "State", "Offset", "Last heard"] { th scope="col" { (head) } } } }
                    tbody {
                        @for replica in node.attached.iter().take(ATTACHED) {
                            tr {
                                th scope="row" { (replica.name) }
                                td { (replica.seen.state) }
                                td.number { (replica.seen.offset) }
                                td.number { @if let Some(lag) = replica.seen.lag { (span(lag)) " ago" } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What it refused, by code.
fn refusals(node: &NodeView) -> Markup {
    let counted: Vec<_> =
        node.counters.errors().into_iter().flatten().filter(|(_, total)| *total > 0).collect();
    html! {
        @if !counted.is_empty() {
            section aria-labelledby="refused" {
                h2 #refused { "Error replies since Rolecall watches" }
                table {
                    thead { tr { th scope="col" { "Code" } th scope="col" { "Replies" } } }
                    tbody { @for (code, total) in counted { tr { th scope="row" { code { (code) } } td.number { (total) } } } }
                }
            }
        }
    }
}
