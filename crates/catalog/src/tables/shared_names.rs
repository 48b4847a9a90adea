//! Metrics whose names Rolecall and redis_exporter both use, with different labels. These rows have
//! the labels of both. They replace the others on `/metrics` while it has the names of
//! redis_exporter, so that no name has two meanings there.

use snapshot::AttachedReplica;
use topology::NodeView;

use crate::row::RedisExporterName::{AsGauge, Same};
use crate::row::{EmitSample, NodeRow, SentinelRow, SentinelSubject};

const CONNECTED_REPLICA: &[&str] = &["replica", "slave_ip", "slave_port", "slave_state"];
const MONITORED_MASTER: &[&str] = &["master_name", "master_address"];

/// Metrics of a node.
pub(super) const NODE: &[NodeRow] = &[
    NodeRow::samples(
        "redis_connected_slave_offset_bytes",
        AsGauge("redis_connected_slave_offset_bytes"),
        CONNECTED_REPLICA,
        "INFO replication: slaveN offset",
        "Replication offset that the connected replica has acknowledged, in bytes.",
        |node, emit| each_replica(node, emit, |replica| Some(replica.offset? as f64)),
    ),
    NodeRow::samples(
        "redis_connected_slave_lag_seconds",
        AsGauge("redis_connected_slave_lag_seconds"),
        CONNECTED_REPLICA,
        "INFO replication: slaveN lag",
        "Time since the last acknowledgement of the connected replica, in seconds; 0 while the \
         replica is not online.",
        |node, emit| each_replica(node, emit, |replica| Some(replica.lag?.as_secs_f64())),
    ),
];

/// Metrics of a deployment's master as seen by each Sentinel.
pub(super) const SENTINEL: &[SentinelRow] = &[
    SentinelRow::samples(
        "redis_sentinel_master_config_epoch",
        Same,
        MONITORED_MASTER,
        "SENTINEL MASTERS: config-epoch",
        "Config epoch of the master as seen by this Sentinel; each failover increases it.",
        |sentinel, emit| emit_master(sentinel, emit, Some(sentinel.statement().epoch as f64)),
    ),
    SentinelRow::samples(
        "redis_sentinel_master_slaves",
        Same,
        MONITORED_MASTER,
        "SENTINEL MASTERS: num-slaves",
        "Replicas that this Sentinel lists, ghosts included.",
        |sentinel, emit| emit_master(sentinel, emit, Some(sentinel.statement().replicas as f64)),
    ),
    SentinelRow::samples(
        "redis_sentinel_master_ok_slaves",
        Same,
        MONITORED_MASTER,
        "SENTINEL REPLICAS: flags",
        "Replicas that this Sentinel does not see as down.",
        |sentinel, emit| {
            let replicas = sentinel.statement().usable_replicas;
            emit_master(sentinel, emit, replicas.map(|replicas| replicas as f64));
        },
    ),
    SentinelRow::samples(
        "redis_sentinel_master_sentinels",
        Same,
        MONITORED_MASTER,
        "SENTINEL MASTERS: num-other-sentinels",
        "Sentinels that this Sentinel lists, itself and ghosts included.",
        |sentinel, emit| emit_master(sentinel, emit, Some(sentinel.statement().known as f64)),
    ),
    SentinelRow::samples(
        "redis_sentinel_master_ok_sentinels",
        Same,
        MONITORED_MASTER,
        "SENTINEL SENTINELS: flags",
        "Sentinels that this Sentinel does not see as down, itself included.",
        |sentinel, emit| {
            let sentinels = sentinel.statement().usable;
            emit_master(sentinel, emit, sentinels.map(|sentinels| sentinels as f64));
        },
    ),
];

/// Emits one value for each connected replica.
fn each_replica(node: &NodeView, emit: EmitSample<'_>, value: fn(&AttachedReplica) -> Option<f64>) {
    for replica in &node.attached_replicas {
        let reported = &replica.reported;
        if let Some(value) = value(reported) {
            let state = reported.state.as_deref().unwrap_or_default();
            emit(&[&replica.name, &reported.ip, &reported.port.to_string(), state], value);
        }
    }
}

/// Emits a value about the master that a Sentinel monitors.
fn emit_master(sentinel: &SentinelSubject, emit: EmitSample<'_>, value: Option<f64>) {
    if let Some(value) = value {
        emit(&[sentinel.master_name(), &sentinel.statement().address], value);
    }
}
