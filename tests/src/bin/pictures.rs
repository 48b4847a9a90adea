//! Takes pictures of every page during an incident, light and dark, on a desktop and on a phone. By hand: `pictures FOLDER`.

#![expect(clippy::print_stdout, reason = "it says what it made")]

use std::path::PathBuf;
use std::time::Duration;

use tests::{Browser, Daemon, Group, Redis, Setup, Signal, deployment, free_port};

const SOON: Duration = Duration::from_secs(60);

fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).expect("pictures FOLDER"));
    std::fs::create_dir_all(&folder).expect("a folder");
    let orders: Vec<_> = {
        let primary = Redis::start(&["--appendonly", "yes"]);
        let replicas = [primary.replica(), primary.replica(), primary.replica()];
        std::iter::once(primary).chain(replicas).collect()
    };
    let mut group = Group::start(&Setup::default());
    let (queue, cart) = (Redis::start(&[]), Redis::start(&[]));
    let (queue_replica, cart_replica) = (queue.replica(), cart.replica());
    let names = ["orders-0", "orders-1", "orders-2", "orders-3"];
    let nodes: Vec<_> = orders.iter().zip(names).map(|(node, name)| format!("{{ url = '{}', name = '{name}' }}", node.url())).collect();
    let daemon = Daemon::configured(
        &[
            format!("[[deployment]]\nname = 'orders'\nlabels = {{ team = 'checkout' }}\nnodes = [{}]\n", nodes.join(", ")),
            group.deployment("sessions", ""),
            deployment("queue", &[&queue, &queue_replica]),
            deployment("cart", &[&cart, &cart_replica]),
        ]
        .concat(),
    );
    daemon.until(SOON, "redis_deployment_masters", &[("deployment", "sessions")], 1.0);
    daemon.until_quiet(SOON);

    // Somebody promoted a replica by hand; the old primary takes writes still, and one replica was sent elsewhere.
    orders[1].promote();
    orders[3].cli(&["REPLICAOF", "127.0.0.1", &free_port().to_string()]);
    daemon.until(SOON, "redis_deployment_split_brain", &[("deployment", "orders")], 1.0);
    for write in 0..25 {
        orders[0].cli(&["SET", &format!("lost{write}"), "1"]);
    }
    let replica = group.replicas()[0].address();
    let replica = group.place_of(&replica);
    group.nodes[replica].kill();
    group.sentinels[2].signal(Signal::Stop);
    queue.cli(&["CONFIG", "SET", "min-replicas-to-write", "2"]);
    daemon.until_severity(SOON, "RedisSplitBrain", "critical");
    daemon.until_found(SOON, "RedisWritesBlocked");
    daemon.until_found(SOON, "RedisSentinelDown");
    daemon.until_found(SOON, "RedisReplicaOrphaned");

    let down = group.nodes[replica].address();
    let pages = [
        ("status", "/".to_owned()),
        ("deployment", "/deployment/orders".to_owned()),
        ("sentinel", "/deployment/sessions".to_owned()),
        ("node", "/deployment/orders/node/orders-0".to_owned()),
        ("down", format!("/deployment/sessions/node/{down}")),
        ("runbook", "/runbooks/RedisSplitBrain?deployment=orders".to_owned()),
        ("runbooks", "/runbooks".to_owned()),
        ("missing", "/runbooks/NoSuchAlert".to_owned()),
    ];
    let mut browser = Browser::start();
    for (scheme, (size, width, height)) in
        [("light", ("desktop", 1280, 900)), ("dark", ("desktop", 1280, 900)), ("light", ("phone", 390, 844)), ("dark", ("phone", 390, 844))]
    {
        browser.prefer(scheme);
        browser.resize(width, height);
        for (name, path) in &pages {
            browser.open(&format!("http://127.0.0.1:{}{path}", daemon.port));
            let file = folder.join(format!("{name}-{size}-{scheme}.png"));
            std::fs::write(&file, browser.picture()).expect("a file");
            println!("{}", file.display());
        }
    }
}
