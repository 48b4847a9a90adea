//! Primary, replicas and Sentinels as real server processes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use crate::{Host, SentinelSubscription, Server, Stopwatch, eventually};

/// Master name under which the Sentinels of a [`SentinelDeployment`] monitor the primary.
pub const MASTER: &str = "mymaster";

/// Parameters of a [`SentinelDeployment`].
#[derive(Debug, Clone)]
pub struct SentinelSetup {
    /// One of the [`VERSIONS`](crate::VERSIONS).
    pub version: &'static str,
    /// Number of replicas.
    pub replicas: usize,
    /// Number of Sentinels.
    pub sentinels: usize,
    /// Number of Sentinels that must agree that the primary is down.
    pub quorum: usize,
    /// The Sentinel option `down-after-milliseconds`.
    pub down_after: Duration,
    /// The Sentinel option `failover-timeout`.
    pub failover_timeout: Duration,
    /// The password of the primary and of the replicas.
    pub password: Option<&'static str>,
    /// The password of the Sentinels.
    pub sentinel_password: Option<&'static str>,
    /// Additional configuration lines for all Sentinels.
    pub sentinel_options: String,
}

impl Default for SentinelSetup {
    fn default() -> Self {
        SentinelSetup {
            version: "redis-7.0.15",
            replicas: 2,
            sentinels: 3,
            quorum: 2,
            down_after: Duration::from_secs(3),
            failover_timeout: Duration::from_secs(20),
            password: None,
            sentinel_password: None,
            sentinel_options: String::new(),
        }
    }
}

/// Running primary with its replicas and Sentinels.
pub struct SentinelDeployment {
    /// The initial primary, then the replicas.
    pub nodes: Vec<Server>,
    /// The Sentinels.
    pub sentinels: Vec<Server>,
    setup: SentinelSetup,
}

impl SentinelDeployment {
    /// Starts all processes on the loopback interface, and waits until all Sentinels know all
    /// nodes.
    pub fn start(setup: &SentinelSetup) -> Self {
        let place = vec![Host::loopback()];
        Self::start_at(setup, &place, &place)
    }

    /// Starts data nodes and Sentinels on these hosts, which are assigned round-robin. Waits until
    /// all Sentinels know all nodes.
    pub fn start_at(setup: &SentinelSetup, nodes: &[Host], sentinels: &[Host]) -> Self {
        let mut group =
            SentinelDeployment { nodes: Vec::new(), sentinels: Vec::new(), setup: setup.clone() };
        for place in nodes.iter().cycle().take(setup.replicas + 1) {
            group.add_node(place);
        }
        for place in sentinels.iter().cycle().take(setup.sentinels) {
            let text = group.sentinel_options();
            group.sentinels.push(Server::start(
                setup.version,
                true,
                place,
                &text,
                setup.sentinel_password,
            ));
        }
        group.until_discovered();
        group
    }

    /// Starts one more data node. If there is a primary already, the node becomes its replica, and
    /// the function waits until it is synchronised.
    pub fn add_node(&mut self, place: &Host) -> &Server {
        let primary =
            if self.sentinels.is_empty() { self.nodes.first() } else { Some(self.primary()) };
        let mut options = "repl-timeout 10\n".to_owned();
        if let Some(primary) = primary {
            writeln!(options, "replicaof {} {}", primary.host, primary.port)
                .expect("writing to a string cannot fail");
        }
        if let Some(password) = self.setup.password {
            writeln!(options, "requirepass {password}\nmasterauth {password}")
                .expect("writing to a string cannot fail");
        }
        let server = Server::start(self.setup.version, false, place, &options, self.setup.password);
        if primary.is_some() {
            server.until_synchronised();
        }
        self.nodes.push(server);
        &self.nodes[self.nodes.len() - 1]
    }

    fn sentinel_options(&self) -> String {
        let (setup, primary) = (&self.setup, &self.nodes[0]);
        let mut text = monitor_options(MASTER, primary, setup);
        if let Some(password) = setup.sentinel_password {
            writeln!(text, "requirepass {password}\nsentinel sentinel-pass {password}")
                .expect("writing to a string cannot fail");
        }
        text + &setup.sentinel_options
    }

    /// Returns the primary according to the first Sentinel that replies.
    pub fn primary(&self) -> &Server {
        let named = (0..self.sentinels.len())
            .find_map(|sentinel| self.primary_according_to(sentinel))
            .expect("no Sentinel replies");
        self.node_at(&named)
    }

    /// Returns all data nodes except the primary.
    pub fn replicas(&self) -> Vec<&Server> {
        let primary = self.primary().address();
        self.nodes.iter().filter(|node| node.address() != primary).collect()
    }

    /// Returns the data node with this address.
    #[track_caller]
    pub fn node_at(&self, address: &str) -> &Server {
        self.nodes.iter().find(|node| node.address() == address).expect("no node has this address")
    }

    /// Returns the index in `nodes` of the data node with this address.
    #[track_caller]
    pub fn index_of(&self, address: &str) -> usize {
        self.nodes
            .iter()
            .position(|node| node.address() == address)
            .expect("no node has this address")
    }

    /// Returns the address of the primary according to a Sentinel; nothing if it does not reply.
    pub fn primary_according_to(&self, sentinel: usize) -> Option<String> {
        let named = self.sentinels[sentinel].try_execute(&[
            "SENTINEL",
            "GET-MASTER-ADDR-BY-NAME",
            MASTER,
        ])?;
        (named.len() == 2).then(|| named.join(":"))
    }

    /// Waits until all Sentinels report this address as the primary.
    #[track_caller]
    pub fn until_all_report(&self, limit: Duration, address: &str) {
        eventually(limit, &format!("all Sentinels report {address} as the primary"), || {
            (0..self.sentinels.len())
                .all(|sentinel| self.primary_according_to(sentinel).as_deref() == Some(address))
                .then_some(())
        });
    }

    /// Waits until all Sentinels know all replicas and each other, and consider none of them down.
    #[track_caller]
    pub fn until_discovered(&self) {
        eventually(Duration::from_secs(40), "the Sentinels know all nodes", || {
            self.sentinels.iter().all(|sentinel| self.knows(sentinel)).then_some(())
        });
    }

    fn knows(&self, sentinel: &Server) -> bool {
        let all =
            |what: &str, count: usize, is_good: &dyn Fn(&BTreeMap<String, String>) -> bool| {
                let listed = sentinel.table(&["SENTINEL", what, MASTER]);
                listed.len() == count && listed.iter().all(is_good)
            };
        let is = |field: &'static str, value: &'static str| {
            move |entry: &BTreeMap<String, String>| {
                entry.get(field).is_some_and(|found| found == value)
            }
        };
        // A Sentinel promotes a replica only after INFO of the replica reported the link as up.
        let replica = |entry: &BTreeMap<String, String>| {
            is("flags", "slave")(entry) && is("master-link-status", "ok")(entry)
        };
        all("REPLICAS", self.nodes.len() - 1, &replica)
            && all("SENTINELS", self.sentinels.len() - 1, &is("flags", "sentinel"))
            && sentinel
                .try_execute(&["SENTINEL", "CKQUORUM", MASTER])
                .is_some_and(|reply| reply[0].starts_with("OK"))
    }

    /// Starts a failover on the first Sentinel, and returns the address of the old primary.
    pub fn failover(&self) -> String {
        let before = self.primary().address();
        assert_eq!(self.sentinels[0].execute(&["SENTINEL", "FAILOVER", MASTER]), ["OK"]);
        before
    }

    /// Waits until all Sentinels that reply report the same new primary and that node is a master.
    /// Returns its address.
    #[track_caller]
    pub fn until_failed_over(&self, limit: Duration, before: &str) -> String {
        let failed_over = || {
            let named: Vec<_> = (0..self.sentinels.len())
                .filter_map(|sentinel| self.primary_according_to(sentinel))
                .collect();
            let first = named
                .first()
                .filter(|first| *first != before && named.iter().all(|other| other == *first))?;
            (self.node_at(first).role()? == "master").then(|| first.clone())
        };
        eventually(limit, "the failover completes", failed_over).0
    }

    /// Waits until all other data nodes replicate from the primary.
    #[track_caller]
    pub fn until_replicating(&self, limit: Duration) {
        let all_replicate = || {
            let primary = self.primary();
            let port = primary.port.to_string();
            let replicates = |node: &&Server| {
                let fields = node.replication();
                let is = |field: &str, value: &str| {
                    fields.get(field).is_some_and(|found| found == value)
                };
                is("role", "slave")
                    && is("master_host", &primary.host)
                    && is("master_port", &port)
                    && is("master_link_status", "up")
            };
            self.replicas().iter().all(replicates).then_some(())
        };
        eventually(limit, "all replicas are connected to the primary", all_replicate);
    }

    /// Subscribes to the events of a Sentinel.
    pub fn listen(&self, sentinel: usize, clock: &Arc<Stopwatch>) -> SentinelSubscription {
        SentinelSubscription::start(
            &self.sentinels[sentinel].address(),
            self.setup.sentinel_password,
            clock,
        )
    }

    /// Returns a `[[deployment]]` section with all Sentinels, followed by more keys.
    pub fn deployment(&self, name: &str, more: &str) -> String {
        sentinel_deployment(
            name,
            Some(MASTER),
            &self.sentinels.iter().map(Server::url).collect::<Vec<_>>(),
            more,
        )
    }

    /// Returns the URL of a Sentinel with the master name, as `rolecall` takes it on the command
    /// line.
    pub fn url(&self, sentinel: usize) -> String {
        format!("sentinel://{}/{MASTER}", self.sentinels[sentinel].address())
    }
}

/// Returns a `[[deployment]]` section with these Sentinels, followed by more keys. Without
/// `master`, Rolecall discovers all masters, and `name` must contain `{master}`.
pub fn sentinel_deployment(
    name: &str,
    master: Option<&str>,
    sentinels: &[String],
    more: &str,
) -> String {
    let master = master.map(|master| format!("master_name = '{master}'\n")).unwrap_or_default();
    let urls: Vec<_> = sentinels.iter().map(|url| format!("'{url}'")).collect();
    format!("[[deployment]]\nname = '{name}'\nsentinels = [{}]\n{master}{more}\n", urls.join(", "))
}

/// Returns the configuration lines that make a Sentinel monitor a server under a master name.
pub fn monitor_options(name: &str, primary: &Server, setup: &SentinelSetup) -> String {
    let mut text =
        format!("sentinel monitor {name} {} {} {}\n", primary.host, primary.port, setup.quorum);
    let times = [
        ("down-after-milliseconds", setup.down_after),
        ("failover-timeout", setup.failover_timeout),
    ];
    for (option, time) in times {
        writeln!(text, "sentinel {option} {name} {}", time.as_millis())
            .expect("writing to a string cannot fail");
    }
    if let Some(password) = setup.password {
        writeln!(text, "sentinel auth-pass {name} {password}")
            .expect("writing to a string cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::{CommandProxy, Connection, Side, SplitNetwork, Writer, free_port};

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn fails_over_on_command_and_after_the_primary_is_killed() {
        // The test suite covers the other versions.
        let version = "redis-8.2.3";
        let mut group =
            SentinelDeployment::start(&SentinelSetup { version, ..SentinelSetup::default() });
        let clock = Arc::new(Stopwatch::start());
        let listener = group.listen(0, &clock);
        assert!(
            group.nodes.iter().chain(&group.sentinels).all(|server| server.clients().is_empty()),
            "Rolecall is not connected"
        );
        let before = group.failover();
        let after = group.until_failed_over(LIMIT, &before);
        let switched = listener.until(LIMIT, "+switch-master").payload;
        assert_eq!(switched, format!("{MASTER} {before} {after}").replace(':', " "));
        group.until_replicating(LIMIT);
        group.until_discovered();

        let killed = group.index_of(&after);
        group.nodes[killed].kill();
        let last = group.until_failed_over(LIMIT, &after);
        group.nodes[killed].restart();
        assert_eq!(
            group.nodes[killed].role().as_deref(),
            Some("master"),
            "a killed primary restarts as a master"
        );
        group.until_replicating(LIMIT);
        assert_eq!(group.primary().address(), last);
        assert!(group.nodes.iter().all(|node| node.port < 20_000) && free_port() < 20_000);
    }

    #[test]
    fn a_tap_counts_commands_and_changes_replies() {
        let group = SentinelDeployment::start(&SentinelSetup {
            replicas: 1,
            sentinels: 1,
            quorum: 1,
            ..SentinelSetup::default()
        });
        let (real, port) = (group.nodes[1].address(), group.nodes[1].port);
        let entry = |host: &str| format!("{host}\r\n$4\r\nport\r\n$5\r\n{port}\r\n");
        let rewrites =
            vec![(real, format!("127.0.0.2:{port}")), (entry("127.0.0.1"), entry("127.0.0.2"))];
        let tap = CommandProxy::rewriting("127.0.0.1", &group.sentinels[0].address(), rewrites);
        let mut wire = Connection::connect(&tap.address, None).expect("cannot connect");
        let reply = wire.execute(&["sentinel", "replicas", MASTER]).expect("no reply");
        assert_eq!(
            reply[..6],
            ["name", &format!("127.0.0.2:{port}"), "ip", "127.0.0.2", "port", &port.to_string()]
        );
        assert_eq!(wire.execute(&["PING"]).expect("no reply"), ["PONG"]);
        let seen = tap.traffic();
        let commands =
            ["CLIENT SETNAME", "PING", "SENTINEL REPLICAS"].map(|command| (command.to_owned(), 1));
        assert_eq!((seen.open, seen.connections, seen.commands), (1, 1, BTreeMap::from(commands)));
        drop(wire);
        eventually(LIMIT, "the connection is closed", || (tap.traffic().open == 0).then_some(()));
        assert_eq!(tap.traffic().connections, 1);
    }

    #[test]
    fn partition_separates_the_sides_but_not_from_the_test() {
        let mut sides = SplitNetwork::new();
        let left = sides.add_host(Side::Left);
        let right = [sides.add_host(Side::Right), sides.add_host(Side::Right)];
        let places = [left, right[0].clone(), right[1].clone()];
        let group = SentinelDeployment::start_at(&SentinelSetup::default(), &places, &places);
        let alone = &group.nodes[0];
        let mut writer = Writer::start(&alone.address(), "lost", 20);
        sides.partition();
        // Only one of the two Sentinels fails over; the other one learns the result from it.
        let agreed = || {
            group.primary_according_to(1).filter(|named| {
                *named != alone.address() && group.primary_according_to(2).as_ref() == Some(named)
            })
        };
        let promoted =
            group.node_at(&eventually(LIMIT, "the right side has a new primary", agreed).0);
        assert_eq!(
            (alone.role().as_deref(), promoted.role().as_deref()),
            (Some("master"), Some("master"))
        );
        assert_eq!(
            group.primary_according_to(0),
            Some(alone.address()),
            "its Sentinel does not know the new primary"
        );
        let written = writer.acknowledged();
        eventually(LIMIT, "the stale master still accepts writes", || {
            (writer.acknowledged() > written + 20).then_some(())
        });
        sides.heal();
        // TCP retransmits what was sent during the partition, at increasing intervals.
        group.until_all_report(LIMIT * 2, &promoted.address());
        group.until_replicating(LIMIT * 2);
        assert!(writer.stop() > 60);
        let tag = group.nodes[0].place.namespace.clone().expect("the host has no namespace");
        drop((group, sides));
        let left =
            Command::new("ip").args(["netns", "list"]).output().expect("cannot run ip").stdout;
        assert!(!String::from_utf8_lossy(&left).contains(&tag), "the network namespace is removed");
    }
}
