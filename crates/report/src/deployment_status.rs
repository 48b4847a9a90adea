//! Status of shards and endpoints in one line, for pages and `diagnose`.

use snapshot::Role;
use topology::{
    DeploymentView, EndpointTarget, EndpointView, FailoverCandidate, FailoverView, LimitKind,
    ShardView,
};

use crate::labels;

/// Returns the primary of a shard, and whether the shard accepts writes and serves reads.
pub(crate) fn shard_status(view: &DeploymentView, shard: &ShardView) -> String {
    if view.is_unknown() {
        let last = shard.last_primary.map_or_else(
            || "no last primary is known".to_owned(),
            |last| format!("the last primary was {}", view.name(last)),
        );
        return format!("state unknown: Rolecall is cut off from nodes; {last}");
    }
    let primary = match (shard.primary, shard.no_primary.why) {
        (Some(primary), _) => {
            let evidence = labels::primary_evidence(primary.evidence);
            format!("primary {} (evidence: {evidence})", view.name(primary.node))
        }
        (None, Some(reason)) => format!("no primary: {}", labels::no_primary(reason)),
        (None, None) => "primary unknown".to_owned(),
    };
    let writes = match shard.writable {
        Some(true) => "writes accepted",
        Some(false) => "writes REFUSED",
        None => "unknown if writes are accepted",
    };
    let reads = match shard.readable {
        Some(true) => "reads served",
        Some(false) => "reads REFUSED",
        None => "unknown if reads are served",
    };
    format!("{primary}, {writes}, {reads}")
}

/// Returns the replica that a failover would promote, with the changes that it does not have, and
/// what would prevent the failover; `None` if the readiness is unknown, or no failover is meant.
pub(crate) fn failover_status(view: &DeploymentView, shard: &ShardView) -> Option<String> {
    let failover = shard.failover.as_ref().filter(|_| !view.is_unknown())?;
    let readiness = if failover.is_ready() {
        "failover ready".to_owned()
    } else {
        let blockers = failover.blockers.iter().copied().map(labels::failover_blocker);
        format!("failover NOT READY: {}", blockers.collect::<Vec<_>>().join(", "))
    };
    let parts = [Some(readiness), promoted(view, failover), refused(view, failover)];
    Some(parts.into_iter().flatten().collect::<Vec<_>>().join("; "))
}

/// Returns a sentence about the things that exceed a limit and are left out.
pub(crate) fn excess_status(view: &DeploymentView, kind: LimitKind, count: u64) -> String {
    let limits = view.deployment.limits;
    match kind {
        LimitKind::Nodes => {
            format!("{count} listed nodes are not monitored: limits.nodes is {}", limits.nodes)
        }
        LimitKind::Masters => format!(
            "{count} masters of the Sentinels are not monitored: limits.masters is {}",
            limits.masters
        ),
        LimitKind::GroupNodes => format!(
            "{count} listed nodes are not monitored, because the deployments of all masters have \
             too many nodes together: limits.group_nodes is {}",
            limits.group_nodes
        ),
        LimitKind::Connections => format!(
            "{count} nodes are not polled, because their addresses have too many connections: \
             limits.connections is {}",
            limits.connections
        ),
        LimitKind::LabelValues => format!(
            "{count} command names, error codes or percentiles have no series of their own: \
             limits.label_values is {}",
            limits.label_values
        ),
        LimitKind::Names => {
            format!("{count} listed entries are left out, because a name is too long")
        }
    }
}

/// Returns sentences about the preset, the commands that are not sent, and a role that is not
/// expected; `None` if the configuration leaves out nothing.
pub(crate) fn omission_status(view: &DeploymentView) -> Option<String> {
    let deployment = &view.deployment;
    let preset = deployment.preset.as_ref().map(|preset| format!("Preset {preset}."));
    let skipped: Vec<_> = deployment.skipped.iter().map(|command| command.label()).collect();
    let skipped = (!skipped.is_empty()).then(|| {
        format!("Not sent: {}. Metrics that need these commands are absent.", skipped.join(", "))
    });
    let role = deployment.expect.unknown_role.then(|| {
        "The servers may report no known role. The primary is then unknown, and no finding \
         reports it."
            .to_owned()
    });
    let sentences: Vec<_> = [preset, skipped, role].into_iter().flatten().collect();
    (!sentences.is_empty()).then(|| sentences.join(" "))
}

/// Returns the replicas of which a failover would promote one.
fn promoted(view: &DeploymentView, failover: &FailoverView) -> Option<String> {
    let candidate = |candidate: &FailoverCandidate| {
        let changes =
            candidate.changes.map_or_else(|| "unknown".to_owned(), |changes| changes.to_string());
        format!("{} (missing changes: {changes})", view.name(candidate.node))
    };
    let candidates: Vec<_> = failover.candidates.iter().map(candidate).collect();
    let one_of = if candidates.len() > 1 { "one of " } else { "" };
    let unlisted = if failover.unlisted { " or a replica that is not announced" } else { "" };
    (!candidates.is_empty())
        .then(|| format!("it would promote {one_of}{}{unlisted}", candidates.join(", ")))
}

/// Returns the replicas that would not be promoted.
fn refused(view: &DeploymentView, failover: &FailoverView) -> Option<String> {
    let refused: Vec<_> = failover
        .refused
        .iter()
        .map(|refused| {
            format!("{} ({})", view.name(refused.node), labels::promotion_obstacle(refused.why))
        })
        .collect();
    (!refused.is_empty()).then(|| format!("it would not promote {}", refused.join(", ")))
}

/// Returns the server behind an endpoint, and whether it is the correct one.
pub(crate) fn endpoint_status(endpoint: &EndpointView) -> String {
    let status = match (endpoint.up, endpoint.reason, &endpoint.leads_to) {
        (None, ..) => "not checked yet".to_owned(),
        (_, Some(reason), _) => format!("check failed ({})", reason.label()),
        (.., None) => "the reply does not identify the server".to_owned(),
        (.., Some(target)) => {
            let target = match target {
                EndpointTarget::Node(name) => name,
                EndpointTarget::Stranger => "an unknown server",
            };
            let role = endpoint.role.map_or("unknown role", Role::label);
            let correct = match endpoint.correct {
                Some(true) => "correct",
                Some(false) => "WRONG SERVER",
                None => "not verified",
            };
            format!("leads to {target} ({role}), {correct}")
        }
    };
    format!(
        "{} endpoint {}: {status}",
        endpoint.configured.kind.label(),
        endpoint.configured.address
    )
}
