//! `/deployment/<name>/node/<node>`: the page of one node.

use maud::{Markup, html};
use snapshot::{NodeSnapshot, Reason};
use topology::{Availability, DeploymentView, MisroutedClients, NodeView, PollRecord, PollResult};

use super::Site;
use super::findings::{GroupedFindings, concerns};
use super::layout::Layout;
use super::links::Links;
use super::witnesses::witnesses;
use crate::api::upstream;
use crate::format::{
    bytes, count, duration, milliseconds, short_duration, time_of_day, time_of_day_tenths,
};
use crate::labels::{link_state, misroute, poll_failure, unknown_node};
use crate::node_status::{node_levels, notes, role};
use crate::placeholders::node_index;
use crate::status_level::StatusLevel;

/// Maximum number of findings of one kind, events and connected replicas on the page.
const FINDINGS: usize = 4;
const EVENTS: usize = 100;
const ATTACHED: usize = 50;

const LINKS: Links = Links::NODE;

/// Names with their values. Unknown values are not shown.
type Facts = Vec<(&'static str, Option<String>)>;

impl Site<'_> {
    /// Returns the page of a node.
    ///
    /// # Errors
    /// Returns the "not found" page if no node has this name.
    pub fn node(&self, deployment: &str, node: &str) -> Result<String, String> {
        let not_found = || {
            let link = LINKS.deployment(deployment);
            let alternative = html! { p { a href=(link) { "All nodes of " (deployment) } } };
            let message = format!("No node named {node} in {deployment}");
            self.not_found(LINKS, &message, &alternative)
        };
        let found = self.view(deployment).and_then(|view| Some((view, node_index(view, node)?)));
        let (view, index) = found.ok_or_else(not_found)?;
        let (node, role, level) = (&view.nodes[index], role(view, index), node_levels(view)[index]);
        let name = node.node.name.as_str();
        let findings = GroupedFindings::of(view, |finding| concerns(finding, name));
        let heading = if node.is_known_up() { "State" } else { "Last known state" };
        let main = html! {
            h1 { (name) }
            p.standing.(level.class()) {
                (role.text) @for note in notes(node) { "; " (note.text) }
            }
            (self.findings(LINKS, &findings, FINDINGS))
            (witnesses(view, node))
            section aria-labelledby="facts" {
                h2 #facts { (heading) }
                (fact_list(&state(view, node)))
            }
            section aria-labelledby="polling" {
                h2 #polling { "Polling" }
                (self.polling(node))
                (self.last_polls(node))
            }
            (misrouted_clients(node))
            (connected_replicas(node))
            (error_replies(node))
            section aria-labelledby="events" {
                h2 #events { "Events" }
                (self.node_timeline(LINKS, view, name, EVENTS))
            }
        };
        let breadcrumbs = [("Status", LINKS.to("")), (deployment, LINKS.deployment(deployment))];
        Ok(self.page(&Layout { links: LINKS, title: name, breadcrumbs: &breadcrumbs, main }))
    }

    /// Returns the result of the last poll, and the counts of missed and failed polls.
    fn polling(&self, node: &NodeView) -> Markup {
        let polling = &node.polling;
        let failures: Vec<_> = Reason::ALL
            .into_iter()
            .zip(polling.failures)
            .filter(|(_, failures)| *failures > 0)
            .collect();
        let down = node.presence.failure();
        let state = match node.availability() {
            Availability::Down => "Down".to_owned(),
            Availability::Unreachable => "Unreachable, but alive".to_owned(),
            Availability::Up => "No reply in the last round".to_owned(),
            Availability::Unknown => match node.polling.unknown {
                Some(unknown) => format!("State {}", unknown_node(unknown.why)),
                None => "State unknown".to_owned(),
            },
        };
        let level = match node.availability() {
            Availability::Unreachable => StatusLevel::Warning,
            Availability::Unknown => StatusLevel::Unknown,
            Availability::Up | Availability::Down => StatusLevel::Critical,
        };
        let time_and_age = |at| {
            format!(
                "{} UTC, {} ago",
                time_of_day(at, self.now),
                duration(self.now.duration_since(at).unwrap_or_default())
            )
        };
        let silence = Some(polling.silence).filter(|silence| !silence.is_zero());
        let facts = vec![
            ("Last reply", polling.answered_at.map(time_and_age)),
            ("Reply time", polling.duration.map(milliseconds)),
            ("No reply for", silence.map(duration)),
            ("Polls", Some(polling.polls.to_string())),
        ];
        html! {
            @if let Some(reason) = down.or(polling.failing) {
                p.standing.(level.class()) {
                    (state) ": " code { (reason) } ". " (poll_failure(reason))
                    @if let Some(error) = last_error(node) { " Error: " code { (error) } }
                }
            }
            (fact_list(&facts))
            @if failures.is_empty() { p.none { "No missed or failed polls." } }
            @else { (failure_table(&failures)) }
        }
    }

    /// Returns the last polls, the newest first. The list is open if one of them has no reply.
    fn last_polls(&self, node: &NodeView) -> Markup {
        let without_reply =
            node.polls.iter().filter(|poll| !matches!(poll.result, PollResult::Replied(_))).count();
        html! {
            @if !node.polls.is_empty() {
                details #rounds open[without_reply > 0] {
                    summary {
                        "Last " (count(node.polls.len(), "poll"))
                        @if without_reply > 0 { ", " (without_reply) " without a reply" }
                    }
                    table.last {
                        thead {
                            tr {
                                th scope="col" { "Time (UTC)" }
                                th scope="col" { "Result" }
                            }
                        }
                        tbody { @for poll in node.polls.iter().rev() { (self.poll(poll)) } }
                    }
                }
            }
        }
    }

    fn poll(&self, poll: &PollRecord) -> Markup {
        let (level, result, failure) = match &poll.result {
            PollResult::Replied(took) => {
                (StatusLevel::Ok, format!("replied in {}", milliseconds(*took)), None)
            }
            PollResult::Missed(reason, error) => {
                (StatusLevel::Warning, "missed".to_owned(), Some((*reason, error)))
            }
            PollResult::Failed(reason, error) => {
                (StatusLevel::Critical, "failed".to_owned(), Some((*reason, error)))
            }
        };
        html! {
            tr.(level.class()) {
                th scope="row" { (time_of_day_tenths(poll.at, self.now)) }
                td {
                    span { (result) }
                    @if let Some((reason, error)) = failure {
                        ", " (reason) ": "
                        @if let Some(error) = error { code { (error) } }
                        @else { (poll_failure(reason)) }
                    }
                    @if poll.blind { " Blind round: Rolecall itself was cut off or overloaded." }
                }
            }
        }
    }
}

/// Returns the number of missed and failed polls by reason.
fn failure_table(failures: &[(Reason, u64)]) -> Markup {
    html! {
        table.reasons {
            caption { "Missed and failed polls" }
            thead {
                tr {
                    th scope="col" { "Reason" }
                    th scope="col" { "Polls" }
                    th scope="col" { "Meaning" }
                }
            }
            tbody {
                @for (reason, polls) in failures {
                    tr {
                        th scope="row" { (reason) }
                        td.number { (polls) }
                        td { (poll_failure(*reason)) }
                    }
                }
            }
        }
    }
}

/// Returns the error of the last poll; `None` if the node replied.
fn last_error(node: &NodeView) -> Option<&str> {
    match &node.polls.back()?.result {
        PollResult::Replied(_) => None,
        PollResult::Missed(_, error) | PollResult::Failed(_, error) => error.as_deref(),
    }
}

/// Returns the state of a node from its last replies.
fn state(view: &DeploymentView, node: &NodeView) -> Facts {
    let last = node.last.as_deref();
    let restarts = Some(node.process.restarts).filter(|restarts| *restarts > 0);
    let others = vec![
        ("Restarts", restarts.map(|restarts| restarts.to_string())),
        ("Unparsed fields", last.map(issues).filter(|issues| !issues.is_empty())),
    ];
    [replication(view, node), server(last), persistence(node), others].concat()
}

/// Returns the role and the replication of a node.
fn replication(view: &DeploymentView, node: &NodeView) -> Facts {
    let replication = node.last.as_deref().map(|last| &last.replication);
    let replid = replication.and_then(|replication| replication.replid.as_deref());
    let offset = replication.and_then(|replication| replication.offset);
    vec![
        ("Address", Some(node.node.address.clone())),
        ("Expected role", node.expected_role.map(|role| role.label().to_owned())),
        ("Upstream", upstream(view, node)),
        ("Replication link", node.snapshot().and(node.link.state).map(link_state)),
        ("Lag", node.lag.behind.map(short_duration)),
        ("Lag in bytes", node.lag.bytes.map(bytes)),
        ("Data age", node.lag.age.map(short_duration)),
        ("Replication ID", replid.map(str::to_owned)),
        ("Replication offset", offset.map(|offset| offset.to_string())),
    ]
}

/// Returns the version, process, clients and memory of a node.
fn server(last: Option<&NodeSnapshot>) -> Facts {
    let field = |name: &str| last.and_then(|last| last.fields.get(name)).map(str::to_owned);
    let amount = |name: &str| last.and_then(|last| last.fields.count(name)).map(bytes);
    let keys = last.map(|last| {
        last.keyspace.iter().map(|database| database.keys).fold(0, u64::saturating_add)
    });
    vec![
        ("Version", field("valkey_version").or_else(|| field("redis_version"))),
        ("Run ID", field("run_id")),
        ("Uptime", last.and_then(|last| last.identity.uptime).map(duration)),
        ("Connected clients", field("connected_clients")),
        ("Used memory", amount("used_memory")),
        ("Memory limit", amount("maxmemory").filter(|limit| limit != "0 B")),
        ("Keys", keys.map(|keys| keys.to_string())),
    ]
}

/// Returns the state of the append-only file and of RDB snapshots.
fn persistence(node: &NodeView) -> Facts {
    let last = node.last.as_deref();
    let yes_or_no =
        |known: Option<bool>| known.map(|known| if known { "yes" } else { "no" }.to_owned());
    let aof = last.map(|last| &last.persistence.aof);
    let writable = aof.filter(|aof| aof.enabled == Some(true)).and_then(|aof| aof.write_ok);
    let save_points = last
        .and_then(|last| last.config.as_ref()?.get("save"))
        .map(|save| if save.is_empty() { "none" } else { save }.to_owned());
    vec![
        ("AOF enabled", yes_or_no(aof.and_then(|aof| aof.enabled))),
        ("AOF writable", yes_or_no(writable)),
        ("appendfsync", node.appendfsync.as_deref().map(str::to_owned)),
        ("RDB save points", save_points),
        ("Last RDB save ok", yes_or_no(last.and_then(|last| last.persistence.rdb.save_ok))),
        ("Free disk space", node.disk.map(|disk| bytes(disk.free_bytes))),
    ]
}

fn issues(last: &NodeSnapshot) -> String {
    last.issues
        .iter()
        .map(|issue| format!("{}: {}", issue.field, issue.excerpt))
        .collect::<Vec<_>>()
        .join("; ")
}

fn fact_list(facts: &Facts) -> Markup {
    html! {
        dl.facts {
            @for (name, value) in facts {
                @if let Some(value) = value { div { dt { (name) } dd { (value) } } }
            }
        }
    }
}

/// Returns the clients that write to a replica.
fn misrouted_clients(node: &NodeView) -> Markup {
    let Some(misrouted) = node.misrouted.as_deref() else { return Markup::default() };
    let busiest = |clients: &MisroutedClients| {
        clients.busiest.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let commands = Some(misrouted.commands.join(", ")).filter(|commands| !commands.is_empty());
    let stale = misrouted.stale_clients.as_deref();
    let facts = vec![
        ("Probable reason", Some(misroute(misrouted.why))),
        ("Refused writes", Some(format!("{:.1} per second", misrouted.per_second))),
        ("Commands", commands),
        ("Libraries", misrouted.writers.as_ref().map(|writers| writers.versions.join(", "))),
        ("Busiest clients", misrouted.writers.as_deref().map(busiest)),
        (
            "Connected before the demotion",
            stale.map(|stale| format!("{}: {}", stale.total, busiest(stale))),
        ),
    ];
    html! {
        section aria-labelledby="clients" {
            h2 #clients { "Clients that write to this replica" }
            (fact_list(&facts))
        }
    }
}

/// Returns the replicas that are connected to a node, as reported by the node.
fn connected_replicas(node: &NodeView) -> Markup {
    html! {
        @if !node.attached_replicas.is_empty() {
            section aria-labelledby="attached" {
                h2 #attached { "Connected replicas" }
                table {
                    thead {
                        tr {
                            @for head in ["Replica", "State", "Offset", "Last ACK"] {
                                th scope="col" { (head) }
                            }
                        }
                    }
                    tbody {
                        @for replica in node.attached_replicas.iter().take(ATTACHED) {
                            tr {
                                th scope="row" { (replica.name) }
                                td { @if let Some(state) = &replica.reported.state { (state) } }
                                td.number {
                                    @if let Some(offset) = replica.reported.offset { (offset) }
                                }
                                td.number {
                                    @if let Some(lag) = replica.reported.lag {
                                        (duration(lag)) " ago"
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Returns the number of error replies of a node by error code.
fn error_replies(node: &NodeView) -> Markup {
    let counted: Vec<_> =
        node.counters.errors().into_iter().flatten().filter(|(_, total)| *total > 0).collect();
    html! {
        @if !counted.is_empty() {
            section aria-labelledby="refused" {
                h2 #refused { "Error replies since Rolecall started" }
                table {
                    thead { tr { th scope="col" { "Code" } th scope="col" { "Replies" } } }
                    tbody {
                        @for (code, total) in counted {
                            tr { th scope="row" { code { (code) } } td.number { (total) } }
                        }
                    }
                }
            }
        }
    }
}
