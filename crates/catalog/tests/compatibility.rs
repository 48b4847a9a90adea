//! Compares the metrics on `/scrape` with series that redis_exporter really exposed.

use std::collections::{BTreeMap, BTreeSet};

use catalog::{Entry, MetricKind, RedisExporterName, entries, redis_exporter_entries};

/// Name, type and labels of each series that redis_exporter 1.45.0 or its later master exposed for
/// a primary, a replica and a Sentinel of Redis 7.0.15.
const EXPOSED: &str = include_str!("fixtures/redis_exporter-series.tsv");

/// Names that public rules and dashboards use.
const USED: &str = include_str!("fixtures/third-party-series.tsv");

/// Series of redis_exporter that are not on `/scrape`, with the reason.
const NOT_ON_SCRAPE: &[(&str, &[&str])] = &[
    (
        "about connections and readings that Rolecall does not make for a scrape",
        &[
            "redis_exporter_last_scrape_connect_time_seconds",
            "redis_last_key_groups_scrape_duration_milliseconds",
        ],
    ),
    (
        "from LATENCY HISTOGRAM, which takes 220 us of server time and is unknown before 7.0",
        &["redis_commands_latencies_usec"],
    ),
];

/// Names in redis_exporter that rows state and [`EXPOSED`] does not have, with the reason why that
/// run of redis_exporter could not expose them.
const NOT_CAPTURED: &[(&str, &[&str])] = &[
    (
        "from CLUSTER INFO, which redis_exporter reads only on cluster nodes",
        &[
            "redis_cluster_current_epoch",
            "redis_cluster_known_nodes",
            "redis_cluster_messages_received_total",
            "redis_cluster_messages_sent_total",
            "redis_cluster_my_epoch",
            "redis_cluster_size",
            "redis_cluster_slots_assigned",
            "redis_cluster_slots_fail",
            "redis_cluster_slots_ok",
            "redis_cluster_slots_pfail",
            "redis_cluster_state",
            "redis_cluster_stats_messages_auth_ack_received",
            "redis_cluster_stats_messages_auth_ack_sent",
            "redis_cluster_stats_messages_auth_req_received",
            "redis_cluster_stats_messages_auth_req_sent",
            "redis_cluster_stats_messages_fail_received",
            "redis_cluster_stats_messages_fail_sent",
            "redis_cluster_stats_messages_meet_received",
            "redis_cluster_stats_messages_meet_sent",
            "redis_cluster_stats_messages_mfstart_received",
            "redis_cluster_stats_messages_mfstart_sent",
            "redis_cluster_stats_messages_module_received",
            "redis_cluster_stats_messages_module_sent",
            "redis_cluster_stats_messages_ping_received",
            "redis_cluster_stats_messages_ping_sent",
            "redis_cluster_stats_messages_pong_received",
            "redis_cluster_stats_messages_pong_sent",
            "redis_cluster_stats_messages_publish_received",
            "redis_cluster_stats_messages_publish_sent",
            "redis_cluster_stats_messages_publishshard_received",
            "redis_cluster_stats_messages_publishshard_sent",
            "redis_cluster_stats_messages_update_received",
            "redis_cluster_stats_messages_update_sent",
        ],
    ),
    ("only with --include-system-metrics", &["redis_total_system_memory_bytes"]),
    ("from an INFO field that only Redis before 7.0 has", &["redis_aof_rewrite_buffer_length"]),
    (
        "from an INFO field that Redis 7.0 lacks; later versions of Redis or Valkey have it",
        &[
            "redis_acl_access_denied_auth_total",
            "redis_acl_access_denied_channel_total",
            "redis_acl_access_denied_cmd_total",
            "redis_acl_access_denied_key_total",
            "redis_allocator_muzzy_bytes",
            "redis_backup_in_progress",
            "redis_client_output_buffer_limit_disconnections_total",
            "redis_client_query_buffer_limit_disconnections_total",
            "redis_db_keys_with_expiring_items",
            "redis_eventloop_cycles_total",
            "redis_eventloop_duration_cmd_sum_usec_total",
            "redis_eventloop_duration_sum_usec_total",
            "redis_evicted_scripts_total",
            "redis_expired_subkeys_total",
            "redis_hash_template_keys",
            "redis_hash_templates",
            "redis_instantaneous_eventloop_cycles_per_sec",
            "redis_instantaneous_eventloop_duration_usec",
            "redis_mem_overhead_db_hashtable_rehashing_bytes",
            "redis_memory_used_hash_templates_bytes",
            "redis_pubsub_clients",
            "redis_total_blocking_keys",
            "redis_total_blocking_keys_on_nokey",
            "redis_total_watched_keys",
            "redis_watching_clients",
        ],
    ),
    (
        "from a field of CLUSTER INFO that only Valkey has",
        &[
            "redis_cluster_nodes_fail",
            "redis_cluster_nodes_pfail",
            "redis_cluster_stats_bytes_received",
            "redis_cluster_stats_bytes_sent",
            "redis_cluster_stats_module_bytes_received",
            "redis_cluster_stats_module_bytes_sent",
            "redis_cluster_stats_pubsub_bytes_received",
            "redis_cluster_stats_pubsub_bytes_sent",
            "redis_cluster_voting_nodes_fail",
            "redis_cluster_voting_nodes_pfail",
        ],
    ),
    (
        "from an INFO field that only Valkey has",
        &[
            "redis_acl_access_denied_db_total",
            "redis_acl_access_denied_tls_cert_total",
            "redis_active_time_io_thread_seconds_total",
            "redis_active_time_main_thread_seconds_total",
            "redis_expired_fields_total",
            "redis_expired_keys_with_volatile_items_stale_percentage",
            "redis_mem_replicas_repl_buffer_bytes",
            "redis_replicas_repl_buffer_peak_bytes",
            "redis_replicas_repl_buffer_size_bytes",
            "redis_replicas_waiting_psync",
            "redis_scripting_engine_info",
            "redis_scripting_engine_memory_overhead_bytes",
            "redis_scripting_engine_memory_used_bytes",
            "redis_scripting_engines_count",
            "redis_scripting_engines_memory_overhead_bytes",
            "redis_scripting_engines_memory_used_bytes",
            "redis_tls_ca_cert_expires_in_seconds",
            "redis_tls_certificate_info",
            "redis_tls_client_cert_expires_in_seconds",
            "redis_tls_server_cert_expires_in_seconds",
        ],
    ),
    (
        "from an INFO field that only KeyDB has",
        &[
            "redis_cached_keys_total",
            "redis_current_client_thread",
            "redis_db_keys_cached",
            "redis_long_lock_waits_total",
            "redis_server_threads_total",
            "redis_storage_provider_read_hits",
            "redis_storage_provider_read_misses",
        ],
    ),
    (
        "from an INFO field that only Azure has",
        &[
            "redis_memory_max_fragmentation_reservation_bytes",
            "redis_memory_max_fragmentation_reservation_desired_bytes",
            "redis_memory_max_reservation_bytes",
            "redis_memory_max_reservation_desired_bytes",
        ],
    ),
    (
        "from an INFO field that only Redis before 5.0 has",
        &["redis_client_biggest_input_buf", "redis_client_longest_output_list"],
    ),
    (
        "only with a flag: --include-sentinel-peer-info, --include-modules-metrics",
        &["redis_module_info", "redis_sentinel_peer_info"],
    ),
];

/// Labels on `/scrape` that the versions in [`EXPOSED`] lack; later versions have them.
const NEWER_LABELS: [&str; 3] = ["valkey_version", "valkey_release_stage", "availability_zone"];

/// Type and labels of a metric.
type Shape = (&'static str, BTreeSet<&'static str>);

/// Returns the series of redis_exporter by name.
fn exposed() -> BTreeMap<&'static str, Shape> {
    let series = |line: &'static str| {
        let columns: Vec<_> = line.split('\t').collect();
        // The quantile belongs to the type.
        let is_label = |label: &&str| !label.is_empty() && *label != "quantile";
        let labels = columns[2].split(',').filter(is_label).collect();
        (columns[0], (columns[1], labels))
    };
    EXPOSED.lines().skip(1).map(series).collect()
}

/// Returns the metrics on `/scrape` by name.
fn on_scrape() -> BTreeMap<&'static str, Shape> {
    redis_exporter_entries()
        .map(|entry| {
            let (name, kind) = entry.on_scrape().expect("on /scrape");
            (name, shape(kind, entry.labels))
        })
        .collect()
}

fn shape(kind: MetricKind, labels: &'static [&'static str]) -> Shape {
    // Text format 0.0.4 has no type info.
    let kind = match kind {
        MetricKind::Counter => "counter",
        MetricKind::Summary => "summary",
        _ => "gauge",
    };
    (kind, labels.iter().copied().filter(|label| !NEWER_LABELS.contains(label)).collect())
}

fn names(listed: &[(&str, &[&'static str])]) -> BTreeSet<&'static str> {
    listed.iter().flat_map(|(_, names)| names.iter().copied()).collect()
}

/// Returns the name in redis_exporter that a row states, and the type and labels of the row on
/// `/scrape`; `None` for these if a separate row has that name.
fn stated_name(entry: &'static Entry) -> Option<(&'static str, Option<Shape>)> {
    match entry.redis_exporter {
        RedisExporterName::SeparateRow(name) => Some((name, None)),
        _ => entry.on_scrape().map(|(name, kind)| (name, Some(shape(kind, entry.labels)))),
    }
}

/// Returns all rows: those on `/metrics` and those that are only on `/scrape`.
fn all_rows() -> impl Iterator<Item = &'static Entry> {
    entries().map(|(_, _, entry)| entry).chain(redis_exporter_entries())
}

#[test]
fn every_stated_redis_exporter_name_is_true() {
    let (exposed, not_captured) = (exposed(), names(NOT_CAPTURED));
    let mut problems = BTreeSet::new();
    for entry in all_rows() {
        let row = entry.name;
        match stated_name(entry) {
            Some((name, ours)) => match (exposed.get(name), ours) {
                (None, _) if !not_captured.contains(name) => {
                    problems.insert(format!(
                        "{row}: the row states that redis_exporter exposes {name}, but \
                         tests/fixtures/redis_exporter-series.tsv has no such series. If \
                         redis_exporter does not have the metric, write `Absent` in the row in \
                         src/tables. If the run behind that file could not expose it, add {name} \
                         to NOT_CAPTURED in tests/compatibility.rs with the reason."
                    ));
                }
                (Some(theirs), Some(ours)) if ours != *theirs => {
                    problems.insert(format!(
                        "{row}: redis_exporter exposes {name} with type and labels {theirs:?}, the \
                         row has {ours:?}. If only the type differs, write `AsGauge` or \
                         `AsCounter` in the row in src/tables. If the labels differ, write \
                         `SeparateRow` and add a row to src/tables/redis_exporter.rs."
                    ));
                }
                _ => {}
            },
            None if exposed.contains_key(row) => {
                problems.insert(format!(
                    "{row}: the row states `Absent`, but redis_exporter exposes a metric of this \
                     name. Write `Same`, `AsGauge`, `AsCounter` or `SeparateRow` in the row in \
                     src/tables."
                ));
            }
            None => {}
        }
    }
    let problems: Vec<_> = problems.into_iter().collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_name_that_was_not_captured_is_needed() {
    let exposed = exposed();
    let stated: BTreeSet<_> = all_rows().filter_map(stated_name).map(|(name, _)| name).collect();
    for name in names(NOT_CAPTURED) {
        assert!(stated.contains(name), "{name}: no row states this name, remove it");
        assert!(!exposed.contains_key(name), "{name}: the series was captured, remove the name");
    }
}

#[test]
fn every_redis_exporter_series_is_on_scrape_or_listed() {
    let on_scrape = on_scrape();
    let mut missing = BTreeSet::new();
    for (name, theirs) in exposed() {
        match on_scrape.get(name) {
            Some(ours) => assert_eq!(*ours, theirs, "{name}"),
            None => {
                missing.insert(name);
            }
        }
    }
    assert_eq!(
        missing,
        names(NOT_ON_SCRAPE),
        "left: series that /scrape lacks; right: NOT_ON_SCRAPE"
    );
}

#[test]
fn every_series_that_public_rules_use_is_on_scrape() {
    let on_scrape = on_scrape();
    let names: Vec<_> = USED.lines().skip(1).filter_map(|line| line.split('\t').next()).collect();
    assert!(names.len() > 40);
    for name in names {
        assert!(on_scrape.contains_key(name), "{name}");
    }
}
