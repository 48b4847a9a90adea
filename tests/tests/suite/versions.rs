//! The same checks on every server version: supported series are present, others are absent, and
//! polling causes no errors.

use tests::{
    Daemon, Redis, SECOND, Samples, VERSIONS, deployment, open_metrics_parser, pause, promtool,
};

const OPEN_METRICS: &str = "application/openmetrics-text";

/// Returns true if the server counts its errors by code, as versions since 6.2 do.
fn counts_errors(version: &str) -> bool {
    version != "redis-5.0.6"
}

/// Returns true if the server counts subcommands separately, as versions since 7.0 do.
fn counts_subcommands(version: &str) -> bool {
    counts_errors(version) && version != "redis-6.2.14"
}

/// Checks both exposition formats with strict parsers.
fn check_formats(daemon: &Daemon, version: &str) {
    assert_eq!(promtool(&daemon.get("/metrics", "").text), "", "{version}");
    assert!(open_metrics_parser(&daemon.get("/metrics", OPEN_METRICS).text) > 100, "{version}");
}

/// Checks a primary with a replica.
fn check_primary_and_replica(version: &'static str) {
    // On a busy machine a command may take longer than the default of 10 ms.
    let options = ["--appendonly", "yes", "--slowlog-log-slower-than", "1000000"];
    let primary = Redis::with_version(version, &options);
    let replica = primary.replica();
    primary.cli(&["SET", "key", "value"]);
    let daemon = Daemon::watch(&[&primary, &replica]);
    let (first, second) = (primary.address(), replica.address());
    let (first, second) = (("node", first.as_str()), ("node", second.as_str()));
    daemon.until_rounds(3);
    check_formats(&daemon, version);

    let before = (primary.info("total_error_replies"), replica.info("total_error_replies"));
    daemon.until_rounds(4);
    let after = (primary.info("total_error_replies"), replica.info("total_error_replies"));
    assert_eq!(before, after, "{version}: polling causes no errors");
    assert!(
        before.0.is_none() || before.0.as_deref() == Some("0"),
        "{version}: {before:?}, no errors while connecting either"
    );

    let samples = daemon.samples();
    let get = |name, labels: &[(&str, &str)]| samples.get(name, labels);
    assert_eq!(get("redis_up", &[first]), Some(1.0), "{version}");
    assert_eq!(get("redis_role", &[first, ("role", "master")]), Some(1.0), "{version}");
    assert_eq!(get("redis_role", &[second, ("role", "replica")]), Some(1.0), "{version}");
    assert_eq!(get("redis_link_state", &[second, ("state", "up")]), Some(1.0), "{version}");
    assert_eq!(
        get("redis_connected_slave_lag_seconds", &[first, ("replica", second.1)])
            .map(|lag| lag <= 2.0),
        Some(true),
        "{version}"
    );
    assert_eq!(get("redis_db_keys", &[first, ("db", "db0")]), Some(1.0), "{version}");
    assert_eq!(get("redis_aof_last_write_status", &[first]), Some(1.0), "{version}");
    assert_eq!(
        get("redis_config_appendfsync", &[first, ("policy", "everysec")]),
        Some(1.0),
        "{version}"
    );
    assert_eq!(
        get(
            "redis_config_client_output_buffer_limit_bytes",
            &[first, ("class", "slave"), ("limit", "hard")]
        ),
        Some(268_435_456.0)
    );
    assert_eq!(get("redis_slowlog_length", &[first]), Some(0.0), "{version}");
    assert_eq!(get("redis_cluster_enabled", &[first]), Some(0.0), "{version}");
    assert_eq!(samples.count("redis_cluster_state", &[]), 0, "{version}");
    let version_label = if version == "valkey-9.1.2" {
        ("valkey_version", "9.1.2")
    } else {
        ("redis_version", &version[6..])
    };
    assert_eq!(
        get("redis_instance_info", &[first, version_label, ("redis_mode", "standalone")]),
        Some(1.0),
        "{version}"
    );

    replica.cli(&["SET", "key", "other"]);
    primary.cli(&["CONFIG", "SET", "hz", "11"]);
    let counters = |samples: &Samples| {
        let readonly = samples.get("redis_errors_total", &[second, ("err", "READONLY")]);
        (
            readonly,
            samples.get("redis_topology_commands_total", &[first, ("command", "config_set")]),
        )
    };
    // Without separate counts the counters do not increase, even after the next INFO commandstats.
    let expected = (
        counts_errors(version).then_some(1.0),
        Some(f64::from(u8::from(counts_subcommands(version)))),
    );
    tests::eventually(SECOND * 15, &format!("{version}: {expected:?}"), || {
        (counters(&daemon.samples()) == expected).then_some(())
    });
    if !counts_subcommands(version) {
        daemon.until_rounds(11);
        assert_eq!(counters(&daemon.samples()), expected, "{version}");
        let config_calls =
            daemon.samples().get("redis_commands_total", &[first, ("cmd", "config")]);
        assert!(
            config_calls > Some(2.0),
            "{version}: CONFIG GET by Rolecall is no topology command"
        );
    }
    let codes = daemon.samples().count("redis_errors_total", &[first]);
    assert_eq!(codes, if counts_errors(version) { 10 } else { 0 }, "{version}");
}

/// Checks a Sentinel and a cluster node.
fn check_sentinel_and_cluster_node(version: &'static str) {
    let primary = Redis::with_version(version, &[]);
    let sentinel = primary.sentinel();
    let cluster = Redis::with_version(version, &["--cluster-enabled", "yes"]);
    let daemon = Daemon::watch(&[&sentinel, &cluster]);
    daemon.until_rounds(4);
    check_formats(&daemon, version);
    let (sentinel_node, cluster_node) = (sentinel.address(), cluster.address());
    let (sentinel_node, cluster_node) =
        (("node", sentinel_node.as_str()), ("node", cluster_node.as_str()));
    let samples = daemon.samples();
    assert_eq!(samples.get("redis_up", &[sentinel_node]), Some(1.0), "{version}");
    assert_eq!(
        samples.get("redis_role", &[sentinel_node, ("role", "sentinel")]),
        Some(1.0),
        "{version}"
    );
    assert_eq!(samples.get("redis_sentinel_masters", &[sentinel_node]), Some(1.0), "{version}");
    assert_eq!(
        samples.count("redis_config_maxclients", &[sentinel_node]),
        0,
        "{version}: a Sentinel has no CONFIG"
    );
    assert_eq!(samples.get("redis_cluster_enabled", &[cluster_node]), Some(1.0), "{version}");
    assert_eq!(
        samples.get("redis_cluster_state", &[cluster_node]),
        Some(0.0),
        "{version}: no slot is assigned"
    );
    assert_eq!(samples.get("redis_cluster_known_nodes", &[cluster_node]), Some(1.0), "{version}");
    let legacy =
        Samples::parse(daemon.get(&format!("/scrape?target={}", sentinel.address()), "").text);
    let master = primary.address();
    let labels =
        [("master_name", "mymaster"), ("master_address", master.as_str()), ("master_status", "ok")];
    assert_eq!(legacy.get("redis_sentinel_master_status", &labels), Some(1.0), "{version}");
    assert!(
        daemon.log().iter().all(|line| !line.contains("refused")),
        "{version}: {:?}",
        daemon.log()
    );
    pause(SECOND);
    assert!(cluster.info("total_error_replies").is_none_or(|errors| errors == "0"), "{version}");
}

#[test]
fn redis_5_0_is_supported() {
    check_primary_and_replica(VERSIONS[0]);
    check_sentinel_and_cluster_node(VERSIONS[0]);
}

#[test]
fn redis_6_2_is_supported() {
    check_primary_and_replica(VERSIONS[1]);
    check_sentinel_and_cluster_node(VERSIONS[1]);
}

#[test]
fn redis_7_0_is_supported() {
    check_primary_and_replica(VERSIONS[2]);
    check_sentinel_and_cluster_node(VERSIONS[2]);
}

#[test]
fn redis_8_2_is_supported() {
    check_primary_and_replica(VERSIONS[3]);
    check_sentinel_and_cluster_node(VERSIONS[3]);
}

#[test]
fn valkey_9_1_is_supported() {
    check_primary_and_replica(VERSIONS[4]);
    check_sentinel_and_cluster_node(VERSIONS[4]);
}

#[test]
fn command_latency_is_read_only_if_configured() {
    let server = Redis::start(&[]);
    server.cli(&["SET", "key", "value"]);
    let enabled =
        Daemon::configured(&(deployment("a", &[&server]) + "cadence = { latencystats = '1s' }\n"));
    let labels = [("cmd", "set"), ("percentile", "99.9")];
    tests::eventually(SECOND * 5, "command latencies", || {
        enabled
            .samples()
            .get("redis_command_latency_seconds", &labels)
            .filter(|latency| *latency > 0.0)
    });
    check_formats(&enabled, "redis-7.0.15");
    let disabled = Daemon::watch(&[&server]);
    disabled.until_rounds(3);
    assert_eq!(disabled.samples().count("redis_command_latency_seconds", &[]), 0);
}
