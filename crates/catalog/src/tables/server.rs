//! The process, its clients, traffic, keys and processor time.

use crate::row::Legacy::{Counter, Gauge, No, Own, Same};
use crate::row::NodeRow;

pub(super) const ROWS: &[NodeRow] = &[
    NodeRow::many(
        "redis_instance_info",
        &["redis_version", "valkey_version", "redis_mode", "os", "run_id", "process_id", "tcp_port", "maxmemory_policy"],
        "INFO server, INFO memory: maxmemory_policy",
        "What is running: always 1.",
        |node, emit| {
            let Some(snapshot) = node.snapshot() else { return };
            let get = |field| snapshot.fields.get(field).unwrap_or_default();
            let mode = snapshot.identity.mode.as_deref().unwrap_or_default();
            let fields = ["os", "run_id", "process_id", "tcp_port", "maxmemory_policy"].map(get);
            let [os, run_id, process_id, port, policy] = fields;
            emit(&[get("redis_version"), get("valkey_version"), mode, os, run_id, process_id, port, policy], 1.0);
        },
    )
    .legacy(Own("redis_instance_info")),
    NodeRow::many("redis_module_info", &["module", "version"], "INFO modules: module", "A loaded module: always 1.", |node, emit| {
        for (module, version) in node.snapshot().into_iter().flat_map(|snapshot| &snapshot.modules) {
            emit(&[module, version], 1.0);
        }
    }),
    NodeRow::field("redis_uptime_in_seconds", "server", "uptime_in_seconds", "Time since the server started, seconds."),
    NodeRow::one(
        "redis_start_time_seconds",
        "INFO server: uptime_in_seconds, and our clock",
        "When the server started, seconds since the Unix epoch; exact to a second or two.",
        |node| {
            let uptime = node.snapshot()?.identity.uptime?;
            Some((super::polling::unix_seconds(node.polling.answered_at?) - uptime.as_secs_f64()).floor())
        },
    )
    .legacy(Same),
    NodeRow::field("redis_process_id", "server", "process_id", "Process id of the server."),
    NodeRow::field(
        "redis_server_time_seconds",
        "server",
        "server_time_usec",
        "The server's clock at the last answer, seconds since the Unix epoch.",
    )
    .scaled(1e-6)
    .legacy(No),
    NodeRow::field("redis_hz", "server", "hz", "How often the server does its background work, times a second."),
    NodeRow::field(
        "redis_configured_hz",
        "server",
        "configured_hz",
        "How often it is configured to do its background work, times a second.",
    ),
    NodeRow::field("redis_io_threads_active", "server", "io_threads_active", "Whether input and output have threads of their own."),
    // Clients.
    NodeRow::field("redis_connected_clients", "clients", "connected_clients", "Client connections, without those of replicas."),
    NodeRow::field("redis_max_clients", "clients", "maxclients", "The most client connections allowed."),
    NodeRow::field("redis_blocked_clients", "clients", "blocked_clients", "Clients that wait in a blocking command."),
    NodeRow::field("redis_tracking_clients", "clients", "tracking_clients", "Clients with client-side caching."),
    NodeRow::field("redis_pubsub_clients", "clients", "pubsub_clients", "Clients that subscribed to channels."),
    NodeRow::field("redis_watching_clients", "clients", "watching_clients", "Clients that watch keys for a transaction."),
    NodeRow::field("redis_clients_in_timeout_table", "clients", "clients_in_timeout_table", "Blocked clients with a time limit."),
    NodeRow::field("redis_total_watched_keys", "clients", "total_watched_keys", "Keys watched for transactions."),
    NodeRow::field("redis_total_blocking_keys", "clients", "total_blocking_keys", "Keys that clients wait for."),
    NodeRow::field(
        "redis_total_blocking_keys_on_nokey",
        "clients",
        "total_blocking_keys_on_nokey",
        "Keys that clients wait for, and that are to vanish.",
    ),
    NodeRow::field(
        "redis_client_recent_max_input_buffer_bytes",
        "clients",
        "client_recent_max_input_buffer",
        "Largest input buffer of a client lately, bytes.",
    ),
    NodeRow::field(
        "redis_client_recent_max_output_buffer_bytes",
        "clients",
        "client_recent_max_output_buffer",
        "Largest output buffer of a client lately, bytes.",
    ),
    NodeRow::field("redis_cluster_connections", "clients", "cluster_connections", "Connections of the cluster's own bus."),
    NodeRow::field(
        "redis_paused_timeout_seconds",
        "clients",
        "paused_timeout_milliseconds",
        "Time for which commands are still paused, seconds.",
    )
    .scaled(1e-3)
    .legacy(No),
    // Connections and traffic.
    NodeRow::field(
        "redis_connections_received_total",
        "stats",
        "total_connections_received",
        "Connections accepted since the server started.",
    ),
    NodeRow::field(
        "redis_rejected_connections_total",
        "stats",
        "rejected_connections",
        "Connections turned away because of maxclients since the server started.",
    ),
    NodeRow::field("redis_commands_processed_total", "stats", "total_commands_processed", "Commands run since the server started."),
    NodeRow::field("redis_net_input_bytes_total", "stats", "total_net_input_bytes", "Traffic from clients, bytes."),
    NodeRow::field("redis_net_output_bytes_total", "stats", "total_net_output_bytes", "Traffic to clients, bytes."),
    NodeRow::field(
        "redis_net_repl_input_bytes_total",
        "stats",
        "total_net_repl_input_bytes",
        "Replication traffic from the master, bytes.",
    ),
    NodeRow::field("redis_net_repl_output_bytes_total", "stats", "total_net_repl_output_bytes", "Replication traffic to replicas, bytes."),
    NodeRow::field(
        "redis_net_cluster_slot_import_bytes_total",
        "stats",
        "total_net_cluster_slot_import_bytes",
        "Traffic of slots that are taken in, bytes.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_net_cluster_slot_export_bytes_total",
        "stats",
        "total_net_cluster_slot_export_bytes",
        "Traffic of slots that are given away, bytes.",
    )
    .legacy(No),
    NodeRow::field("redis_reads_processed_total", "stats", "total_reads_processed", "Reads from sockets.")
        .legacy(Counter("redis_total_reads_processed")),
    NodeRow::field("redis_writes_processed_total", "stats", "total_writes_processed", "Writes to sockets.")
        .legacy(Counter("redis_total_writes_processed")),
    NodeRow::field("redis_io_threaded_reads_processed_total", "stats", "io_threaded_reads_processed", "Reads from sockets by threads.")
        .legacy(Counter("redis_io_threaded_reads_processed")),
    NodeRow::field("redis_io_threaded_writes_processed_total", "stats", "io_threaded_writes_processed", "Writes to sockets by threads.")
        .legacy(Counter("redis_io_threaded_writes_processed")),
    NodeRow::field(
        "redis_io_threaded_accepts_processed_total",
        "stats",
        "io_threaded_accept_processed",
        "Connections accepted by threads.",
    )
    .legacy(No),
    NodeRow::field("redis_io_threaded_polls_processed_total", "stats", "io_threaded_poll_processed", "Polls of sockets by threads.")
        .legacy(No),
    NodeRow::field("redis_io_threaded_freed_objects_total", "stats", "io_threaded_freed_objects", "Objects freed by threads.").legacy(No),
    NodeRow::field(
        "redis_io_threaded_prefetch_batches_total",
        "stats",
        "io_threaded_total_prefetch_batches",
        "Batches of keys fetched ahead by threads.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_io_threaded_prefetch_entries_total",
        "stats",
        "io_threaded_total_prefetch_entries",
        "Keys fetched ahead by threads.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_client_query_buffer_limit_disconnections_total",
        "stats",
        "client_query_buffer_limit_disconnections",
        "Clients cut off because of their input buffer.",
    ),
    NodeRow::field(
        "redis_client_output_buffer_limit_disconnections_total",
        "stats",
        "client_output_buffer_limit_disconnections",
        "Clients cut off because of their output buffer.",
    ),
    NodeRow::field(
        "redis_reply_buffer_shrinks_total",
        "stats",
        "reply_buffer_shrinks",
        "Times that a client's reply buffer was made smaller.",
    ),
    NodeRow::field(
        "redis_reply_buffer_expands_total",
        "stats",
        "reply_buffer_expands",
        "Times that a client's reply buffer was made larger.",
    ),
    NodeRow::field("redis_eventloop_cycles_total", "stats", "eventloop_cycles", "Turns of the event loop."),
    NodeRow::field("redis_eventloop_duration_seconds_total", "stats", "eventloop_duration_sum", "Time spent in the event loop, seconds.")
        .scaled(1e-6)
        .legacy(Counter("redis_eventloop_duration_sum_usec_total")),
    NodeRow::field(
        "redis_eventloop_command_duration_seconds_total",
        "stats",
        "eventloop_duration_cmd_sum",
        "Time spent in commands by the event loop, seconds.",
    )
    .scaled(1e-6)
    .legacy(Counter("redis_eventloop_duration_cmd_sum_usec_total")),
    // Keys.
    NodeRow::field("redis_keyspace_hits_total", "stats", "keyspace_hits", "Look-ups of keys that were there."),
    NodeRow::field("redis_keyspace_misses_total", "stats", "keyspace_misses", "Look-ups of keys that were not there."),
    NodeRow::field("redis_expired_keys_total", "stats", "expired_keys", "Keys that expired."),
    NodeRow::field("redis_expired_subkeys_total", "stats", "expired_subkeys", "Fields of hashes that expired."),
    NodeRow::field("redis_expired_fields_total", "stats", "expired_fields", "Fields of hashes that expired, on Valkey.").legacy(No),
    NodeRow::field(
        "redis_expired_stale_ratio",
        "stats",
        "expired_stale_perc",
        "Part of the keys with a time to live that may have expired unseen.",
    )
    .scaled(1e-2)
    .legacy(Gauge("redis_expired_stale_percentage")),
    NodeRow::field(
        "redis_expired_keys_with_volatile_items_stale_ratio",
        "stats",
        "expired_keys_with_volatile_items_stale_perc",
        "Part of the keys with expiring fields that may hold expired ones.",
    )
    .scaled(1e-2)
    .legacy(No),
    NodeRow::field(
        "redis_expired_time_cap_reached_total",
        "stats",
        "expired_time_cap_reached_count",
        "Times that expiring keys took all the time it may take.",
    ),
    NodeRow::field("redis_expire_cycle_cpu_seconds_total", "stats", "expire_cycle_cpu_milliseconds", "Time spent expiring keys, seconds.")
        .scaled(1e-3)
        .legacy(Counter("redis_expire_cycle_cpu_time_ms_total")),
    NodeRow::field("redis_evicted_keys_total", "stats", "evicted_keys", "Keys evicted to stay below the memory limit."),
    NodeRow::field("redis_evicted_clients_total", "stats", "evicted_clients", "Clients cut off to stay below the memory limit."),
    NodeRow::field("redis_evicted_scripts_total", "stats", "evicted_scripts", "Scripts evicted from the cache."),
    NodeRow::field(
        "redis_eviction_exceeded_seconds_total",
        "stats",
        "total_eviction_exceeded_time",
        "Time spent above the memory limit, seconds.",
    )
    .scaled(1e-3)
    .legacy(Counter("redis_eviction_exceeded_time_ms_total")),
    NodeRow::field(
        "redis_current_eviction_exceeded_seconds",
        "stats",
        "current_eviction_exceeded_time",
        "Time since memory went above its limit, seconds; 0 below it.",
    )
    .scaled(1e-3)
    .legacy(Gauge("redis_current_eviction_exceeded_time_ms")),
    NodeRow::many("redis_db_keys", &["db"], "INFO keyspace: keys", "Keys in the database; absent for an empty one.", |node, emit| {
        for database in node.snapshot().into_iter().flat_map(|snapshot| &snapshot.keyspace) {
            emit(&[&format!("db{}", database.index)], database.keys as f64);
        }
    })
    .legacy(Same),
    NodeRow::many(
        "redis_db_keys_expiring",
        &["db"],
        "INFO keyspace: expires",
        "Keys in the database with a time to live.",
        |node, emit| {
            for database in node.snapshot().into_iter().flat_map(|snapshot| &snapshot.keyspace) {
                emit(&[&format!("db{}", database.index)], database.expiring as f64);
            }
        },
    )
    .legacy(Same),
    NodeRow::many(
        "redis_db_avg_ttl_seconds",
        &["db"],
        "INFO keyspace: avg_ttl",
        "Mean time to live of the keys that have one, seconds; absent while the server does not know it.",
        |node, emit| {
            for database in node.snapshot().into_iter().flat_map(|snapshot| &snapshot.keyspace) {
                if let Some(ttl) = database.mean_ttl {
                    emit(&[&format!("db{}", database.index)], ttl.as_secs_f64());
                }
            }
        },
    )
    .legacy(Same),
    NodeRow::field("redis_pubsub_channels", "stats", "pubsub_channels", "Channels with subscribers."),
    NodeRow::field("redis_pubsub_patterns", "stats", "pubsub_patterns", "Patterns with subscribers."),
    NodeRow::field("redis_pubsubshard_channels", "stats", "pubsubshard_channels", "Channels of shards with subscribers."),
    NodeRow::field("redis_tracking_total_keys", "stats", "tracking_total_keys", "Keys tracked for client-side caching."),
    NodeRow::field("redis_tracking_total_items", "stats", "tracking_total_items", "Clients times keys tracked for client-side caching."),
    NodeRow::field("redis_tracking_total_prefixes", "stats", "tracking_total_prefixes", "Prefixes tracked for client-side caching."),
    NodeRow::field("redis_migrate_cached_sockets", "stats", "migrate_cached_sockets", "Sockets kept open for MIGRATE.")
        .legacy(Gauge("redis_migrate_cached_sockets_total")),
    // Processor time.
    NodeRow::field("redis_cpu_sys_seconds_total", "cpu", "used_cpu_sys", "System time of the server, seconds."),
    NodeRow::field("redis_cpu_user_seconds_total", "cpu", "used_cpu_user", "User time of the server, seconds."),
    NodeRow::field("redis_cpu_sys_children_seconds_total", "cpu", "used_cpu_sys_children", "System time of background processes, seconds."),
    NodeRow::field("redis_cpu_user_children_seconds_total", "cpu", "used_cpu_user_children", "User time of background processes, seconds."),
    NodeRow::field(
        "redis_cpu_sys_main_thread_seconds_total",
        "cpu",
        "used_cpu_sys_main_thread",
        "System time of the main thread, seconds.",
    ),
    NodeRow::field(
        "redis_cpu_user_main_thread_seconds_total",
        "cpu",
        "used_cpu_user_main_thread",
        "User time of the main thread, seconds.",
    ),
    NodeRow::field(
        "redis_active_time_main_thread_seconds_total",
        "cpu",
        "used_active_time_main_thread",
        "Time in which the main thread had work, seconds.",
    )
    .legacy(No),
    // The slow log.
    NodeRow::one("redis_slowlog_length", "SLOWLOG LEN", "Entries in the slow log.", |node| {
        node.snapshot()?.slowlog?.length.map(|length| length as f64)
    })
    .legacy(Same),
    NodeRow::one(
        "redis_slowlog_last_id",
        "SLOWLOG GET 1",
        "Number of the last entry of the slow log since the server started; absent in an empty log.",
        |node| node.snapshot()?.slowlog?.last.map(|(id, _)| id as f64),
    )
    .legacy(Own("redis_slowlog_last_id")),
    NodeRow::one(
        "redis_last_slow_execution_duration_seconds",
        "SLOWLOG GET 1",
        "Time that the last entry of the slow log took, seconds; absent in an empty log.",
        |node| node.snapshot()?.slowlog?.last.map(|(_, took)| took.as_secs_f64()),
    )
    .legacy(Own("redis_last_slow_execution_duration_seconds")),
    // Certificates, on Valkey.
    NodeRow::field(
        "redis_tls_server_cert_expires_seconds",
        "tls",
        "tls_server_cert_expires_in_seconds",
        "Time until the server certificate expires, seconds; 0 without one.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_tls_client_cert_expires_seconds",
        "tls",
        "tls_client_cert_expires_in_seconds",
        "Time until the client certificate expires, seconds; 0 without one.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_tls_ca_cert_expires_seconds",
        "tls",
        "tls_ca_cert_expires_in_seconds",
        "Time until the certificate of the authority expires, seconds; 0 without one.",
    )
    .legacy(No),
];
