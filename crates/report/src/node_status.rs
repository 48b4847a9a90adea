//! Role, notes and status level of nodes, for pages and `diagnose`.

use std::collections::HashMap;

use snapshot::Role;
use topology::{
    Availability, DeploymentView, LinkState, MisroutedView, NodeIndex, NodeState, NodeVec,
    NodeView, active_reasons,
};

use crate::format::count;
use crate::labels;
use crate::status_level::{StatusLevel, StatusText};

/// Returns the role that a node claims, or its state while it is not up or unknown.
pub(crate) fn claimed_role(node: &NodeView) -> String {
    if let Some(unknown) = node.polling.unknown {
        return labels::unknown_node(unknown.why).to_owned();
    }
    match node.presence {
        NodeState::Pending => "connecting".to_owned(),
        NodeState::Down { reason, .. } => format!("down: {}", reason.label()),
        NodeState::Unreachable { reason, .. } => format!("unreachable: {}", reason.label()),
        NodeState::Unreadable { reason, .. } => format!("unknown: {}", reason.label()),
        NodeState::Up => match node.role() {
            Some(role) => role.label().to_owned(),
            None if node.servers.is_some() => "several servers".to_owned(),
            None => unknown_role(node),
        },
    }
}

/// Describes the role of a node that Rolecall does not know.
fn unknown_role(node: &NodeView) -> String {
    let role = node.snapshot().and_then(|snapshot| snapshot.replication.unknown_role.as_deref());
    role.map_or_else(|| "no role".to_owned(), |role| format!("unknown role {role}"))
}

/// Returns the roles that the evidence of the whole deployment assigns to a node, independent of
/// the role that it claims.
pub(crate) fn assigned_roles(view: &DeploymentView, index: NodeIndex) -> Vec<StatusText> {
    use StatusLevel::{Critical, Ok, Warning};
    let mut roles = Vec::new();
    for shard in &view.shards {
        let is_primary = shard.primary.is_some_and(|primary| primary.node == index);
        let assigned = [
            (is_primary, Ok, "primary"),
            (shard.stale_masters.contains(&index), Critical, "stale master"),
            (shard.unrelated_masters.contains(&index), Warning, "unrelated master"),
            (shard.replication_loop.contains(&index), Critical, "in a replication loop"),
        ];
        let assigned = assigned.into_iter().filter(|(is_assigned, ..)| *is_assigned);
        roles.extend(assigned.map(|(_, level, text)| StatusText::new(level, text)));
    }
    roles
}

/// Returns problems of a node beside its role. Returns none for a healthy node.
pub(crate) fn notes(node: &NodeView) -> Vec<StatusText> {
    let mut notes = Vec::new();
    let mut add = |level, text| notes.push(StatusText { level, text });
    if (node.up() == Some(false) || node.is_unknown())
        && let Some(role) = node.last.as_ref().and_then(|last| last.replication.role)
    {
        add(StatusLevel::Unknown, format!("last role: {}", role.label()));
    }
    if let Some(servers) = node.servers.filter(|_| node.is_known_up()) {
        let text = format!("{servers} servers took turns recently");
        add(StatusLevel::Warning, text);
    }
    if node.is_unreachable() {
        let peers = count(node.vouching().count(), "peer");
        add(StatusLevel::Warning, format!("alive according to {peers}"));
    }
    for reason in labels::refusals(&node.writes_refused) {
        add(StatusLevel::Critical, format!("refuses writes: {reason}"));
    }
    for reason in labels::refusals(&node.reads_refused) {
        add(StatusLevel::Warning, format!("refuses reads: {reason}"));
    }
    if let Some(reason) = node.orphan {
        add(StatusLevel::Warning, format!("orphaned: {}", labels::orphan(reason)));
    }
    if node.diverged {
        add(StatusLevel::Warning, "data differs from the primary".to_owned());
    }
    if let Some(misrouted) = &node.misrouted {
        add(StatusLevel::Warning, misrouted_note(misrouted));
    }
    notes
}

/// Returns the status level of each node, in the order of the node indices. It is the worst level
/// of the findings about the node, its assigned roles and its own state.
pub(crate) fn node_levels(view: &DeploymentView) -> NodeVec<StatusLevel> {
    let mut worst_findings = HashMap::new();
    for finding in &view.findings {
        let level = StatusLevel::from(finding.severity);
        let Some(node) = &finding.node else { continue };
        worst_findings
            .entry(node.as_str())
            .and_modify(|worst: &mut StatusLevel| *worst = level.min(*worst))
            .or_insert(level);
    }
    let own = |node: &NodeView| {
        let finding = worst_findings.get(node.node.name.as_str()).copied().unwrap_or_default();
        finding.min(own_level(node))
    };
    let mut levels: NodeVec<_> = view.nodes.values().map(own).collect();
    for shard in &view.shards {
        for index in shard.stale_masters.iter().chain(&shard.replication_loop) {
            levels[*index] = levels[*index].min(StatusLevel::Critical);
        }
        for index in &shard.unrelated_masters {
            levels[*index] = levels[*index].min(StatusLevel::Warning);
        }
    }
    for index in disagreeing_sentinels(view) {
        levels[index] = levels[index].min(StatusLevel::Warning);
    }
    levels
}

/// Returns the status level of a node by its own state alone.
fn own_level(node: &NodeView) -> StatusLevel {
    if node.is_unknown() {
        return StatusLevel::Unknown;
    }
    let noted = notes(node).iter().map(|note| note.level).min().unwrap_or_default();
    noted.min(match (node.presence, node.role()) {
        (NodeState::Pending, _) | (_, None) => match node.availability() {
            Availability::Down => StatusLevel::Critical,
            Availability::Unreachable => StatusLevel::Warning,
            Availability::Up | Availability::Unknown => StatusLevel::Unknown,
        },
        (_, Some(Role::Replica)) => node.link.state.map_or(StatusLevel::Unknown, link_level),
        (_, Some(Role::Master | Role::Sentinel)) => StatusLevel::Ok,
    })
}

/// Returns the status level of a replication link.
pub(crate) const fn link_level(state: LinkState) -> StatusLevel {
    match state {
        LinkState::Up => StatusLevel::Ok,
        LinkState::Stalled | LinkState::Syncing => StatusLevel::Warning,
        LinkState::SyncLooping | LinkState::Lost | LinkState::NeverUp => StatusLevel::Critical,
    }
}

/// Returns whether the append-only file is on, and whether writing it fails.
pub(crate) fn aof_status(node: &NodeView) -> Option<StatusText> {
    let enabled = node.snapshot()?.persistence.aof.enabled?;
    let (level, text) = match (enabled, node.aof_failing()) {
        (true, Some(true)) => (StatusLevel::Critical, "FAILING"),
        (true, _) => (StatusLevel::Ok, "on"),
        (false, _) => (StatusLevel::Unknown, "off"),
    };
    Some(StatusText::new(level, text))
}

/// Describes clients that write to a replica. The note appears with the first refused write. The
/// finding appears after [`topology::limits::MISROUTED_AFTER`], because clients may still be
/// switching to a new primary.
fn misrouted_note(misrouted: &MisroutedView) -> String {
    let commands = Some(misrouted.commands.join(", ")).filter(|commands| !commands.is_empty());
    let writers = misrouted.writers.as_ref().filter(|writers| writers.total > 0);
    let parts = [
        Some(format!("clients write to this replica: {:.1}/s refused", misrouted.per_second)),
        commands.map(|commands| format!(" ({commands})")),
        writers.map(|writers| {
            format!(" from {} clients ({})", writers.total, writers.versions.join(", "))
        }),
    ];
    parts.into_iter().flatten().collect()
}

/// Returns the role of a node: the assigned roles, or else the claimed role.
pub(crate) fn role(view: &DeploymentView, index: NodeIndex) -> StatusText {
    let node = &view.nodes[index];
    let assigned = assigned_roles(view, index);
    let (true, Some(role)) = (node.is_known_up(), node.role()) else {
        let texts =
            assigned.iter().map(|role| role.text.as_str()).filter(|_| node.is_unreachable());
        let state = claimed_role(node);
        let text = texts.chain([state.as_str()]).collect::<Vec<_>>().join(", ");
        return StatusText::new(own_level(node), text);
    };
    if let Some(worst) = assigned.iter().map(|role| role.level).min() {
        let text = assigned.iter().map(|role| role.text.as_str()).collect::<Vec<_>>().join(", ");
        return match (role, active_reasons(&node.writes_refused).is_empty()) {
            (Role::Master, true) => StatusText::new(worst, format!("{text}, accepts writes")),
            (Role::Master, false) => {
                StatusText::new(StatusLevel::Critical, format!("{text}, REFUSES WRITES"))
            }
            (Role::Replica | Role::Sentinel, _) => StatusText::new(worst, text),
        };
    }
    let disagrees = disagreeing_sentinels(view).any(|sentinel| sentinel == index);
    let text = match (role, watched_master(view, index)) {
        (Role::Sentinel, Some(master)) if disagrees => {
            format!("Sentinel, names {master} instead of the primary")
        }
        (Role::Sentinel, Some(master)) => format!("Sentinel, names {master}"),
        (Role::Sentinel, None) => "Sentinel".to_owned(),
        (role, _) => role.label().to_owned(),
    };
    StatusText::new(if disagrees { StatusLevel::Warning } else { own_level(node) }, text)
}

/// Returns the Sentinels that name another node than the primary.
fn disagreeing_sentinels(view: &DeploymentView) -> impl Iterator<Item = NodeIndex> {
    view.sentinels.iter().flat_map(|sentinels| &sentinels.dissenters).copied()
}

/// Returns the master that a Sentinel names: a node, or an address without a node.
fn watched_master(view: &DeploymentView, index: NodeIndex) -> Option<&str> {
    let statements = &view.sentinels.as_ref()?.statements;
    let statement = statements.iter().find(|statement| statement.sentinel == index)?;
    Some(statement.node.map_or(&statement.address, |node| view.name(node)))
}
