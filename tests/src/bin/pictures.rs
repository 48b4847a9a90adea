//! Takes screenshots of every page during an incident: light and dark, for desktop and phone, and
//! those of the README. Run it manually after a change of the pages.
//!
//! Usage: `pictures DIRECTORY [URL]`. With the URL of a running Rolecall, it takes the screenshots
//! there instead.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tests::{
    Browser, Daemon, Redis, SentinelDeployment, SentinelSetup, Signal, deployment, free_port,
};

/// Timeout for each step of the incident.
const LIMIT: Duration = Duration::from_secs(60);

/// Deployments with several faults at the same time.
struct Incident {
    daemon: Daemon,
    /// The node that was killed.
    down: String,
    _servers: Vec<Redis>,
    _group: SentinelDeployment,
}

impl Incident {
    fn begin() -> Self {
        let primary = Redis::start(&["--appendonly", "yes"]);
        let mut orders: Vec<_> = (0..3).map(|_| primary.replica()).collect();
        orders.insert(0, primary);
        let mut group = SentinelDeployment::start(&SentinelSetup::default());
        let (queue, cart) = (Redis::start(&[]), Redis::start(&[]));
        let (queue_replica, cart_replica) = (queue.replica(), cart.replica());
        let nodes: Vec<_> = orders
            .iter()
            .zip(0..)
            .map(|(node, number)| format!("{{ url = '{}', name = 'orders-{number}' }}", node.url()))
            .collect();
        let text = [
            format!(
                "[[deployment]]\nname = 'orders'\nlabels = {{ team = 'checkout' }}\nnodes = [{}]\n",
                nodes.join(", ")
            ),
            group.deployment("sessions", ""),
            deployment("queue", &[&queue, &queue_replica]) + "cadence = { config = '1s' }\n",
            deployment("cart", &[&cart, &cart_replica]),
        ];
        let daemon = Daemon::configured(&text.concat());
        daemon.until(LIMIT, "redis_deployment_masters", &[("deployment", "sessions")], 1.0);
        daemon.until_no_findings(LIMIT);

        // In `orders`: a manual failover lost writes, the old primary is promoted again by mistake,
        // and one replica is orphaned.
        orders[1].promote();
        daemon.until(LIMIT, "redis_deployment_split_brain", &[("deployment", "orders")], 1.0);
        for write in 0..25 {
            orders[0].cli(&["SET", &format!("lost{write}"), "1"]);
        }
        orders[2].replicate_from(&orders[1]);
        orders[0].replicate_from(&orders[1]);
        daemon.until_found(LIMIT, "RedisWritesLost");
        orders[0].promote();
        orders[3].cli(&["REPLICAOF", "127.0.0.1", &free_port().to_string()]);
        daemon.until(LIMIT, "redis_deployment_split_brain", &[("deployment", "orders")], 1.0);
        // In `sessions`: a replica is killed and a Sentinel hangs. In `queue`: writes are blocked.
        let down = group.replicas()[0].address();
        let index = group.index_of(&down);
        group.nodes[index].kill();
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

/// Returns the pages of a running Rolecall: of each deployment, the node and the runbook of its
/// first finding.
fn pages_of(url: &str) -> Vec<(String, String)> {
    let document = |path: &str| -> Value {
        ureq::get(format!("{url}/api/v1/{path}"))
            .call()
            .expect(path)
            .body_mut()
            .read_json()
            .expect("invalid JSON")
    };
    let mut pages = vec![
        ("status".to_owned(), "/".to_owned()),
        ("runbooks".to_owned(), "/runbooks".to_owned()),
    ];
    let findings = document("findings");
    for deployment in
        document("topology")["deployments"].as_array().expect("`deployments` is missing")
    {
        let name = deployment["name"].as_str().expect("the name is missing");
        let first_finding = findings["findings"]
            .as_array()
            .expect("`findings` is missing")
            .iter()
            .find(|finding| finding["deployment"] == name);
        let node = first_finding
            .and_then(|finding| finding["node"].as_str())
            .or(deployment["nodes"][0]["name"].as_str())
            .expect("the node is missing");
        let alert =
            first_finding.and_then(|finding| finding["kind"].as_str()).unwrap_or("RedisNoPrimary");
        pages.push((format!("{name}-deployment"), format!("/deployment/{name}")));
        pages.push((format!("{name}-node"), format!("/deployment/{name}/node/{node}")));
        pages.push((format!("{name}-runbook"), format!("/runbooks/{alert}?deployment={name}")));
    }
    pages
}

fn take_screenshot(browser: &mut Browser, url: &str, whole: bool, file: &Path) {
    browser.open(url);
    std::fs::write(file, browser.screenshot(whole)).expect("cannot write a file");
}

/// Takes screenshots of each page, light and dark, for desktop and phone.
fn take_all(browser: &mut Browser, url: &str, pages: &[(String, String)], directory: &Path) {
    for scheme in ["light", "dark"] {
        browser.prefer_color_scheme(scheme);
        for (size, width, height) in [("desktop", 1280, 900), ("phone", 390, 844)] {
            browser.resize(width, height);
            for (name, path) in pages {
                take_screenshot(
                    browser,
                    &format!("{url}{path}"),
                    true,
                    &directory.join(format!("{name}-{size}-{scheme}.png")),
                );
            }
        }
    }
}

fn main() {
    let directory =
        PathBuf::from(std::env::args().nth(1).expect("usage: pictures DIRECTORY [URL]"));
    std::fs::create_dir_all(&directory).expect("cannot create a directory");
    let mut browser = Browser::start();
    if let Some(url) = std::env::args().nth(2) {
        return take_all(&mut browser, &url, &pages_of(&url), &directory);
    }
    let incident = Incident::begin();
    take_all(&mut browser, &incident.url(), &incident.pages(), &directory);
    // The screenshots of the README.
    for (scheme, name, path, height) in
        [("light", "status", "/", 820), ("dark", "deployment", "/deployment/orders", 1000)]
    {
        browser.prefer_color_scheme(scheme);
        browser.resize(1100, height);
        take_screenshot(
            &mut browser,
            &format!("{}{path}", incident.url()),
            false,
            &directory.join(format!("{name}.png")),
        );
    }
}
