//! Names whose addresses are the nodes, with a real name server: a headless Service, as pods see it.

use std::time::Duration;

use tests::{Daemon, NameServer, Place, Server, eventually, free_port};

/// Long enough for anything that a few rounds and look-ups show, also on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// A primary and two replicas, as pods: each at an address of its own, all on one port.
struct Pods {
    names: NameServer,
    port: u16,
    all: Vec<(Place, Server)>,
}

impl Pods {
    fn start() -> Self {
        let mut pods = Pods { names: NameServer::start(), port: free_port(), all: Vec::new() };
        (1..=3).for_each(|number| pods.add(number));
        pods
    }

    /// Starts a pod at an address; all but the first are replicas of that.
    fn add(&mut self, number: u8) {
        let place = self.names.place(number);
        let follow = self
            .all
            .first()
            .map(|(place, _)| format!("replicaof {} {}\n", place.host, self.port))
            .unwrap_or_default();
        let server = Server::start_on("redis-7.0.15", false, &place, self.port, &follow, None);
        if !follow.is_empty() {
            server.until_linked();
        }
        self.all.push((place, server));
    }

    /// Has the name stand for these pods, each with a host name of its own.
    fn ready(&self, pods: &[(usize, &str)]) {
        let host_names: Vec<_> = pods
            .iter()
            .map(|(pod, name)| (&self.all[*pod].0, format!("{name}.orders.test")))
            .collect();
        let names: Vec<_> = host_names
            .iter()
            .map(|(place, name)| (*place, [name.as_str(), "orders.test"]))
            .collect();
        self.names
            .name(&names.iter().map(|(place, names)| (*place, &names[..])).collect::<Vec<_>>());
    }

    fn watch(&self, more: &str) -> Daemon {
        let (port, network) = (self.port, self.names.network());
        let deployment = format!(
            "[[deployment]]\nname = 'orders'\ndns = ['redis://orders.test:{port}']\ntrust = ['{network}']\ncadence = {{ dns = '1s' }}\n"
        );
        self.names.daemon(&(deployment + more))
    }

    fn label(&self, pod: usize) -> String {
        self.all[pod].1.address()
    }
}

fn is_up(daemon: &Daemon, node: &str, up: Option<f64>) {
    eventually(SOON, &format!("{node} is up: {up:?}"), || {
        (daemon.samples().get("redis_up", &[("node", node)]) == up).then_some(())
    });
}

#[test]
fn dns_name_adds_and_removes_pods() {
    let mut pods = Pods::start();
    let daemon =
        pods.watch("node_name = '{short}'\nexpect = { replicas = 2 }\nforget_after = '3s'\n");

    // No pod is ready yet: the name is shown as what cannot be reached.
    is_up(&daemon, "orders", Some(0.0));
    daemon.until(SOON, "redis_down_reason", &[("node", "orders"), ("reason", "dns")], 1.0);
    daemon.until_found(SOON, "RedisDown");

    pods.ready(&[(0, "redis-0"), (1, "redis-1"), (2, "redis-2")]);
    daemon.until(SOON, "redis_deployment_primary_info", &[("node", "redis-0")], 1.0);
    is_up(&daemon, "redis-2", Some(1.0));
    is_up(&daemon, "orders", None);
    daemon.until_only(SOON, &[]);
    assert_eq!(daemon.samples().get("redis_deployment_info", &[("kind", "dns")]), Some(1.0));
    assert_eq!(daemon.count("primary_changed"), 0, "first sight is no change");

    // A pod dies, and its address goes: it is down, then gone, and missed.
    pods.all[2].1.kill();
    daemon.until_found(SOON, "RedisDown");
    pods.ready(&[(0, "redis-0"), (1, "redis-1")]);
    is_up(&daemon, "redis-2", None);
    daemon.until_only(SOON, &["RedisReplicasMissing"]);
    assert_eq!(daemon.value("redis_expected_replicas"), Some(2.0));
    assert_eq!(daemon.value("redis_deployment_replicas"), Some(1.0));

    // It is started elsewhere, and keeps its series.
    pods.add(4);
    pods.ready(&[(0, "redis-0"), (1, "redis-1"), (3, "redis-2")]);
    is_up(&daemon, "redis-2", Some(1.0));
    daemon.until_only(SOON, &[]);
    let of_pod = |kind: &str| {
        daemon
            .events()
            .iter()
            .filter(|event| event["kind"] == kind && event["node"] == "redis-2")
            .count()
    };
    assert_eq!([of_pod("node_gone"), of_pod("node_discovered")], [1, 1], "{:?}", daemon.events());
}

#[test]
fn unready_pod_is_still_polled() {
    let mut pods = Pods::start();
    pods.ready(&[(0, "redis-0"), (1, "redis-1"), (2, "redis-2")]);
    let daemon = pods.watch("forget_after = '2s'\n");
    let replica = pods.label(2);
    is_up(&daemon, &replica, Some(1.0));
    daemon.until_only(SOON, &[]);

    pods.ready(&[(0, "redis-0"), (1, "redis-1")]);
    daemon.let_pass(6);
    is_up(&daemon, &replica, Some(1.0));
    assert_eq!(daemon.findings(), []);

    // Once it is down as well, it is gone.
    pods.all[2].1.kill();
    is_up(&daemon, &replica, None);
    daemon.until_only(SOON, &["RedisReplicasMissing"]);
}

#[test]
fn failing_name_server_removes_no_nodes() {
    let mut pods = Pods::start();
    pods.ready(&[(0, "redis-0"), (1, "redis-1"), (2, "redis-2")]);
    let daemon = pods.watch("forget_after = '2s'\n");
    is_up(&daemon, &pods.label(2), Some(1.0));
    daemon.until_only(SOON, &[]);

    pods.names.kill();
    let failures = || daemon.value("rolecall_dns_lookup_failures_total");
    eventually(SOON, "look-ups fail", || (failures()? >= 4.0).then_some(()));
    assert_eq!(daemon.findings(), []);
    assert_eq!(daemon.samples().count("redis_up", &[]), 3);
    let told = daemon.log().iter().filter(|line| line.contains("cannot be looked up")).count();
    assert_eq!(told, 1, "one line when it begins");

    // A node that dies meanwhile is down, and not gone.
    pods.all[2].1.kill();
    is_up(&daemon, &pods.label(2), Some(0.0));
    daemon.let_pass(6);
    is_up(&daemon, &pods.label(2), Some(0.0));
    pods.names.restart();
    pods.all[2].1.restart();
    is_up(&daemon, &pods.label(2), Some(1.0));
    daemon.until_only(SOON, &[]);
}

#[test]
fn process_with_two_addresses_is_one_node() {
    let names = NameServer::start();
    let (first, second) = (names.place(1), names.place(2));
    let server = Server::start_on(
        "redis-7.0.15",
        false,
        &first,
        free_port(),
        &format!("bind {} {}\n", first.host, second.host),
        None,
    );
    names.name(&[(&first, &["orders.test"]), (&second, &["orders.test"])]);
    let daemon = names.daemon(&format!(
        "[[deployment]]\nname = 'orders'\ndns = ['redis://orders.test:{}']\ntrust = ['{}']\ncadence = {{ dns = '1s' }}\n",
        server.port,
        names.network()
    ));
    daemon.until(SOON, "redis_deployment_masters", &[], 1.0);
    daemon.let_pass(4);
    assert_eq!(daemon.samples().count("redis_up", &[]), 1);
    assert_eq!(daemon.findings(), []);
    assert_eq!(daemon.count("split_brain_began"), 0);
}

#[test]
fn untrusted_dns_address_gets_no_credentials() {
    let names = NameServer::start();
    let place = names.place(1);
    let server = Server::start_on(
        "redis-7.0.15",
        false,
        &place,
        free_port(),
        "requirepass secret\n",
        Some("secret"),
    );
    names.name(&[(&place, &["orders.test"])]);
    let daemon = names.daemon(&format!(
        "[[deployment]]\nname = 'orders'\ndns = ['redis://:secret@orders.test:{}']\n",
        server.port
    ));
    is_up(&daemon, &server.address(), Some(0.0));
    daemon.let_pass(3);
    assert!(server.clients().is_empty(), "{:?}", server.clients());
}
