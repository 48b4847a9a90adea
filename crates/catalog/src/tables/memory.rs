//! Memory: what is used, by what, and how well.

use crate::row::Legacy::{Gauge, No};
use crate::row::NodeRow;

pub(super) const ROWS: &[NodeRow] = &[
    NodeRow::field("redis_memory_used_bytes", "memory", "used_memory", "Memory in use by the allocator, bytes."),
    NodeRow::field("redis_memory_max_bytes", "memory", "maxmemory", "Memory limit, bytes; 0 is none."),
    NodeRow::field("redis_memory_used_rss_bytes", "memory", "used_memory_rss", "Memory that the system gave to the server, bytes."),
    NodeRow::field("redis_memory_used_peak_bytes", "memory", "used_memory_peak", "The most memory ever in use, bytes."),
    NodeRow::field(
        "redis_memory_used_peak_timestamp_seconds",
        "memory",
        "used_memory_peak_time",
        "When the most memory was in use, seconds since the Unix epoch.",
    )
    .legacy(No),
    NodeRow::field("redis_memory_used_overhead_bytes", "memory", "used_memory_overhead", "Memory for everything but data, bytes."),
    NodeRow::field("redis_memory_used_startup_bytes", "memory", "used_memory_startup", "Memory in use right after the start, bytes."),
    NodeRow::field("redis_memory_used_dataset_bytes", "memory", "used_memory_dataset", "Memory for data, bytes."),
    NodeRow::field("redis_memory_used_lua_bytes", "memory", "used_memory_lua", "Memory of the Lua engine, bytes."),
    NodeRow::field("redis_memory_used_vm_eval_bytes", "memory", "used_memory_vm_eval", "Memory of the engine for scripts, bytes."),
    NodeRow::field("redis_memory_used_scripts_eval_bytes", "memory", "used_memory_scripts_eval", "Memory of cached scripts, bytes."),
    NodeRow::field(
        "redis_memory_used_vm_functions_bytes",
        "memory",
        "used_memory_vm_functions",
        "Memory of the engine for functions, bytes.",
    ),
    NodeRow::field("redis_memory_used_vm_bytes", "memory", "used_memory_vm_total", "Memory of all engines, bytes.")
        .legacy(Gauge("redis_memory_used_vm_total")),
    NodeRow::field("redis_memory_used_functions_bytes", "memory", "used_memory_functions", "Memory of functions, bytes."),
    NodeRow::field("redis_memory_used_scripts_bytes", "memory", "used_memory_scripts", "Memory of scripts and functions, bytes."),
    NodeRow::field("redis_script_engines", "scripting engines", "engines_count", "Engines for scripts, on Valkey.").legacy(No),
    NodeRow::field(
        "redis_script_engines_used_memory_bytes",
        "scripting engines",
        "engines_total_used_memory",
        "Memory of the engines for scripts, bytes.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_script_engines_overhead_bytes",
        "scripting engines",
        "engines_total_memory_overhead",
        "Overhead of the engines for scripts, bytes.",
    )
    .legacy(No),
    NodeRow::field("redis_number_of_cached_scripts", "memory", "number_of_cached_scripts", "Scripts in the cache."),
    NodeRow::field("redis_number_of_functions", "memory", "number_of_functions", "Functions loaded."),
    NodeRow::field("redis_number_of_libraries", "memory", "number_of_libraries", "Libraries of functions loaded."),
    NodeRow::field("redis_total_system_memory_bytes", "memory", "total_system_memory", "Memory of the server's host, bytes."),
    NodeRow::field("redis_mem_fragmentation_ratio", "memory", "mem_fragmentation_ratio", "Memory from the system over memory in use."),
    NodeRow::field(
        "redis_mem_fragmentation_bytes",
        "memory",
        "mem_fragmentation_bytes",
        "Memory from the system less memory in use, bytes.",
    )
    .signed(),
    NodeRow::field(
        "redis_mem_not_counted_for_eviction_bytes",
        "memory",
        "mem_not_counted_for_evict",
        "Memory that does not count against the limit, bytes.",
    ),
    NodeRow::field("redis_mem_clients_slaves", "memory", "mem_clients_slaves", "Memory of the connections of replicas, bytes."),
    NodeRow::field("redis_mem_clients_normal", "memory", "mem_clients_normal", "Memory of the connections of clients, bytes."),
    NodeRow::field("redis_mem_cluster_links_bytes", "memory", "mem_cluster_links", "Memory of the links of the cluster's bus, bytes."),
    NodeRow::field("redis_mem_cluster_slot_import_bytes", "memory", "mem_cluster_slot_import", "Memory of slots that are taken in, bytes.")
        .legacy(No),
    NodeRow::field(
        "redis_mem_cluster_slot_export_bytes",
        "memory",
        "mem_cluster_slot_export",
        "Memory of slots that are given away, bytes.",
    )
    .legacy(No),
    NodeRow::field("redis_mem_aof_buffer_bytes", "memory", "mem_aof_buffer", "Memory of the buffers of the append-only file, bytes."),
    NodeRow::field("redis_mem_replication_backlog_bytes", "memory", "mem_replication_backlog", "Memory of the replication backlog, bytes."),
    NodeRow::field(
        "redis_mem_total_replication_buffers_bytes",
        "memory",
        "mem_total_replication_buffers",
        "Memory of all replication buffers, bytes.",
    ),
    NodeRow::field(
        "redis_mem_replica_full_sync_buffer_bytes",
        "memory",
        "mem_replica_full_sync_buffer",
        "Memory of the buffer that a replica fills during a full synchronisation, bytes.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_mem_replicas_repl_buffer_bytes",
        "memory",
        "mem_replicas_repl_buffer",
        "Memory of the buffer that a replica fills during a full synchronisation, bytes, on Valkey.",
    )
    .legacy(No),
    NodeRow::field(
        "redis_mem_overhead_db_hashtable_rehashing_bytes",
        "memory",
        "mem_overhead_db_hashtable_rehashing",
        "Memory of tables that are being enlarged, bytes.",
    )
    .legacy(No),
    NodeRow::field("redis_allocator_active_bytes", "memory", "allocator_active", "Memory in pages that are in use, bytes."),
    NodeRow::field("redis_allocator_allocated_bytes", "memory", "allocator_allocated", "Memory that was asked of the allocator, bytes."),
    NodeRow::field("redis_allocator_resident_bytes", "memory", "allocator_resident", "Memory in pages that are resident, bytes."),
    NodeRow::field("redis_allocator_muzzy_bytes", "memory", "allocator_muzzy", "Memory that the system may take back, bytes."),
    NodeRow::field("redis_allocator_frag_ratio", "memory", "allocator_frag_ratio", "Memory in active pages over memory allocated."),
    NodeRow::field("redis_allocator_frag_bytes", "memory", "allocator_frag_bytes", "Memory in active pages less memory allocated, bytes.")
        .signed(),
    NodeRow::field("redis_allocator_rss_ratio", "memory", "allocator_rss_ratio", "Memory in resident pages over memory in active pages."),
    NodeRow::field(
        "redis_allocator_rss_bytes",
        "memory",
        "allocator_rss_bytes",
        "Memory in resident pages less memory in active pages, bytes.",
    )
    .signed(),
    NodeRow::field("redis_rss_overhead_ratio", "memory", "rss_overhead_ratio", "Memory from the system over memory in resident pages.")
        .legacy(No),
    NodeRow::field(
        "redis_rss_overhead_bytes",
        "memory",
        "rss_overhead_bytes",
        "Memory from the system less memory in resident pages, bytes.",
    )
    .signed()
    .legacy(No),
    NodeRow::field("redis_lazyfree_pending_objects", "memory", "lazyfree_pending_objects", "Objects that wait to be freed."),
    NodeRow::field("redis_lazyfreed_objects_total", "memory", "lazyfreed_objects", "Objects freed in the background.")
        .legacy(Gauge("redis_lazyfreed_objects")),
    NodeRow::field(
        "redis_active_defrag_running",
        "memory",
        "active_defrag_running",
        "Effort of the running defragmentation, percent of a processor; 0 is none.",
    ),
    NodeRow::field("redis_defrag_hits_total", "stats", "active_defrag_hits", "Values moved by defragmentation.")
        .legacy(Gauge("redis_defrag_hits")),
    NodeRow::field("redis_defrag_misses_total", "stats", "active_defrag_misses", "Values that defragmentation left in place.")
        .legacy(Gauge("redis_defrag_misses")),
    NodeRow::field("redis_defrag_key_hits_total", "stats", "active_defrag_key_hits", "Keys moved by defragmentation.")
        .legacy(Gauge("redis_defrag_key_hits")),
    NodeRow::field("redis_defrag_key_misses_total", "stats", "active_defrag_key_misses", "Keys that defragmentation left in place.")
        .legacy(Gauge("redis_defrag_key_misses")),
    NodeRow::field(
        "redis_active_defrag_seconds_total",
        "stats",
        "total_active_defrag_time",
        "Time spent with too much fragmentation, seconds.",
    )
    .scaled(1e-3)
    .legacy(No),
    NodeRow::field(
        "redis_current_active_defrag_seconds",
        "stats",
        "current_active_defrag_time",
        "Time since fragmentation became too much, seconds; 0 when it is not.",
    )
    .scaled(1e-3)
    .legacy(No),
];
