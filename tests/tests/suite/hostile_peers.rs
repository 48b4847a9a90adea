//! Servers with wrong, endless or unusual replies beside real ones, under the memory limit of
//! `deploy/kubernetes.yaml`.

use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use tests::{
    Daemon, FakeServer, MemoryLimit, Process, Redis, SECOND, StubServer, array, bulk, deployment,
    eventually, free_port, hostile_peers, pause,
};

#[test]
fn no_peer_exceeds_the_memory_limit_or_delays_others() {
    let healthy: Vec<_> = (0..3).map(|_| Redis::start(&[])).collect();
    let peers = hostile_peers();
    let deployment =
        |name: String, nodes: String| format!("[[deployment]]\nname = '{name}'\n{nodes}\n");
    let good = healthy.iter().enumerate().map(|(index, server)| {
        deployment(format!("good-{index}"), format!("nodes = [{{ url = '{}' }}]", server.url()))
    });
    let bad = peers.iter().enumerate().flat_map(|(index, peer)| {
        let sentinel = format!("sentinels = ['{}']\nmaster_name = 'mymaster'", peer.url());
        [
            deployment(format!("bad-{index}"), format!("nodes = [{{ url = '{}' }}]", peer.url())),
            // The same peer as a Sentinel.
            deployment(format!("sentinel-{index}"), sentinel),
        ]
    });
    let text: String = good.chain(bad).collect();
    let group = MemoryLimit::new("peers", MemoryLimit::KUBERNETES);
    let file = tests::ConfigFile::new(&text);
    let mut command = group.command(&Daemon::binary());
    let daemon = Daemon::run(&mut command, &["--config.file", &file.path()]);
    eventually(SECOND * 10, "all real servers are up", || {
        let samples = daemon.samples();
        (0..3)
            .all(|index| {
                samples.get("redis_up", &[("deployment", &format!("good-{index}"))]) == Some(1.0)
            })
            .then_some(())
    });
    let polls = |daemon: &Daemon| -> Vec<(f64, f64)> {
        let samples = daemon.samples();
        let value = |name, index| {
            samples.get(name, &[("deployment", &format!("good-{index}"))]).unwrap_or_default()
        };
        let counters = (0..3).map(|index| {
            (value("redis_polls_total", index), value("redis_poll_failures_total", index))
        });
        counters.collect()
    };
    let before = polls(&daemon);
    pause(SECOND * 30);
    let after = polls(&daemon);
    for (before, after) in before.iter().zip(&after) {
        println!("{:.0} polls in 30 s", after.0 - before.0);
        assert!(after.0 - before.0 >= 29.0, "a round was missed: {before:?} {after:?}");
        assert!(after.1 <= before.1, "a poll failed");
    }
    println!("highest memory use: {} kB", group.highest() >> 10);
    assert!(group.highest() < MemoryLimit::KUBERNETES, "{}", group.highest());
    let log = daemon.log();
    let bytes: usize = log.iter().map(String::len).sum();
    println!("{} log lines, {bytes} bytes", log.len());
    assert!(bytes < 200_000, "{bytes} bytes of log");
    drop(daemon);
}

/// Returns an entry of SENTINEL MASTERS.
fn master_entry(name: &str) -> Vec<u8> {
    let run_id = "0".repeat(40);
    let fields =
        ["name", name, "ip", "127.0.0.1", "port", "1", "runid", &run_id, "flags", "master"];
    array(fields.map(bulk))
}

#[test]
fn a_sentinel_with_large_replies_for_many_masters_is_bounded() {
    let sentinel = FakeServer::start(|command| {
        Some(match command {
            "SENTINEL MASTERS" => array((0..250).map(|index| master_entry(&format!("m{index}")))),
            "CLIENT ID" => b":1\r\n".to_vec(),
            _ if command.starts_with("INFO") => {
                bulk("redis_version:7.0.15\r\nredis_mode:sentinel\r\nrun_id:5\r\n")
            }
            _ => array([array([bulk("name"), bulk(&"x".repeat(1_900_000))])]),
        })
    });
    let healthy = Redis::start(&[]);
    let group = MemoryLimit::new("sentinel", MemoryLimit::KUBERNETES);
    let file = tests::ConfigFile::new(&format!(
        "{}[[deployment]]\nname = 'x-{{master}}'\nsentinels = ['{}']\n",
        deployment("good", &[&healthy]),
        sentinel.stub.url()
    ));
    let mut command = group.command(&Daemon::binary());
    let daemon = Daemon::run(&mut command, &["--config.file", &file.path()]);
    let good = ("deployment", "good");
    daemon.until(SECOND * 5, "redis_up", &[good], 1.0);
    let node = ("node", &*healthy.address());
    let polls = |name| daemon.samples().get(name, &[good, node]).unwrap_or_default();
    let before = polls("redis_polls_total");
    pause(SECOND * 20);
    let polled = polls("redis_polls_total") - before;
    let requests = sentinel.received("SENTINEL REPLICAS");
    println!("{polled} polls, {requests} requests, at most {} kB", group.highest() >> 10);
    assert!(polled >= 19.0, "{polled} polls in 20 s");
    assert!(requests > 0, "the details of masters were requested");
    assert!(group.highest() < MemoryLimit::KUBERNETES, "{}", group.highest());
    let log = daemon.log();
    let is_limited = |line: &&String| line.contains("replies to one batch");
    let of_sentinel: Vec<_> = log.iter().filter(|line| line.contains("deployment= ")).collect();
    assert_eq!(log.iter().filter(is_limited).count(), 1, "it is logged once: {of_sentinel:?}");
}

#[test]
fn a_configuration_path_with_latin_1_is_read() {
    let folder = tempfile::tempdir().expect("a directory");
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.conf");
    let file = folder.path().join(name);
    let port = free_port();
    std::fs::write(&file, format!("port {port}\nbind 127.0.0.1\nsave \"\"\n")).expect("a file");
    let _server =
        Process::start(Command::new("redis-server").arg(&file).arg("--dir").arg(folder.path()));
    let daemon = Daemon::start(&[&format!("redis://127.0.0.1:{port}")]);
    daemon.until(SECOND * 5, "redis_up", &[], 1.0);
    daemon.until(SECOND * 3, "redis_role", &[("role", "master")], 1.0);
}

#[test]
fn an_echoed_password_appears_nowhere() {
    let peer = StubServer::start(|mut stream| {
        let mut request = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut request) {
            let text = String::from_utf8_lossy(&request[..length]).to_uppercase();
            let reply: &[u8] = match () {
                () if text.contains("AUTH") => b"+OK\r\n",
                () => b"-ERR unknown command 'INFO hunter2-password' for hunter2-password\r\n",
            };
            if stream.write_all(reply).is_err() {
                return;
            }
        }
    });
    let url = format!("redis://:hunter2-password@127.0.0.1:{}", peer.port);
    let daemon = Daemon::start(&[&url]);
    daemon.until(SECOND * 5, "redis_down_reason", &[("reason", "unsupported")], 1.0);
    let node = format!("/deployment/default/node/127.0.0.1:{}", peer.port);
    let pages = [&*node, "/metrics", "/api/v1/topology", "/"].map(|path| daemon.get(path, "").text);
    let log = daemon.log().concat();
    assert!(log.contains("INFO ***") && log.contains("for ***"), "{log}");
    assert!(!pages.concat().contains("hunter2") && !log.contains("hunter2"));
}
