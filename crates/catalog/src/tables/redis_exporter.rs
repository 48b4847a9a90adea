//! Metrics of redis_exporter that have other labels or another meaning than those of Rolecall, or
//! that Rolecall does not have.

use snapshot::{
    AttachedReplica, CommandLatency, CommandStats, Config, Database, DownState, ErrorStats,
    LinkStatus, MasterReport, MasterSettings, NodeSnapshot, ScriptingEngine, SentinelEntry,
};
use topology::{NodeView, address};

use crate::row::RedisExporterName::{AsCounter, AsGauge};
use crate::row::{EmitSample, ExporterRow, NodeRow, Summary};

/// Labels of the upstream of a replica.
const UPSTREAM: &[&str] = &["master_host", "master_port"];
/// Labels of a connected replica.
const CONNECTED_REPLICA: &[&str] = &["slave_ip", "slave_port", "slave_state"];
/// Labels of a master that a Sentinel monitors.
const MONITORED_MASTER: &[&str] = &["master_name", "master_address"];
/// Labels of a scripting engine.
const SCRIPTING_ENGINE: &[&str] = &["engine", "module", "abi_version"];

pub(super) const ROWS: &[NodeRow] = &[
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
            for report in reports(node) {
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
        "redis_sentinel_peer_info",
        AsGauge("redis_sentinel_peer_info"),
        &["master_name", "master_address", "name", "ip", "port", "runid", "flags"],
        "SENTINEL SENTINELS: name, ip, port, runid, flags",
        "Another Sentinel that monitors the master, with those of its flags that concern its \
         reachability; the value is always 1.",
        |node, emit| {
            for report in reports(node) {
                let master = &report.master;
                for peer in report.sentinels.iter().flat_map(|sentinels| sentinels.iter()) {
                    emit(
                        &[
                            &master.name,
                            &address(&master.ip, master.port),
                            &peer.name,
                            &peer.ip,
                            &peer.port.to_string(),
                            &peer.run_id,
                            &peer_flags(peer),
                        ],
                        1.0,
                    );
                }
            }
        },
    ),
    NodeRow::samples(
        "redis_db_keys",
        AsGauge("redis_db_keys"),
        &["db"],
        "INFO keyspace: keys; CONFIG databases",
        "Keys in the database, 0 in an empty one.",
        |node, emit| {
            each_database(node, emit, |database| {
                Some(database.map_or(0.0, |database| database.keys as f64))
            });
        },
    ),
    NodeRow::samples(
        "redis_db_keys_expiring",
        AsGauge("redis_db_keys_expiring"),
        &["db"],
        "INFO keyspace: expires; CONFIG databases",
        "Keys in the database that have a TTL, 0 in an empty one.",
        |node, emit| {
            each_database(node, emit, |database| {
                Some(database.map_or(0.0, |database| database.expiring as f64))
            });
        },
    ),
    NodeRow::samples(
        "redis_db_avg_ttl_seconds",
        AsGauge("redis_db_avg_ttl_seconds"),
        &["db"],
        "INFO keyspace: avg_ttl",
        "Average TTL of the keys that have one, in seconds; 0 while the server does not know it.",
        |node, emit| {
            each_database(node, emit, |database| Some(database?.mean_ttl?.as_secs_f64()));
        },
    ),
    NodeRow::samples(
        "redis_db_keys_cached",
        AsGauge("redis_db_keys_cached"),
        &["db"],
        "INFO keyspace: cached_keys",
        "Keys of the database in the cache of a storage provider, on KeyDB.",
        |node, emit| each_database(node, emit, |database| Some(database?.cached? as f64)),
    ),
    NodeRow::samples(
        "redis_db_keys_with_expiring_items",
        AsGauge("redis_db_keys_with_expiring_items"),
        &["db"],
        "INFO keyspace: subexpiry, keys_with_volatile_items",
        "Keys of the database with fields that have a TTL.",
        |node, emit| {
            each_database(node, emit, |database| Some(database?.with_expiring_items? as f64));
        },
    ),
    NodeRow::samples(
        "redis_config_value",
        AsGauge("redis_config_value"),
        &["key"],
        "CONFIG",
        "Value of a parameter that is a number; only of the parameters that Rolecall reads, none \
         of which may contain a secret.",
        |node, emit| {
            for (name, value) in config(node) {
                if let Some(number) = value.parse().ok().filter(|number: &f64| number.is_finite()) {
                    emit(&[name], number);
                }
            }
        },
    ),
    NodeRow::samples(
        "redis_config_key_value",
        AsGauge("redis_config_key_value"),
        &["key", "value"],
        "CONFIG",
        "Parameter with its value as text; only of the parameters that Rolecall reads, none of \
         which may contain a secret.",
        |node, emit| config(node).for_each(|(name, value)| emit(&[name, value], 1.0)),
    ),
    NodeRow::samples(
        "redis_scripting_engine_info",
        AsGauge("redis_scripting_engine_info"),
        SCRIPTING_ENGINE,
        "INFO scriptingengines: engine_N",
        "A scripting engine, on Valkey; the value is always 1.",
        |node, emit| each_engine(node, emit, |_| 1.0),
    ),
    NodeRow::samples(
        "redis_scripting_engine_memory_used_bytes",
        AsGauge("redis_scripting_engine_memory_used_bytes"),
        SCRIPTING_ENGINE,
        "INFO scriptingengines: engine_N used_memory",
        "Memory of the scripting engine, in bytes, on Valkey.",
        |node, emit| each_engine(node, emit, |engine| engine.used_memory as f64),
    ),
    NodeRow::samples(
        "redis_scripting_engine_memory_overhead_bytes",
        AsGauge("redis_scripting_engine_memory_overhead_bytes"),
        SCRIPTING_ENGINE,
        "INFO scriptingengines: engine_N memory_overhead",
        "Memory overhead of the scripting engine, in bytes, on Valkey.",
        |node, emit| each_engine(node, emit, |engine| engine.memory_overhead as f64),
    ),
    NodeRow::samples(
        "redis_tls_certificate_info",
        AsGauge("redis_tls_certificate_info"),
        &["certificate", "serial"],
        "INFO tls: tls_server_cert_serial, tls_client_cert_serial, tls_ca_cert_serial",
        "Serial number of a certificate of the server, or none, on Valkey; the value is always 1.",
        |node, emit| {
            for (certificate, field) in [
                ("server", "tls_server_cert_serial"),
                ("client", "tls_client_cert_serial"),
                ("ca", "tls_ca_cert_serial"),
            ] {
                if let Some(serial) =
                    node.snapshot().and_then(|snapshot| snapshot.fields.get(field))
                {
                    emit(&[certificate, serial], 1.0);
                }
            }
        },
    ),
    NodeRow::samples(
        "redis_active_time_io_thread_seconds_total",
        AsCounter("redis_active_time_io_thread_seconds_total"),
        &["thread"],
        "INFO cpu: used_active_time_io_thread_N",
        "Time during which the I/O thread was not idle, in seconds, on Valkey.",
        |node, emit| {
            let mut threads: Vec<(u32, f64)> = fields(node)
                .filter_map(|(name, value)| {
                    let thread = name.strip_prefix("used_active_time_io_thread_")?;
                    Some((thread.parse().ok()?, value.parse().ok()?))
                })
                .collect();
            threads.sort_unstable_by_key(|(thread, _)| *thread);
            for (thread, time) in threads {
                emit(&[&thread.to_string()], time);
            }
        },
    ),
    NodeRow::summaries(
        "redis_latency_percentiles_usec",
        &["cmd"],
        "INFO latencystats: latency_percentiles_usec_*; INFO commandstats: calls, usec",
        "Execution times of the command, in microseconds; absent unless cadence.latencystats is \
         configured or metrics.names has the names of redis_exporter.",
        |node, emit| {
            let Some(snapshot) = node.snapshot() else { return };
            let (Some(commands), Some(latencies)) = (&snapshot.commands, &snapshot.latencies)
            else {
                return;
            };
            for latency in latencies.iter() {
                if let Some(summary) = summary(latency, commands) {
                    emit(&[&latency.name], &summary);
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
    NodeRow::summaries(
        "redis_exporter_scrape_duration_seconds",
        &[],
        "polling",
        "Durations of the successful polls, in seconds, without quantiles.",
        |node, emit| {
            let polling = &node.polling;
            let failures = polling.failures.iter().sum();
            let sum = polling.total_duration.as_secs_f64();
            let count = polling.polls.saturating_sub(failures);
            emit(&[], &Summary { quantiles: Vec::new(), sum, count });
        },
    ),
];

/// Metrics of the exporter itself.
pub(super) const EXPORTER: &[ExporterRow] = &[
    ExporterRow::samples(
        "redis_exporter_build_info",
        AsGauge("redis_exporter_build_info"),
        &["version", "commit_sha", "build_date", "golang_version"],
        "the build",
        "Version and source revision of Rolecall; the other labels are empty, and the value is \
         always 1.",
        |exporter, emit| emit(&[exporter.build.version, exporter.build.revision, "", ""], 1.0),
    ),
    ExporterRow::value(
        "redis_target_scrape_request_errors_total",
        AsCounter("redis_target_scrape_request_errors_total"),
        "the web server",
        "Requests for /scrape that failed.",
        |exporter| Some(exporter.requests.failures("/scrape") as f64),
    ),
];

/// Databases of a server that does not state their number.
const DEFAULT_DATABASES: u32 = 16;

/// Largest number of databases for which zeros are emitted.
const MAX_DATABASES: u32 = 256;

/// Emits one value for each database of a server, empty ones included.
fn each_database(
    node: &NodeView,
    emit: EmitSample<'_>,
    value: fn(Option<&Database>) -> Option<f64>,
) {
    let Some(snapshot) = node.snapshot() else { return };
    let databases = match snapshot.config.as_ref().and_then(|config| config.get("databases")) {
        // redis_exporter shows one database of a cluster node, whatever Valkey 9 has.
        _ if snapshot.fields.flag("cluster_enabled") == Some(true) => 1,
        Some(databases) => databases.parse().unwrap_or(DEFAULT_DATABASES).min(MAX_DATABASES),
        None => DEFAULT_DATABASES,
    };
    let filled = |index| snapshot.keyspace.iter().find(|database| database.index == index);
    let beyond = snapshot.keyspace.iter().map(|database| database.index);
    for index in (0..databases).chain(beyond.filter(|index| *index >= databases)) {
        if let Some(value) = value(filled(index)) {
            emit(&[&format!("db{index}")], value);
        }
    }
}

/// Returns the CONFIG parameters.
fn config(node: &NodeView) -> impl Iterator<Item = (&str, &str)> {
    let config = node.snapshot().and_then(|snapshot| snapshot.config.as_deref());
    config.into_iter().flat_map(Config::iter)
}

/// Returns the fields of INFO.
fn fields(node: &NodeView) -> impl Iterator<Item = (&str, &str)> {
    node.snapshot().into_iter().flat_map(|snapshot| snapshot.fields.iter())
}

/// Emits one value for each scripting engine.
fn each_engine(node: &NodeView, emit: EmitSample<'_>, value: fn(&ScriptingEngine) -> f64) {
    for engine in node.snapshot().into_iter().flat_map(NodeSnapshot::scripting_engines) {
        emit(&[&engine.name, &engine.module, &engine.abi_version], value(&engine));
    }
}

/// Returns the summary of the execution times of a command, in microseconds.
fn summary(latency: &CommandLatency, commands: &CommandStats) -> Option<Summary> {
    let stat = commands.get(&latency.name)?;
    let micros = |(quantile, time): &(Box<str>, std::time::Duration)| {
        (quantile.clone(), time.as_secs_f64() * 1e6)
    };
    let quantiles = latency.percentiles.iter().map(micros).collect();
    Some(Summary { quantiles, sum: stat.micros as f64, count: stat.calls })
}

/// Returns the flags of another Sentinel that concern its reachability, as SENTINEL SENTINELS
/// writes them.
fn peer_flags(peer: &SentinelEntry) -> String {
    let down = match peer.down_state {
        DownState::Up => "",
        DownState::SubjectivelyDown => "s_down,",
        DownState::ObjectivelyDown => "s_down,o_down,",
    };
    let disconnected = if peer.disconnected { ",disconnected" } else { "" };
    format!("{down}sentinel{disconnected}")
}

/// Returns the reports of a Sentinel about the masters that it monitors.
fn reports(node: &NodeView) -> impl Iterator<Item = &MasterReport> {
    let report = node.snapshot().and_then(|snapshot| snapshot.sentinel.as_ref());
    report.into_iter().flat_map(|report| report.masters())
}

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
    for report in reports(node) {
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
