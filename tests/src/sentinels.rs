//! A primary, its replicas and their Sentinels: real servers, each a process of its own.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use crate::{Listener, Place, Server, Stopwatch, eventually};

/// The name by which Sentinels know the primary of a [`Group`].
pub const MASTER: &str = "mymaster";

/// What a group is to be.
#[derive(Debug, Clone)]
pub struct Setup {
    /// One of the [`VERSIONS`](crate::VERSIONS).
    pub version: &'static str,
    /// How many replicas.
    pub replicas: usize,
    /// How many Sentinels.
    pub sentinels: usize,
    /// How many of these must agree that the primary is down.
    pub quorum: usize,
    /// `down-after-milliseconds`.
    pub down_after: Duration,
    /// `failover-timeout`.
    pub failover_timeout: Duration,
    /// Password of the primary and its replicas.
    pub password: Option<&'static str>,
    /// Password of the Sentinels.
    pub sentinel_password: Option<&'static str>,
    /// More lines for the configuration of the Sentinels.
    pub sentinel_options: String,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
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

/// A primary, its replicas and their Sentinels.
pub struct Group {
    /// The one that began as primary, then the replicas.
    pub nodes: Vec<Server>,
    /// The Sentinels.
    pub sentinels: Vec<Server>,
    setup: Setup,
}

impl Group {
    /// Starts a group on the loopback interface, and waits until all Sentinels know all of it.
    pub fn start(setup: &Setup) -> Self {
        let place = vec![Place::loopback()];
        Self::start_at(setup, &place, &place)
    }

    /// Starts nodes and Sentinels at these places, each in turn.
    pub fn start_at(setup: &Setup, nodes: &[Place], sentinels: &[Place]) -> Self {
        let mut group = Group { nodes: Vec::new(), sentinels: Vec::new(), setup: setup.clone() };
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
        group.until_known();
        group
    }

    /// Starts a node more, a replica if there is a primary already, and waits until it is synchronised.
    pub fn add_node(&mut self, place: &Place) -> &Server {
        let primary =
            if self.sentinels.is_empty() { self.nodes.first() } else { Some(self.primary()) };
        let mut options = "repl-timeout 10\n".to_owned();
        if let Some(primary) = primary {
            writeln!(options, "replicaof {} {}", primary.host, primary.port).expect("to a string");
        }
        if let Some(password) = self.setup.password {
            writeln!(options, "requirepass {password}\nmasterauth {password}")
                .expect("to a string");
        }
        let server = Server::start(self.setup.version, false, place, &options, self.setup.password);
        if primary.is_some() {
            server.until_linked();
        }
        self.nodes.push(server);
        &self.nodes[self.nodes.len() - 1]
    }

    fn sentinel_options(&self) -> String {
        let (setup, primary) = (&self.setup, &self.nodes[0]);
        let mut text = monitored(MASTER, primary, setup);
        if let Some(password) = setup.sentinel_password {
            writeln!(text, "requirepass {password}\nsentinel sentinel-pass {password}")
                .expect("to a string");
        }
        text + &setup.sentinel_options
    }

    /// The node that the first Sentinel to answer names.
    pub fn primary(&self) -> &Server {
        let named = (0..self.sentinels.len())
            .find_map(|sentinel| self.named_by(sentinel))
            .expect("a Sentinel answers");
        self.node_at(&named)
    }

    /// The nodes that follow it.
    pub fn replicas(&self) -> Vec<&Server> {
        let primary = self.primary().address();
        self.nodes.iter().filter(|node| node.address() != primary).collect()
    }

    /// The node of an address.
    #[track_caller]
    pub fn node_at(&self, address: &str) -> &Server {
        self.nodes.iter().find(|node| node.address() == address).expect("one of its nodes")
    }

    /// The place of a node in the list.
    #[track_caller]
    pub fn place_of(&self, address: &str) -> usize {
        self.nodes.iter().position(|node| node.address() == address).expect("one of its nodes")
    }

    /// The address that a Sentinel names as primary, if it answers.
    pub fn named_by(&self, sentinel: usize) -> Option<String> {
        let named =
            self.sentinels[sentinel].try_ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER])?;
        (named.len() == 2).then(|| named.join(":"))
    }

    /// Waits until all Sentinels name this node.
    #[track_caller]
    pub fn until_named(&self, limit: Duration, address: &str) {
        eventually(limit, "all Sentinels name it", || {
            (0..self.sentinels.len())
                .all(|sentinel| self.named_by(sentinel).as_deref() == Some(address))
                .then_some(())
        });
    }

    /// Waits until all Sentinels know all replicas and each other, and hold nobody for down.
    #[track_caller]
    pub fn until_known(&self) {
        eventually(Duration::from_secs(40), "the Sentinels know the group", || {
            self.sentinels.iter().all(|sentinel| self.knows(sentinel)).then_some(())
        });
    }

    fn knows(&self, sentinel: &Server) -> bool {
        let all = |what: &str, count: usize, good: &dyn Fn(&BTreeMap<String, String>) -> bool| {
            let listed = sentinel.table(&["SENTINEL", what, MASTER]);
            listed.len() == count && listed.iter().all(good)
        };
        let is = |field: &'static str, value: &'static str| {
            move |entry: &BTreeMap<String, String>| {
                entry.get(field).is_some_and(|found| found == value)
            }
        };
        // A replica that was not asked yet after its link came up cannot be promoted.
        let replica = |entry: &BTreeMap<String, String>| {
            is("flags", "slave")(entry) && is("master-link-status", "ok")(entry)
        };
        all("REPLICAS", self.nodes.len() - 1, &replica)
            && all("SENTINELS", self.sentinels.len() - 1, &is("flags", "sentinel"))
            && sentinel
                .try_ask(&["SENTINEL", "CKQUORUM", MASTER])
                .is_some_and(|reply| reply[0].starts_with("OK"))
    }

    /// Has the first Sentinel fail over, and gives the address of the primary before.
    pub fn failover(&self) -> String {
        let before = self.primary().address();
        assert_eq!(self.sentinels[0].ask(&["SENTINEL", "FAILOVER", MASTER]), ["OK"]);
        before
    }

    /// Waits until another node is primary, in its own words and in those of all Sentinels that answer, and gives its address.
    #[track_caller]
    pub fn until_failed_over(&self, limit: Duration, before: &str) -> String {
        let failed_over = || {
            let named: Vec<_> =
                (0..self.sentinels.len()).filter_map(|sentinel| self.named_by(sentinel)).collect();
            let first = named
                .first()
                .filter(|first| *first != before && named.iter().all(|other| other == *first))?;
            (self.node_at(first).role()? == "master").then(|| first.clone())
        };
        eventually(limit, "failed over", failed_over).0
    }

    /// Waits until all nodes but the primary follow it.
    #[track_caller]
    pub fn until_following(&self, limit: Duration) {
        let followed = || {
            let primary = self.primary();
            let port = primary.port.to_string();
            let follows = |node: &&Server| {
                let fields = node.replication();
                let is = |field: &str, value: &str| {
                    fields.get(field).is_some_and(|found| found == value)
                };
                is("role", "slave")
                    && is("master_host", &primary.host)
                    && is("master_port", &port)
                    && is("master_link_status", "up")
            };
            self.replicas().iter().all(follows).then_some(())
        };
        eventually(limit, "all follow the primary", followed);
    }

    /// Listens to a Sentinel.
    pub fn listen(&self, sentinel: usize, clock: &Arc<Stopwatch>) -> Listener {
        Listener::start(&self.sentinels[sentinel].address(), self.setup.sentinel_password, clock)
    }

    /// A deployment of that name that is told of all Sentinels, with more keys behind.
    pub fn deployment(&self, name: &str, more: &str) -> String {
        watched_deployment(
            name,
            Some(MASTER),
            &self.sentinels.iter().map(Server::url).collect::<Vec<_>>(),
            more,
        )
    }

    /// What `rolecall` takes on the command line for one of its Sentinels.
    pub fn url(&self, sentinel: usize) -> String {
        format!("sentinel://{}/{MASTER}", self.sentinels[sentinel].address())
    }
}

/// A deployment of Sentinels in a configuration; without a master, its name must have one in it.
pub fn watched_deployment(
    name: &str,
    master: Option<&str>,
    sentinels: &[String],
    more: &str,
) -> String {
    let master = master.map(|master| format!("master_name = '{master}'\n")).unwrap_or_default();
    let urls: Vec<_> = sentinels.iter().map(|url| format!("'{url}'")).collect();
    format!("[[deployment]]\nname = '{name}'\nsentinels = [{}]\n{master}{more}\n", urls.join(", "))
}

/// The lines that make a Sentinel watch a server under a name.
pub fn monitored(name: &str, primary: &Server, setup: &Setup) -> String {
    let mut text =
        format!("sentinel monitor {name} {} {} {}\n", primary.host, primary.port, setup.quorum);
    let times = [
        ("down-after-milliseconds", setup.down_after),
        ("failover-timeout", setup.failover_timeout),
    ];
    for (option, time) in times {
        writeln!(text, "sentinel {option} {name} {}", time.as_millis()).expect("to a string");
    }
    if let Some(password) = setup.password {
        writeln!(text, "sentinel auth-pass {name} {password}").expect("to a string");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::{Side, Sides, Tap, Wire, Writer, free_port};

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn a_group_fails_over_when_told_and_when_its_primary_is_killed() {
        // The suite has the other versions.
        let version = "redis-8.2.3";
        let mut group = Group::start(&Setup { version, ..Setup::default() });
        let clock = Arc::new(Stopwatch::start());
        let listener = group.listen(0, &clock);
        assert!(
            group.nodes.iter().chain(&group.sentinels).all(|server| server.clients().is_empty()),
            "Rolecall is not there"
        );
        let before = group.failover();
        let after = group.until_failed_over(LIMIT, &before);
        let switched = listener.until(LIMIT, "+switch-master").payload;
        assert_eq!(switched, format!("{MASTER} {before} {after}").replace(':', " "));
        group.until_following(LIMIT);
        group.until_known();

        let killed = group.place_of(&after);
        group.nodes[killed].kill();
        let last = group.until_failed_over(LIMIT, &after);
        group.nodes[killed].restart();
        assert_eq!(
            group.nodes[killed].role().as_deref(),
            Some("master"),
            "it kept its own configuration"
        );
        group.until_following(LIMIT);
        assert_eq!(group.primary().address(), last);
        assert!(group.nodes.iter().all(|node| node.port < 20_000) && free_port() < 20_000);
    }

    #[test]
    fn a_tap_counts_commands_and_alters_replies() {
        let group =
            Group::start(&Setup { replicas: 1, sentinels: 1, quorum: 1, ..Setup::default() });
        let (real, port) = (group.nodes[1].address(), group.nodes[1].port);
        let entry = |host: &str| format!("{host}\r\n$4\r\nport\r\n$5\r\n{port}\r\n");
        let rewrites =
            vec![(real, format!("127.0.0.2:{port}")), (entry("127.0.0.1"), entry("127.0.0.2"))];
        let tap = Tap::rewriting("127.0.0.1", &group.sentinels[0].address(), rewrites);
        let mut wire = Wire::connect(&tap.address, None).expect("a connection");
        let told = wire.ask(&["sentinel", "replicas", MASTER]).expect("a reply");
        assert_eq!(
            told[..6],
            ["name", &format!("127.0.0.2:{port}"), "ip", "127.0.0.2", "port", &port.to_string()]
        );
        assert_eq!(wire.ask(&["PING"]).expect("a reply"), ["PONG"]);
        let seen = tap.seen();
        let commands =
            ["CLIENT SETNAME", "PING", "SENTINEL REPLICAS"].map(|command| (command.to_owned(), 1));
        assert_eq!((seen.open, seen.connections, seen.commands), (1, 1, BTreeMap::from(commands)));
        drop(wire);
        eventually(LIMIT, "it is closed", || (tap.seen().open == 0).then_some(()));
        assert_eq!(tap.seen().connections, 1);
    }

    #[test]
    fn a_cut_separates_the_sides_but_not_the_test_from_them() {
        let mut sides = Sides::new();
        let left = sides.place(Side::Left);
        let right = [sides.place(Side::Right), sides.place(Side::Right)];
        let places = [left, right[0].clone(), right[1].clone()];
        let group = Group::start_at(&Setup::default(), &places, &places);
        let alone = &group.nodes[0];
        let mut writer = Writer::start(&alone.address(), "lost", 20);
        sides.cut();
        // One of the Sentinels learns it from the other.
        let agreed = || {
            group.named_by(1).filter(|named| {
                *named != alone.address() && group.named_by(2).as_ref() == Some(named)
            })
        };
        let promoted = group.node_at(&eventually(LIMIT, "the right side fails over", agreed).0);
        assert_eq!(
            (alone.role().as_deref(), promoted.role().as_deref()),
            (Some("master"), Some("master"))
        );
        assert_eq!(group.named_by(0), Some(alone.address()), "its Sentinel knows of no other");
        let written = writer.acknowledged();
        eventually(LIMIT, "it still takes writes", || {
            (writer.acknowledged() > written + 20).then_some(())
        });
        sides.heal();
        // What was sent meanwhile is sent again at ever longer intervals.
        group.until_named(LIMIT * 2, &promoted.address());
        group.until_following(LIMIT * 2);
        assert!(writer.stop() > 60);
        let tag = group.nodes[0].place.namespace.clone().expect("a namespace");
        drop((group, sides));
        let left = Command::new("ip").args(["netns", "list"]).output().expect("ip").stdout;
        assert!(!String::from_utf8_lossy(&left).contains(&tag), "nothing is left behind");
    }
}
