//! Nodes with names: a DNS deployment, and names that only the servers can resolve.

use tests::{
    Daemon, Host, MASTER, PathFault, Server, Side, Signal, SplitNetwork, eventually, free_port,
    sentinel_deployment,
};

use super::{
    Cut, LIMIT, SECOND, SOON, evidence_of_primary, finding, kinds, pause, start, state, until_calm,
    until_state,
};

#[test]
fn unreachable_primary_of_a_dns_name_is_alive() {
    let mut network = SplitNetwork::new();
    let hosts = [(); 3].map(|()| network.add_host(Side::Left));
    let exporter = network.add_host(Side::Left);
    let port = free_port();
    network.name(&[&exporter], &hosts.each_ref().map(|host| (host, "orders.pods")));
    let server = |host: &Host, options: &str| {
        Server::start_on("redis-7.0.15", false, host, port, options, None)
    };
    let primary = server(&hosts[0], "");
    let master = format!("replicaof {} {port}\n", primary.host);
    let replicas = [server(&hosts[1], &master), server(&hosts[2], &master)];
    replicas.iter().for_each(Server::until_synchronised);
    let daemon = Daemon::on_host(
        &exporter,
        &format!("[[deployment]]\nname = 'orders'\ndns = ['redis://orders.pods:{port}']\n"),
    );
    until_calm(&daemon, 3);

    let cut = Cut {
        daemon: &daemon,
        exporter: &exporter,
        node: &primary,
        fault: PathFault::Loss,
        primary: &primary,
        keys: Some("kept"),
        witnesses: replicas.iter().map(Server::address).collect(),
        known: &[],
    };
    let path = cut.begin();
    let after = cut.dies(|| primary.signal(Signal::Stop));
    assert!(after < SECOND * 20, "down after {after:?}");
    daemon.until_found(SECOND * 10, "RedisNoPrimary");
    primary.signal(Signal::Cont);
    drop(path);
    until_calm(&daemon, 3);
}

/// Number of data nodes.
const NODES: usize = 3;

/// Primary, replicas and Sentinels that know each other by names, which the exporter cannot
/// resolve.
struct Pods {
    nodes: Vec<Server>,
    sentinels: Vec<Server>,
}

impl Pods {
    fn start(network: &mut SplitNetwork) -> Self {
        let hosts: Vec<_> = (0..NODES).map(|_| network.add_host(Side::Left)).collect();
        let names: Vec<_> = (0..NODES).map(name).collect();
        network.name(
            &hosts.iter().collect::<Vec<_>>(),
            &hosts.iter().zip(&names).map(|(host, name)| (host, &**name)).collect::<Vec<_>>(),
        );
        let mut nodes: Vec<Server> = Vec::new();
        for (host, name) in hosts.iter().zip(&names) {
            let master =
                nodes.first().map(|first| format!("replicaof {} {}\n", names[0], first.port));
            let options = format!("replica-announce-ip {name}\n{}", master.unwrap_or_default());
            nodes.push(start(host, &options));
        }
        nodes[1..].iter().for_each(Server::until_synchronised);
        let options = format!(
            "sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\n\
             sentinel monitor {MASTER} {} {} 2\nsentinel down-after-milliseconds {MASTER} 3000\n",
            names[0], nodes[0].port
        );
        let sentinels: Vec<_> = hosts
            .iter()
            .map(|host| Server::start("redis-7.0.15", true, host, &options, None))
            .collect();
        eventually(LIMIT, "the Sentinels know all nodes", || {
            let knows = |sentinel: &Server| {
                let master = sentinel.master(MASTER);
                master["num-slaves"] == "2" && master["num-other-sentinels"] == "2"
            };
            sentinels.iter().all(knows).then_some(())
        });
        Pods { nodes, sentinels }
    }

    /// Returns the address of a node as the Sentinels list it.
    fn listed(&self, node: usize) -> String {
        format!("{}:{}", name(node), self.nodes[node].port)
    }

    fn deployment(&self, more: &str) -> String {
        let urls: Vec<_> = self.sentinels.iter().map(Server::url).collect();
        sentinel_deployment("orders", Some(MASTER), &urls, more)
    }
}

fn name(node: usize) -> String {
    format!("redis-{node}.redis.pods")
}

#[test]
fn nodes_with_names_for_servers_only_are_unreachable() {
    let mut network = SplitNetwork::new();
    let pods = Pods::start(&mut network);
    let exporter = network.add_host(Side::Left);
    let daemon = Daemon::on_host(&exporter, &pods.deployment(""));
    let listed: Vec<_> = (0..NODES).map(|node| pods.listed(node)).collect();
    for node in &listed {
        let after = until_state(&daemon, SOON, node, "unreachable");
        println!("{node}: unreachable after {after:?}");
    }
    for _ in 0..25 {
        let found = kinds(&daemon);
        assert!(found.iter().all(|kind| kind == "RedisUnreachable"), "{found:?}");
        pause(SECOND);
    }
    for node in &listed {
        assert_eq!(state(&daemon, node), "unreachable");
        let samples = daemon.samples();
        assert_eq!(samples.get("redis_up", &[("node", node)]), Some(0.0));
        let reason = [("node", node.as_str()), ("reason", "dns")];
        assert_eq!(samples.get("redis_down_reason", &reason), Some(1.0));
        let found = finding(&daemon, "RedisUnreachable", node).expect("a finding");
        assert_eq!(found["severity"], "warning", "{found}");
        assert_eq!(found["evidence"]["unmapped"], node.as_str(), "{found}");
    }
    assert_eq!(evidence_of_primary(&daemon, &listed[0]).as_deref(), Some("sentinel"));
    assert_eq!(daemon.value("redis_deployment_no_primary"), Some(0.0));

    // The entries that the findings suggest repair it.
    let entries: Vec<_> = listed
        .iter()
        .zip(&pods.nodes)
        .map(|(listed, node)| format!("'{listed}' = '{}'", node.address()))
        .collect();
    daemon.reload(&pods.deployment(&format!("address_map = {{ {} }}", entries.join(", "))));
    until_calm(&daemon, NODES * 2);
}
