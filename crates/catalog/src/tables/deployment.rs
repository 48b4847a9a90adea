//! What the nodes of a deployment come to, where its endpoints lead, and its rounds.

use snapshot::Role;
use topology::{DeploymentView, ResolvedName};

use crate::row::DeploymentRow;

/// What a server behind an endpoint can claim to be.
const ROLES: [Role; 3] = [Role::Master, Role::Replica, Role::Sentinel];

pub(super) const ROWS: &[DeploymentRow] = &[
    DeploymentRow::many(
        "redis_deployment_info",
        &["kind"],
        "configuration",
        "The deployment and how its nodes are known: always 1.",
        |view, emit| {
            emit(&[view.deployment.kind.label()], 1.0);
        },
    ),
    DeploymentRow::many(
        "redis_deployment_nodes",
        &["state"],
        "configuration, polling",
        "Nodes of the deployment: all that are known, and those that answer.",
        |view, emit| {
            emit(&["known"], view.members().count() as f64);
            if view.at.is_some() {
                emit(
                    &["answering"],
                    view.members().filter(|(_, node)| node.up() == Some(true)).count() as f64,
                );
            }
        },
    ),
    DeploymentRow::one(
        "redis_expected_replicas",
        "configuration: expect.replicas",
        "Replicas that there are expected to be.",
        |view| view.expect.replicas.map(f64::from),
    ),
    DeploymentRow::many(
        "redis_deployment_events_total",
        &["kind"],
        "the difference between rounds",
        "Events of the deployment and its nodes, by kind.",
        |view, emit| view.history.counts().for_each(|(kind, count)| emit(&[kind], count as f64)),
    ),
    DeploymentRow::many(
        "redis_endpoint_up",
        &["endpoint"],
        "checks of the endpoint",
        "Whether the last check of an endpoint that applications use was answered: primary is the one for writes, reader the one for reads.",
        |view, emit| {
            for endpoint in &view.endpoints {
                if let Some(up) = endpoint.up {
                    emit(&[endpoint.configured.kind.label()], f64::from(up));
                }
            }
        },
    ),
    DeploymentRow::many(
        "redis_endpoint_role",
        &["endpoint", "role"],
        "INFO replication: role, behind the endpoint",
        "What the server claims to be that answered the last check of the endpoint: 1 for the current role.",
        |view, emit| {
            for endpoint in &view.endpoints {
                if let Some(current) = endpoint.role {
                    for role in ROLES {
                        emit(
                            &[endpoint.configured.kind.label(), role.label()],
                            f64::from(role == current),
                        );
                    }
                }
            }
        },
    ),
    DeploymentRow::many(
        "redis_endpoint_correct",
        &["endpoint"],
        "INFO server: run_id, behind the endpoint and of the nodes",
        "Whether the endpoint leads to the acting primary, or the one for reads to a node that serves them; absent while that is unknown.",
        |view, emit| {
            for endpoint in &view.endpoints {
                if let Some(correct) = endpoint.correct {
                    emit(&[endpoint.configured.kind.label()], f64::from(correct));
                }
            }
        },
    ),
    DeploymentRow::one(
        "rolecall_dns_lookups_total",
        "DNS",
        "Look-ups of the names whose addresses are the nodes.",
        |view| lookups(view, |name| name.lookups),
    ),
    DeploymentRow::one(
        "rolecall_dns_lookup_failures_total",
        "DNS",
        "Look-ups that gave no address; the nodes that are known stay.",
        |view| lookups(view, |name| name.failures),
    ),
    DeploymentRow::one(
        "rolecall_rounds_total",
        "polling",
        "Rounds so far: polls of all nodes of the deployment.",
        |view| Some(view.rounds.total as f64),
    ),
    DeploymentRow::one(
        "rolecall_interval_seconds",
        "configuration: interval",
        "Time from one round to the next, seconds.",
        |view| Some(view.deployment.interval.as_secs_f64()),
    ),
    DeploymentRow::one(
        "rolecall_rounds_missed_total",
        "polling",
        "Rounds that should have begun and did not, because the exporter was held up.",
        |view| Some(view.rounds.missed as f64),
    ),
    DeploymentRow::one(
        "rolecall_blind_rounds_total",
        "polling",
        "Rounds in which the exporter itself was held up or cut off, so that silence is evidence of nothing.",
        |view| Some(view.rounds.blind as f64),
    ),
    DeploymentRow::one(
        "rolecall_round_duration_seconds",
        "polling",
        "Time from asking to the close of the last round, seconds.",
        |view| view.at.map(|_| view.rounds.duration.as_secs_f64()),
    ),
];

fn lookups(view: &DeploymentView, count: fn(&ResolvedName) -> u64) -> Option<f64> {
    (!view.names.is_empty()).then(|| view.names.iter().map(count).sum::<u64>() as f64)
}
