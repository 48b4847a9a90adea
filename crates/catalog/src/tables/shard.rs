//! Theme `topology`: primary, split brain, lost writes and replicas of a shard.

use topology::{Cause, FailoverBlocker};

use crate::row::RedisExporterName::Absent;
use crate::row::{ShardRow, ShardSubject};

pub(super) const ROWS: &[ShardRow] = &[
    ShardRow::value(
        "redis_deployment_masters",
        Absent,
        "INFO replication: role",
        "Nodes that claim to be master (role:master).",
        |shard| shard.known().then(|| shard.shard().masters.len() as f64),
    )
    .core(),
    ShardRow::samples(
        "redis_deployment_primary_info",
        Absent,
        &["node", "evidence"],
        "INFO replication, persistence; SENTINEL MASTERS; CLUSTER NODES; configuration; endpoint \
         checks",
        "The primary, and the evidence that identifies it; the value is always 1, absent while no \
         primary is known.",
        |shard, emit| {
            if let Some(primary) = shard.shard().primary {
                emit(&[shard.name(primary.node), primary.evidence.label()], 1.0);
            }
        },
    )
    .core(),
    ShardRow::samples(
        "redis_deployment_primary_evidence",
        Absent,
        &["node", "evidence"],
        "INFO replication, persistence; SENTINEL MASTERS; CLUSTER NODES; configuration; endpoint \
         checks",
        "Evidence that the node is the primary: 1 while it holds, otherwise absent.",
        |shard, emit| {
            for statement in &shard.shard().primary_statements {
                emit(&[shard.name(statement.node), statement.evidence.label()], 1.0);
            }
        },
    ),
    ShardRow::value(
        "redis_deployment_primary_disputed",
        Absent,
        "INFO replication, persistence; SENTINEL MASTERS; CLUSTER NODES; configuration; endpoint \
         checks",
        "Whether the evidence about the primary is contradictory, or does not tell the masters of \
         one data set apart.",
        |shard| Some(f64::from(shard.shard().primary_disputed)),
    ),
    ShardRow::value(
        "redis_deployment_writable_stale_masters",
        Absent,
        "INFO replication: role; derived from INFO and CONFIG, never probed",
        "Masters in a split brain that accept writes, except the primary; if no primary is known, \
         all of them except one.",
        |shard: &ShardSubject| shard.known().then(|| shard.writable_stale_masters() as f64),
    )
    .core(),
    ShardRow::samples(
        "redis_deployment_last_primary_info",
        Absent,
        &["node"],
        "INFO replication, persistence; SENTINEL MASTERS; CLUSTER NODES; configuration; endpoint \
         checks",
        "The last known primary, also while there is no primary; the value is always 1.",
        |shard, emit| {
            if let Some(last) = shard.shard().last_primary {
                emit(&[shard.name(last)], 1.0);
            }
        },
    )
    .core(),
    ShardRow::value(
        "redis_deployment_split_brain",
        Absent,
        "INFO replication: role, master_replid, master_replid2",
        "Whether several nodes claim to be master of the same data set.",
        |shard| Some(f64::from(!shard.shard().split_brain.masters.is_empty())),
    )
    .core(),
    ShardRow::value(
        "redis_deployment_split_brain_seconds_total",
        Absent,
        "INFO replication: role, master_replid, master_replid2",
        "Time during which several nodes claimed to be master of the same data set, in seconds.",
        |shard| Some(shard.shard().split_brain.total.as_secs_f64()),
    )
    .core(),
    ShardRow::value(
        "redis_deployment_unreplicated_writes_total",
        Absent,
        "INFO persistence: rdb_changes_since_last_save; INFO replication: second_repl_offset",
        "Changes that stale masters accepted and the primary does not have, interpolated at the \
         offset where their histories diverged; a lower bound if a save or a restart hides a part.",
        |shard| Some(shard.shard().lost_writes.total as f64),
    )
    .core(),
    ShardRow::samples(
        "redis_diverging_writes",
        Absent,
        &["node"],
        "INFO persistence: rdb_changes_since_last_save; INFO replication: second_repl_offset",
        "Changes that one of several masters of the same data set accepted since their histories \
         diverged; absent unless there are several, and until the node reported its offset then.",
        |shard, emit| {
            for side in &shard.shard().lost_writes.diverging {
                emit(&[shard.name(side.node)], side.changes.about as f64);
            }
        },
    )
    .core(),
    ShardRow::samples(
        "redis_deployment_split_brain_severity",
        Absent,
        &["severity"],
        "INFO replication, persistence, commandstats; INFO server: run_id; SENTINEL MASTERS",
        "Severity of the split brain (info, warning or critical) by its cause, writes and \
         duration: 1 while it lasts, otherwise absent.",
        |shard, emit| {
            if let Some(severity) = shard.split_brain_severity() {
                emit(&[severity.label()], 1.0);
            }
        },
    )
    .core(),
    ShardRow::value(
        "redis_deployment_unreplicated_bytes",
        Absent,
        "INFO replication: master_repl_offset, second_repl_offset",
        "Bytes of replication stream that stale masters produced after the offset at which the \
         primary took over; absent if their histories cannot be compared.",
        |shard| shard.shard().lost_writes.bytes.map(|bytes| bytes as f64),
    ),
    ShardRow::value(
        "redis_deployment_unrelated_masters",
        Absent,
        "INFO replication: role, master_replid, master_replid2",
        "Masters that share no replication history with the primary, or with any other master if \
         no primary is known.",
        |shard| shard.known().then(|| shard.shard().unrelated_masters.len() as f64),
    )
    .core(),
    ShardRow::value(
        "redis_deployment_no_primary",
        Absent,
        "INFO replication: role",
        "Whether there is evidence that no node is primary.",
        |shard| Some(f64::from(shard.shard().no_primary.why.is_some())),
    )
    .core(),
    ShardRow::value(
        "redis_deployment_no_primary_seconds_total",
        Absent,
        "INFO replication: role",
        "Time during which there was evidence that no node was primary, in seconds.",
        |shard| Some(shard.shard().no_primary.total.as_secs_f64()),
    )
    .core(),
    ShardRow::value(
        "redis_deployment_replication_loop",
        Absent,
        "INFO replication: master_host, master_port",
        "Whether nodes replicate from each other in a circle.",
        |shard| Some(f64::from(!shard.shard().replication_loop.is_empty())),
    )
    .core(),
    ShardRow::samples(
        "redis_deployment_primary_changes_total",
        Absent,
        &["cause"],
        "INFO commandstats; INFO server: run_id; SENTINEL MASTERS",
        "Changes of the primary since the exporter started, by cause.",
        |shard, emit| {
            for (cause, count) in Cause::ALL.into_iter().zip(shard.shard().primary_change_counts) {
                emit(&[cause.label()], count as f64);
            }
        },
    )
    .core(),
    ShardRow::value(
        "redis_deployment_emptied_total",
        Absent,
        "INFO keyspace; INFO server: run_id",
        "Times that the primary came back from a restart without its data set.",
        |shard| Some(shard.shard().emptied.total as f64),
    )
    .core(),
    ShardRow::value(
        "redis_deployment_dataset_replaced_total",
        Absent,
        "INFO replication: master_replid, master_replid2; INFO keyspace; INFO commandstats",
        "Times that a primary with keys made a full resync from a master whose data shares no \
         history with the deployment.",
        |shard| Some(shard.shard().dataset_replaced.total as f64),
    )
    .core(),
    ShardRow::value(
        "redis_deployment_dataset_replaced_planned_total",
        Absent,
        "INFO replication: master_replid, master_replid2; INFO keyspace; INFO commandstats",
        "Times among redis_deployment_dataset_replaced_total that an operator planned: the number \
         of REPLICAOF commands of the primary rose.",
        |shard| Some(shard.shard().dataset_replaced.planned as f64),
    )
    .core(),
    ShardRow::value(
        "redis_deployment_writable",
        Absent,
        "INFO persistence, memory, replication of the primary",
        "Whether the primary accepts writes; absent while unknown.",
        |shard| shard.shard().writable.map(f64::from),
    )
    .core(),
    ShardRow::value(
        "redis_deployment_readable",
        Absent,
        "INFO persistence, replication of all nodes",
        "Whether at least one node serves reads; absent while no node answers.",
        |shard| shard.shard().readable.map(f64::from),
    )
    .core(),
    ShardRow::value(
        "redis_deployment_failover_ready",
        Absent,
        "SENTINEL MASTERS, REPLICAS, CKQUORUM; CLUSTER NODES; INFO replication of the replicas",
        "Whether an automatic failover would succeed now, without the loss of data; absent while \
         unknown, without Sentinels or a cluster, and without replicas by design.",
        |shard| shard.shard().failover.as_ref().map(|failover| f64::from(failover.is_ready())),
    )
    .core(),
    ShardRow::samples(
        "redis_deployment_failover_blockers",
        Absent,
        &["reason"],
        "SENTINEL MASTERS, REPLICAS, CKQUORUM; CLUSTER NODES; INFO replication of the replicas",
        "Reason for which an automatic failover would fail or lose data: 1 while it applies, 0 \
         otherwise; absent where redis_deployment_failover_ready is.",
        |shard, emit| {
            if let Some(failover) = &shard.shard().failover {
                for blocker in FailoverBlocker::ALL {
                    let applies = failover.blockers.contains(&blocker);
                    emit(&[blocker.label()], f64::from(applies));
                }
            }
        },
    )
    .core(),
    ShardRow::samples(
        "redis_deployment_failover_candidate_info",
        Absent,
        &["node"],
        "SENTINEL REPLICAS; CLUSTER NODES; INFO replication of the replicas",
        "The replica that an automatic failover would promote, several if nothing decides between \
         them in advance; the value is always 1, absent if there is none.",
        |shard, emit| {
            for candidate in shard.shard().failover.iter().flat_map(|found| &found.candidates) {
                emit(&[shard.name(candidate.node)], 1.0);
            }
        },
    )
    .core(),
    ShardRow::samples(
        "redis_deployment_failover_changes_at_risk",
        Absent,
        &["node"],
        "INFO persistence: rdb_changes_since_last_save; INFO replication: master_repl_offset",
        "Changes of the primary that the replica which a failover would promote does not have, \
         interpolated at its offset; a lower bound if a save or a restart hides a part, absent \
         while unknown.",
        |shard, emit| {
            for candidate in shard.shard().failover.iter().flat_map(|found| &found.candidates) {
                if let Some(changes) = candidate.changes {
                    emit(&[shard.name(candidate.node)], changes.about as f64);
                }
            }
        },
    )
    .core(),
    ShardRow::value(
        "redis_deployment_replicas",
        Absent,
        "INFO replication: role",
        "Replicas that are up, including those that only the exporter cannot read, for example \
         because of its credentials.",
        |shard: &ShardSubject| shard.known().then(|| shard.shard().replicas as f64),
    )
    .core(),
    ShardRow::value(
        "redis_deployment_replicas_wanted",
        Absent,
        "configuration: expect.replicas; INFO replication: role",
        "Number of replicas that should be up: expect.replicas, otherwise the highest number \
         within the last hour without replicas that were removed on purpose.",
        |shard: &ShardSubject| shard.known().then(|| shard.shard().expected_replicas as f64),
    )
    .core(),
];
