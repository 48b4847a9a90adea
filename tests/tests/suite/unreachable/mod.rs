//! Nodes that only the exporter cannot reach: peers and clients still reach them. These tests need
//! root.

mod cluster;
mod frozen;
mod moved;
mod names;
mod never_reached;
mod sentinel;
mod static_nodes;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tests::{
    Daemon, FaultyPath, Host, PathFault, SECOND, Server, Stopwatch, Writer, eventually, pause,
};

/// Timeout for changes that show within a few rounds, also on a busy machine.
const SOON: Duration = Duration::from_secs(15);

/// Timeout for failovers and for repairs.
const LIMIT: Duration = Duration::from_secs(90);

/// Time for which a path stays faulty: longer than any witness may be silent.
const CUT: Duration = Duration::from_secs(36);

const TOPOLOGY: &str = "/api/v1/topology";

const STATE: &str = "redis_node_state";

/// Starts a server on a host.
fn start(host: &Host, options: &str) -> Server {
    Server::start("redis-7.0.15", false, host, options, None)
}

/// Returns the name of the state of a node. It has exactly one.
#[track_caller]
fn state(daemon: &Daemon, node: &str) -> &'static str {
    let samples = daemon.samples();
    let is = |state: &&&str| samples.get(STATE, &[("node", node), ("state", state)]) == Some(1.0);
    let states = ["up", "down", "unreachable", "unknown"];
    let found: Vec<_> = states.iter().filter(is).collect();
    assert_eq!(found.len(), 1, "{node}: {found:?}");
    found[0]
}

/// Waits until a node is in a state, and returns the time waited.
#[track_caller]
fn until_state(daemon: &Daemon, limit: Duration, node: &str, expected: &str) -> Duration {
    daemon.until(limit, STATE, &[("node", node), ("state", expected)], 1.0)
}

/// Returns the evidence of the primary, if this node is the only one.
fn evidence_of_primary(daemon: &Daemon, node: &str) -> Option<String> {
    let document = daemon.document(TOPOLOGY);
    let deployments = document["deployments"].as_array().expect("the list is missing");
    let shards = deployments.iter().flat_map(|deployment| {
        deployment["shards"].as_array().expect("the list is missing").iter()
    });
    let mut named = shards.filter(|shard| shard["primary"] == node);
    Some(named.next()?["evidence"].as_str().expect("no evidence").to_owned())
}

/// Returns the finding of a kind about a node.
fn finding(daemon: &Daemon, kind: &str, node: &str) -> Option<Value> {
    let document = daemon.document("/api/v1/findings");
    let findings = document["findings"].as_array().expect("the list is missing").iter();
    findings.clone().find(|found| found["kind"] == kind && found["node"] == node).cloned()
}

/// Returns a `[[deployment]]` section with these servers as its nodes.
fn deployment_of(servers: &[&Server]) -> String {
    let nodes: Vec<_> =
        servers.iter().map(|server| format!("{{ url = '{}' }}", server.url())).collect();
    format!("[[deployment]]\nname = 'orders'\nnodes = [{}]\n", nodes.join(", "))
}

/// Waits until this number of nodes is up and there are no findings.
#[track_caller]
fn until_calm(daemon: &Daemon, nodes: usize) {
    eventually(LIMIT, "all nodes are up", || {
        let samples = daemon.samples();
        let up = samples.sum("redis_up", &[]);
        (samples.count("redis_up", &[]) == nodes && (up - nodes as f64).abs() < 0.5).then_some(())
    });
    daemon.until_no_findings(LIMIT);
}

/// Returns the kinds of all findings.
fn kinds(daemon: &Daemon) -> BTreeSet<String> {
    daemon.findings().into_iter().map(|(kind, _)| kind).collect()
}

/// Path from the exporter to one node that becomes faulty, and the expectations about it.
struct Cut<'a> {
    daemon: &'a Daemon,
    exporter: &'a Host,
    node: &'a Server,
    fault: PathFault,
    /// The primary of the shard of the node.
    primary: &'a Server,
    /// Prefix of keys that a client writes to the primary; without it the deployment is idle.
    keys: Option<&'static str>,
    /// Peers that must be among the witnesses.
    witnesses: Vec<String>,
    /// Kinds of findings that may exist before and during the fault.
    known: &'a [&'a str],
}

impl Cut<'_> {
    /// Makes the path faulty, and polls the API for [`CUT`]: the node is unreachable, and nothing
    /// else is reported about it. Returns the faulty path.
    #[track_caller]
    fn begin(&self) -> FaultyPath {
        let Cut { daemon, node, .. } = self;
        let address = node.address();
        let mut writer = self.keys.map(|keys| Writer::start(&self.primary.address(), keys, 20));
        let path = FaultyPath::new(self.exporter, &node.place, self.fault);
        let clock = Stopwatch::start();
        let (mut unreachable_after, mut warned_after, mut evidence) = (None, None, BTreeSet::new());
        while clock.elapsed() < CUT {
            let found = kinds(daemon);
            let allowed =
                |kind: &String| kind == "RedisUnreachable" || self.known.contains(&kind.as_str());
            assert!(found.iter().all(allowed), "after {:?}: {found:?}", clock.elapsed());
            let now = state(daemon, &address);
            assert_ne!(now, "down", "after {:?}", clock.elapsed());
            if now == "unreachable" {
                unreachable_after.get_or_insert_with(|| clock.elapsed());
            } else {
                assert_eq!(unreachable_after, None, "it stays unreachable, but is {now}");
            }
            if found.contains("RedisUnreachable") {
                warned_after.get_or_insert_with(|| clock.elapsed());
            }
            let named = evidence_of_primary(daemon, &self.primary.address());
            let message = || format!("after {:?}: {}", clock.elapsed(), daemon.document(TOPOLOGY));
            evidence.insert(named.unwrap_or_else(|| panic!("no primary {}", message())));
            pause(SECOND / 4);
        }
        println!(
            "{address} {:?}: unreachable after {unreachable_after:?}, warning after \
             {warned_after:?}, evidence {evidence:?}",
            self.fault
        );
        if let Some(writer) = &mut writer {
            let written = writer.stop();
            assert!(written > 100, "clients reach the primary: {written}");
        }
        let events = daemon.events();
        let is_false = |event: &&Value| event["kind"] == "primary_lost" || event["state"] == "down";
        assert_eq!(events.iter().find(is_false), None);
        assert!(unreachable_after.is_some_and(|after| after < SOON), "{unreachable_after:?}");
        self.check_unreachable();
        path
    }

    /// Checks everything that is reported about the unreachable node.
    #[track_caller]
    fn check_unreachable(&self) {
        let Cut { daemon, node, .. } = self;
        let address = node.address();
        let labels = [("node", address.as_str())];
        let samples = daemon.samples();
        assert_eq!(samples.get("redis_up", &labels), Some(0.0));
        assert_eq!(samples.count("redis_down_reason", &labels), 1);
        let alive = [labels[0], ("state", "alive")];
        assert!(samples.get("redis_node_witnesses", &alive) >= Some(1.0));
        let verdicts = ["redis_deployment_no_primary", "redis_replica_orphaned"];
        for verdict in verdicts {
            assert!(samples.sum(verdict, &[]) < 0.5, "{verdict}");
        }
        let found = finding(daemon, "RedisUnreachable", &address).expect("a finding");
        assert_eq!(found["severity"], "warning", "{found}");
        let listed = found["evidence"]["witnesses"].to_string();
        for witness in &self.witnesses {
            assert!(listed.contains(witness), "{witness} is no witness: {found}");
        }
        println!("{found}");
    }

    /// Ends the server with this function while the path is still faulty: the node is down, and
    /// reported. Returns the time until then.
    #[track_caller]
    fn dies(&self, end: impl FnOnce()) -> Duration {
        let address = self.node.address();
        end();
        let clock = Stopwatch::start();
        until_state(self.daemon, SOON * 2, &address, "down");
        let down_after = clock.elapsed();
        eventually(SOON, "RedisDown is found", || finding(self.daemon, "RedisDown", &address));
        println!("{address}: down after {down_after:?}, found after {:?}", clock.elapsed());
        assert_eq!(finding(self.daemon, "RedisUnreachable", &address), None);
        down_after
    }
}
