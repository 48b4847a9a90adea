//! Metrics of redis_exporter that have other labels or another meaning than ours. They are on `/scrape` only.

use snapshot::{ErrorStats, LinkStatus, MasterReport, MasterSettings, NodeSnapshot, SentinelEntry};
use topology::{NodeView, address};

use crate::row::Legacy::{Counter, Gauge};
use crate::row::{Emit, NodeRow};

const MASTER: &[&str] = &["master_host", "master_port"];
const REPLICA: &[&str] = &["slave_ip", "slave_port", "slave_state"];
const WATCHED: &[&str] = &["master_name", "master_address"];

pub(super) const ROWS: &[NodeRow] = &[
    NodeRow::many(
        "redis_instance_info",
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
        "Information about the Redis instance.",
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
    )
    .legacy(Gauge("redis_instance_info")),
    NodeRow::many(
        "redis_slave_info",
        &["master_host", "master_port", "read_only"],
        "INFO replication",
        "Information about the Redis slave.",
        |node, emit| {
            following(node, &mut |snapshot, host, port| {
                emit(
                    &[host, port, snapshot.fields.get("slave_read_only").unwrap_or_default()],
                    1.0,
                );
            });
        },
    )
    .legacy(Gauge("redis_slave_info")),
    NodeRow::many(
        "redis_master_link_up",
        MASTER,
        "INFO replication: master_link_status",
        "Master link up.",
        |node, emit| {
            following(node, &mut |snapshot, host, port| {
                let status = snapshot.replication.link.as_ref().and_then(|link| link.status);
                emit(&[host, port], f64::from(status == Some(LinkStatus::Up)));
            });
        },
    )
    .legacy(Gauge("redis_master_link_up")),
    NodeRow::many(
        "redis_master_last_io_seconds_ago",
        MASTER,
        "INFO replication: master_last_io_seconds_ago",
        "Master last io seconds ago.",
        |node, emit| {
            of_link(node, "master_last_io_seconds_ago", emit);
        },
    )
    .legacy(Gauge("redis_master_last_io_seconds_ago")),
    NodeRow::many(
        "redis_master_sync_in_progress",
        MASTER,
        "INFO replication: master_sync_in_progress",
        "Master sync in progress.",
        |node, emit| {
            of_link(node, "master_sync_in_progress", emit);
        },
    )
    .legacy(Gauge("redis_master_sync_in_progress")),
    NodeRow::many(
        "redis_slave_repl_offset",
        MASTER,
        "INFO replication: slave_repl_offset",
        "Slave replication offset.",
        |node, emit| {
            of_link(node, "slave_repl_offset", emit);
        },
    )
    .legacy(Gauge("redis_slave_repl_offset")),
    NodeRow::many(
        "redis_connected_slave_offset_bytes",
        REPLICA,
        "INFO replication: slaveN offset",
        "Offset of connected slave.",
        |node, emit| {
            for replica in
                node.snapshot().into_iter().flat_map(|snapshot| &snapshot.replication.attached)
            {
                emit(
                    &[&replica.ip, &replica.port.to_string(), &replica.state],
                    replica.offset as f64,
                );
            }
        },
    )
    .legacy(Gauge("redis_connected_slave_offset_bytes")),
    NodeRow::many(
        "redis_connected_slave_lag_seconds",
        REPLICA,
        "INFO replication: slaveN lag",
        "Lag of connected slave.",
        |node, emit| {
            for replica in
                node.snapshot().into_iter().flat_map(|snapshot| &snapshot.replication.attached)
            {
                if let Some(lag) = replica.lag {
                    emit(
                        &[&replica.ip, &replica.port.to_string(), &replica.state],
                        lag.as_secs_f64(),
                    );
                }
            }
        },
    )
    .legacy(Gauge("redis_connected_slave_lag_seconds")),
    NodeRow::many(
        "redis_errors_total",
        &["err"],
        "INFO errorstats",
        "Total number of errors per error type.",
        |node, emit| {
            if let Some(ErrorStats::Counts { by_code, .. }) =
                node.snapshot().map(|snapshot| &snapshot.errors)
            {
                // As many codes as newer servers keep at all.
                for (code, count) in by_code.iter().take(128) {
                    emit(&[code], *count as f64);
                }
            }
        },
    )
    .legacy(Counter("redis_errors_total")),
    NodeRow::field(
        "redis_total_error_replies",
        "stats",
        "total_error_replies",
        "Total error replies.",
    )
    .legacy(Counter("redis_total_error_replies")),
    NodeRow::one(
        "redis_slowlog_last_id",
        "SLOWLOG GET 1",
        "Last id of the slow log; 0 when it is empty.",
        |node| node.snapshot()?.slowlog.map(|log| log.last.map_or(0.0, |(id, _)| id as f64)),
    )
    .legacy(Gauge("redis_slowlog_last_id")),
    NodeRow::one(
        "redis_last_slow_execution_duration_seconds",
        "SLOWLOG GET 1",
        "Time of the last slow execution; 0 when there is none.",
        |node| {
            node.snapshot()?.slowlog.map(|log| log.last.map_or(0.0, |(_, took)| took.as_secs_f64()))
        },
    )
    .legacy(Gauge("redis_last_slow_execution_duration_seconds")),
    NodeRow::many(
        "redis_sentinel_master_status",
        &["master_name", "master_address", "master_status"],
        "INFO sentinel: masterN status",
        "Master status on Sentinel.",
        |node, emit| {
            for master in node.snapshot().into_iter().flat_map(|snapshot| &snapshot.watched) {
                emit(
                    &[&master.name, &master.address, &master.status],
                    f64::from(&*master.status == "ok"),
                );
            }
        },
    )
    .legacy(Gauge("redis_sentinel_master_status")),
    NodeRow::many(
        "redis_sentinel_master_slaves",
        WATCHED,
        "INFO sentinel: masterN slaves",
        "The number of slaves of the master.",
        |node, emit| {
            for master in node.snapshot().into_iter().flat_map(|snapshot| &snapshot.watched) {
                emit(&[&master.name, &master.address], master.replicas as f64);
            }
        },
    )
    .legacy(Gauge("redis_sentinel_master_slaves")),
    NodeRow::many(
        "redis_sentinel_master_sentinels",
        WATCHED,
        "INFO sentinel: masterN sentinels",
        "The number of Sentinels monitoring the master.",
        |node, emit| {
            for master in node.snapshot().into_iter().flat_map(|snapshot| &snapshot.watched) {
                emit(&[&master.name, &master.address], master.sentinels as f64);
            }
        },
    )
    .legacy(Gauge("redis_sentinel_master_sentinels")),
    NodeRow::many(
        "redis_sentinel_master_config_epoch",
        WATCHED,
        "SENTINEL MASTERS: config-epoch",
        "The current config epoch of the master.",
        |node, emit| watched(node, emit, |report| Some(settings(report)?.epoch as f64)),
    )
    .legacy(Gauge("redis_sentinel_master_config_epoch")),
    NodeRow::many(
        "redis_sentinel_master_last_ok_ping_reply_seconds",
        WATCHED,
        "SENTINEL MASTERS: last-ok-ping-reply",
        "Time since the master last answered a PING as it should.",
        |node, emit| {
            watched(node, emit, |report| Some(report.master.last_ok_ping?.as_secs_f64()));
        },
    )
    .legacy(Gauge("redis_sentinel_master_last_ok_ping_reply_seconds")),
    NodeRow::many(
        "redis_sentinel_master_ok_slaves",
        WATCHED,
        "SENTINEL REPLICAS: flags",
        "The number of slaves of the master that are held to be there.",
        |node, emit| watched(node, emit, |report| Some(there(report.replicas.as_ref()?))),
    )
    .legacy(Gauge("redis_sentinel_master_ok_slaves")),
    NodeRow::many(
        "redis_sentinel_master_ok_sentinels",
        WATCHED,
        "SENTINEL SENTINELS: flags",
        "The number of Sentinels that are held to be there, this one included.",
        |node, emit| watched(node, emit, |report| Some(there(report.sentinels.as_ref()?) + 1.0)),
    )
    .legacy(Gauge("redis_sentinel_master_ok_sentinels")),
    NodeRow::many(
        "redis_sentinel_master_setting_ckquorum",
        WATCHED,
        "SENTINEL MASTERS: quorum",
        "Sentinels that must agree that the master is down.",
        |node, emit| watched(node, emit, |report| Some(settings(report)?.quorum as f64)),
    )
    .legacy(Gauge("redis_sentinel_master_setting_ckquorum")),
    NodeRow::many(
        "redis_sentinel_master_setting_down_after",
        WATCHED,
        "SENTINEL MASTERS: down-after-milliseconds",
        "How long the master must be silent to be held down, milliseconds.",
        |node, emit| {
            watched(node, emit, |report| Some(settings(report)?.down_after.as_secs_f64() * 1000.0));
        },
    )
    .legacy(Gauge("redis_sentinel_master_setting_down_after_milliseconds")),
    NodeRow::many(
        "redis_sentinel_master_setting_failover_timeout",
        WATCHED,
        "SENTINEL MASTERS: failover-timeout",
        "Time within which a failover must make progress, milliseconds.",
        |node, emit| {
            watched(node, emit, |report| {
                Some(settings(report)?.failover_timeout.as_secs_f64() * 1000.0)
            });
        },
    )
    .legacy(Gauge("redis_sentinel_master_setting_failover_timeout")),
    NodeRow::many(
        "redis_sentinel_master_setting_parallel_syncs",
        WATCHED,
        "SENTINEL MASTERS: parallel-syncs",
        "Replicas that are given the new master at a time.",
        |node, emit| watched(node, emit, |report| Some(settings(report)?.parallel_syncs as f64)),
    )
    .legacy(Gauge("redis_sentinel_master_setting_parallel_syncs")),
    NodeRow::many(
        "redis_sentinel_master_ckquorum_status",
        &["master_name", "message"],
        "SENTINEL CKQUORUM",
        "Whether a failover could be agreed on.",
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
    )
    .legacy(Gauge("redis_sentinel_master_ckquorum_status")),
    NodeRow::many(
        "redis_exporter_last_scrape_error",
        &["err"],
        "polling",
        "Whether the last poll failed, and why.",
        |node, emit| {
            let reason = node.polling.failing.map_or("", snapshot::Reason::label);
            emit(&[reason], f64::from(!reason.is_empty()));
        },
    )
    .legacy(Gauge("redis_exporter_last_scrape_error")),
    NodeRow::one(
        "redis_exporter_last_scrape_duration_seconds",
        "polling",
        "Time that the last poll took.",
        |node| node.polling.took.map(|took| took.as_secs_f64()),
    )
    .legacy(Gauge("redis_exporter_last_scrape_duration_seconds")),
    NodeRow::one("redis_exporter_scrapes_total", "polling", "Polls of the node so far.", |node| {
        Some(node.polling.polls as f64)
    })
    .legacy(Counter("redis_exporter_scrapes_total")),
];

/// Calls for a replica, with the address of its master.
fn following(node: &NodeView, emit: &mut dyn FnMut(&NodeSnapshot, &str, &str)) {
    if let Some(snapshot) = node.snapshot()
        && let Some(link) = &snapshot.replication.link
    {
        let port = link.master_port.map(|port| port.to_string()).unwrap_or_default();
        emit(snapshot, link.master_host.as_deref().unwrap_or_default(), &port);
    }
}

/// The number in a field about the link, as the server writes it.
fn of_link(node: &NodeView, field: &str, emit: Emit<'_>) {
    following(node, &mut |snapshot, host, port| {
        if let Some(number) = snapshot.fields.number(field) {
            emit(&[host, port], number);
        }
    });
}

/// One value for each master that a Sentinel watches.
fn watched(node: &NodeView, emit: Emit<'_>, value: fn(&MasterReport) -> Option<f64>) {
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

fn there(watched: &[SentinelEntry]) -> f64 {
    watched.iter().filter(|watched| !watched.down()).count() as f64
}
