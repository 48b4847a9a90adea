//! Metrics of redis_exporter that have other labels or another meaning than those of Rolecall. They
//! are only on `/scrape`.

use snapshot::{
    AttachedReplica, ErrorStats, LinkStatus, MasterReport, MasterSettings, NodeSnapshot,
    SentinelEntry,
};
use topology::{NodeView, address};

use crate::row::RedisExporterName::{AsCounter, AsGauge};
use crate::row::{EmitSample, NodeRow};

/// Labels of the upstream of a replica.
const UPSTREAM: &[&str] = &["master_host", "master_port"];
/// Labels of a connected replica.
const CONNECTED_REPLICA: &[&str] = &["slave_ip", "slave_port", "slave_state"];
/// Labels of a master that a Sentinel monitors.
const MONITORED_MASTER: &[&str] = &["master_name", "master_address"];

pub(super) const ROWS: &[NodeRow] = &[
    NodeRow::samples(
        "redis_instance_info",
        AsGauge("redis_instance_info"),
        &[
            "role",
            "redis_version",
            "redis_build_id",
            "redis_mode",
            "os",
            "maxmemory_policy",
            "tcp_port",
            "run_id",
            "process_id",
            "master_replid",
            "valkey_version",
            "valkey_release_stage",
        ],
        "INFO",
        "Version, mode, process and role of the server; the value is always 1.",
        |node, emit| {
            let Some(snapshot) = node.snapshot() else { return };
            let get = |field| snapshot.fields.get(field).unwrap_or_default();
            let mode = snapshot.identity.mode.as_deref().unwrap_or_default();
            let before = ["role", "redis_version", "redis_build_id"].map(get);
            let after = [
                "os",
                "maxmemory_policy",
                "tcp_port",
                "run_id",
                "process_id",
                "master_replid",
                "valkey_version",
                "valkey_release_stage",
            ];
            let values: Vec<_> = before.into_iter().chain([mode]).chain(after.map(get)).collect();
            emit(&values, 1.0);
        },
    ),
    NodeRow::samples(
        "redis_slave_info",
        AsGauge("redis_slave_info"),
        &["master_host", "master_port", "read_only"],
        "INFO replication",
        "Upstream of the replica, and whether the replica is read-only; the value is always 1.",
        |node, emit| {
            with_upstream(node, &mut |snapshot, host, port| {
                emit(
                    &[host, port, snapshot.fields.get("slave_read_only").unwrap_or_default()],
                    1.0,
                );
            });
        },
    ),
    NodeRow::samples(
        "redis_master_link_up",
        AsGauge("redis_master_link_up"),
        UPSTREAM,
        "INFO replication: master_link_status",
        "Whether the replication link is up.",
        |node, emit| {
            with_upstream(node, &mut |snapshot, host, port| {
                let status = snapshot.replication.any_link().and_then(|link| link.status);
                emit(&[host, port], f64::from(status == Some(LinkStatus::Up)));
            });
        },
    ),
    NodeRow::samples(
        "redis_master_last_io_seconds_ago",
        AsGauge("redis_master_last_io_seconds_ago"),
        UPSTREAM,
        "INFO replication: master_last_io_seconds_ago",
        "Time since the last data from the upstream, in seconds; -1 while the replication link is \
         down.",
        |node, emit| {
            emit_link_field(node, "master_last_io_seconds_ago", emit);
        },
    ),
    NodeRow::samples(
        "redis_master_sync_in_progress",
        AsGauge("redis_master_sync_in_progress"),
        UPSTREAM,
        "INFO replication: master_sync_in_progress",
        "Whether the replica is in a full resync.",
        |node, emit| {
            emit_link_field(node, "master_sync_in_progress", emit);
        },
    ),
    NodeRow::samples(
        "redis_slave_repl_offset",
        AsGauge("redis_slave_repl_offset"),
        UPSTREAM,
        "INFO replication: slave_repl_offset",
        "Replication offset that the replica has applied, in bytes.",
        |node, emit| {
            emit_link_field(node, "slave_repl_offset", emit);
        },
    ),
    NodeRow::samples(
        "redis_connected_slave_offset_bytes",
        AsGauge("redis_connected_slave_offset_bytes"),
        CONNECTED_REPLICA,
        "INFO replication: slaveN offset",
        "Replication offset that the connected replica has acknowledged, in bytes.",
        |node, emit| {
            for replica in
                node.snapshot().into_iter().flat_map(|snapshot| &snapshot.replication.attached)
            {
                if let Some(offset) = replica.offset {
                    emit_replica(replica, offset as f64, emit);
                }
            }
        },
    ),
    NodeRow::samples(
        "redis_connected_slave_lag_seconds",
        AsGauge("redis_connected_slave_lag_seconds"),
        CONNECTED_REPLICA,
        "INFO replication: slaveN lag",
        "Time since the last acknowledgement of the connected replica, in seconds; 0 while the \
         replica is not online.",
        |node, emit| {
            for replica in
                node.snapshot().into_iter().flat_map(|snapshot| &snapshot.replication.attached)
            {
                if let Some(lag) = replica.lag {
                    emit_replica(replica, lag.as_secs_f64(), emit);
                }
            }
        },
    ),
    NodeRow::samples(
        "redis_errors_total",
        AsCounter("redis_errors_total"),
        &["err"],
        "INFO errorstats",
        "Error replies by error code.",
        |node, emit| {
            if let Some(ErrorStats::Counts { by_code, .. }) =
                node.snapshot().map(|snapshot| &snapshot.errors)
            {
                // Redis 7.4 and later keep at most 128 codes.
                for (code, count) in by_code.iter().take(128) {
                    emit(&[code], *count as f64);
                }
            }
        },
    ),
    NodeRow::field(
        "redis_total_error_replies",
        AsCounter("redis_total_error_replies"),
        "stats",
        "total_error_replies",
        "Error replies of the server.",
    ),
    NodeRow::value(
        "redis_slowlog_last_id",
        AsGauge("redis_slowlog_last_id"),
        "SLOWLOG GET 1",
        "ID of the newest slow log entry; 0 if the slow log is empty.",
        |node| node.snapshot()?.slowlog.map(|log| log.last.map_or(0.0, |(id, _)| id as f64)),
    ),
    NodeRow::value(
        "redis_last_slow_execution_duration_seconds",
        AsGauge("redis_last_slow_execution_duration_seconds"),
        "SLOWLOG GET 1",
        "Duration of the newest slow log entry, in seconds; 0 if the slow log is empty.",
        |node| {
            node.snapshot()?.slowlog.map(|log| log.last.map_or(0.0, |(_, took)| took.as_secs_f64()))
        },
    ),
    NodeRow::samples(
        "redis_sentinel_master_status",
        AsGauge("redis_sentinel_master_status"),
        &["master_name", "master_address", "master_status"],
        "INFO sentinel: masterN status",
        "Whether the Sentinel sees the master as ok.",
        |node, emit| {
            for master in node.snapshot().into_iter().flat_map(|snapshot| &snapshot.watched) {
                emit(
                    &[&master.name, &master.address, &master.status],
                    f64::from(&*master.status == "ok"),
                );
            }
        },
    ),
    NodeRow::samples(
        "redis_sentinel_master_slaves",
        AsGauge("redis_sentinel_master_slaves"),
        MONITORED_MASTER,
        "INFO sentinel: masterN slaves",
        "Replicas of the master that the Sentinel lists, ghosts included.",
        |node, emit| {
            for master in node.snapshot().into_iter().flat_map(|snapshot| &snapshot.watched) {
                emit(&[&master.name, &master.address], master.replicas as f64);
            }
        },
    ),
    NodeRow::samples(
        "redis_sentinel_master_sentinels",
        AsGauge("redis_sentinel_master_sentinels"),
        MONITORED_MASTER,
        "INFO sentinel: masterN sentinels",
        "Sentinels that monitor the master, this one and ghosts included.",
        |node, emit| {
            for master in node.snapshot().into_iter().flat_map(|snapshot| &snapshot.watched) {
                emit(&[&master.name, &master.address], master.sentinels as f64);
            }
        },
    ),
    NodeRow::samples(
        "redis_sentinel_master_config_epoch",
        AsGauge("redis_sentinel_master_config_epoch"),
        MONITORED_MASTER,
        "SENTINEL MASTERS: config-epoch",
        "Config epoch of the master; each failover increases it.",
        |node, emit| each_master(node, emit, |report| Some(settings(report)?.epoch as f64)),
    ),
    NodeRow::samples(
        "redis_sentinel_master_last_ok_ping_reply_seconds",
        AsGauge("redis_sentinel_master_last_ok_ping_reply_seconds"),
        MONITORED_MASTER,
        "SENTINEL MASTERS: last-ok-ping-reply",
        "Time since the last valid reply of the master to PING, in seconds.",
        |node, emit| {
            each_master(node, emit, |report| Some(report.master.last_ok_ping?.as_secs_f64()));
        },
    ),
    NodeRow::samples(
        "redis_sentinel_master_ok_slaves",
        AsGauge("redis_sentinel_master_ok_slaves"),
        MONITORED_MASTER,
        "SENTINEL REPLICAS: flags",
        "Replicas of the master that the Sentinel does not see as down.",
        |node, emit| each_master(node, emit, |report| Some(count_up(report.replicas.as_ref()?))),
    ),
    NodeRow::samples(
        "redis_sentinel_master_ok_sentinels",
        AsGauge("redis_sentinel_master_ok_sentinels"),
        MONITORED_MASTER,
        "SENTINEL SENTINELS: flags",
        "Sentinels that the Sentinel does not see as down, itself included.",
        |node, emit| {
            each_master(node, emit, |report| Some(count_up(report.sentinels.as_ref()?) + 1.0));
        },
    ),
    NodeRow::samples(
        "redis_sentinel_master_setting_ckquorum",
        AsGauge("redis_sentinel_master_setting_ckquorum"),
        MONITORED_MASTER,
        "SENTINEL MASTERS: quorum",
        "Sentinels that must see the master as down before it is odown (quorum).",
        |node, emit| each_master(node, emit, |report| Some(settings(report)?.quorum as f64)),
    ),
    NodeRow::samples(
        "redis_sentinel_master_setting_down_after_milliseconds",
        AsGauge("redis_sentinel_master_setting_down_after_milliseconds"),
        MONITORED_MASTER,
        "SENTINEL MASTERS: down-after-milliseconds",
        "Time without a valid reply after which the Sentinel marks the master as sdown, in \
         milliseconds.",
        |node, emit| {
            each_master(node, emit, |report| {
                Some(settings(report)?.down_after.as_secs_f64() * 1000.0)
            });
        },
    ),
    NodeRow::samples(
        "redis_sentinel_master_setting_failover_timeout",
        AsGauge("redis_sentinel_master_setting_failover_timeout"),
        MONITORED_MASTER,
        "SENTINEL MASTERS: failover-timeout",
        "Timeout of a failover of the master, in milliseconds.",
        |node, emit| {
            each_master(node, emit, |report| {
                Some(settings(report)?.failover_timeout.as_secs_f64() * 1000.0)
            });
        },
    ),
    NodeRow::samples(
        "redis_sentinel_master_setting_parallel_syncs",
        AsGauge("redis_sentinel_master_setting_parallel_syncs"),
        MONITORED_MASTER,
        "SENTINEL MASTERS: parallel-syncs",
        "Replicas that may resync with the new master at the same time after a failover.",
        |node, emit| {
            each_master(node, emit, |report| Some(settings(report)?.parallel_syncs as f64));
        },
    ),
    NodeRow::samples(
        "redis_sentinel_master_ckquorum_status",
        AsGauge("redis_sentinel_master_ckquorum_status"),
        &["master_name", "message"],
        "SENTINEL CKQUORUM",
        "Whether the Sentinel reaches enough Sentinels for a failover.",
        |node, emit| {
            for report in node
                .snapshot()
                .and_then(|snapshot| snapshot.sentinel.as_ref())
                .into_iter()
                .flat_map(|report| report.masters())
            {
                if let Some(quorum) = report.quorum {
                    emit(
                        &[&report.master.name, if quorum.ok { "OK" } else { "NOQUORUM" }],
                        f64::from(quorum.ok),
                    );
                }
            }
        },
    ),
    NodeRow::samples(
        "redis_exporter_last_scrape_error",
        AsGauge("redis_exporter_last_scrape_error"),
        &["err"],
        "polling",
        "Whether the last poll failed; the label err has the reason.",
        |node, emit| {
            let reason = node.polling.failing.map_or("", snapshot::Reason::label);
            emit(&[reason], f64::from(!reason.is_empty()));
        },
    ),
    NodeRow::value(
        "redis_exporter_last_scrape_duration_seconds",
        AsGauge("redis_exporter_last_scrape_duration_seconds"),
        "polling",
        "Duration of the last successful poll, in seconds.",
        |node| node.polling.duration.map(|took| took.as_secs_f64()),
    ),
    NodeRow::value(
        "redis_exporter_scrapes_total",
        AsCounter("redis_exporter_scrapes_total"),
        "polling",
        "Polls of the node, successful or not.",
        |node| Some(node.polling.polls as f64),
    ),
];

/// Calls `emit` for a connected replica.
fn emit_replica(replica: &AttachedReplica, value: f64, emit: EmitSample<'_>) {
    let state = replica.state.as_deref().unwrap_or_default();
    emit(&[&replica.ip, &replica.port.to_string(), state], value);
}

/// Calls `emit` for a replica, with the host and port of its upstream.
fn with_upstream(node: &NodeView, emit: &mut dyn FnMut(&NodeSnapshot, &str, &str)) {
    if let Some(snapshot) = node.snapshot()
        && let Some(link) = snapshot.replication.any_link()
    {
        let port = link.master_port.map(|port| port.to_string()).unwrap_or_default();
        emit(snapshot, link.master_host.as_deref().unwrap_or_default(), &port);
    }
}

/// Emits the number in a field about the replication link, without conversion.
fn emit_link_field(node: &NodeView, field: &str, emit: EmitSample<'_>) {
    with_upstream(node, &mut |snapshot, host, port| {
        if let Some(number) = snapshot.fields.number(field) {
            emit(&[host, port], number);
        }
    });
}

/// Emits one value for each master that a Sentinel monitors.
fn each_master(node: &NodeView, emit: EmitSample<'_>, value: fn(&MasterReport) -> Option<f64>) {
    for report in node
        .snapshot()
        .and_then(|snapshot| snapshot.sentinel.as_ref())
        .into_iter()
        .flat_map(|report| report.masters())
    {
        if let Some(value) = value(report) {
            emit(&[&report.master.name, &address(&report.master.ip, report.master.port)], value);
        }
    }
}

fn settings(report: &MasterReport) -> Option<&MasterSettings> {
    report.master.settings.as_ref()
}

/// Returns the number of processes that the Sentinel does not see as down.
fn count_up(watched: &[SentinelEntry]) -> f64 {
    watched.iter().filter(|watched| !watched.down()).count() as f64
}
