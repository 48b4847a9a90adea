//! The mode that replaces redis_exporter, started as charts and operators start redis_exporter.

use std::io::Read;
use std::process::Command;
use std::sync::{Arc, Mutex};

use tests::{
    Cluster, ClusterSetup, Daemon, Redis, SECOND, Signal, StubServer, eventually, pause, until_ok,
};

use crate::tls::Certificates;
use crate::web_security::curl;

/// Password of the servers.
const PASSWORD: &str = "correct-horse";

fn secured() -> Redis {
    Redis::start(&["--requirepass", PASSWORD])
}

/// Scrapes a path. The sample must be in the first answer, as with redis_exporter.
#[track_caller]
fn expect(daemon: &Daemon, path: &str, sample: &str) -> String {
    let response = daemon.get(path, "");
    assert_eq!(response.status, 200, "{path}: {}", response.text);
    let has_sample = response.text.lines().any(|line| line == sample);
    assert!(has_sample, "{path} has no {sample}: {}\n{:?}", response.text, daemon.log());
    response.text
}

/// Checks that no log line and no text contains the password.
#[track_caller]
fn expect_no_password(daemon: &Daemon, texts: &[String]) {
    let all = daemon.log().concat() + &texts.concat();
    assert!(!all.contains(PASSWORD), "{all}");
}

#[test]
fn chart_prometheus_redis_exporter_works() {
    let (server, folder) = (secured(), tempfile::tempdir().expect("a directory"));
    let file = folder.path().join("passwords.json").display().to_string();
    let map = format!("{{\"redis://{}\": \"{PASSWORD}\"}}", server.address());
    std::fs::write(&file, map).expect("a file");
    // The chart renders REDIS_ADDR, one of both passwords, and each of extraArgs as --key=value.
    for password in [("REDIS_PASSWORD", PASSWORD), ("REDIS_PASSWORD_FILE", file.as_str())] {
        let daemon = Daemon::as_redis_exporter(
            &[("REDIS_ADDR", &server.url()), password],
            &["--include-system-metrics=true", "--redis-only-metrics=true"],
        );
        let text = expect(&daemon, "/metrics", "redis_up 1");
        assert!(
            text.contains("redis_instance_info{role=\"master\"") && !text.contains("rolecall_")
        );
        assert!(text.contains("\nredis_total_system_memory_bytes "), "{text}");
        assert!(text.contains("\nredis_db_keys{db=\"db0\"} 0\n"), "{text}");
        // Both probes of the chart.
        assert_eq!(daemon.get("/", "").status, 200);
        assert_eq!(daemon.get("/health", "").text, "ok");
        expect_no_password(&daemon, &[text]);
    }
}

#[test]
fn bitnami_charts_of_redis_and_valkey_work() {
    let (server, folder) = (secured(), tempfile::tempdir().expect("a directory"));
    let file = folder.path().join("redis-password").display().to_string();
    std::fs::write(&file, PASSWORD).expect("a file");
    // With usePasswordFiles, the command of the chart exports the password from the file.
    let files: [&[(&str, &str)]; 3] = [
        &[("REDIS_PASSWORD", PASSWORD)],
        &[("REDIS_PASSWORD", PASSWORD), ("REDIS_PASSWORD_FILE", &file)],
        &[("REDIS_PASSWORD_FILE", &file)],
    ];
    for passwords in files {
        let url = server.url();
        let address = url.trim_start_matches("redis://");
        let variables =
            [("REDIS_ALIAS", "cache"), ("REDIS_USER", "default"), ("REDIS_ADDR", address)];
        let daemon = Daemon::as_redis_exporter(&[&variables, passwords].concat(), &[]);
        let text = expect(&daemon, "/metrics", "redis_up 1");
        assert!(text.contains("rolecall_build_info{"), "{text}");
        expect_no_password(&daemon, &[text]);
        // The Sentinel of the chart has the same password, and is scraped as a target.
        let sentinel = server.sentinel();
        sentinel.cli(&["ACL", "SETUSER", "default", "resetpass", &format!(">{PASSWORD}")]);
        let path = format!("/scrape?target=127.0.0.1:{}", sentinel.port);
        let text = expect(&daemon, &path, "redis_up 1");
        assert!(text.contains("redis_sentinel_masters 1"), "{text}");
    }
}

#[test]
fn bitnami_charts_work_with_tls_and_client_certificates() {
    let folder = Certificates::create();
    let [ca, cert, key] =
        ["ca.pem", "client.pem", "client.key"].map(|name| folder.path(name).display().to_string());
    let [server_cert, server_key] =
        ["server.pem", "server.key"].map(|name| folder.path(name).display().to_string());
    let port = tests::free_port().to_string();
    let server = Redis::start(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &server_cert,
        "--tls-key-file",
        &server_key,
        "--tls-ca-cert-file",
        &ca,
        "--tls-auth-clients",
        "yes",
    ]);
    let address = format!("valkeys://localhost:{port}");
    let daemon = Daemon::as_redis_exporter(
        &[
            ("REDIS_ADDR", &address),
            ("REDIS_EXPORTER_TLS_CLIENT_KEY_FILE", &key),
            ("REDIS_EXPORTER_TLS_CLIENT_CERT_FILE", &cert),
            ("REDIS_EXPORTER_TLS_CA_CERT_FILE", &ca),
        ],
        &[],
    );
    expect(&daemon, "/metrics", "redis_up 1");
    expect(&daemon, &format!("/scrape?target=rediss://localhost:{port}"), "redis_up 1");
    drop(server);
}

#[test]
fn scrape_reaches_any_target_and_keeps_its_password() {
    let (server, open) = (secured(), Redis::start(&[]));
    // A server that is not trusted, because only another network is. It records what it gets.
    let received = Arc::new(Mutex::new(String::new()));
    let record = Arc::clone(&received);
    let sink = StubServer::start(move |mut stream| {
        let mut buffer = [0; 512];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            record.lock().expect("a thread panicked").push_str(&text);
        }
    });
    let variables = [("REDIS_ADDR", ""), ("REDIS_PASSWORD", PASSWORD)];
    let daemon = Daemon::as_redis_exporter(&variables, &[]);
    let target =
        |daemon: &Daemon, target: &str| daemon.get(&format!("/scrape?target={target}"), "");
    let metrics = daemon.get("/metrics", "").text;
    assert!(
        !metrics.contains("# TYPE redis_up") && metrics.contains("rolecall_build_info{"),
        "{metrics}"
    );
    // Loopback addresses are trusted by default.
    expect(&daemon, &format!("/scrape?target={}", server.url()), "redis_up 1");
    expect(&daemon, &format!("/scrape?target=user:pass@{}", open.address()), "redis_up 0");
    for (query, status) in [
        ("/scrape", 400),
        ("/scrape?target=", 400),
        ("/scrape?target=http://h", 400),
        ("/scrape?target=h&check-keys=a*", 400),
        ("/discover-cluster-nodes", 400),
    ] {
        assert_eq!(daemon.get(query, "").status, status, "{query}");
    }
    let warning = "/scrape connects to any target that a request names";
    assert_eq!(daemon.log().iter().filter(|line| line.contains(warning)).count(), 1);
    expect_no_password(&daemon, &[daemon.get("/", "").text, daemon.get("/metrics", "").text]);

    let daemon = Daemon::as_redis_exporter(&variables, &["--scrape.trust=10.0.0.0/8"]);
    let refused = target(&daemon, &server.url()).text;
    assert!(refused.contains("redis_exporter_last_scrape_error{err=\"auth\"} 1"), "{refused}");
    expect(&daemon, &format!("/scrape?target={}", open.url()), "redis_up 1");
    target(&daemon, &sink.url());
    eventually(SECOND * 5, "the sink gets a command", || {
        received.lock().expect("a thread panicked").contains("INFO").then_some(())
    });
    pause(SECOND);
    let received = received.lock().expect("a thread panicked").clone();
    assert!(!received.contains("AUTH") && !received.contains(PASSWORD), "{received}");
    expect_no_password(&daemon, &[daemon.get("/", "").text]);
}

#[test]
fn flags_change_the_metrics_and_endpoints() {
    let server = Redis::start(&[]);
    let daemon = Daemon::as_redis_exporter(
        &[("REDIS_EXPORTER_NAMESPACE", "cache"), ("REDIS_EXPORTER_CHECK_KEY", "x")],
        &[
            "-redis.addr",
            &server.address(),
            "-append-instance-role-label",
            "-log-format",
            "json",
            "-web.telemetry-path=/telemetry",
            "--disable-scrape-endpoint",
            "-ping-on-connect",
        ],
    );
    expect(&daemon, "/telemetry", "cache_up{instance_role=\"master\"} 1");
    assert_eq!(daemon.get(&format!("/scrape?target={}", server.url()), "").status, 404);
    let log = daemon.log();
    assert!(log.iter().all(|line| line.starts_with('{')), "{log:?}");
    for warning in ["unknown variable REDIS_EXPORTER_CHECK_KEY", "--ping-on-connect has no effect"]
    {
        assert_eq!(log.iter().filter(|line| line.contains(warning)).count(), 1, "{log:?}");
    }
    daemon.signal(Signal::Hangup);
    eventually(SECOND * 5, "the configuration is reloaded", || {
        daemon.log().iter().any(|line| line.contains("configuration reloaded")).then_some(())
    });
}

#[test]
fn all_nodes_of_a_cluster_are_discovered_and_scraped() {
    let cluster = Cluster::start(&ClusterSetup { replicas: 0, ..ClusterSetup::default() });
    let mut expected: Vec<_> =
        cluster.nodes.iter().map(|node| format!("redis://{}", node.address())).collect();
    expected.sort_unstable();
    let variables = [("REDIS_ADDR", expected[0].as_str()), ("REDIS_EXPORTER_IS_CLUSTER", "true")];
    let daemon = Daemon::as_redis_exporter(&variables, &[]);
    until_ok(SECOND * 20, || {
        let response = daemon.get("/discover-cluster-nodes", "");
        let groups: serde_json::Value =
            serde_json::from_str(&response.text).map_err(|error| error.to_string())?;
        let targets = groups[0]["targets"].as_array().cloned().unwrap_or_default();
        let mut targets: Vec<_> = targets.iter().filter_map(|target| target.as_str()).collect();
        targets.sort_unstable();
        if targets == expected { Ok(()) } else { Err(response.text) }
    });
    for target in &expected {
        let text = expect(&daemon, &format!("/scrape?target={target}"), "redis_up 1");
        assert!(text.contains("\nredis_cluster_enabled 1\n"), "{text}");
    }
    // The nodes of the cluster are polled once, not again as targets.
    assert!(!daemon.log().iter().any(|line| line.contains("polling a target")));
}

#[test]
fn the_web_server_has_the_tls_and_user_of_the_flags() {
    let (server, folder) = (Redis::start(&[]), Certificates::create());
    let path = |name: &str| folder.path(name).display().to_string();
    let [ca, cert, key] = ["ca.pem", "server.pem", "server.key"].map(path);
    let [client_cert, client_key] = ["client.pem", "client.key"].map(path);
    let variables = [
        ("REDIS_ADDR", server.url()),
        ("REDIS_EXPORTER_TLS_SERVER_CERT_FILE", cert),
        ("REDIS_EXPORTER_TLS_SERVER_KEY_FILE", key),
        ("REDIS_EXPORTER_TLS_SERVER_CA_CERT_FILE", ca.clone()),
        ("REDIS_EXPORTER_BASIC_AUTH_USERNAME", "prometheus".to_owned()),
        ("REDIS_EXPORTER_BASIC_AUTH_PASSWORD", PASSWORD.to_owned()),
    ];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let daemon = Daemon::as_redis_exporter(&variables, &[]);
    let url = format!("https://localhost:{}/metrics", daemon.port);
    let certificates = ["--cacert", &ca, "--cert", &client_cert, "--key", &client_key];
    let user = format!("prometheus:{PASSWORD}");
    let curl = |arguments: &[&str]| curl(&url, arguments);
    assert_eq!(curl(&[&certificates[..], &["-u", &user]].concat()), 200);
    assert_eq!(curl(&[&certificates[..], &["-u", "prometheus:wrong"]].concat()), 401);
    assert_eq!(curl(&["--cacert", &ca, "-u", &user]), 0, "no client certificate");
    expect_no_password(&daemon, &[]);
}

#[test]
fn a_reload_reads_the_password_map_again() {
    let (server, folder) = (secured(), tempfile::tempdir().expect("a directory"));
    let file = folder.path().join("passwords.json");
    let write = |password: &str| {
        let map = format!("{{\"redis://{}\": \"{password}\"}}", server.address());
        std::fs::write(&file, map).expect("a file");
    };
    write("outdated");
    let path = file.display().to_string();
    let variables = [("REDIS_ADDR", ""), ("REDIS_PASSWORD_FILE", path.as_str())];
    let daemon = Daemon::as_redis_exporter(&variables, &[]);
    let target = format!("/scrape?target={}", server.url());
    expect(&daemon, &target, "redis_up 0");
    write(PASSWORD);
    assert_eq!(curl(&daemon.url("/-/reload"), &["-X", "POST"]), 200);
    until_ok(SECOND * 10, || {
        let text = daemon.get(&target, "").text;
        if text.lines().any(|line| line == "redis_up 1") { Ok(()) } else { Err(text) }
    });
    expect_no_password(&daemon, &[]);
}

#[test]
fn rejected_flags_end_the_program_with_the_reason() {
    for (arguments, code, text) in [
        (&["redis-exporter", "--check-keys=a*"][..], 1, "--check-keys is not supported: "),
        (&["redis-exporter", "-nosuch"], 2, "--nosuch"),
        (&["redis-exporter", "-version"], 0, "Rolecall in redis_exporter mode"),
        (&["redis-exporter", "--help"], 0, "--scrape.trust"),
    ] {
        let output = Command::new(Daemon::binary()).args(arguments).output().expect("rolecall");
        let texts = [output.stdout, output.stderr].concat();
        let texts = String::from_utf8_lossy(&texts);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {texts}");
        assert!(texts.contains(text), "{arguments:?}: {texts}");
    }
}
