//! Selectors of public dashboards and expressions of public rules for redis_exporter, against
//! healthy servers.

use tests::{
    Cluster, ClusterSetup, Connection, Daemon, Prometheus, SECOND, SentinelDeployment,
    SentinelSetup, Server, eventually, pause, until_ok,
};

/// Selectors that 227 queries of public dashboards and rules contain, and whether redis_exporter
/// 1.45 has series for them.
const SELECTORS: &str = include_str!("public_selectors.tsv");

/// Expressions of public rules, which are true when the alert should fire. From
/// `awesome-prometheus-alerts` of samber (CC BY 4.0), the mixin of redis_exporter (MIT), and that
/// of `jsonnet-libs` of Grafana (Apache 2.0), adapted to the labels of Rolecall. The last two are
/// common.
const RULES: [&str; 16] = [
    "redis_up == 0",
    "(count(redis_instance_info{role=\"master\"}) or vector(0)) < 1",
    "count without (instance, job) (redis_connected_slaves) - sum without (instance, job) \
     (redis_connected_slaves) - 1 > 1",
    "delta(redis_connected_slaves[1m]) < 0",
    "changes(redis_connected_slaves[1m]) > 1",
    "time() - redis_rdb_last_save_timestamp_seconds > 60 * 60 * 24",
    "redis_memory_used_bytes / redis_total_system_memory_bytes * 100 > 90",
    "redis_memory_used_bytes / redis_memory_max_bytes * 100 > 90",
    "redis_connected_clients > 100",
    "redis_connected_clients < 5",
    "increase(redis_rejected_connections_total[1m]) > 0",
    "sum by (job, deployment) (redis_instance_info{role=\"master\",deployment=\"sentinels\"}) > 1",
    "sum by (job, deployment) (redis_instance_info{role=\"master\"}) < 1",
    "sum by (job, deployment) (redis_master_link_up) <= 0",
    "redis_master_last_io_seconds_ago > 60",
    "redis_connected_clients / redis_config_maxclients * 100 > 90",
];

/// Connections of clients to each node. A public rule expects five clients.
const CLIENTS: usize = 5;

/// Healthy servers with some clients: a primary with replicas and Sentinels, and a cluster.
struct HealthyServers {
    sentinels: SentinelDeployment,
    cluster: Cluster,
    _clients: Vec<Connection>,
}

impl HealthyServers {
    fn start() -> Self {
        let sentinels = SentinelDeployment::start(&SentinelSetup::default());
        let cluster = Cluster::start(&ClusterSetup::default());
        let mut clients = Vec::new();
        let data_nodes = sentinels.nodes.iter().chain(&cluster.nodes);
        for node in data_nodes.clone() {
            // Without a limit, the usual rule about memory divides by zero.
            assert_eq!(node.execute(&["CONFIG", "SET", "maxmemory", "1gb"]), ["OK"]);
        }
        for node in data_nodes.chain(&sentinels.sentinels) {
            clients.extend((0..CLIENTS).map(|_| node.connect().expect("a connection")));
        }
        let primary = &sentinels.nodes[0];
        primary.execute(&["SET", "key", "value", "EX", "1000"]);
        primary.execute(&["GET", "key"]);
        primary.try_execute(&["NOSUCH"]);
        HealthyServers { sentinels, cluster, _clients: clients }
    }

    /// Starts Rolecall with this value of `metrics.names`, and Prometheus that scrapes it.
    fn watch(&self, names: &str) -> (Daemon, Prometheus) {
        let text = format!(
            "[metrics]\nnames = '{names}'\n{}{}",
            self.sentinels.deployment("sentinels", ""),
            self.cluster.deployment("cluster", &[0], ""),
        );
        let daemon = Daemon::configured(&text);
        let prometheus = Prometheus::start(&[("rolecall", daemon.port)]);
        (daemon, prometheus)
    }
}

/// Returns the selectors for which redis_exporter 1.45 has series.
fn answered() -> Vec<&'static str> {
    let lines = SELECTORS.lines().skip(1);
    let answered: Vec<_> = lines.filter_map(|line| line.strip_suffix("\tyes")).collect();
    assert_eq!(answered.len(), 66);
    answered
}

/// Waits until each selector has series.
#[track_caller]
fn until_answered(prometheus: &Prometheus, names: &str) {
    let answered = answered();
    until_ok(SECOND * 60, || {
        let is_missing = |selector: &&&str| count(prometheus, selector) == 0.0;
        let missing: Vec<_> = answered.iter().filter(is_missing).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{names}: {missing:?}")) }
    });
}

/// Returns the number of series that an expression yields.
fn count(prometheus: &Prometheus, expression: &str) -> f64 {
    prometheus.query(&format!("count({expression})")).unwrap_or(0.0)
}

#[test]
fn public_queries_are_answered_and_no_public_rule_fires() {
    let servers = HealthyServers::start();
    for names in ["redis_exporter", "both", "native"] {
        let (_daemon, prometheus) = servers.watch(names);
        let nodes = (servers.sentinels.nodes.len()
            + servers.sentinels.sentinels.len()
            + servers.cluster.nodes.len()) as f64;
        eventually(SECOND * 60, &format!("{names}: all nodes are up"), || {
            (count(&prometheus, "redis_up == 1") >= nodes).then_some(())
        });
        if names != "native" {
            until_answered(&prometheus, names);
        }
        // Rates need some samples.
        pause(SECOND * 5);
        let firing: Vec<_> = RULES.iter().filter(|rule| count(&prometheus, rule) > 0.0).collect();
        assert_eq!(firing, Vec::<&&str>::new(), "{names}");
    }
}

#[test]
fn sidecars_in_redis_exporter_mode_answer_public_queries() {
    let servers = HealthyServers::start();
    let nodes = servers.sentinels.nodes.iter().chain(&servers.cluster.nodes);
    let nodes = nodes.chain(&servers.sentinels.sentinels[..1]);
    let start = |server: &Server| Daemon::as_redis_exporter(&[("REDIS_ADDR", &server.url())], &[]);
    let sidecars: Vec<_> = nodes.map(start).collect();
    let names: Vec<_> = (0..sidecars.len()).map(|index| format!("sidecar-{index}")).collect();
    let ports = sidecars.iter().map(|sidecar| sidecar.port);
    let jobs: Vec<_> = names.iter().map(String::as_str).zip(ports).collect();
    until_answered(&Prometheus::start(&jobs), "sidecars");
}
