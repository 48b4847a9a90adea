//! Time to evaluate rounds, without any server.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use snapshot::{ClusterMap, Fields, NodeSnapshot};
use tests::{SECOND, Stopwatch};
use topology::{
    Deployment, DeploymentKind, DeploymentTracker, Discovery, NodeNameTemplate, NodeReply,
    PollOutcome, ReadRequest, Round,
};

use crate::report::Report;

/// Measures static deployments and clusters.
pub(crate) fn measure(report: &mut Report) {
    report
        .table("Evaluation of rounds", &["deployments", "nodes of each", "per node and round, us"]);
    for (deployments, nodes) in [(1000, 1), (333, 3), (1, 1000)] {
        let time = static_evaluation(deployments, nodes);
        report.row(&[&deployments, &nodes, &format_args!("{time:.1}")]);
    }
    report.table(
        "Evaluation of a cluster, with parsing of requested CLUSTER NODES",
        &["shards", "nodes", "per node and round, us"],
    );
    for shards in [3, 250] {
        let time = cluster_evaluation(shards);
        report.row(&[&shards, &(shards * 2), &format_args!("{time:.1}")]);
    }
}

/// Measures a cluster of masters with one replica each. The time includes parsing CLUSTER NODES.
fn cluster_evaluation(shards: usize) -> f64 {
    const ROUNDS: u32 = 60;
    let nodes = shards * 2;
    let address = |number: usize| format!("10.1.{}.{}:6379", number / 250, number % 250);
    let slots =
        |shard: usize| format!("{}-{}", 16384 * shard / shards, 16384 * (shard + 1) / shards - 1);
    let id = |number: usize| format!("{number:040x}");
    let map = |of: usize| -> String {
        let line = |number: usize| {
            let myself = if number == of { "myself," } else { "" };
            let (role, master, slots) = if number < shards {
                ("master", "-".to_owned(), slots(number))
            } else {
                ("slave", id(number - shards), String::new())
            };
            format!(
                "{} {}@16379 {myself}{role} {master} 0 0 {} connected {slots}\n",
                id(number),
                address(number),
                number % shards
            )
        };
        (0..nodes).map(line).collect()
    };
    let maps: Vec<String> = (0..nodes).map(map).collect();
    let mut deployment = Deployment::new("bench", DeploymentKind::Cluster, &[], SECOND, SECOND * 3);
    deployment.add(address(0), address(0), None);
    let (master, names, address_map) =
        (String::new(), NodeNameTemplate::default(), BTreeMap::new());
    deployment.discovery = Some(Discovery {
        master,
        names,
        address_map,
        ghost_after: SECOND * 600,
        forget_after: SECOND * 300,
    });
    let mut fold = DeploymentTracker::new(Arc::new(deployment));
    let (mut wanted, mut spent) = (Vec::new(), Duration::ZERO);
    for round in 1..=ROUNDS {
        let view = fold.view();
        let snapshots = view.nodes.values().map(|node| {
            let number = (0..nodes)
                .find(|number| address(*number) == node.node.address)
                .expect("no node has this address");
            let shard = number % shards;
            let role = if number < shards {
                "role:master".to_owned()
            } else {
                format!(
                    "role:slave\nmaster_host:10.1.{}.{}\nmaster_port:6379\nmaster_link_status:up",
                    shard / 250,
                    shard % 250
                )
            };
            let info = format!(
                "run_id:{number}\nuptime_in_seconds:1000\ncluster_enabled:1\n{role}\n\
                 master_replid:{shard:040x}\nmaster_repl_offset:{round}\n"
            );
            let cluster = format!(
                "cluster_state:ok\ncluster_slots_ok:16384\ncluster_known_nodes:{nodes}\n\
                 cluster_current_epoch:{shards}\ncluster_my_epoch:{shard}\n"
            );
            let cluster = Some(Arc::new(Fields::parse(&cluster)));
            (
                number,
                NodeSnapshot { cluster, ..NodeSnapshot::from_info(&info).expect("invalid INFO") },
            )
        });
        let mut snapshots: Vec<_> = snapshots.collect();
        let begun = Stopwatch::start();
        for wanted in &wanted {
            if let ReadRequest::ClusterMap(place) = wanted {
                let (number, snapshot) = &mut snapshots[place.get()];
                snapshot.map = Some(Arc::new(ClusterMap::parse(&maps[*number])));
            }
        }
        let outcomes =
            snapshots.into_iter().map(|(_, snapshot)| answered(&Arc::new(snapshot))).collect();
        let elapsed = SECOND * round;
        let step = fold.observe(&Round::new(
            SystemTime::UNIX_EPOCH + elapsed,
            topology::Monotonic::from_start(elapsed),
            outcomes,
        ));
        // Skip the first rounds, which discover the nodes.
        if round > ROUNDS / 2 {
            spent += begun.elapsed();
        }
        wanted = step.requests;
    }
    let view = fold.view();
    assert_eq!(
        (view.shards.len(), view.members().count(), view.findings.len()),
        (shards, nodes, 0)
    );
    spent.as_secs_f64() * 1e6 / f64::from(ROUNDS / 2) / nodes as f64
}

/// Measures the evaluation of captured replies of a master and its replicas.
fn static_evaluation(deployments: u16, nodes: u16) -> f64 {
    const ROUNDS: u32 = 20;
    let captures =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/snapshot/captures/redis-7.0.15");
    let [master, replica] = ["master", "replica1"].map(|node| {
        let capture = captures.join(format!("03-replication-healthy.{node}.info-everything.txt"));
        std::fs::read_to_string(capture).expect("cannot read the capture")
    });
    let port = replica
        .lines()
        .find_map(|line| line.strip_prefix("master_port:")?.trim().parse::<u16>().ok())
        .expect("no master_port in the capture");
    let mut folds: Vec<_> = (0..deployments)
        .map(|_| {
            let mut deployment =
                Deployment::new("bench", DeploymentKind::Static, &[], SECOND, SECOND * 3);
            for node in 0..nodes {
                deployment.add(format!("n{node}"), format!("127.0.0.1:{}", port + node), None);
            }
            DeploymentTracker::new(Arc::new(deployment))
        })
        .collect();
    let rounds: Vec<Round> = (1..=ROUNDS)
        .map(|round| {
            // Each round has new replies with a higher offset.
            let moved = |info: &str| {
                info.replace("master_repl_offset:", &format!("master_repl_offset:{round}"))
            };
            let [master, replica] = [&master, &replica]
                .map(|info| Arc::new(NodeSnapshot::from_info(&moved(info)).expect("invalid INFO")));
            let outcomes =
                (0..nodes).map(|node| answered(if node == 0 { &master } else { &replica }));
            let elapsed = SECOND * round;
            Round::new(
                SystemTime::UNIX_EPOCH + elapsed,
                topology::Monotonic::from_start(elapsed),
                outcomes.collect(),
            )
        })
        .collect();
    let begun = Stopwatch::start();
    for round in &rounds {
        for fold in &mut folds {
            std::hint::black_box(fold.observe(round));
        }
    }
    begun.elapsed().as_secs_f64() * 1e6
        / f64::from(ROUNDS)
        / f64::from(deployments)
        / f64::from(nodes)
}

fn answered(snapshot: &Arc<NodeSnapshot>) -> PollOutcome {
    PollOutcome::Answered(NodeReply::new(
        Arc::clone(snapshot),
        Duration::from_millis(1),
        SystemTime::UNIX_EPOCH,
    ))
}
