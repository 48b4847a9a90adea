//! What the nodes that hold one data set mean together.

use topology::Cause;

use crate::row::{ShardOf, ShardRow};

pub(super) const ROWS: &[ShardRow] = &[
    ShardRow::one(
        "redis_deployment_masters",
        "INFO replication: role",
        "Nodes that claim to be master.",
        |shard| shard.known().then(|| shard.shard().masters.len() as f64),
    ),
    ShardRow::many(
        "redis_deployment_primary_info",
        &["node", "evidence"],
        "INFO replication: role, master_replid, master_replid2; SENTINEL MASTERS; configuration",
        "The primary, and what says so: always 1; absent while no primary is known.",
        |shard, emit| {
            if let Some(primary) = shard.shard().primary {
                emit(&[shard.name(primary.node), primary.evidence.label()], 1.0);
            }
        },
    ),
    ShardRow::one(
        "redis_deployment_writable_stale_masters",
        "INFO replication: role; derived from INFO and CONFIG, never probed",
        "Masters of a split brain that take writes beside the primary, or where none is known, all but one.",
        |shard: &ShardOf| shard.known().then(|| shard.writable_stale_masters() as f64),
    ),
    ShardRow::many(
        "redis_deployment_last_primary_info",
        &["node"],
        "INFO replication: role, master_replid, master_replid2; SENTINEL MASTERS; configuration",
        "The primary that was known last, also while none is: always 1.",
        |shard, emit| {
            if let Some(last) = shard.shard().last_primary {
                emit(&[shard.name(last)], 1.0);
            }
        },
    ),
    ShardRow::one(
        "redis_deployment_split_brain",
        "INFO replication: role, master_replid, master_replid2",
        "Whether several nodes claim to be master of one data set.",
        |shard| Some(f64::from(!shard.shard().split_brain.masters.is_empty())),
    ),
    ShardRow::one(
        "redis_deployment_split_brain_seconds_total",
        "INFO replication: role, master_replid, master_replid2",
        "Time during which several nodes claimed to be master of one data set, seconds.",
        |shard| Some(shard.shard().split_brain.total.as_secs_f64()),
    ),
    ShardRow::one(
        "redis_deployment_unreplicated_writes_total",
        "INFO persistence: rdb_changes_since_last_save",
        "Writes that stale masters accepted and the primary does not have.",
        |shard| Some(shard.shard().lost_writes.total as f64),
    ),
    ShardRow::one(
        "redis_deployment_unreplicated_bytes",
        "INFO replication: master_repl_offset, second_repl_offset",
        "Replication stream that stale masters produced beyond what the primary took over, bytes; absent where no formula holds.",
        |shard| shard.shard().lost_writes.bytes.map(|bytes| bytes as f64),
    ),
    ShardRow::one(
        "redis_deployment_unrelated_masters",
        "INFO replication: role, master_replid, master_replid2",
        "Masters that share no history with the primary, or with any other master.",
        |shard| shard.known().then(|| shard.shard().unrelated_masters.len() as f64),
    ),
    ShardRow::one(
        "redis_deployment_no_primary",
        "INFO replication: role",
        "Whether no node is primary, on evidence.",
        |shard| Some(f64::from(shard.shard().no_primary.why.is_some())),
    ),
    ShardRow::one(
        "redis_deployment_no_primary_seconds_total",
        "INFO replication: role",
        "Time during which no node was primary, on evidence, seconds.",
        |shard| Some(shard.shard().no_primary.total.as_secs_f64()),
    ),
    ShardRow::one(
        "redis_deployment_replication_loop",
        "INFO replication: master_host, master_port",
        "Whether nodes follow one another in a circle.",
        |shard| Some(f64::from(!shard.shard().replication_loop.is_empty())),
    ),
    ShardRow::many(
        "redis_deployment_primary_changes_total",
        &["cause"],
        "INFO commandstats; INFO server: run_id; SENTINEL MASTERS",
        "Changes of the primary, by cause.",
        |shard, emit| {
            for (cause, count) in Cause::ALL.into_iter().zip(shard.shard().primary_change_counts) {
                emit(&[cause.label()], count as f64);
            }
        },
    ),
    ShardRow::one(
        "redis_deployment_emptied_total",
        "INFO keyspace; INFO server: run_id",
        "How often the primary came back without its data.",
        |shard| Some(shard.shard().emptied.total as f64),
    ),
    ShardRow::one(
        "redis_deployment_writable",
        "INFO persistence, memory, replication of the primary",
        "Whether the known primary takes writes; absent while that is unknown.",
        |shard| shard.shard().writable.map(f64::from),
    ),
    ShardRow::one(
        "redis_deployment_readable",
        "INFO persistence, replication of all nodes",
        "Whether any node serves reads; absent while none answers.",
        |shard| shard.shard().readable.map(f64::from),
    ),
    ShardRow::one(
        "redis_deployment_replicas",
        "INFO replication: role",
        "Replicas that answer.",
        |shard: &ShardOf| shard.known().then(|| shard.shard().replicas as f64),
    ),
    ShardRow::one(
        "redis_deployment_replicas_wanted",
        "configuration: expect.replicas; INFO replication: role",
        "Replicas that there should be: as declared, else the most that were there within the last hour and were not taken away.",
        |shard: &ShardOf| shard.known().then(|| shard.shard().expected_replicas as f64),
    ),
];
