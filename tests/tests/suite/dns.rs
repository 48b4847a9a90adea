//! DNS deployments with a real name server, as for a headless Service in Kubernetes.

use std::time::Duration;

use tests::{Daemon, Host, NameServer, Server, eventually, free_port};

/// Timeout for changes that show within a few rounds and DNS queries, also on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// A primary and two replicas like Kubernetes pods: different addresses, the same port.
struct Pods {
    name_server: NameServer,
    port: u16,
    servers: Vec<(Host, Server)>,
}

impl Pods {
    /// Starts the name server and three pods.
    fn start() -> Self {
        let mut pods =
            Pods { name_server: NameServer::start(), port: free_port(), servers: Vec::new() };
        (1..=3).for_each(|number| pods.add(number));
        pods
    }

    /// Starts a pod at the address with this number. All pods but the first replicate the first.
    fn add(&mut self, number: u8) {
        let place = self.name_server.host(number);
        let replicaof = self
            .servers
            .first()
            .map(|(place, _)| format!("replicaof {} {}\n", place.host, self.port))
            .unwrap_or_default();
        let server = Server::start_on("redis-7.0.15", false, &place, self.port, &replicaof, None);
        if !replicaof.is_empty() {
            server.until_synchronised();
        }
        self.servers.push((place, server));
    }

    /// Makes the name resolve to these pods. Each pod has its own host name.
    fn set_ready(&self, pods: &[(usize, &str)]) {
        let host_names: Vec<_> = pods
            .iter()
            .map(|(pod, name)| (&self.servers[*pod].0, format!("{name}.orders.test")))
            .collect();
        let names: Vec<_> = host_names
            .iter()
            .map(|(place, name)| (*place, [name.as_str(), "orders.test"]))
            .collect();
        self.name_server
            .name(&names.iter().map(|(place, names)| (*place, &names[..])).collect::<Vec<_>>());
    }

    /// Starts a daemon on the name, with these additional keys of the deployment.
    fn start_daemon(&self, more: &str) -> Daemon {
        let (port, network) = (self.port, self.name_server.network());
        let deployment = format!(
            "[[deployment]]\nname = 'orders'\ndns = ['redis://orders.test:{port}']\n\
             trust = ['{network}']\ncadence = {{ dns = '1s' }}\n"
        );
        self.name_server.daemon(&(deployment + more))
    }

    /// Returns the `node` label of a pod.
    fn label(&self, pod: usize) -> String {
        self.servers[pod].1.address()
    }
}

/// Waits until `redis_up` of this node has this value, or until the series is absent.
fn until_up(daemon: &Daemon, node: &str, up: Option<f64>) {
    eventually(SOON, &format!("redis_up of {node} is {up:?}"), || {
        (daemon.samples().get("redis_up", &[("node", node)]) == up).then_some(())
    });
}

#[test]
fn dns_name_adds_and_removes_pods() {
    let mut pods = Pods::start();
    let daemon = pods
        .start_daemon("node_name = '{short}'\nexpect = { replicas = 2 }\nforget_after = '3s'\n");

    // No pod is ready yet, so the name itself is shown as a node that was never reached.
    until_up(&daemon, "orders", Some(0.0));
    daemon.until(SOON, "redis_down_reason", &[("node", "orders"), ("reason", "dns")], 1.0);
    daemon.until_found(SOON, "RolecallNeverReached");

    pods.set_ready(&[(0, "redis-0"), (1, "redis-1"), (2, "redis-2")]);
    daemon.until(SOON, "redis_deployment_primary_info", &[("node", "redis-0")], 1.0);
    until_up(&daemon, "redis-2", Some(1.0));
    until_up(&daemon, "orders", None);
    daemon.until_exact_findings(SOON, &[]);
    assert_eq!(daemon.samples().get("redis_deployment_info", &[("kind", "dns")]), Some(1.0));
    assert_eq!(daemon.count("primary_changed"), 0, "discovering the primary is no change");

    // A pod dies and its address is removed: the node is down, then gone, and a replica is missing.
    pods.servers[2].1.kill();
    daemon.until_found(SOON, "RedisDown");
    pods.set_ready(&[(0, "redis-0"), (1, "redis-1")]);
    until_up(&daemon, "redis-2", None);
    daemon.until_exact_findings(SOON, &["RedisReplicasMissing"]);
    assert_eq!(daemon.value("redis_expected_replicas"), Some(2.0));
    assert_eq!(daemon.value("redis_deployment_replicas"), Some(1.0));

    // The pod restarts at another address and keeps its series.
    pods.add(4);
    pods.set_ready(&[(0, "redis-0"), (1, "redis-1"), (3, "redis-2")]);
    until_up(&daemon, "redis-2", Some(1.0));
    daemon.until_exact_findings(SOON, &[]);
    let count_pod_events = |kind: &str| {
        daemon
            .events()
            .iter()
            .filter(|event| event["kind"] == kind && event["node"] == "redis-2")
            .count()
    };
    assert_eq!(
        [count_pod_events("node_gone"), count_pod_events("node_discovered")],
        [1, 1],
        "{:?}",
        daemon.events()
    );
}

#[test]
fn unready_pod_is_still_polled() {
    let mut pods = Pods::start();
    pods.set_ready(&[(0, "redis-0"), (1, "redis-1"), (2, "redis-2")]);
    let daemon = pods.start_daemon("forget_after = '2s'\n");
    let replica = pods.label(2);
    until_up(&daemon, &replica, Some(1.0));
    daemon.until_exact_findings(SOON, &[]);

    pods.set_ready(&[(0, "redis-0"), (1, "redis-1")]);
    daemon.until_rounds(6);
    until_up(&daemon, &replica, Some(1.0));
    assert_eq!(daemon.findings(), []);

    // The node is gone once it is also down.
    pods.servers[2].1.kill();
    until_up(&daemon, &replica, None);
    daemon.until_exact_findings(SOON, &["RedisReplicasMissing"]);
}

#[test]
fn failing_name_server_removes_no_nodes() {
    let mut pods = Pods::start();
    pods.set_ready(&[(0, "redis-0"), (1, "redis-1"), (2, "redis-2")]);
    let daemon = pods.start_daemon("forget_after = '2s'\n");
    until_up(&daemon, &pods.label(2), Some(1.0));
    daemon.until_exact_findings(SOON, &[]);

    pods.name_server.kill();
    let failures = || daemon.value("rolecall_dns_lookup_failures_total");
    eventually(SOON, "DNS queries fail", || (failures()? >= 4.0).then_some(()));
    assert_eq!(daemon.findings(), []);
    assert_eq!(daemon.samples().count("redis_up", &[]), 3);
    let log_lines = daemon.log().iter().filter(|line| line.contains("cannot be looked up")).count();
    assert_eq!(log_lines, 1, "one line when the failures begin");

    // A node that dies while the name server is down is shown as down, and not as gone.
    pods.servers[2].1.kill();
    until_up(&daemon, &pods.label(2), Some(0.0));
    daemon.until_rounds(6);
    until_up(&daemon, &pods.label(2), Some(0.0));
    pods.name_server.restart();
    pods.servers[2].1.restart();
    until_up(&daemon, &pods.label(2), Some(1.0));
    daemon.until_exact_findings(SOON, &[]);
}

#[test]
fn process_with_two_addresses_is_one_node() {
    let name_server = NameServer::start();
    let (first, second) = (name_server.host(1), name_server.host(2));
    let server = Server::start_on(
        "redis-7.0.15",
        false,
        &first,
        free_port(),
        &format!("bind {} {}\n", first.host, second.host),
        None,
    );
    name_server.name(&[(&first, &["orders.test"]), (&second, &["orders.test"])]);
    let daemon = name_server.daemon(&format!(
        "[[deployment]]\nname = 'orders'\ndns = ['redis://orders.test:{}']\n\
         trust = ['{}']\ncadence = {{ dns = '1s' }}\n",
        server.port,
        name_server.network()
    ));
    daemon.until(SOON, "redis_deployment_masters", &[], 1.0);
    daemon.until_rounds(4);
    assert_eq!(daemon.samples().count("redis_up", &[]), 1);
    assert_eq!(daemon.findings(), []);
    assert_eq!(daemon.count("split_brain_began"), 0);
}

#[test]
fn untrusted_dns_address_gets_no_credentials() {
    let name_server = NameServer::start();
    let place = name_server.host(1);
    let server = Server::start_on(
        "redis-7.0.15",
        false,
        &place,
        free_port(),
        "requirepass secret\n",
        Some("secret"),
    );
    name_server.name(&[(&place, &["orders.test"])]);
    let daemon = name_server.daemon(&format!(
        "[[deployment]]\nname = 'orders'\ndns = ['redis://:secret@orders.test:{}']\n",
        server.port
    ));
    let local = [("node", &*server.address()), ("reason", "local")];
    daemon.until(SOON, "redis_down_reason", &local, 1.0);
    daemon.until_rounds(3);
    // Rolecall's own configuration is the reason: nothing is known about the node.
    assert_eq!(daemon.value("redis_up"), None);
    assert!(server.clients().is_empty(), "{:?}", server.clients());
}
