//! Load that polling causes on a cluster.

use std::time::Duration;

use tests::{Cluster, ClusterSetup, Server, Stopwatch, pause};

use super::start_settled;

#[test]
fn idle_cluster_gets_few_commands() {
    const WINDOW: Duration = Duration::from_secs(20);
    for version in ["redis-7.0.15", "valkey-9.1.2"] {
        let cluster = Cluster::start(&ClusterSetup { version, ..ClusterSetup::default() });
        let errors = || -> Vec<_> {
            cluster
                .nodes
                .iter()
                .map(|node| node.section("stats")["total_error_replies"].clone())
                .collect()
        };
        let before = errors();
        let monitor = start_settled(&cluster, &[0], "");
        monitor.daemon.until_rounds(5);
        let count = || -> Vec<[u64; 2]> {
            let calls = |node: &Server, command: &str| {
                let statistics = node.section("commandstats");
                let entry = &statistics[&format!("cmdstat_cluster|{command}")];
                entry
                    .split_once("calls=")
                    .and_then(|(_, after)| after.split(',').next()?.parse().ok())
                    .expect("a count")
            };
            cluster
                .nodes
                .iter()
                .map(|node| ["nodes", "info"].map(|command| calls(node, command)))
                .collect()
        };
        let (first, stopwatch) = (count(), Stopwatch::start());
        pause(WINDOW);
        let (last, seconds) = (count(), stopwatch.elapsed().as_secs_f64());
        let increases: Vec<[u64; 2]> = first
            .iter()
            .zip(&last)
            .map(|(first, last)| [last[0] - first[0], last[1] - first[1]])
            .collect();
        let maps = increases.iter().map(|increase| increase[0]).sum::<u64>() as f64;
        println!(
            "{version}: CLUSTER NODES {:.2} per second in total, {increases:?} in {seconds:.1} s",
            maps / seconds
        );
        // One more round is possible at the edges of the window.
        assert!(maps <= 3.0 * (seconds + 1.0), "{maps} calls in {seconds} s");
        for [maps, infos] in increases {
            assert!(maps > 0, "CLUSTER NODES is sent to each node in turn");
            assert!(
                (seconds * 0.8..=seconds + 1.5).contains(&(infos as f64)),
                "{infos} calls in {seconds} s, not one per second"
            );
        }
        assert_eq!(errors(), before, "no command is refused");
        for node in &cluster.nodes {
            assert_eq!(
                node.clients().len(),
                1,
                "one connection to each node: {:?}",
                node.clients()
            );
        }
    }
}
