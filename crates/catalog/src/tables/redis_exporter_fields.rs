//! Metrics of redis_exporter that Rolecall does not have and that are single fields: figures that
//! other metrics contain, and fields of other servers.

use crate::row::NodeRow;
use crate::row::RedisExporterName::{AsCounter, AsGauge};

pub(super) const ROWS: &[NodeRow] = &[
    // Rates of counters.
    NodeRow::field(
        "redis_instantaneous_eventloop_cycles_per_sec",
        AsGauge("redis_instantaneous_eventloop_cycles_per_sec"),
        "stats",
        "instantaneous_eventloop_cycles_per_sec",
        "Cycles of the event loop per second, as the server computes them.",
    ),
    NodeRow::field(
        "redis_instantaneous_eventloop_duration_usec",
        AsGauge("redis_instantaneous_eventloop_duration_usec"),
        "stats",
        "instantaneous_eventloop_duration_usec",
        "Mean duration of a cycle of the event loop, in microseconds, as the server computes it.",
    ),
    // Redis before 5.0.
    NodeRow::field(
        "redis_client_longest_output_list",
        AsGauge("redis_client_longest_output_list"),
        "clients",
        "client_longest_output_list",
        "Longest output list of a client.",
    ),
    NodeRow::field(
        "redis_client_biggest_input_buf",
        AsGauge("redis_client_biggest_input_buf"),
        "clients",
        "client_biggest_input_buf",
        "Largest input buffer of a client, in bytes.",
    ),
    // Redis 8.10.
    NodeRow::field(
        "redis_memory_used_hash_templates_bytes",
        AsGauge("redis_memory_used_hash_templates_bytes"),
        "memory",
        "used_memory_hash_templates",
        "Memory of hash templates, in bytes.",
    ),
    NodeRow::field(
        "redis_hash_templates",
        AsGauge("redis_hash_templates"),
        "stats",
        "hash_templates",
        "Hash templates.",
    ),
    NodeRow::field(
        "redis_hash_template_keys",
        AsGauge("redis_hash_template_keys"),
        "stats",
        "hash_template_keys",
        "Keys that use a hash template.",
    ),
    NodeRow::field(
        "redis_backup_in_progress",
        AsGauge("redis_backup_in_progress"),
        "persistence",
        "backup_in_progress",
        "Whether a backup is in progress.",
    ),
    // Azure.
    NodeRow::field(
        "redis_memory_max_reservation_bytes",
        AsGauge("redis_memory_max_reservation_bytes"),
        "memory",
        "maxmemory_reservation",
        "Memory that is reserved for other purposes than data, in bytes.",
    ),
    NodeRow::field(
        "redis_memory_max_reservation_desired_bytes",
        AsGauge("redis_memory_max_reservation_desired_bytes"),
        "memory",
        "maxmemory_desired_reservation",
        "Configured memory that is reserved for other purposes than data, in bytes.",
    ),
    NodeRow::field(
        "redis_memory_max_fragmentation_reservation_bytes",
        AsGauge("redis_memory_max_fragmentation_reservation_bytes"),
        "memory",
        "maxfragmentationmemory_reservation",
        "Memory that is reserved for fragmentation, in bytes.",
    ),
    NodeRow::field(
        "redis_memory_max_fragmentation_reservation_desired_bytes",
        AsGauge("redis_memory_max_fragmentation_reservation_desired_bytes"),
        "memory",
        "maxfragmentationmemory_desired_reservation",
        "Configured memory that is reserved for fragmentation, in bytes.",
    ),
    // KeyDB.
    NodeRow::field(
        "redis_server_threads_total",
        AsGauge("redis_server_threads_total"),
        "cpu",
        "server_threads",
        "Threads that serve clients.",
    ),
    NodeRow::field(
        "redis_long_lock_waits_total",
        AsGauge("redis_long_lock_waits_total"),
        "cpu",
        "long_lock_waits",
        "Times that a thread waited long for the global lock.",
    ),
    NodeRow::field(
        "redis_current_client_thread",
        AsGauge("redis_current_client_thread"),
        "clients",
        "current_client_thread",
        "Thread that serves the connection of the exporter.",
    ),
    NodeRow::field(
        "redis_cached_keys_total",
        AsCounter("redis_cached_keys_total"),
        "stats",
        "cached_keys",
        "Keys in the cache of a storage provider.",
    ),
    NodeRow::field(
        "redis_storage_provider_read_hits",
        AsCounter("redis_storage_provider_read_hits"),
        "stats",
        "storage_provider_read_hits",
        "Reads of a storage provider that found the key.",
    ),
    NodeRow::field(
        "redis_storage_provider_read_misses",
        AsCounter("redis_storage_provider_read_misses"),
        "stats",
        "storage_provider_read_misses",
        "Reads of a storage provider that did not find the key.",
    ),
];

/// Fields of CLUSTER INFO: messages over the cluster bus by their kind, and nodes by their state.
pub(super) const CLUSTER: &[NodeRow] = &[
    cluster_field(
        "redis_cluster_stats_messages_ping_sent",
        "cluster_stats_messages_ping_sent",
        "Messages of the kind ping sent over the cluster bus.",
    ),
    cluster_field(
        "redis_cluster_stats_messages_ping_received",
        "cluster_stats_messages_ping_received",
        "Messages of the kind ping received over the cluster bus.",
    ),
    cluster_field(
        "redis_cluster_stats_messages_pong_sent",
        "cluster_stats_messages_pong_sent",
        "Messages of the kind pong sent over the cluster bus.",
    ),
    cluster_field(
        "redis_cluster_stats_messages_pong_received",
        "cluster_stats_messages_pong_received",
        "Messages of the kind pong received over the cluster bus.",
    ),
    cluster_field(
        "redis_cluster_stats_messages_meet_sent",
        "cluster_stats_messages_meet_sent",
        "Messages of the kind meet sent over the cluster bus.",
    ),
    cluster_field(
        "redis_cluster_stats_messages_meet_received",
        "cluster_stats_messages_meet_received",
        "Messages of the kind meet received over the cluster bus.",
    ),
    cluster_field(
        "redis_cluster_stats_messages_fail_sent",
        "cluster_stats_messages_fail_sent",
        "Messages of the kind fail sent over the cluster bus.",
    ),
    cluster_field(
        "redis_cluster_stats_messages_fail_received",
        "cluster_stats_messages_fail_received",
        "Messages of the kind fail received over the cluster bus.",
    ),
    cluster_field(
        "redis_cluster_stats_messages_publish_sent",
        "cluster_stats_messages_publish_sent",
        "Messages of the kind publish sent over the cluster bus.",
    ),
    cluster_field(
        "redis_cluster_stats_messages_publish_received",
        "cluster_stats_messages_publish_received",
        "Messages of the kind publish received over the cluster bus.",
    ),
    cluster_field(
        "redis_cluster_stats_messages_publishshard_sent",
        "cluster_stats_messages_publishshard_sent",
        "Messages of the kind publishshard sent over the cluster bus.",
    ),
    cluster_field(
        "redis_cluster_stats_messages_publishshard_received",
        "cluster_stats_messages_publishshard_received",
        "Messages of the kind publishshard received over the cluster bus.",
    ),
    cluster_field(
        "redis_cluster_stats_messages_auth_req_sent",
        "cluster_stats_messages_auth-req_sent",
        "Messages of the kind auth-req sent over the cluster bus.",
    ),
    cluster_field(
        "redis_cluster_stats_messages_auth_req_received",
        "cluster_stats_messages_auth-req_received",
        "Messages of the kind auth-req received over the cluster bus.",
    ),
    cluster_field(
        "redis_cluster_stats_messages_auth_ack_sent",
        "cluster_stats_messages_auth-ack_sent",
        "Messages of the kind auth-ack sent over the cluster bus.",
    ),
    cluster_field(
        "redis_cluster_stats_messages_auth_ack_received",
        "cluster_stats_messages_auth-ack_received",
        "Messages of the kind auth-ack received over the cluster bus.",
    ),
    cluster_field(
        "redis_cluster_stats_messages_update_sent",
        "cluster_stats_messages_update_sent",
        "Messages of the kind update sent over the cluster bus.",
    ),
    cluster_field(
        "redis_cluster_stats_messages_update_received",
        "cluster_stats_messages_update_received",
        "Messages of the kind update received over the cluster bus.",
    ),
    cluster_field(
        "redis_cluster_stats_messages_mfstart_sent",
        "cluster_stats_messages_mfstart_sent",
        "Messages of the kind mfstart sent over the cluster bus.",
    ),
    cluster_field(
        "redis_cluster_stats_messages_mfstart_received",
        "cluster_stats_messages_mfstart_received",
        "Messages of the kind mfstart received over the cluster bus.",
    ),
    cluster_field(
        "redis_cluster_stats_messages_module_sent",
        "cluster_stats_messages_module_sent",
        "Messages of the kind module sent over the cluster bus.",
    ),
    cluster_field(
        "redis_cluster_stats_messages_module_received",
        "cluster_stats_messages_module_received",
        "Messages of the kind module received over the cluster bus.",
    ),
    cluster_field(
        "redis_cluster_stats_bytes_sent",
        "cluster_stats_bytes_sent",
        "Bytes sent over the cluster bus, on Valkey.",
    ),
    cluster_field(
        "redis_cluster_stats_bytes_received",
        "cluster_stats_bytes_received",
        "Bytes received over the cluster bus, on Valkey.",
    ),
    cluster_field(
        "redis_cluster_stats_pubsub_bytes_sent",
        "cluster_stats_pubsub_bytes_sent",
        "Bytes of published messages sent over the cluster bus, on Valkey.",
    ),
    cluster_field(
        "redis_cluster_stats_pubsub_bytes_received",
        "cluster_stats_pubsub_bytes_received",
        "Bytes of published messages received over the cluster bus, on Valkey.",
    ),
    cluster_field(
        "redis_cluster_stats_module_bytes_sent",
        "cluster_stats_module_bytes_sent",
        "Bytes of modules sent over the cluster bus, on Valkey.",
    ),
    cluster_field(
        "redis_cluster_stats_module_bytes_received",
        "cluster_stats_module_bytes_received",
        "Bytes of modules received over the cluster bus, on Valkey.",
    ),
    cluster_field(
        "redis_cluster_nodes_pfail",
        "cluster_nodes_pfail",
        "Nodes in state pfail, on Valkey.",
    ),
    cluster_field(
        "redis_cluster_nodes_fail",
        "cluster_nodes_fail",
        "Nodes in state fail, on Valkey.",
    ),
    cluster_field(
        "redis_cluster_voting_nodes_pfail",
        "cluster_voting_nodes_pfail",
        "Masters with slots in state pfail, on Valkey.",
    ),
    cluster_field(
        "redis_cluster_voting_nodes_fail",
        "cluster_voting_nodes_fail",
        "Masters with slots in state fail, on Valkey.",
    ),
];

const fn cluster_field(name: &'static str, field: &'static str, help: &'static str) -> NodeRow {
    NodeRow::cluster_field(name, AsGauge(name), field, help)
}
