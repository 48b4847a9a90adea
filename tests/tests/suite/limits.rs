//! Servers that list any number of nodes, masters, slots, commands and error codes: Rolecall leaves
//! out the excess and reports it, and other deployments are not affected.

use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use tests::{
    Daemon, FakeServer, Redis, SECOND, Samples, array, bulk, deployment, eventually, minimal_reply,
    pause,
};

const EXCESS: &str = "rolecall_limit_excess";

/// Returns a reply to INFO of a master.
fn info(port: u16, more: &str) -> Vec<u8> {
    bulk(&format!(
        "# Server\r\nredis_version:7.0.15\r\nrun_id:{port:040}\r\nuptime_in_seconds:1000\r\n\
         # Replication\r\nrole:master\r\nconnected_slaves:0\r\nmaster_replid:{port:040x}\r\n\
         master_repl_offset:1\r\n{more}"
    ))
}

/// Starts a cluster node. `map` returns its map in each reading, which are counted from 0.
fn cluster_node(map: impl Fn(usize) -> String + Send + Sync + 'static) -> FakeServer {
    let readings = AtomicUsize::new(0);
    FakeServer::start(move |command| {
        Some(match command {
            _ if command.starts_with("INFO") => info(7, "# Cluster\r\ncluster_enabled:1\r\n"),
            "CLUSTER INFO" => {
                let epoch = readings.load(Ordering::Relaxed);
                bulk(&format!(
                    "cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:16384\r\n\
                     cluster_known_nodes:20\r\ncluster_current_epoch:{epoch}\r\n\
                     cluster_my_epoch:{epoch}\r\n"
                ))
            }
            "CLUSTER NODES" => bulk(&map(readings.fetch_add(1, Ordering::Relaxed))),
            _ => minimal_reply(command),
        })
    })
}

/// Returns a line of CLUSTER NODES about a node that does not exist.
fn map_line(id: usize, flags: &str, epoch: usize, slots: &str) -> String {
    let (high, low) = (id / 250 % 250, id % 250);
    format!("{id:040x} 127.9.{high}.{low}:1@0 {flags} - 0 1 {epoch} connected {slots}\n")
}

fn excess(samples: &Samples, deployment: &str, limit: &str) -> Option<f64> {
    samples.get(EXCESS, &[("deployment", deployment), ("limit", limit)])
}

/// Returns the number of log lines that report the begin of an excess.
fn reports(daemon: &Daemon, limit: &str) -> usize {
    let field = format!("limit={limit} ");
    let is_report = |line: &&String| line.contains("limit exceeded") && line.contains(&field);
    daemon.log().iter().filter(is_report).count()
}

#[test]
fn a_large_cluster_map_delays_no_other_deployment() {
    // 20 lines with 16,384 ranges each: 2.6 MB. Before, such a map took 13 s.
    let ranges = "0-16383 ".repeat(16_384);
    let hostile = cluster_node(move |reading| {
        let line = |id| {
            let flags = if id == 0 { "myself,master" } else { "master" };
            map_line(id, flags, reading, ranges.trim_end())
        };
        (0..20).map(line).collect()
    });
    let healthy = Redis::start(&[]);
    let text = deployment("healthy", &[&healthy])
        + &format!("[[deployment]]\nname = 'hostile'\ncluster = ['{}']\n", hostile.stub.url());
    let daemon = Daemon::configured(&text);
    daemon.until(SECOND * 20, "redis_cluster_known_nodes", &[("deployment", "hostile")], 20.0);
    let of = |samples: &Samples, name: &str, deployment: &str| {
        samples.get(name, &[("deployment", deployment)]).expect(name)
    };
    let before = daemon.samples();
    pause(SECOND * 10);
    let after = daemon.samples();
    let rounds = of(&after, "rolecall_rounds_total", "healthy")
        - of(&before, "rolecall_rounds_total", "healthy");
    assert!((9.0..=11.0).contains(&rounds), "{rounds} rounds in 10 s");
    for series in ["rolecall_rounds_missed_total", "rolecall_blind_rounds_total"] {
        let counts = [&before, &after].map(|samples| Some(of(samples, series, "healthy")));
        assert_eq!(counts[0], counts[1], "{series}");
    }
    let computation = of(&after, "rolecall_round_computation_seconds", "hostile");
    let slow = of(&after, "rolecall_slow_rounds_total", "hostile");
    assert!(computation < 0.1, "{computation} s");
    println!("{rounds} rounds; a hostile one is computed in {computation} s, {slow} are slow");
}

#[test]
fn nodes_beyond_the_limit_are_left_out_and_reported() {
    // Each map has 60 nodes, most of them with new IDs and addresses.
    let hostile = cluster_node(|reading| {
        let own = map_line(0, "myself,master", 1, "0-16383");
        let others = (1..60).map(|id| map_line(id + reading * 60, "master", 1, ""));
        std::iter::once(own).chain(others).collect()
    });
    let daemon = Daemon::configured(&format!(
        "[[deployment]]\nname = 'carts'\ncluster = ['{}']\nlimits = {{ nodes = 20 }}\n",
        hostile.stub.url()
    ));
    let (samples, _) = eventually(SECOND * 20, "the excess is counted", || {
        let samples = daemon.samples();
        (excess(&samples, "carts", "nodes")? >= 40.0).then_some(samples)
    });
    let known = samples.get("redis_deployment_nodes", &[("state", "known")]).expect("nodes");
    assert!(known <= 20.0, "{known} nodes");
    let page = daemon.get("/deployment/carts", "text/html").text;
    assert!(page.contains("listed nodes are not monitored: limits.nodes is 20"), "{page}");
    let document = daemon.document("/api/v1/topology");
    let limit_excess = &document["deployments"][0]["limit_excess"];
    assert!(limit_excess["nodes"].as_u64() >= Some(40), "{limit_excess}");
    let tasks = daemon.value("rolecall_tasks").expect("tasks");
    daemon.until_rounds(10);
    let later = daemon.value("rolecall_tasks").expect("tasks");
    assert!((later - tasks).abs() <= 40.0, "{tasks} and {later} tasks");
    assert_eq!(reports(&daemon, "nodes"), 1, "{:?}", daemon.log());
}

/// Starts a master without replicas.
fn master() -> FakeServer {
    FakeServer::start(|command| {
        let is_info = command.starts_with("INFO");
        Some(if is_info { info(6, "") } else { minimal_reply(command) })
    })
}

/// Starts a Sentinel that lists `masters` masters, all at one address, each with this number of
/// replicas that do not exist.
fn sentinel(masters: usize, port: u16, replicas: usize) -> FakeServer {
    let info = "# Server\r\nredis_version:7.0.15\r\nredis_mode:sentinel\r\nrun_id:5\r\n\
                uptime_in_seconds:1000\r\n# Sentinel\r\nsentinel_tilt:0\r\n";
    let entry = move |name: usize| {
        let port = port.to_string();
        let name = format!("m{name:04}");
        let pairs = [
            ["name", &name],
            ["ip", "127.0.0.1"],
            ["port", &port],
            ["runid", "6"],
            ["flags", "master"],
            ["role-reported", "master"],
            ["last-ok-ping-reply", "1"],
            ["last-ping-reply", "1"],
            ["config-epoch", "1"],
            ["quorum", "1"],
            ["num-slaves", "0"],
            ["num-other-sentinels", "0"],
            ["down-after-milliseconds", "5000"],
            ["failover-timeout", "180000"],
        ];
        array(pairs.as_flattened().iter().map(|word| bulk(word)))
    };
    FakeServer::start(move |command| {
        let words: Vec<_> = command.split(' ').collect();
        Some(match words[..] {
            ["INFO", ..] => bulk(info),
            ["SENTINEL", "MASTERS"] => array((0..masters).map(entry)),
            ["SENTINEL", "REPLICAS" | "SLAVES", name] => {
                let master: usize = name.trim_start_matches('M').parse().expect("a master");
                array((0..replicas).map(|number| replica(master * replicas + number)))
            }
            ["SENTINEL", "CKQUORUM", ..] => b"+OK 1 usable Sentinels\r\n".to_vec(),
            ["SENTINEL", ..] => array([]),
            ["PSUBSCRIBE", ..] => array([bulk("psubscribe"), bulk("*"), b":1\r\n".to_vec()]),
            _ => minimal_reply(command),
        })
    })
}

/// Returns the entry of a replica that does not exist.
fn replica(number: usize) -> Vec<u8> {
    let ip = format!("127.8.{}.{}", number / 250 % 250, number % 250);
    let name = format!("{ip}:1");
    let pairs = [
        ["name", &name],
        ["ip", &ip],
        ["port", "1"],
        ["runid", ""],
        ["flags", "slave"],
        ["role-reported", "slave"],
        ["last-ok-ping-reply", "1"],
        ["last-ping-reply", "1"],
    ];
    array(pairs.as_flattened().iter().map(|word| bulk(word)))
}

#[test]
fn nodes_of_a_group_of_sentinels_have_a_limit_together() {
    let node = master();
    // 40 masters with 50 replicas each are 2,040 nodes.
    let sentinel = sentinel(40, node.stub.port, 50);
    let daemon = Daemon::configured(&format!(
        "[[deployment]]\nname = 'shop-{{master}}'\nsentinels = ['{}']\n\
         limits = {{ group_nodes = 300, connections = 100 }}\n",
        sentinel.stub.url()
    ));
    let known = |samples: &Samples| samples.sum("redis_deployment_nodes", &[("state", "known")]);
    let (samples, took) = eventually(SECOND * 60, "the limit is reached", || {
        let samples = daemon.samples();
        let left_out = samples.sum(EXCESS, &[("limit", "group_nodes")]);
        (left_out >= 1_500.0 && known(&samples) >= 300.0).then_some(samples)
    });
    let [nodes, left_out] = [known(&samples), samples.sum(EXCESS, &[("limit", "group_nodes")])];
    println!("{nodes} nodes, {left_out} are left out, after {took:?}");
    // Each deployment has its master, and rounds that are computed at the same time exceed the
    // limit once.
    assert!((300.0..=500.0).contains(&nodes), "{nodes} nodes");
    assert_eq!(samples.get("rolecall_deployments", &[]), Some(40.0));
    assert!(samples.sum(EXCESS, &[("limit", "nodes")]) < 0.5);
    let rounds = |samples: &Samples| samples.sum("rolecall_rounds_total", &[]);
    eventually(SECOND * 30, "ten rounds of each deployment", || {
        (rounds(&daemon.samples()) >= rounds(&samples) + 400.0).then_some(())
    });
    assert!(known(&daemon.samples()) <= nodes, "no node joins later");
    let shown = samples.labels(EXCESS, "deployment").into_iter().find(|name| {
        samples.get(EXCESS, &[("deployment", name), ("limit", "group_nodes")]) > Some(0.0)
    });
    let page = daemon.get(&format!("/deployment/{}", shown.expect("an excess")), "text/html").text;
    assert!(page.contains("limits.group_nodes is 300"), "{page}");
}

#[test]
fn masters_and_connections_beyond_the_limits_are_left_out() {
    let node = master();
    let sentinel = sentinel(300, node.stub.port, 0);
    let daemon = Daemon::configured(&format!(
        "[[deployment]]\nname = 'shop-{{master}}'\nsentinels = ['{}']\n\
         limits = {{ masters = 60, connections = 5 }}\n",
        sentinel.stub.url()
    ));
    let sum = |samples: &Samples, limit: &str| samples.sum(EXCESS, &[("limit", limit)]);
    let (samples, took) = eventually(SECOND * 30, "both limits are reported", || {
        let samples = daemon.samples();
        let is_reported = sum(&samples, "masters") >= 240.0 && sum(&samples, "connections") >= 55.0;
        is_reported.then_some(samples)
    });
    assert_eq!(samples.get("rolecall_deployments", &[]), Some(60.0));
    let excess = ["masters", "connections"].map(|limit| Some(sum(&samples, limit)));
    assert_eq!(excess, [Some(240.0), Some(55.0)]);
    assert_eq!(node.connections(), 5, "connections to one address");
    let local = samples.count("redis_down_reason", &[("reason", "local")]);
    let page = daemon.get("/deployment/shop-m0000", "text/html").text;
    assert!(page.contains("240 masters of the Sentinels are not monitored"), "{page}");
    let refused = samples.labels(EXCESS, "deployment").into_iter().find(|name| {
        samples.get(EXCESS, &[("deployment", name), ("limit", "connections")]) > Some(0.0)
    });
    let refused = format!("/deployment/{}", refused.expect("an excess"));
    let page = daemon.get(&refused, "text/html").text;
    assert!(page.contains("limits.connections is 5"), "{page}");
    assert_eq!(reports(&daemon, "masters"), 1, "{:?}", daemon.log());
    println!("{local} nodes have the reason local after {took:?}");
}

#[test]
fn label_values_beyond_the_limit_are_added_up() {
    const PER_READING: usize = 10;
    let readings = AtomicUsize::new(0);
    let hostile = FakeServer::start(move |command| {
        Some(match command {
            "INFO COMMANDSTATS" => {
                let reading = readings.fetch_add(1, Ordering::Relaxed);
                let mut text = String::from("# Commandstats\r\n");
                for name in reading * PER_READING..(reading + 1) * PER_READING {
                    write!(text, "cmdstat_c{name}:calls=3,usec=1,usec_per_call=1.0\r\n")
                        .expect("to a string");
                }
                bulk(&text)
            }
            _ if command.starts_with("INFO") => {
                let reading = readings.load(Ordering::Relaxed);
                let mut text = String::from("# Errorstats\r\n");
                for code in reading * PER_READING..(reading + 1) * PER_READING {
                    write!(text, "errorstat_E{code}:count=2\r\n").expect("to a string");
                }
                info(8, &text)
            }
            _ => minimal_reply(command),
        })
    });
    let daemon = Daemon::configured(&format!(
        "[[deployment]]\nname = 'orders'\nnodes = [{{ url = '{}' }}]\n\
         limits = {{ label_values = 25 }}\ncadence = {{ commands = '1s' }}\n",
        hostile.stub.url()
    ));
    let (samples, _) = eventually(SECOND * 30, "both labels have the value other", || {
        let samples = daemon.samples();
        let has = |name: &str, label: &str| samples.count(name, &[(label, "other")]) == 1;
        (has("redis_commands_total", "cmd") && has("redis_errors_total", "err")).then_some(samples)
    });
    let calls = samples.sum("redis_commands_total", &[]);
    assert_eq!(Some(calls), Some(3.0 * PER_READING as f64), "the sum stays right");
    daemon.until_rounds(10);
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..5 {
        let samples = daemon.samples();
        names.extend(samples.labels("redis_commands_total", "cmd"));
        names.extend(samples.labels("redis_errors_total", "err"));
        let codes = samples.count("redis_errors_total", &[]);
        // Ten codes always have series: alerts use them.
        assert!(codes <= 25 + 10 + 1, "{codes} codes");
        daemon.until_rounds(1);
    }
    assert!(names.len() <= 2 * 25 + 10 + 1, "{names:?}");
    assert!(samples.sum(EXCESS, &[("limit", "label_values")]) > 0.0);
    assert_eq!(reports(&daemon, "label_values"), 1, "{:?}", daemon.log());
    let page = daemon.get("/deployment/orders", "text/html").text;
    assert!(page.contains("have no series of their own: limits.label_values is 25"), "{page}");
}
