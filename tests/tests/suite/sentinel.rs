//! Deployments that Sentinels know, on real Sentinels: who belongs to one, what is said of it, and what asking costs.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tests::{
    Group, MASTER, Place, Server, Setup, Side, Sides, Stopwatch, Tap, diagnose_urls, eventually, monitored, pause, processor_time,
    resident_kilobytes, watched_deployment,
};

use crate::watch::{DISAGREEMENT, LIMIT, PRIMARY, SECOND, SOON, Watch, check_names};

#[test]
fn three_sentinels_are_enough_to_know_all_nodes_and_what_sentinels_say() {
    for version in ["redis-7.0.15", "redis-8.2.3", "valkey-9.1.2"] {
        let group = Group::start(&Setup { version, ..Setup::default() });
        let watch = Watch::settled(&group, "labels = { team = 'a' }");
        let samples = watch.daemon.samples();
        assert_eq!(samples.get("redis_deployment_info", &[("deployment", "sessions"), ("kind", "sentinel"), ("team", "a")]), Some(1.0));
        assert_eq!(samples.count("redis_up", &[]), 6, "{version}: three nodes and three Sentinels");
        let primary = group.primary().address();
        for node in &group.nodes {
            let (address, labels) = (node.address(), |role| [("node", node.address()), ("role", String::from(role))]);
            let role = |role| {
                let labels: [(&str, String); 2] = labels(role);
                samples.get("redis_role", &labels.each_ref().map(|(name, value)| (*name, value.as_str())))
            };
            let expected = if address == primary { [Some(1.0), Some(0.0)] } else { [Some(0.0), Some(1.0)] };
            assert_eq!([role("master"), role("replica")], expected, "{address}");
        }
        for sentinel in &group.sentinels {
            check_sentinel(&watch, sentinel, &primary);
        }
        for (series, labels) in [
            (DISAGREEMENT, &[][..]),
            ("redis_sentinel_majority_against_primary", &[]),
            ("redis_sentinel_ghosts", &[("kind", "replica")]),
            ("redis_sentinel_ghosts", &[("kind", "sentinel")]),
            ("redis_sentinel_self_replication", &[]),
            ("redis_sentinel_mixed_names", &[]),
        ] {
            assert_eq!(samples.get(series, labels), Some(0.0), "{series} {labels:?}");
            assert_eq!(samples.get(series, &[&[("deployment", "sessions")], labels].concat()), Some(0.0));
        }
        assert_eq!(
            samples.get("redis_deployment_nodes", &[("state", "known")]),
            samples.get("redis_deployment_nodes", &[("state", "answering")])
        );
    }
}

/// Every series about a Sentinel says what the Sentinel itself says.
#[track_caller]
fn check_sentinel(watch: &Watch, sentinel: &Server, primary: &str) {
    let (samples, node, master) = (watch.daemon.samples(), sentinel.address(), sentinel.master(MASTER));
    let of_node = |name: &str, labels: &[(&str, &str)]| samples.get(name, &[&[("node", node.as_str())], labels].concat());
    assert_eq!(of_node("redis_sentinel_master_info", &[("master_name", MASTER), ("address", primary)]), Some(1.0));
    assert_eq!(format!("{}:{}", master["ip"], master["port"]), primary);
    for (state, value) in [("ok", 1.0), ("sdown", 0.0), ("odown", 0.0)] {
        assert_eq!(of_node("redis_sentinel_master_state", &[("state", state)]), Some(value), "{state}");
    }
    let said = |field: &str| master[field].parse::<f64>().expect("a number");
    let others = said("num-other-sentinels");
    assert_eq!((said("num-slaves"), others), (2.0, 2.0));
    for (series, value) in [
        ("redis_sentinel_master_config_epoch", said("config-epoch")),
        ("redis_sentinel_master_slaves", 2.0),
        ("redis_sentinel_master_ok_slaves", 2.0),
        ("redis_sentinel_master_sentinels", others + 1.0),
        ("redis_sentinel_master_ok_sentinels", others + 1.0),
        ("redis_sentinel_master_quorum", said("quorum")),
        ("redis_sentinel_master_failover_in_progress", 0.0),
        ("redis_sentinel_quorum_ok", 1.0),
        ("redis_sentinel_master_role_mismatch", 0.0),
        ("redis_sentinel_masters", 1.0),
        ("redis_sentinel_tilt", 0.0),
    ] {
        assert_eq!(of_node(series, &[]), Some(value), "{series} of {node}");
    }
    assert_eq!(of_node("redis_role", &[("role", "sentinel")]), Some(1.0));
}

#[test]
fn a_new_replica_is_discovered_and_a_dead_one_becomes_a_ghost() {
    let mut group = Group::start(&Setup::default());
    let watch = Watch::settled(&group, "ghost_after = '5s'\nforget_after = '5s'");
    let address = group.add_node(&Place::loopback()).address();
    // Sentinels ask the primary every 10 s.
    eventually(LIMIT, "a Sentinel lists it", || {
        let listed = group.sentinels.iter().flat_map(|sentinel| sentinel.table(&["SENTINEL", "REPLICAS", MASTER]));
        listed.into_iter().any(|replica| replica["name"] == address).then_some(())
    });
    let took = watch.daemon.until(SOON, "redis_up", &[("node", &address)], 1.0);
    println!("discovered {took:?} after a Sentinel listed it");
    assert!(took < SECOND * 4, "{took:?}");
    let discovered = || watch.events("node_discovered").iter().filter(|event| event["node"] == address).count();
    assert_eq!(discovered(), 1, "{:?}", watch.daemon.events());
    group.until_known();
    watch.until_quiet();

    let node = group.place_of(&address);
    group.nodes[node].kill();
    let killed = Stopwatch::start();
    watch.daemon.until(SOON, "redis_up", &[("node", &address)], 0.0);
    assert_eq!(watch.until_finding(SOON, "RedisDown", "warning")["node"], address);
    let found = watch.until_finding(SOON * 2, "RedisSentinelGhosts", "warning");
    let took = killed.elapsed();
    println!("a ghost {took:?} after the kill");
    // Sentinels hold it for down after 3 s, and that must have lasted for 5 s.
    assert!(took > SECOND * 5 && took < SECOND * 15, "{took:?}");
    check_names(&found["evidence"]["replicas"], std::slice::from_ref(&address));
    check_names(&found["evidence"]["sentinels"], &[]);
    watch.daemon.until(SOON, "redis_sentinel_ghosts", &[("kind", "replica")], 1.0);
    eventually(SOON, "it is no member", || (watch.daemon.samples().count("redis_up", &[("node", &address)]) == 0).then_some(()));
    assert!(watch.finding("RedisDown").is_none(), "what is no member cannot be down");
    assert_eq!(watch.daemon.until_event(SOON, "node_gone")["node"], address);

    group.nodes[node].restart();
    watch.daemon.until(LIMIT, "redis_up", &[("node", &address)], 1.0);
    watch.daemon.until(LIMIT, "redis_sentinel_ghosts", &[("kind", "replica")], 0.0);
    group.until_following(LIMIT);
    watch.until_quiet();
    assert_eq!((discovered(), watch.events("node_gone").len()), (2, 1), "{:?}", watch.daemon.events());
    assert_eq!(watch.deployment_events(), Vec::<String>::new());
}

#[test]
fn a_reset_sentinel_forgets_a_dead_replica_and_so_does_the_deployment() {
    let mut group = Group::start(&Setup::default());
    let watch = Watch::settled(&group, "forget_after = '20s'");
    let address = group.replicas()[0].address();
    let node = group.place_of(&address);
    group.nodes[node].kill();
    watch.daemon.until(SOON, "redis_up", &[("node", &address)], 0.0);
    eventually(SOON * 2, "the primary has forgotten it", || (group.primary().replication().get("connected_slaves")? == "1").then_some(()));
    // They forget everybody, and learn of the others again within some 10 s.
    for sentinel in &group.sentinels {
        assert_eq!(sentinel.ask(&["SENTINEL", "RESET", MASTER]), ["1"]);
    }
    eventually(LIMIT, "it is no member", || (watch.daemon.samples().count("redis_up", &[("node", &address)]) == 0).then_some(()));
    assert_eq!(watch.daemon.until_event(SOON, "node_gone")["node"], address);
    eventually(LIMIT, "all but that one are members", || (watch.daemon.samples().count("redis_up", &[]) == 5).then_some(()));
    assert!(watch.finding("RedisDown").is_none() && watch.finding("RedisSentinelGhosts").is_none());
    watch.let_pass(5.0);
    assert_eq!(watch.events("node_gone").len(), 1, "nobody else went: {:?}", watch.events("node_gone"));
    assert_eq!(watch.deployment_events(), Vec::<String>::new());
}

#[test]
fn discovered_nodes_are_named_by_the_template_and_sentinels_as_configured() {
    let group = Group::start(&Setup { replicas: 1, sentinels: 1, quorum: 1, ..Setup::default() });
    let url = group.sentinels[0].url();
    let text = format!(
        "[[deployment]]\nname = 'sessions'\nmaster_name = '{MASTER}'\nnode_name = 'redis-{{port}}.{{host}}'\n\
         sentinels = [{{ url = '{url}', name = 'guard' }}]\n"
    );
    let watch = Watch::of(&text);
    let named = |node: &Server| format!("redis-{}.127.0.0.1", node.port);
    watch.until_primary(&named(&group.nodes[0]));
    for node in &group.nodes {
        watch.daemon.until(SOON, "redis_up", &[("node", &named(node))], 1.0);
    }
    watch.daemon.until(SOON, "redis_up", &[("node", "guard")], 1.0);
    watch.daemon.until(SOON, "redis_sentinel_masters", &[("node", "guard")], 1.0);
    assert_eq!(watch.daemon.samples().count("redis_up", &[]), 3);
    // Another template is another name.
    watch.reload(&text.replace("redis-{port}.{host}", "{port}"));
    watch.until_primary(&group.nodes[0].port.to_string());
    assert_eq!(watch.daemon.samples().count("redis_up", &[]), 3);
}

/// A group whose Sentinels watch another primary as well, under that name.
fn with_another(name: &str) -> (Group, Server) {
    let other = Server::alone("redis-7.0.15");
    let options = monitored(name, &other, &Setup::default());
    (Group::start(&Setup { sentinel_options: options, ..Setup::default() }), other)
}

#[test]
fn deployments_on_the_same_sentinels_share_their_connections() {
    let (group, other) = with_another("second");
    let urls: Vec<_> = group.sentinels.iter().map(Server::url).collect();
    let text = group.deployment("sessions", "") + &watched_deployment("queue", Some("second"), &urls, "");
    let watch = Watch::of(&text);
    for (name, primary) in [("sessions", group.primary().address()), ("queue", other.address())] {
        watch.daemon.until(LIMIT, PRIMARY, &[("deployment", name), ("node", &primary)], 1.0);
        for sentinel in &group.sentinels {
            let labels = [("deployment", name), ("node", &*sentinel.address()), ("address", &*primary)];
            watch.daemon.until(SOON, "redis_sentinel_master_info", &labels, 1.0);
        }
    }
    pause(SECOND * 5);
    let samples = watch.daemon.samples();
    for sentinel in &group.sentinels {
        let node = sentinel.address();
        for series in ["redis_up", "redis_sentinel_masters", "redis_sentinel_tilt"] {
            assert_eq!(samples.count(series, &[("node", &node)]), 1, "{series}: once, however many deployments name it");
            assert_eq!(samples.count(series, &[("node", &node), ("deployment", "sessions")]), 1, "{series}: under the first");
        }
        assert_eq!(samples.get("redis_sentinel_masters", &[("node", &node)]), Some(2.0));
        assert_eq!(samples.count("redis_sentinel_quorum_ok", &[("node", &node)]), 2);
        let clients = sentinel.clients();
        let subscribed = |line: &&String| !line.contains(" sub=0 ") || !line.contains(" psub=0 ");
        assert_eq!((clients.len(), clients.iter().filter(subscribed).count()), (2, 1), "one asks and one listens: {clients:?}");
    }
    // One of the two goes, and the connections stay.
    let ids = |sentinel: &Server| -> Vec<String> {
        sentinel.clients().iter().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    };
    let before = ids(&group.sentinels[0]);
    watch.reload(&group.deployment("sessions", ""));
    eventually(SOON, "one is gone", || (watch.daemon.samples().count("redis_deployment_info", &[]) == 1).then_some(()));
    watch.let_pass(2.0);
    assert_eq!(ids(&group.sentinels[0]), before);
    assert_eq!(watch.of_node("redis_up", &group.sentinels[0]), Some(1.0));
}

#[test]
fn every_master_of_the_sentinels_is_a_deployment_while_it_is_watched() {
    let (group, second) = with_another("second");
    let third = Server::alone("redis-7.0.15");
    let urls: Vec<_> = group.sentinels.iter().map(Server::url).collect();
    let watch = Watch::of(&watched_deployment("{master}", None, &urls, "forget_after = '2s'"));
    watch.daemon.until(LIMIT, PRIMARY, &[("deployment", MASTER), ("node", &group.primary().address())], 1.0);
    watch.daemon.until(LIMIT, PRIMARY, &[("deployment", "second"), ("node", &second.address())], 1.0);
    let deployments = || watch.daemon.samples().count("redis_deployment_info", &[("kind", "sentinel")]);
    assert_eq!(deployments(), 2);
    assert_eq!(watch.daemon.samples().count("redis_up", &[("deployment", "second"), ("node", &second.address())]), 1);

    for sentinel in &group.sentinels {
        assert_eq!(sentinel.ask(&["SENTINEL", "MONITOR", "third", &third.host, &third.port.to_string(), "2"]), ["OK"]);
    }
    let took = watch.daemon.until(SOON, PRIMARY, &[("deployment", "third"), ("node", &third.address())], 1.0);
    println!("a new master is a deployment after {took:?}");
    assert!(took < SECOND * 5, "{took:?}");
    assert_eq!(deployments(), 3);
    watch.daemon.until(SOON, "redis_sentinel_masters", &[("node", &group.sentinels[0].address())], 3.0);

    for sentinel in &group.sentinels {
        assert_eq!(sentinel.ask(&["SENTINEL", "REMOVE", "third"]), ["OK"]);
    }
    eventually(LIMIT, "it is gone", || {
        (watch.daemon.samples().count("redis_deployment_info", &[("deployment", "third")]) == 0).then_some(())
    });
    let text = watch.daemon.get("/metrics", "text/plain").text;
    assert!(!text.contains("deployment=\"third\"") && !text.contains(&third.address()), "nothing is left of it");
    assert_eq!(deployments(), 2);
    eventually(SOON, "its connection is closed", || third.clients().is_empty().then_some(()));
}

#[test]
fn sentinels_and_nodes_have_credentials_of_their_own() {
    const NODES: &str = "secret-of-nodes";
    const SENTINELS: &str = "secret-of-sentinels";
    for version in ["redis-7.0.15", "valkey-9.1.2"] {
        let group = Group::start(&Setup { version, password: Some(NODES), sentinel_password: Some(SENTINELS), ..Setup::default() });
        // Replicas greet their master before they authenticate.
        let refused = |node: &Server| {
            let errors = node.section("errorstats");
            ["NOAUTH", "WRONGPASS"].map(|code| errors.get(&format!("errorstat_{code}")).cloned())
        };
        let before: Vec<_> = group.nodes.iter().map(refused).collect();
        let watch = Watch::settled(&group, &format!("password = '{NODES}'\nsentinel_password = '{SENTINELS}'"));
        assert_eq!(group.nodes.iter().map(refused).collect::<Vec<_>>(), before, "no attempt without the right one");
        let pages = ["/", "/metrics", "/api/v1/topology", "/api/v1/events"].map(|path| watch.daemon.get(path, "").text);
        let shown = [pages.concat(), watch.daemon.log().concat()].concat();
        assert!(!shown.contains(NODES) && !shown.contains(SENTINELS));

        // That of the Sentinels is not for the nodes, and no Sentinel is asked with that of the nodes.
        let wrong = Watch::of(&group.deployment("sessions", &format!("password = '{NODES}'")));
        for sentinel in &group.sentinels {
            wrong.daemon.until(SOON, "redis_down_reason", &[("node", &sentinel.address()), ("reason", "auth")], 1.0);
        }
        wrong.until_finding(SOON, "RolecallCannotRead", "warning");
        assert_eq!(wrong.daemon.samples().count(PRIMARY, &[]), 0);
        assert!(wrong.finding("RedisSentinelDown").is_none(), "they are well");
    }
}

/// Counts the connections to an address, which gets none that is wanted.
fn trap(address: &str) -> Arc<AtomicU64> {
    let (listener, count) = (TcpListener::bind(address).expect("a port"), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for _ in listener.incoming() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    count
}

#[test]
fn a_node_that_a_sentinel_names_outside_the_trusted_networks_is_shown_and_never_connected_to() {
    let group = Group::start(&Setup { sentinels: 1, quorum: 1, ..Setup::default() });
    let (real, port) = (group.replicas()[0].address(), group.replicas()[0].port);
    let forged = format!("127.0.0.2:{port}");
    let trap = trap(&forged);
    // As SENTINEL REPLICAS has it, for both protocols.
    let entry = |host: &str| format!("{host}\r\n$4\r\nport\r\n$5\r\n{port}\r\n");
    let rewrites = vec![(real.clone(), forged.clone()), (entry("127.0.0.1"), entry("127.0.0.2"))];
    let lies = Tap::rewriting("127.0.0.1", &group.sentinels[0].address(), rewrites);
    let told = |trust: &str| watched_deployment("sessions", Some(MASTER), &[lies.url()], &format!("password = 'secret'\n{trust}"));
    let topology = |watch: &Watch| watch.daemon.get("/api/v1/topology", "").text;

    let watch = Watch::of(&told("trust = ['127.0.0.1/32', '10.0.0.0/8']"));
    watch.until_primary(&group.primary().address());
    eventually(SOON, "it is shown", || topology(&watch).contains(&forged).then_some(()));
    watch.let_pass(12.0);
    assert!(topology(&watch).contains(&forged), "{}", topology(&watch));
    assert_eq!(trap.load(Ordering::Relaxed), 0, "no connection, and so no credential");
    assert_ne!(watch.daemon.samples().get("redis_up", &[("node", &forged)]), Some(1.0));
    assert!(!topology(&watch).contains(&real), "nobody names it");
    assert!(lies.seen().commands.get("SENTINEL REPLICAS").is_some_and(|count| *count >= 1), "{:?}", lies.seen());

    // The trap works: once that network is trusted, it is connected to.
    watch.reload(&told("trust = ['127.0.0.0/8']"));
    eventually(SOON, "a connection", || (trap.load(Ordering::Relaxed) > 0).then_some(()));
}

#[test]
fn loopback_is_trusted_only_while_all_sentinels_are_there() {
    let sides = Sides::new();
    let group = Group::start(&Setup { sentinels: 2, quorum: 1, ..Setup::default() });
    let (inside, outside) = (group.sentinels[0].url(), Tap::rewriting(&sides.own(Side::Left), &group.sentinels[1].address(), Vec::new()));
    let urls = [inside, outside.url()];
    let watch = Watch::of(&watched_deployment("sessions", Some(MASTER), &urls, ""));
    watch.daemon.until(SOON, "redis_up", &[("node", &outside.address)], 1.0);
    watch.daemon.until(SOON, "redis_sentinel_masters", &[("node", &group.sentinels[0].address())], 1.0);
    let topology = || watch.daemon.get("/api/v1/topology", "").text;
    eventually(SOON, "the nodes are shown", || group.nodes.iter().all(|node| topology().contains(&node.address())).then_some(()));
    watch.let_pass(5.0);
    for node in &group.nodes {
        assert_eq!(node.clients(), Vec::<String>::new(), "{}", topology());
        assert_ne!(watch.of_node("redis_up", node), Some(1.0));
    }
    assert_eq!(watch.daemon.samples().count(PRIMARY, &[("evidence", "sole")]), 0, "no node said anything");
    // Unless the configuration says so.
    watch.reload(&watched_deployment("sessions", Some(MASTER), &urls, "trust = ['127.0.0.0/8']"));
    watch.daemon.until(SOON, "redis_up", &[("node", &group.primary().address())], 1.0);
}

#[test]
fn one_url_of_a_sentinel_is_enough_for_a_diagnosis() {
    let mut group = Group::start(&Setup::default());
    let url = group.url(0);
    let (code, text, found) = diagnose_urls(&[&url]);
    println!("{text}");
    assert_eq!((code, found), (Some(0), Vec::new()), "{text}");
    assert!(group.nodes.iter().chain(&group.sentinels[..1]).all(|node| text.contains(&node.address())), "{text}");
    let urls = [group.url(0), group.url(1), group.url(2)];
    assert_eq!(diagnose_urls(&urls.each_ref().map(String::as_str)).0, Some(0));
    let all = format!("sentinel://{}", group.sentinels[0].address());
    let (code, text, found) = diagnose_urls(&[&all]);
    assert_eq!((code, found, text.contains(MASTER)), (Some(0), Vec::new(), true), "{text}");

    let dead = group.replicas()[1].address();
    let node = group.place_of(&dead);
    group.nodes[node].kill();
    let (code, text, found) = diagnose_urls(&[&url]);
    assert_eq!(code, Some(1), "{text}");
    assert!(found.contains(&("RedisDown".to_owned(), Some(dead))), "{found:?}");
    for sentinel in &mut group.sentinels {
        sentinel.kill();
    }
    assert_ne!(diagnose_urls(&[&url]).0, Some(0), "nobody is left to ask");
}

#[test]
fn an_address_of_the_node_itself_among_its_replicas_is_a_mistake_that_is_found() {
    // No Sentinel of these versions lists a node as its own replica by itself: the tap makes it so.
    let group = Group::start(&Setup { replicas: 1, sentinels: 1, quorum: 1, ..Setup::default() });
    let (primary, replica) = (group.nodes[0].port, group.nodes[1].port);
    let entry = |port: u16| format!("name\r\n$15\r\n127.0.0.1:{port}\r\n$2\r\nip\r\n$9\r\n127.0.0.1\r\n$4\r\nport\r\n$5\r\n{port}\r\n");
    let lies = Tap::rewriting("127.0.0.1", &group.sentinels[0].address(), vec![(entry(replica), entry(primary))]);
    let watch = Watch::of(&watched_deployment("sessions", Some(MASTER), &[lies.url()], ""));
    watch.until_primary(&group.nodes[0].address());
    watch.daemon.until(SOON, "redis_sentinel_self_replication", &[], 1.0);
    let found = watch.until_finding(SOON, "RedisSentinelMisconfigured", "critical");
    assert_eq!(found["evidence"]["why"], json!(["self_replication"]), "{found}");
    check_names(&found["evidence"]["nodes"], &[group.nodes[0].address()]);
    assert_eq!(watch.value("redis_sentinel_mixed_names"), Some(0.0));
}

#[test]
fn a_dead_sentinel_that_others_list_is_a_ghost() {
    let mut group = Group::start(&Setup::default());
    let urls = [group.sentinels[0].url(), group.sentinels[1].url()];
    let watch = Watch::of(&watched_deployment("sessions", Some(MASTER), &urls, "ghost_after = '3s'"));
    watch.until_primary(&group.primary().address());
    watch.until_quiet();
    let dead = group.sentinels[2].address();
    group.sentinels[2].kill();
    watch.daemon.until(SOON * 2, "redis_sentinel_ghosts", &[("kind", "sentinel")], 1.0);
    let found = watch.until_finding(SOON, "RedisSentinelGhosts", "warning");
    check_names(&found["evidence"]["sentinels"], &[dead]);
    check_names(&found["evidence"]["replicas"], &[]);
    assert!(watch.finding("RedisSentinelDown").is_none(), "it is not among the configured");
    for sentinel in &group.sentinels[..2] {
        assert_eq!(watch.of_node("redis_sentinel_quorum_ok", sentinel), Some(1.0));
        assert_eq!(watch.of_node("redis_sentinel_master_ok_sentinels", sentinel), Some(2.0));
    }
    // It counts for the majority until it is forgotten.
    for sentinel in &group.sentinels[..2] {
        assert_eq!(sentinel.ask(&["SENTINEL", "RESET", MASTER]), ["1"]);
    }
    watch.daemon.until(SOON * 2, "redis_sentinel_ghosts", &[("kind", "sentinel")], 0.0);
    watch.until_quiet();
    assert_eq!(watch.deployment_events(), Vec::<String>::new());
}

#[test]
fn host_names_beside_raw_addresses_are_a_mistake_that_is_found() {
    let primary = Server::alone("redis-7.0.15");
    let follow = format!("replicaof 127.0.0.1 {}\n", primary.port);
    let replica = Server::start("redis-7.0.15", false, &Place::loopback(), &follow, None);
    replica.until_linked();
    let names = "sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\n";
    let text = format!("{names}sentinel monitor {MASTER} localhost {} 1\n", primary.port);
    let sentinel = Server::start("redis-7.0.15", true, &Place::loopback(), &text, None);
    let listed = || sentinel.table(&["SENTINEL", "REPLICAS", MASTER]).pop().filter(|replica| replica["flags"] == "slave");
    let (listed, _) = eventually(LIMIT, "the replica is listed", listed);
    assert_eq!((sentinel.master(MASTER)["ip"].as_str(), listed["ip"].as_str()), ("localhost", "127.0.0.1"));

    let watch = Watch::of(&watched_deployment("sessions", Some(MASTER), &[sentinel.url()], ""));
    watch.until_primary(&format!("localhost:{}", primary.port));
    watch.daemon.until(SOON, "redis_up", &[("node", &replica.address())], 1.0);
    watch.daemon.until(SOON, "redis_link_state", &[("node", &replica.address()), ("state", "up")], 1.0);
    watch.daemon.until(SOON, "redis_sentinel_mixed_names", &[], 1.0);
    assert_eq!(watch.value("redis_sentinel_self_replication"), Some(0.0));
    let found = watch.until_finding(SOON, "RedisSentinelMisconfigured", "warning");
    assert_eq!(found["evidence"]["why"], json!(["mixed_names"]), "{found}");
    assert_eq!(watch.value(DISAGREEMENT), Some(0.0), "both names are of one node");
    assert_eq!(watch.daemon.samples().count("redis_up", &[]), 3, "and no node is there twice");
}

/// What 200 masters on three Sentinels cost.
#[test]
fn two_hundred_masters_cost_sentinels_little() {
    const MASTERS: usize = 200;
    const WINDOW: Duration = Duration::from_secs(30);
    let primaries: Vec<_> = (0..10).map(|_| Server::alone("redis-7.0.15")).collect();
    let setup = Setup { down_after: SECOND * 30, ..Setup::default() };
    let text: String = (0..MASTERS).map(|master| monitored(&format!("m{master}"), &primaries[master % 10], &setup)).collect();
    let sentinels: Vec<_> = (0..3).map(|_| Server::start("redis-7.0.15", true, &Place::loopback(), &text, None)).collect();
    eventually(LIMIT * 2, "all Sentinels know one another", || {
        let knows = |sentinel: &Server| {
            let masters = sentinel.table(&["SENTINEL", "MASTERS"]);
            masters.len() == MASTERS && masters.iter().all(|master| master["num-other-sentinels"] == "2" && master["flags"] == "master")
        };
        pause(SECOND);
        sentinels.iter().all(knows).then_some(())
    });
    let taps: Vec<_> = sentinels.iter().map(|sentinel| Tap::start(&sentinel.address())).collect();
    let urls: Vec<_> = taps.iter().map(Tap::url).collect();

    let without = measure(&sentinels, WINDOW);
    let watch = Watch::of(&watched_deployment("{master}", None, &urls, ""));
    eventually(LIMIT, "200 deployments", || (watch.daemon.samples().count(PRIMARY, &[]) == MASTERS).then_some(()));
    pause(SECOND * 10);
    let (before, exporter) = (taps.iter().map(Tap::seen).collect::<Vec<_>>(), processor_time(watch.daemon.id()));
    let with = measure(&sentinels, WINDOW);
    let exporter = (processor_time(watch.daemon.id()) - exporter) / WINDOW.as_secs_f64();
    let resident = resident_kilobytes(watch.daemon.id());
    println!("exporter, this build: {:.1}% of a core, {resident} kB resident", exporter * 100.0);
    for (place, (tap, before)) in taps.iter().zip(&before).enumerate() {
        let (after, (processor, commands)) = (tap.seen(), (with[place].0 - without[place].0, with[place].1 - without[place].1));
        let count = |seen: &BTreeMap<String, u64>, command: &str| seen.get(command).copied().unwrap_or(0);
        let rates: BTreeMap<_, _> =
            after.commands.keys().map(|command| (command, count(&after.commands, command) - count(&before.commands, command))).collect();
        println!(
            "sentinel {place}: {:.1}% of a core more than {:.1}%, {commands:+.1} commands/s to {:.1}; in {WINDOW:?} {rates:?}",
            processor * 100.0,
            without[place].0 * 100.0,
            without[place].1
        );
        // One more for where the window begins and ends.
        let seconds = WINDOW.as_secs();
        let rate = |command: &str| rates.iter().find(|(name, _)| **name == command).map_or(0, |(_, count)| *count);
        let masters = rate("SENTINEL MASTERS");
        assert!((seconds / 2..=seconds + 1).contains(&masters), "{masters} in {seconds} s, not one a second");
        let each = (MASTERS as u64) * (seconds / 10 + 1);
        for command in ["SENTINEL REPLICAS", "SENTINEL SLAVES", "SENTINEL SENTINELS", "SENTINEL CKQUORUM"] {
            assert!(rate(command) <= each, "{command}: {} in {seconds} s, not one per master in 10 s", rate(command));
        }
        assert!(rate("INFO") <= seconds + 1, "{rates:?}");
        let others: u64 = rates.values().sum::<u64>() - masters - rate("INFO");
        assert!(others <= each * 3 + 10, "{rates:?}");
        assert_eq!((after.open, after.connections), (2, 2), "one connection asks, one listens");
        assert!(processor < 0.1, "a tenth of a core more: {processor}");
    }
    assert!(exporter < 1.0, "{exporter} of a core, even in a debug build");
    assert!(resident < 150_000, "{resident} kB");
}

/// Processor time, of one core, and commands per second of each Sentinel.
fn measure(sentinels: &[Server], window: Duration) -> Vec<(f64, f64)> {
    let now = || -> Vec<(f64, f64)> {
        let commands = |sentinel: &Server| sentinel.section("stats")["total_commands_processed"].parse().expect("a number");
        sentinels.iter().map(|sentinel| (processor_time(sentinel.id()), commands(sentinel))).collect()
    };
    let (before, begun) = (now(), Stopwatch::start());
    pause(window);
    let (after, seconds) = (now(), begun.elapsed().as_secs_f64());
    let pairs = before.iter().zip(after);
    pairs.map(|(before, after)| ((after.0 - before.0) / seconds, (after.1 - before.1) / seconds)).collect()
}
