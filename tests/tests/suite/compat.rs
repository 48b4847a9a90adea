//! Comparison of `/scrape` with redis_exporter 1.45.0 on the same servers: all its series are
//! there, with the same name, type, labels and value. Every difference is listed with its reason.

use std::collections::{BTreeMap, BTreeSet};

use tests::{
    Daemon, MASTER, Redis, RedisExporter, SECOND, VERSIONS, deployment, eventually, promtool,
    sentinel_deployment, until_ok,
};

/// Allowed differences, grouped by reason. A pattern may end in `*`. Additional series of Rolecall
/// are those of later versions of redis_exporter; `catalog/tests/compatibility.rs` lists them.
const DIFFERENCES: &[(&str, &[&str])] = &[
    (
        "about connections and readings that Rolecall does not make for a scrape",
        &[
            "- redis_exporter_last_scrape_connect_time_seconds",
            "- redis_last_key_groups_scrape_duration_milliseconds",
        ],
    ),
    (
        "Rolecall has no build date, and is not written in Go",
        &["labels of redis_exporter_build_info: *"],
    ),
    (
        "the label message has a text of the Sentinel; in Rolecall it has OK or NOQUORUM",
        &["- redis_sentinel_master_ckquorum_status{*"],
    ),
    (
        "1.45.0 takes the fourth field of INFO keyspace, whatever its name, for that of KeyDB",
        &["- redis_db_keys_cached"],
    ),
    (
        "a gauge in 1.45.0, a counter in later versions",
        &["type of redis_expired_time_cap_reached_total*"],
    ),
    (
        "later versions of redis_exporter have the labels master_replid and valkey_version",
        &["labels of redis_instance_info: *"],
    ),
    (
        "1.45.0 takes fields of INFO keyspace or keysizes that it does not know for metrics; later \
         versions do not",
        &["- redis_db0_distrib_*"],
    ),
];

/// Series whose value changes between two polls or depends on the client that polls.
const CHANGING: &[&str] = &[
    "redis_allocator_",
    "redis_aof_pending_bio_fsync",
    "redis_client_recent_max_",
    "redis_cluster_messages_",
    "redis_cluster_stats_",
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

/// Series that one command or a busy machine may change by orders of magnitude.
const JUMPING: [&str; 4] = [
    "redis_client_recent_max_",
    "redis_exporter_last_scrape_duration_seconds",
    "redis_exporter_scrape_duration_seconds_sum",
    "redis_latency_percentiles_",
];

/// Differences of a Sentinel that is scraped as a node: Rolecall sends SENTINEL commands only to
/// the Sentinels of a deployment.
const SENTINEL_AS_NODE: [&str; 3] = [
    "- redis_sentinel_master_ckquorum_status",
    "- redis_sentinel_master_ok_sentinels",
    "- redis_sentinel_master_ok_slaves",
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
                    && !JUMPING.iter().any(|start| series.starts_with(start))
                    && theirs.abs() > 1e-3
                    && ours.abs() > 1e-3
                    && !(0.01..100.0).contains(&(ours / theirs)) =>
            {
                differences.push(format!("magnitude of {series}: theirs {theirs}, ours {ours}"));
            }
            None if !changes && ours.labels.contains_key(name) => {
                differences.push(format!("- {series} with the value {theirs}"));
            }
            _ => {}
        }
    }
    differences
}

/// Compares both exporters on a primary, a replica, a Sentinel and two cluster nodes of this
/// version. Returns all differences.
fn compare(version: &'static str) -> Vec<String> {
    let primary = Redis::with_version(version, &["--appendonly", "yes"]);
    let replica = primary.replica();
    let sentinel = primary.sentinel();
    let nodes = [(); 2].map(|()| Redis::with_version(version, &["--cluster-enabled", "yes"]));
    nodes[0].cli(&["CLUSTER", "MEET", "127.0.0.1", &nodes[1].port.to_string()]);
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
    eventually(SECOND * 20, "the cluster nodes know each other", || {
        nodes.iter().all(|node| known_nodes(node) == Some(2)).then_some(())
    });
    let mut found = compare_on(&sentinel, &watched_by(&sentinel));
    for server in [&primary, &replica, &nodes[0], &nodes[1]] {
        found.extend(compare_on(server, &deployment("a", &[server])));
    }
    found
}

/// Returns the configuration of the deployment that a Sentinel monitors.
fn watched_by(sentinel: &Redis) -> String {
    let url = format!("redis://{}", sentinel.address());
    sentinel_deployment("a", Some(MASTER), &[url], "")
}

/// Returns the number of nodes that a cluster node knows, itself included.
fn known_nodes(node: &Redis) -> Option<u64> {
    let reply = node.cli(&["CLUSTER", "INFO"]);
    reply.lines().find_map(|line| line.trim().strip_prefix("cluster_known_nodes:")?.parse().ok())
}

/// Compares both exporters on one server of a deployment. Returns all differences.
fn compare_on(server: &Redis, deployment: &str) -> Vec<String> {
    let cadence = "cadence = { latencystats = '1s', commands = '1s' }\n";
    let daemon = Daemon::configured(&format!("{deployment}{cadence}"));
    let (exporter, theirs) = RedisExporter::start(server);
    drop(exporter);
    daemon.until_rounds(3);
    let path = format!("/scrape?target=redis://{}", server.address());
    let ours = daemon.get(&path, "application/openmetrics-text");
    assert_eq!(
        ours.content_type, "text/plain; version=0.0.4; charset=utf-8",
        "the same format for every Accept header"
    );
    differences(&parse(&theirs), &parse(&ours.text))
}

#[test]
fn scrape_has_all_series_of_redis_exporter() {
    let mut found = Vec::new();
    let mut unlisted = Vec::new();
    for version in VERSIONS {
        for difference in compare(version) {
            if !is_listed(&difference) {
                unlisted.push(format!("{version}: {difference}"));
            }
            found.push(difference);
        }
    }
    assert_eq!(unlisted, Vec::<String>::new());
    let patterns = DIFFERENCES.iter().flat_map(|(_, patterns)| *patterns);
    let unused: Vec<_> = patterns
        .filter(|pattern| !found.iter().any(|difference| matches_pattern(pattern, difference)))
        .collect();
    assert_eq!(unused, Vec::<&&str>::new(), "listed differences that do not occur");
}

#[test]
fn the_mode_of_redis_exporter_has_all_its_series() {
    let primary = Redis::start(&["--appendonly", "yes"]);
    let (replica, sentinel) = (primary.replica(), primary.sentinel());
    primary.cli(&["SET", "key", "value", "EX", "1000"]);
    for server in [&primary, &replica, &sentinel] {
        let (exporter, theirs) = RedisExporter::start(server);
        drop(exporter);
        let daemon = Daemon::as_redis_exporter(&[("REDIS_ADDR", &server.url())], &[]);
        let unlisted = || {
            let ours = daemon.get("/metrics", "").text;
            let found = differences(&parse(&theirs), &parse(&ours));
            let is_allowed = |difference: &String| {
                is_listed(difference)
                    || SENTINEL_AS_NODE.contains(&difference.as_str())
                    // A Sentinel that just started has sent almost nothing at the first reading.
                    || difference.starts_with("magnitude of redis_net_")
            };
            found.into_iter().filter(|difference| !is_allowed(difference)).collect::<Vec<_>>()
        };
        // The commands other than INFO follow after the first round.
        until_ok(SECOND * 10, || match unlisted() {
            found if found.is_empty() => Ok(()),
            found => Err(found.join("\n")),
        });
    }
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
