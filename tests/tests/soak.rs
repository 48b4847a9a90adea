//! A thousand rounds with a server that is killed and restarted repeatedly. Tasks, connections and
//! file descriptors must not leak.
//!
//! The rounds run in this process so that it can count them, with an interval that is shorter than
//! the configuration allows.

#![expect(clippy::print_stdout, reason = "tests print their measurements for --nocapture")]

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

/// Returns the numbers of tasks, open file descriptors, and connections to the surviving server.
fn resources(server: &Redis) -> (usize, usize, usize) {
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("descriptors").count();
    (
        Handle::current().metrics().num_alive_tasks(),
        descriptors,
        server.rolecall_connections().len(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn thousand_rounds_leak_no_tasks_or_connections() {
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
        group: None,
    };
    let (publish, mut view) = watch::channel(Arc::new(DeploymentView::empty(deployment)));
    let mut poller = tokio::task::JoinSet::new();
    poller.spawn(poller::run(
        Arc::new(settings),
        Vec::new(),
        PollerContext::new(Clock::start(), StateStore::default()),
        publish,
        Duration::ZERO,
    ));

    let both_up = |view: &Arc<DeploymentView>| {
        view.nodes.len() == 2 && view.nodes.values().all(|node| node.up() == Some(true))
    };
    view.wait_for(both_up).await.expect("rounds");
    let before = resources(&survivor);
    for kill in 1..=KILLS {
        victim.kill();
        view.wait_for(|view| view.nodes[topology::NodeIndex::new(0)].up() == Some(false))
            .await
            .expect("rounds");
        view.wait_for(|view| view.rounds.total >= kill * ROUNDS / KILLS).await.expect("rounds");
        victim.restart();
        view.wait_for(both_up).await.expect("rounds");
    }
    let after = resources(&survivor);
    let last_view = view.borrow().clone();
    println!(
        "{} rounds, {KILLS} kills; tasks, descriptors, connections: {before:?} before, \
         {after:?} after",
        last_view.rounds.total
    );
    assert!(last_view.rounds.total >= ROUNDS);
    assert_eq!(
        last_view.nodes[topology::NodeIndex::new(0)].process.restarts,
        KILLS,
        "each restart was detected"
    );
    assert_eq!(before, after, "tasks, descriptors and connections do not leak");

    poller.shutdown().await;
    let (remaining, _) =
        tests::eventually(Duration::from_secs(5), "the connections are closed", || {
            let (tasks, _, connections) = resources(&survivor);
            (tasks == 0 && connections == 0).then_some((tasks, connections))
        });
    assert_eq!(remaining, (0, 0));
}
