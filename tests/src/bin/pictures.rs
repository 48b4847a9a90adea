//! Takes pictures of every page during an incident: light and dark, on a desktop and on a phone, and those of the README. By hand, after a
//! change of the pages: `target/debug/pictures FOLDER`, or of a Rolecall that runs already, `target/debug/pictures FOLDER http://127.0.0.1:9121`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tests::{Browser, Daemon, Group, Redis, Setup, Signal, deployment, free_port};

/// Long enough for anything here.
const LIMIT: Duration = Duration::from_secs(60);

/// Several things that are wrong at once.
struct Incident {
    daemon: Daemon,
    /// The node that was killed.
    down: String,
    _servers: Vec<Redis>,
    _group: Group,
}

impl Incident {
    fn begin() -> Self {
        let primary = Redis::start(&["--appendonly", "yes"]);
        let mut orders: Vec<_> = (0..3).map(|_| primary.replica()).collect();
        orders.insert(0, primary);
        let mut group = Group::start(&Setup::default());
        let (queue, cart) = (Redis::start(&[]), Redis::start(&[]));
        let (queue_replica, cart_replica) = (queue.replica(), cart.replica());
        let named: Vec<_> = orders
            .iter()
            .zip(0..)
            .map(|(node, number)| format!("{{ url = '{}', name = 'orders-{number}' }}", node.url()))
            .collect();
        let text = [
            format!(
                "[[deployment]]\nname = 'orders'\nlabels = {{ team = 'checkout' }}\nnodes = [{}]\n",
                named.join(", ")
            ),
            group.deployment("sessions", ""),
            deployment("queue", &[&queue, &queue_replica]) + "cadence = { config = '1s' }\n",
            deployment("cart", &[&cart, &cart_replica]),
        ];
        let daemon = Daemon::configured(&text.concat());
        daemon.until(LIMIT, "redis_deployment_masters", &[("deployment", "sessions")], 1.0);
        daemon.until_quiet(LIMIT);

        // Somebody promoted a replica by hand; the old primary still takes writes, and one replica was sent elsewhere.
        orders[1].promote();
        orders[3].cli(&["REPLICAOF", "127.0.0.1", &free_port().to_string()]);
        daemon.until(LIMIT, "redis_deployment_split_brain", &[("deployment", "orders")], 1.0);
        for write in 0..25 {
            orders[0].cli(&["SET", &format!("lost{write}"), "1"]);
        }
        // A replica died, a Sentinel hangs, and elsewhere writes are refused.
        let down = group.replicas()[0].address();
        let place = group.place_of(&down);
        group.nodes[place].kill();
        group.sentinels[2].signal(Signal::Stop);
        queue.cli(&["CONFIG", "SET", "min-replicas-to-write", "2"]);
        daemon.until_severity(LIMIT, "RedisSplitBrain", "critical");
        for kind in
            ["RedisWritesBlocked", "RedisSentinelDown", "RedisReplicaOrphaned", "RedisWritesLost"]
        {
            daemon.until_found(LIMIT, kind);
        }
        orders.extend([queue, queue_replica, cart, cart_replica]);
        Incident { daemon, down, _servers: orders, _group: group }
    }

    fn pages(&self) -> Vec<(String, String)> {
        let pages = [
            ("status", "/".to_owned()),
            ("deployment", "/deployment/orders".to_owned()),
            ("sentinel", "/deployment/sessions".to_owned()),
            ("node", "/deployment/orders/node/orders-0".to_owned()),
            ("down", format!("/deployment/sessions/node/{}", self.down)),
            ("runbook", "/runbooks/RedisSplitBrain?deployment=orders".to_owned()),
            ("runbooks", "/runbooks".to_owned()),
            ("missing", "/runbooks/NoSuchAlert".to_owned()),
        ];
        pages.map(|(name, path)| (name.to_owned(), path)).into()
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.daemon.port)
    }
}

/// The pages of a Rolecall that runs already: each deployment with its worst node, and the runbook of what is found first.
fn pages_of(url: &str) -> Vec<(String, String)> {
    let document = |path: &str| -> Value {
        ureq::get(format!("{url}/api/v1/{path}"))
            .call()
            .expect(path)
            .body_mut()
            .read_json()
            .expect("a document")
    };
    let mut pages = vec![
        ("status".to_owned(), "/".to_owned()),
        ("runbooks".to_owned(), "/runbooks".to_owned()),
    ];
    let findings = document("findings");
    for deployment in document("topology")["deployments"].as_array().expect("deployments") {
        let name = deployment["name"].as_str().expect("a name");
        let found = findings["findings"]
            .as_array()
            .expect("findings")
            .iter()
            .find(|finding| finding["deployment"] == name);
        let node = found
            .and_then(|finding| finding["node"].as_str())
            .or(deployment["nodes"][0]["name"].as_str())
            .expect("a node");
        let alert = found.and_then(|finding| finding["kind"].as_str()).unwrap_or("RedisNoPrimary");
        pages.push((format!("{name}-deployment"), format!("/deployment/{name}")));
        pages.push((format!("{name}-node"), format!("/deployment/{name}/node/{node}")));
        pages.push((format!("{name}-runbook"), format!("/runbooks/{alert}?deployment={name}")));
    }
    pages
}

fn take(browser: &mut Browser, url: &str, whole: bool, file: &Path) {
    browser.open(url);
    std::fs::write(file, browser.picture(whole)).expect("a file");
}

/// Each page light and dark, on a desktop and on a phone.
fn take_all(browser: &mut Browser, url: &str, pages: &[(String, String)], folder: &Path) {
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        for (size, width, height) in [("desktop", 1280, 900), ("phone", 390, 844)] {
            browser.resize(width, height);
            for (name, path) in pages {
                take(
                    browser,
                    &format!("{url}{path}"),
                    true,
                    &folder.join(format!("{name}-{size}-{scheme}.png")),
                );
            }
        }
    }
}

fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).expect("pictures FOLDER"));
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut browser = Browser::start();
    if let Some(url) = std::env::args().nth(2) {
        return take_all(&mut browser, &url, &pages_of(&url), &folder);
    }
    let incident = Incident::begin();
    take_all(&mut browser, &incident.url(), &incident.pages(), &folder);
    // Those of the README.
    for (scheme, name, path, height) in
        [("light", "status", "/", 820), ("dark", "deployment", "/deployment/orders", 1000)]
    {
        browser.prefer(scheme);
        browser.resize(1100, height);
        take(
            &mut browser,
            &format!("{}{path}", incident.url()),
            false,
            &folder.join(format!("{name}.png")),
        );
    }
}
