//! Theme `deployment`: nodes, events, endpoints, DNS lookups and rounds of a deployment.

use snapshot::Role;
use topology::{DeploymentView, ResolvedName};

use crate::row::DeploymentRow;
use crate::row::RedisExporterName::Absent;

/// Roles that a server behind an endpoint can claim.
const ROLES: [Role; 3] = [Role::Master, Role::Replica, Role::Sentinel];

pub(super) const ROWS: &[DeploymentRow] = &[
    DeploymentRow::samples(
        "redis_deployment_info",
        Absent,
        &["kind"],
        "configuration",
        "Kind of the deployment: static, sentinel, cluster or dns; the value is always 1.",
        |view, emit| {
            emit(&[view.deployment.kind.label()], 1.0);
        },
    )
    .core(),
    DeploymentRow::samples(
        "redis_deployment_nodes",
        Absent,
        &["state"],
        "configuration, polling",
        "Nodes of the deployment, by state: known, and answering (redis_up is 1).",
        |view, emit| {
            emit(&["known"], view.members().count() as f64);
            if view.at.is_some() {
                emit(
                    &["answering"],
                    view.members().filter(|(_, node)| node.readable() == Some(true)).count() as f64,
                );
            }
        },
    )
    .core(),
    DeploymentRow::samples(
        "redis_node_shared",
        Absent,
        &["node", "other"],
        "INFO server: run_id, of the nodes of all deployments",
        "Process of the node that the other deployment has as a node, too: 1 while it has, \
         otherwise absent.",
        |view, emit| {
            for shared in &view.shared {
                emit(&[view.name(shared.node), &shared.deployment], 1.0);
            }
        },
    )
    .core(),
    DeploymentRow::samples(
        "redis_node_migrating",
        Absent,
        &["node", "other"],
        "INFO server: run_id; INFO replication: master_host; INFO commandstats",
        "Whether a migration explains why the other deployment has the process of the node, too: \
         an operator made it a replica of a node that only one of them has; absent unless \
         redis_node_shared is 1.",
        |view, emit| {
            for shared in &view.shared {
                let labels = &[view.name(shared.node), &*shared.deployment];
                emit(labels, f64::from(view.is_migrating(shared)));
            }
        },
    )
    .core(),
    DeploymentRow::value(
        "redis_expected_replicas",
        Absent,
        "configuration: expect.replicas",
        "Expected number of replicas (expect.replicas).",
        |view| view.expect.replicas.map(f64::from),
    ),
    DeploymentRow::samples(
        "redis_deployment_events_total",
        Absent,
        &["kind"],
        "the difference between rounds",
        "Events of the deployment and its nodes since the exporter started, by kind.",
        |view, emit| view.history.counts().for_each(|(kind, count)| emit(&[kind], count as f64)),
    )
    .core(),
    DeploymentRow::samples(
        "redis_endpoint_up",
        Absent,
        &["endpoint"],
        "checks of the endpoint",
        "Whether the last check of the endpoint got a reply; applications write to the endpoint \
         primary and read from the endpoint reader.",
        |view, emit| {
            for endpoint in &view.endpoints {
                if let Some(up) = endpoint.up {
                    emit(&[endpoint.configured.kind.label()], f64::from(up));
                }
            }
        },
    )
    .core(),
    DeploymentRow::samples(
        "redis_endpoint_role",
        Absent,
        &["endpoint", "role"],
        "INFO replication: role, behind the endpoint",
        "Role claimed by the server that replied to the last check of the endpoint: 1 for this \
         role, 0 for the others; absent if the check failed.",
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
    )
    .core(),
    DeploymentRow::samples(
        "redis_endpoint_correct",
        Absent,
        &["endpoint"],
        "INFO server: run_id, behind the endpoint and of the nodes",
        "Whether the primary endpoint leads to the primary, or the reader endpoint to a node that \
         serves reads; absent while unknown.",
        |view, emit| {
            for endpoint in &view.endpoints {
                if let Some(correct) = endpoint.correct {
                    emit(&[endpoint.configured.kind.label()], f64::from(correct));
                }
            }
        },
    )
    .core(),
    DeploymentRow::value(
        "rolecall_dns_lookups_total",
        Absent,
        "DNS",
        "DNS lookups of the configured names that resolve to nodes; absent if there are no such \
         names.",
        |view| lookups(view, |name| name.lookups),
    ),
    DeploymentRow::value(
        "rolecall_dns_lookup_failures_total",
        Absent,
        "DNS",
        "DNS lookups that returned no address; the known nodes are kept.",
        |view| lookups(view, |name| name.failures),
    ),
    DeploymentRow::value(
        "rolecall_rounds_total",
        Absent,
        "polling",
        "Rounds since the exporter started; each round polls all nodes of the deployment.",
        |view| Some(view.rounds.total as f64),
    )
    .core(),
    DeploymentRow::value(
        "rolecall_interval_seconds",
        Absent,
        "configuration: interval",
        "Configured time from one round to the next, in seconds.",
        |view| Some(view.deployment.interval.as_secs_f64()),
    )
    .core(),
    DeploymentRow::value(
        "rolecall_rounds_missed_total",
        Absent,
        "polling",
        "Rounds that did not start because the exporter was delayed.",
        |view| Some(view.rounds.missed as f64),
    ),
    DeploymentRow::value(
        "rolecall_blind_rounds_total",
        Absent,
        "polling",
        "Rounds in which the exporter was overloaded or cut off, so that missing replies are not \
         evidence about the nodes.",
        |view| Some(view.rounds.blind as f64),
    )
    .core(),
    DeploymentRow::value(
        "rolecall_round_duration_seconds",
        Absent,
        "polling",
        "Duration of the last round, in seconds; absent before the first round.",
        |view| view.at.map(|_| view.rounds.duration.as_secs_f64()),
    ),
    DeploymentRow::value(
        "rolecall_round_computation_seconds",
        Absent,
        "polling",
        "Time that the exporter took to derive the state of the deployment from the parsed replies \
         of the round before the last one, in seconds; absent before the second round.",
        |view| view.rounds.computation.map(|took| took.as_secs_f64()),
    ),
    DeploymentRow::value(
        "rolecall_slow_rounds_total",
        Absent,
        "polling",
        "Rounds before the last one that took longer than a tenth of the interval to compute, \
         without the parsing of replies.",
        |view| Some(view.rounds.slow as f64),
    ),
    DeploymentRow::samples(
        "rolecall_limit_excess",
        Absent,
        &["limit"],
        "configuration: limits; lists of Sentinels, cluster nodes and DNS names",
        "Things in the last replies that exceed a limit, so that the exporter leaves them out: \
         nodes; masters without a deployment; nodes of all masters of a group of Sentinels \
         (group_nodes); nodes without a connection because their address has \
         too many (connections); command names, error codes and percentiles without series of \
         their own (label_values); listed entries with a name that is too long (names).",
        |view, emit| {
            if view.at.is_some() {
                view.excess.iter().for_each(|(kind, count)| emit(&[kind.label()], count as f64));
            }
        },
    )
    .core(),
];

fn lookups(view: &DeploymentView, count: fn(&ResolvedName) -> u64) -> Option<f64> {
    (!view.names.is_empty()).then(|| view.names.iter().map(count).sum::<u64>() as f64)
}
