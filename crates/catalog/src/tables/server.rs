//! The process, its clients, memory and traffic.

use crate::row::{Legacy, NodeRow};

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
    .legacy(Legacy::Same),
    NodeRow::field("redis_uptime_in_seconds", "server", "uptime_in_seconds", "Time since the server started, seconds."),
    NodeRow::field("redis_connected_clients", "clients", "connected_clients", "Client connections, without those of replicas."),
    NodeRow::field("redis_blocked_clients", "clients", "blocked_clients", "Clients that wait in a blocking command."),
    NodeRow::field("redis_memory_used_bytes", "memory", "used_memory", "Memory in use by the allocator, bytes."),
    NodeRow::field("redis_memory_max_bytes", "memory", "maxmemory", "Memory limit, bytes; 0 is none."),
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
    NodeRow::field("redis_keyspace_hits_total", "stats", "keyspace_hits", "Look-ups of keys that were there."),
    NodeRow::field("redis_keyspace_misses_total", "stats", "keyspace_misses", "Look-ups of keys that were not there."),
    NodeRow::field("redis_evicted_keys_total", "stats", "evicted_keys", "Keys evicted to stay below the memory limit."),
];
