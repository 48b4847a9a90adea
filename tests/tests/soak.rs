//! A thousand rounds with a server killed and started again and again: tasks, sockets and descriptors stay flat.
//!
//! The rounds run inside this process, twenty times as fast as the smallest configured interval, so that they can be counted here.

#![expect(clippy::print_stdout, reason = "measured figures are shown with --nocapture")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::{Address, Credentials, Endpoint};

use config::{Cadences, DeploymentSettings};
use poller::{Clock, PollerContext, StateStore};
use tests::Redis;
use tokio::runtime::Handle;
use tokio::sync::watch;
use topology::{Deployment, DeploymentKind, DeploymentView};

const INTERVAL: Duration = Duration::from_millis(20);
const ROUNDS: u64 = 1000;
const KILLS: u64 = 20;

/// What must stay flat: tasks, open descriptors, and connections that the surviving server sees.
fn figures(server: &Redis) -> (usize, usize, usize) {
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("descriptors").count();
    (Handle::current().metrics().num_alive_tasks(), descriptors, server.pollers().len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_rounds_leak_nothing() {
    let (mut victim, survivor) = (Redis::start(&[]), Redis::start(&[]));
    let mut deployment =
        Deployment::new("soak", DeploymentKind::Static, &[], INTERVAL, INTERVAL * 3);
    let ports = [victim.port, survivor.port];
    for port in ports {
        deployment.add(port.to_string(), format!("127.0.0.1:{port}"), None);
    }
    let deployment = Arc::new(deployment);
    let endpoints = ports.map(|port| Endpoint {
        address: Address::Tcp { host: "127.0.0.1".to_owned(), port },
        credentials: Credentials::default(),
        tls: None,
        trust: None,
    });
    let settings = DeploymentSettings {
        deployment: Arc::clone(&deployment),
        endpoints: endpoints.to_vec(),
        data_dirs: Vec::new(),
        service_endpoints: Vec::new(),
        check_interval: INTERVAL * 10,
        discovery: None,
        deadline: INTERVAL * 4 / 5,
        cadences: Cadences::default(),
        assumed: BTreeMap::new(),
    };
    let (publish, mut view) = watch::channel(Arc::new(DeploymentView::empty(deployment)));
    let mut poller = tokio::task::JoinSet::new();
    poller.spawn(poller::run(
        settings,
        Vec::new(),
        PollerContext::new(Clock::start(), StateStore::default()),
        publish,
        Duration::ZERO,
    ));

    let both_up = |view: &Arc<DeploymentView>| {
        view.nodes.len() == 2 && view.nodes.iter().all(|node| node.up() == Some(true))
    };
    view.wait_for(both_up).await.expect("rounds");
    let before = figures(&survivor);
    for kill in 1..=KILLS {
        victim.kill();
        view.wait_for(|view| view.nodes[0].up() == Some(false)).await.expect("rounds");
        view.wait_for(|view| view.rounds.total >= kill * ROUNDS / KILLS).await.expect("rounds");
        victim.restart();
        view.wait_for(both_up).await.expect("rounds");
    }
    let after = figures(&survivor);
    let seen = view.borrow().clone();
    println!(
        "{} rounds, {KILLS} kills; tasks, descriptors, connections: {before:?} before, {after:?} after",
        seen.rounds.total
    );
    assert!(seen.rounds.total >= ROUNDS);
    assert_eq!(seen.nodes[0].process.restarts, KILLS, "each restart was seen");
    assert_eq!(before, after, "tasks, descriptors and connections stay flat");

    poller.shutdown().await;
    let (gone, _) = tests::eventually(Duration::from_secs(5), "the connections are closed", || {
        let (tasks, _, connections) = figures(&survivor);
        (tasks == 0 && connections == 0).then_some((tasks, connections))
    });
    assert_eq!(gone, (0, 0));
}
