//! Theme `server`: process, clients, network traffic, keys, CPU time, slow log and certificates.

use crate::row::NodeRow;
use crate::row::RedisExporterName::{Absent, AsCounter, AsGauge, Same, SeparateRow};

pub(super) const ROWS: &[NodeRow] = &[
    NodeRow::samples(
        "redis_instance_info",
        Same,
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
            "availability_zone",
        ],
        "INFO server, INFO memory: maxmemory_policy, INFO replication: role, master_replid",
        "Version, mode, process, settings and claimed role of the server; the value is always 1.",
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
                "availability_zone",
            ];
            let values: Vec<_> = before.into_iter().chain([mode]).chain(after.map(get)).collect();
            emit(&values, 1.0);
        },
    )
    .core(),
    NodeRow::samples(
        "redis_module_info",
        Same,
        &["name", "ver", "api", "filters", "usedby", "using"],
        "INFO modules: module",
        "Name, version and relations of a loaded module; the value is always 1.",
        |node, emit| {
            for module in node.snapshot().into_iter().flat_map(|snapshot| &snapshot.modules) {
                let (used_by, using) = (&module.used_by, &module.using);
                emit(
                    &[&module.name, &module.version, &module.api, &module.filters, used_by, using],
                    1.0,
                );
            }
        },
    ),
    NodeRow::field(
        "redis_uptime_in_seconds",
        Same,
        "server",
        "uptime_in_seconds",
        "Time since the server started, in seconds.",
    )
    .core(),
    NodeRow::value(
        "redis_start_time_seconds",
        Same,
        "INFO server: uptime_in_seconds, and the exporter's clock",
        "Start time of the server, in seconds since the Unix epoch; accurate to one or two \
         seconds.",
        |node| {
            let uptime = node.snapshot()?.identity.uptime?;
            Some(
                (super::polling::unix_seconds(node.polling.answered_at?) - uptime.as_secs_f64())
                    .floor(),
            )
        },
    ),
    NodeRow::field("redis_process_id", Same, "server", "process_id", "Process ID of the server."),
    NodeRow::field(
        "redis_server_time_seconds",
        Absent,
        "server",
        "server_time_usec",
        "Clock of the server at the last successful poll, in seconds since the Unix epoch.",
    )
    .scaled(1e-6),
    NodeRow::field(
        "redis_hz",
        Same,
        "server",
        "hz",
        "Current frequency of the server's background tasks, in hertz.",
    ),
    NodeRow::field(
        "redis_configured_hz",
        Same,
        "server",
        "configured_hz",
        "Configured frequency of the server's background tasks, in hertz.",
    ),
    NodeRow::field(
        "redis_io_threads_active",
        Same,
        "server",
        "io_threads_active",
        "Whether I/O threads are active.",
    ),
    // Clients.
    NodeRow::field(
        "redis_connected_clients",
        Same,
        "clients",
        "connected_clients",
        "Client connections, without those of replicas.",
    )
    .core(),
    NodeRow::field(
        "redis_max_clients",
        Same,
        "clients",
        "maxclients",
        "Limit of client connections (maxclients).",
    )
    .core(),
    NodeRow::field(
        "redis_blocked_clients",
        Same,
        "clients",
        "blocked_clients",
        "Clients blocked by a blocking command, such as BLPOP.",
    ),
    NodeRow::field(
        "redis_tracking_clients",
        Same,
        "clients",
        "tracking_clients",
        "Clients that use client-side caching (CLIENT TRACKING).",
    ),
    NodeRow::field(
        "redis_pubsub_clients",
        Same,
        "clients",
        "pubsub_clients",
        "Clients in pub/sub mode.",
    ),
    NodeRow::field(
        "redis_watching_clients",
        Same,
        "clients",
        "watching_clients",
        "Clients that watch keys (WATCH).",
    ),
    NodeRow::field(
        "redis_clients_in_timeout_table",
        Same,
        "clients",
        "clients_in_timeout_table",
        "Blocked clients with a timeout.",
    ),
    NodeRow::field(
        "redis_total_watched_keys",
        Same,
        "clients",
        "total_watched_keys",
        "Keys that clients watch (WATCH).",
    ),
    NodeRow::field(
        "redis_total_blocking_keys",
        Same,
        "clients",
        "total_blocking_keys",
        "Keys on which clients are blocked.",
    ),
    NodeRow::field(
        "redis_total_blocking_keys_on_nokey",
        Same,
        "clients",
        "total_blocking_keys_on_nokey",
        "Keys on which clients are blocked until the key changes or is deleted.",
    ),
    NodeRow::field(
        "redis_client_recent_max_input_buffer_bytes",
        Same,
        "clients",
        "client_recent_max_input_buffer",
        "Largest recent input buffer of a client, in bytes.",
    ),
    NodeRow::field(
        "redis_client_recent_max_output_buffer_bytes",
        Same,
        "clients",
        "client_recent_max_output_buffer",
        "Largest recent output buffer of a client, in bytes.",
    ),
    NodeRow::field(
        "redis_cluster_connections",
        Same,
        "clients",
        "cluster_connections",
        "Approximate number of sockets used by the cluster bus.",
    ),
    NodeRow::field(
        "redis_paused_timeout_seconds",
        Absent,
        "clients",
        "paused_timeout_milliseconds",
        "Remaining time of the pause of clients (CLIENT PAUSE or failover), in seconds; 0 without \
         a pause, absent for a pause without a time limit.",
    )
    .scaled(1e-3),
    // Connections and network traffic.
    NodeRow::field(
        "redis_connections_received_total",
        Same,
        "stats",
        "total_connections_received",
        "Connections accepted.",
    ),
    NodeRow::field(
        "redis_rejected_connections_total",
        Same,
        "stats",
        "rejected_connections",
        "Connections rejected because of maxclients.",
    )
    .core(),
    NodeRow::field(
        "redis_commands_processed_total",
        Same,
        "stats",
        "total_commands_processed",
        "Commands processed.",
    )
    .core(),
    NodeRow::field(
        "redis_net_input_bytes_total",
        Same,
        "stats",
        "total_net_input_bytes",
        "Bytes read from the network.",
    ),
    NodeRow::field(
        "redis_net_output_bytes_total",
        Same,
        "stats",
        "total_net_output_bytes",
        "Bytes written to the network.",
    ),
    NodeRow::field(
        "redis_net_repl_input_bytes_total",
        Same,
        "stats",
        "total_net_repl_input_bytes",
        "Bytes read from the network for replication.",
    ),
    NodeRow::field(
        "redis_net_repl_output_bytes_total",
        Same,
        "stats",
        "total_net_repl_output_bytes",
        "Bytes written to the network for replication.",
    ),
    NodeRow::field(
        "redis_net_cluster_slot_import_bytes_total",
        Absent,
        "stats",
        "total_net_cluster_slot_import_bytes",
        "Bytes read from the network for slot imports.",
    ),
    NodeRow::field(
        "redis_net_cluster_slot_export_bytes_total",
        Absent,
        "stats",
        "total_net_cluster_slot_export_bytes",
        "Bytes written to the network for slot exports.",
    ),
    NodeRow::field(
        "redis_reads_processed_total",
        AsCounter("redis_total_reads_processed"),
        "stats",
        "total_reads_processed",
        "Read events processed.",
    ),
    NodeRow::field(
        "redis_writes_processed_total",
        AsCounter("redis_total_writes_processed"),
        "stats",
        "total_writes_processed",
        "Write events processed.",
    ),
    NodeRow::field(
        "redis_io_threaded_reads_processed_total",
        AsCounter("redis_io_threaded_reads_processed"),
        "stats",
        "io_threaded_reads_processed",
        "Read events processed by I/O threads.",
    ),
    NodeRow::field(
        "redis_io_threaded_writes_processed_total",
        AsCounter("redis_io_threaded_writes_processed"),
        "stats",
        "io_threaded_writes_processed",
        "Write events processed by I/O threads.",
    ),
    NodeRow::field(
        "redis_io_threaded_accepts_processed_total",
        Absent,
        "stats",
        "io_threaded_accept_processed",
        "Connections accepted by I/O threads.",
    ),
    NodeRow::field(
        "redis_io_threaded_polls_processed_total",
        Absent,
        "stats",
        "io_threaded_poll_processed",
        "Poll events processed by I/O threads.",
    ),
    NodeRow::field(
        "redis_io_threaded_freed_objects_total",
        Absent,
        "stats",
        "io_threaded_freed_objects",
        "Objects freed by I/O threads.",
    ),
    NodeRow::field(
        "redis_io_threaded_prefetch_batches_total",
        Absent,
        "stats",
        "io_threaded_total_prefetch_batches",
        "Batches of keys that were prefetched while I/O threads were active.",
    ),
    NodeRow::field(
        "redis_io_threaded_prefetch_entries_total",
        Absent,
        "stats",
        "io_threaded_total_prefetch_entries",
        "Keys that were prefetched while I/O threads were active.",
    ),
    NodeRow::field(
        "redis_client_query_buffer_limit_disconnections_total",
        Same,
        "stats",
        "client_query_buffer_limit_disconnections",
        "Clients disconnected because of the limit of their query buffer.",
    ),
    NodeRow::field(
        "redis_client_output_buffer_limit_disconnections_total",
        Same,
        "stats",
        "client_output_buffer_limit_disconnections",
        "Clients disconnected because of the limit of their output buffer.",
    ),
    NodeRow::field(
        "redis_reply_buffer_shrinks_total",
        Same,
        "stats",
        "reply_buffer_shrinks",
        "Times that the reply buffer of a client was shrunk.",
    ),
    NodeRow::field(
        "redis_reply_buffer_expands_total",
        Same,
        "stats",
        "reply_buffer_expands",
        "Times that the reply buffer of a client was expanded.",
    ),
    NodeRow::field(
        "redis_eventloop_cycles_total",
        Same,
        "stats",
        "eventloop_cycles",
        "Cycles of the event loop.",
    ),
    NodeRow::field(
        "redis_eventloop_duration_seconds_total",
        AsCounter("redis_eventloop_duration_sum_usec_total"),
        "stats",
        "eventloop_duration_sum",
        "Time spent in the event loop, commands included, in seconds.",
    )
    .scaled(1e-6),
    NodeRow::field(
        "redis_eventloop_command_duration_seconds_total",
        AsCounter("redis_eventloop_duration_cmd_sum_usec_total"),
        "stats",
        "eventloop_duration_cmd_sum",
        "Time that the event loop spent executing commands, in seconds.",
    )
    .scaled(1e-6),
    // Keys.
    NodeRow::field(
        "redis_keyspace_hits_total",
        Same,
        "stats",
        "keyspace_hits",
        "Lookups of keys that existed.",
    ),
    NodeRow::field(
        "redis_keyspace_misses_total",
        Same,
        "stats",
        "keyspace_misses",
        "Lookups of keys that did not exist.",
    ),
    NodeRow::field("redis_expired_keys_total", Same, "stats", "expired_keys", "Keys that expired."),
    NodeRow::field(
        "redis_expired_subkeys_total",
        Same,
        "stats",
        "expired_subkeys",
        "Hash fields that expired, on Redis.",
    ),
    NodeRow::field(
        "redis_expired_fields_total",
        Same,
        "stats",
        "expired_fields",
        "Hash fields that expired, on Valkey.",
    ),
    NodeRow::field(
        "redis_expired_stale_ratio",
        AsGauge("redis_expired_stale_percentage"),
        "stats",
        "expired_stale_perc",
        "Estimated ratio of keys with a TTL that have expired but are not deleted yet, from 0 to \
         1.",
    )
    .scaled(1e-2),
    NodeRow::field(
        "redis_expired_keys_with_volatile_items_stale_ratio",
        AsGauge("redis_expired_keys_with_volatile_items_stale_percentage"),
        "stats",
        "expired_keys_with_volatile_items_stale_perc",
        "Estimated ratio of keys with expiring fields that contain expired fields not deleted yet, \
         from 0 to 1.",
    )
    .scaled(1e-2),
    NodeRow::field(
        "redis_expired_time_cap_reached_total",
        Same,
        "stats",
        "expired_time_cap_reached_count",
        "Active expiry cycles that stopped early because of their time limit.",
    ),
    NodeRow::field(
        "redis_expire_cycle_cpu_seconds_total",
        AsCounter("redis_expire_cycle_cpu_time_ms_total"),
        "stats",
        "expire_cycle_cpu_milliseconds",
        "Time spent in active expiry cycles, in seconds.",
    )
    .scaled(1e-3),
    NodeRow::field(
        "redis_evicted_keys_total",
        Same,
        "stats",
        "evicted_keys",
        "Keys evicted because of maxmemory.",
    )
    .core(),
    NodeRow::field(
        "redis_evicted_clients_total",
        Same,
        "stats",
        "evicted_clients",
        "Clients evicted because of maxmemory-clients.",
    ),
    NodeRow::field(
        "redis_evicted_scripts_total",
        Same,
        "stats",
        "evicted_scripts",
        "EVAL scripts evicted from the script cache.",
    ),
    NodeRow::field(
        "redis_eviction_exceeded_seconds_total",
        AsCounter("redis_eviction_exceeded_time_ms_total"),
        "stats",
        "total_eviction_exceeded_time",
        "Time during which used memory was above maxmemory, in seconds.",
    )
    .scaled(1e-3),
    NodeRow::field(
        "redis_current_eviction_exceeded_seconds",
        AsGauge("redis_current_eviction_exceeded_time_ms"),
        "stats",
        "current_eviction_exceeded_time",
        "Time since used memory rose above maxmemory, in seconds; 0 while it is below.",
    )
    .scaled(1e-3),
    NodeRow::samples(
        "redis_db_keys",
        SeparateRow("redis_db_keys"),
        &["db"],
        "INFO keyspace: keys",
        "Keys in the database; absent for an empty database.",
        |node, emit| {
            for database in node.snapshot().into_iter().flat_map(|snapshot| &snapshot.keyspace) {
                emit(&[&format!("db{}", database.index)], database.keys as f64);
            }
        },
    )
    .core(),
    NodeRow::samples(
        "redis_db_keys_expiring",
        SeparateRow("redis_db_keys_expiring"),
        &["db"],
        "INFO keyspace: expires",
        "Keys in the database that have a TTL; absent for an empty database.",
        |node, emit| {
            for database in node.snapshot().into_iter().flat_map(|snapshot| &snapshot.keyspace) {
                emit(&[&format!("db{}", database.index)], database.expiring as f64);
            }
        },
    )
    .core(),
    NodeRow::samples(
        "redis_db_avg_ttl_seconds",
        SeparateRow("redis_db_avg_ttl_seconds"),
        &["db"],
        "INFO keyspace: avg_ttl",
        "Average TTL of the keys that have one, in seconds; absent while the server does not know \
         it.",
        |node, emit| {
            for database in node.snapshot().into_iter().flat_map(|snapshot| &snapshot.keyspace) {
                if let Some(ttl) = database.mean_ttl.filter(|ttl| !ttl.is_zero()) {
                    emit(&[&format!("db{}", database.index)], ttl.as_secs_f64());
                }
            }
        },
    ),
    NodeRow::field(
        "redis_pubsub_channels",
        Same,
        "stats",
        "pubsub_channels",
        "Pub/sub channels with subscribers.",
    ),
    NodeRow::field(
        "redis_pubsub_patterns",
        Same,
        "stats",
        "pubsub_patterns",
        "Pub/sub patterns with subscribers.",
    ),
    NodeRow::field(
        "redis_pubsubshard_channels",
        Same,
        "stats",
        "pubsubshard_channels",
        "Sharded pub/sub channels with subscribers.",
    ),
    NodeRow::field(
        "redis_tracking_total_keys",
        Same,
        "stats",
        "tracking_total_keys",
        "Keys tracked for client-side caching.",
    ),
    NodeRow::field(
        "redis_tracking_total_items",
        Same,
        "stats",
        "tracking_total_items",
        "Pairs of client and key tracked for client-side caching.",
    ),
    NodeRow::field(
        "redis_tracking_total_prefixes",
        Same,
        "stats",
        "tracking_total_prefixes",
        "Key prefixes tracked for client-side caching in broadcasting mode.",
    ),
    NodeRow::field(
        "redis_migrate_cached_sockets",
        AsGauge("redis_migrate_cached_sockets_total"),
        "stats",
        "migrate_cached_sockets",
        "Sockets kept open for MIGRATE.",
    ),
    // CPU time.
    NodeRow::field(
        "redis_cpu_sys_seconds_total",
        Same,
        "cpu",
        "used_cpu_sys",
        "System CPU time of the server, in seconds.",
    ),
    NodeRow::field(
        "redis_cpu_user_seconds_total",
        Same,
        "cpu",
        "used_cpu_user",
        "User CPU time of the server, in seconds.",
    ),
    NodeRow::field(
        "redis_cpu_sys_children_seconds_total",
        Same,
        "cpu",
        "used_cpu_sys_children",
        "System CPU time of background processes, in seconds.",
    ),
    NodeRow::field(
        "redis_cpu_user_children_seconds_total",
        Same,
        "cpu",
        "used_cpu_user_children",
        "User CPU time of background processes, in seconds.",
    ),
    NodeRow::field(
        "redis_cpu_sys_main_thread_seconds_total",
        Same,
        "cpu",
        "used_cpu_sys_main_thread",
        "System CPU time of the main thread, in seconds.",
    ),
    NodeRow::field(
        "redis_cpu_user_main_thread_seconds_total",
        Same,
        "cpu",
        "used_cpu_user_main_thread",
        "User CPU time of the main thread, in seconds.",
    ),
    NodeRow::field(
        "redis_active_time_main_thread_seconds_total",
        Same,
        "cpu",
        "used_active_time_main_thread",
        "Time during which the main thread was not idle, in seconds, on Valkey.",
    ),
    // The slow log.
    NodeRow::value(
        "redis_slowlog_length",
        Same,
        "SLOWLOG LEN",
        "Entries in the slow log.",
        |node| node.snapshot()?.slowlog?.length.map(|length| length as f64),
    ),
    NodeRow::value(
        "redis_slowlog_last_id",
        SeparateRow("redis_slowlog_last_id"),
        "SLOWLOG GET 1",
        "ID of the newest slow log entry; absent if the slow log is empty.",
        |node| node.snapshot()?.slowlog?.last.map(|(id, _)| id as f64),
    ),
    NodeRow::value(
        "redis_last_slow_execution_duration_seconds",
        SeparateRow("redis_last_slow_execution_duration_seconds"),
        "SLOWLOG GET 1",
        "Duration of the newest slow log entry, in seconds; absent if the slow log is empty.",
        |node| node.snapshot()?.slowlog?.last.map(|(_, took)| took.as_secs_f64()),
    ),
    // Certificates, on Valkey.
    NodeRow::field(
        "redis_tls_server_cert_expires_seconds",
        AsGauge("redis_tls_server_cert_expires_in_seconds"),
        "tls",
        "tls_server_cert_expires_in_seconds",
        "Time until the TLS server certificate expires, in seconds; 0 without a certificate.",
    ),
    NodeRow::field(
        "redis_tls_client_cert_expires_seconds",
        AsGauge("redis_tls_client_cert_expires_in_seconds"),
        "tls",
        "tls_client_cert_expires_in_seconds",
        "Time until the TLS client certificate expires, in seconds; 0 without a certificate.",
    ),
    NodeRow::field(
        "redis_tls_ca_cert_expires_seconds",
        AsGauge("redis_tls_ca_cert_expires_in_seconds"),
        "tls",
        "tls_ca_cert_expires_in_seconds",
        "Time until the CA certificate expires, in seconds; 0 without a certificate.",
    ),
];
