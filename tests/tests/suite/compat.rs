//! Comparison of `/scrape` with redis_exporter 1.45.0 on the same servers. Every difference is
//! listed with its reason.

use std::collections::{BTreeMap, BTreeSet};

use tests::{Daemon, Redis, RedisExporter, SECOND, eventually, promtool};

/// Allowed differences, grouped by reason. A pattern may end in `*`.
const DIFFERENCES: &[(&str, &[&str])] = &[
    (
        "about redis_exporter itself",
        &[
            "- redis_exporter_build_info",
            "- redis_exporter_last_scrape_connect_time_seconds",
            "- redis_exporter_scrape_duration_seconds*",
            "- redis_last_key_groups_scrape_duration_milliseconds",
            "- redis_target_scrape_request_errors_total",
        ],
    ),
    (
        "read from INFO latencystats, which costs as much as seven INFO; Rolecall reads it only if \
         configured, as redis_command_latency_seconds",
        &["- redis_latency_percentiles_usec*"],
    ),
    (
        "redis_exporter shows all 16 databases; Rolecall shows the databases that have keys",
        &["- redis_db_keys{db}", "- redis_db_keys_expiring{db}"],
    ),
    (
        "later versions of redis_exporter have these series",
        &[
            "+ redis_async_loading",
            "+ redis_config_client_output_buffer_limit_*",
            "+ redis_config_repl_backlog_size",
            "+ redis_configured_hz",
            "+ redis_current_eviction_exceeded_time_ms",
            "+ redis_evicted_clients_total",
            "+ redis_eviction_exceeded_time_ms_total",
            "+ redis_expire_cycle_cpu_time_ms_total",
            "+ redis_hz",
            "+ redis_lazyfreed_objects",
            "+ redis_max_clients",
            "+ redis_mem_aof_buffer_bytes",
            "+ redis_mem_cluster_links_bytes",
            "+ redis_mem_replication_backlog_bytes",
            "+ redis_mem_total_replication_buffers_bytes",
            "+ redis_memory_used_functions_bytes",
            "+ redis_memory_used_scripts_eval_bytes",
            "+ redis_memory_used_vm_*",
            "+ redis_net_repl_*",
            "+ redis_number_of_functions",
            "+ redis_number_of_libraries",
            "+ redis_pubsubshard_channels",
            "+ redis_rdb_last_load_*",
            "+ redis_rdb_saves_total",
            "+ redis_reply_buffer_*",
        ],
    ),
    (
        "0 on a replica, which does not know the value; absent in Rolecall",
        &["- redis_db_avg_ttl_seconds"],
    ),
    (
        "a gauge in 1.45.0, a counter in later versions",
        &["type of redis_expired_time_cap_reached_total*"],
    ),
    (
        "later versions of redis_exporter have the label master_replid",
        &["labels of redis_instance_info: *"],
    ),
    ("redis_exporter shows this series only with a flag", &["+ redis_total_system_memory_bytes"]),
];

/// Series whose value changes between two polls or depends on the client that polls.
const CHANGING: &[&str] = &[
    "redis_allocator_",
    "redis_aof_pending_bio_fsync",
    "redis_client_recent_max_",
    "redis_commands_",
    "redis_connected_clients",
    "redis_connected_slave_",
    "redis_connections_received_total",
    "redis_cpu_",
    "redis_db_avg_ttl_seconds",
    "redis_exporter_",
    // The labels differ, see above.
    "redis_instance_info",
    "redis_latency",
    "redis_master_last_io_seconds_ago",
    "redis_master_repl_offset",
    "redis_mem_",
    "redis_memory_used_",
    "redis_net_",
    "redis_repl_backlog_history_bytes",
    "redis_slave_repl_offset",
    "redis_slowlog_",
    "redis_last_slow_execution_duration_seconds",
    "redis_start_time_seconds",
    "redis_total_reads_processed",
    "redis_total_writes_processed",
    "redis_uptime_in_seconds",
    // redis_exporter itself causes errors with CONFIG GET and, on 6.2, with LATENCY.
    "redis_total_error_replies",
];

/// A parsed exposition.
struct Exposition {
    /// Label names by metric name.
    labels: BTreeMap<String, BTreeSet<String>>,
    /// Types by metric name.
    types: BTreeMap<String, String>,
    /// Values by series.
    values: BTreeMap<String, f64>,
}

fn parse(text: &str) -> Exposition {
    let mut exposition =
        Exposition { labels: BTreeMap::new(), types: BTreeMap::new(), values: BTreeMap::new() };
    for line in text.lines() {
        if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            exposition.types.insert(name.to_owned(), kind.to_owned());
        }
        if line.starts_with('#') || !line.starts_with("redis_") {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a sample");
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        // Label values contain no quotes and no commas in these tests.
        let mut labels: Vec<_> =
            labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()).collect();
        labels.sort_unstable();
        // An empty label is the same as no label.
        let names = labels
            .iter()
            .filter(|label| !label.ends_with("=\"\""))
            .filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
        exposition.labels.entry(name.to_owned()).or_default().extend(names);
        exposition
            .values
            .insert(format!("{name}{{{}}}", labels.join(",")), value.parse().expect("a value"));
    }
    exposition
}

fn is_listed(difference: &str) -> bool {
    DIFFERENCES
        .iter()
        .flat_map(|(_, patterns)| *patterns)
        .any(|pattern| matches_pattern(pattern, difference))
}

fn matches_pattern(pattern: &str, difference: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => difference.starts_with(start),
        None => difference == pattern,
    }
}

fn differences(theirs: &Exposition, ours: &Exposition) -> Vec<String> {
    let mut differences = Vec::new();
    let names: BTreeSet<_> = theirs.labels.keys().chain(ours.labels.keys()).collect();
    for name in names {
        match (theirs.labels.get(name), ours.labels.get(name)) {
            (Some(_), None) => differences.push(format!("- {name}")),
            (None, Some(_)) => differences.push(format!("+ {name}")),
            (Some(theirs), Some(ours)) if theirs != ours => {
                differences.push(format!("labels of {name}: theirs {theirs:?}, ours {ours:?}"));
            }
            _ => {}
        }
        if let (Some(theirs), Some(ours)) = (theirs.types.get(name), ours.types.get(name))
            && theirs != ours
        {
            differences.push(format!("type of {name}: theirs {theirs}, ours {ours}"));
        }
    }
    for (series, theirs) in &theirs.values {
        let changes = CHANGING.iter().any(|start| series.starts_with(start));
        let name = series.split('{').next().unwrap_or_default();
        match ours.values.get(series) {
            Some(ours) if !changes && (ours - theirs).abs() > 1e-9 => {
                differences.push(format!("value of {series}: theirs {theirs}, ours {ours}"));
            }
            // A changing value stays within the same order of magnitude, unless the units differ.
            Some(ours)
                if changes
                    && !series.contains("_recent_max_")
                    && theirs.abs() > 1e-3
                    && ours.abs() > 1e-3
                    && !(0.01..100.0).contains(&(ours / theirs)) =>
            {
                differences.push(format!("magnitude of {series}: theirs {theirs}, ours {ours}"));
            }
            None if !changes && ours.labels.contains_key(name) && *theirs != 0.0 => {
                differences.push(format!("- {series} with the value {theirs}"));
            }
            None if !changes
                && ours.labels.contains_key(name)
                && name.starts_with("redis_db_keys") =>
            {
                differences.push(format!("- {name}{{db}}"));
            }
            _ => {}
        }
    }
    differences
}

/// Compares both exporters on a primary and a replica of this version. Returns all differences.
fn compare(version: &'static str) -> Vec<String> {
    let mut differences_found = Vec::new();
    let primary = Redis::with_version(version, &["--appendonly", "yes"]);
    let replica = primary.replica();
    for command in [
        &["SET", "key", "value"][..],
        &["EXPIRE", "key", "1000"],
        &["GET", "key"],
        &["GET", "other"],
        &["BGSAVE"],
        &["NOSUCH"],
    ] {
        primary.cli(command);
    }
    replica.cli(&["SET", "key", "other"]);
    eventually(SECOND * 10, "saved", || {
        (primary.info("rdb_bgsave_in_progress")? == "0").then_some(())
    });
    for server in [&primary, &replica] {
        let (exporter, theirs) = RedisExporter::start(server);
        drop(exporter);
        let daemon = Daemon::watch(&[server]);
        let path = format!("/scrape?target=redis://{}", server.address());
        let (ours, _) = eventually(SECOND * 10, "all series are present", || {
            Some(daemon.get(&path, "application/openmetrics-text"))
                .filter(|response| response.text.contains("redis_slowlog_last_id"))
        });
        assert_eq!(
            ours.content_type, "text/plain; version=0.0.4; charset=utf-8",
            "the same format for every Accept header"
        );
        let found = differences(&parse(&theirs), &parse(&ours.text));
        let unlisted: Vec<_> = found.iter().filter(|difference| !is_listed(difference)).collect();
        assert_eq!(unlisted, Vec::<&String>::new(), "{version}");
        differences_found.extend(found);
        assert!(parse(&ours.text).labels.len() > 120, "{version}");
    }
    differences_found
}

#[test]
fn scrape_matches_redis_exporter_on_7_0_and_6_2() {
    let found = [compare("redis-7.0.15"), compare("redis-6.2.14")].concat();
    let patterns = DIFFERENCES.iter().flat_map(|(_, patterns)| *patterns);
    let unused: Vec<_> = patterns
        .filter(|pattern| !found.iter().any(|difference| matches_pattern(pattern, difference)))
        .collect();
    assert_eq!(unused, Vec::<&&str>::new(), "listed differences that do not occur");
}

#[test]
fn scrape_serves_only_configured_nodes() {
    let (primary, other) = (Redis::start(&[]), Redis::start(&[]));
    let replica = primary.replica();
    let text = format!(
        "[[deployment]]\nname = 'a'\nnodes = [{{ url = '{}', name = 'zero' }}, {{ url = '{}' }}]\n\
         [[deployment]]\nname = 'b'\nnodes = [{{ url = '{}', name = 'zero' }}]\n",
        primary.url(),
        replica.url(),
        primary.url()
    );
    let daemon = Daemon::configured(&text);
    let before = other.number("total_connections_received");
    let scrape = |query: &str| daemon.get(&format!("/scrape{query}"), "");
    for (query, status) in [
        ("", 400),
        ("?target=", 400),
        ("?target=zero", 400),
        ("?target=zero&deployment=a", 200),
        ("?target=zero&deployment=c", 404),
        (&format!("?target={}&deployment=b", primary.address()), 200),
        (&format!("?target={}", replica.address()), 200),
        (&format!("?target=redis://user:pass@{}", replica.address()), 200),
        (&format!("?target={}", other.address()), 404),
        (&format!("?target={}", other.url()), 404),
        ("?target=169.254.169.254:80", 404),
    ] {
        assert_eq!(scrape(query).status, status, "{query}");
    }
    let after = other.number("total_connections_received");
    assert_eq!(after - before, 1, "only redis-cli connected");

    // The scrape of a node that is down succeeds too, as with redis_exporter.
    drop(primary);
    daemon.until(SECOND * 5, "redis_up", &[("deployment", "a"), ("node", "zero")], 0.0);
    let down = scrape("?target=zero&deployment=a").text;
    assert!(
        down.contains("redis_up 0\n")
            && down.contains("redis_exporter_last_scrape_error{err=\"refused\"} 1\n"),
        "{down}"
    );

    for (query, status, present, absent) in [
        ("?deployment=b", 200, "deployment=\"b\"", "deployment=\"a\""),
        ("?collect[]=replication", 200, "redis_role{", "redis_up{"),
        ("?collect[]=polling&collect[]=exporter", 200, "rolecall_build_info{", "redis_role{"),
        ("?collect%5B%5D=polling", 200, "redis_up{", "rolecall_build_info{"),
        ("?collect[]=core", 200, "redis_role{", "redis_process_id{"),
        ("?collect[]=core&collect[]=server", 200, "redis_process_id{", "redis_polls_total{"),
        (
            "?collect[]=nosuch",
            400,
            "expected one of exporter, deployment, topology, polling",
            "redis_up",
        ),
        ("?deployment=nosuch", 404, "unknown deployment \"nosuch\"", "redis_up"),
    ] {
        let response = daemon.get(&format!("/metrics{query}"), "");
        assert_eq!(response.status, status, "{query}");
        assert!(
            response.text.contains(present) && !response.text.contains(absent),
            "{query}: {}",
            response.text
        );
        assert!(status != 200 || promtool(&response.text).is_empty(), "{query}");
    }
}
