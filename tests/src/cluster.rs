//! Redis Cluster of real server processes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use crate::{Connection, Host, Server, eventually};

/// Number of slots in a cluster.
const SLOTS: u16 = 16_384;

/// Timeout for cluster nodes to agree, long enough for a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Parameters of a [`Cluster`].
#[derive(Debug, Clone)]
pub struct ClusterSetup {
    /// One of the [`VERSIONS`](crate::VERSIONS).
    pub version: &'static str,
    /// Number of masters. The slots are divided as `redis-cli --cluster create` divides them.
    pub masters: usize,
    /// Number of replicas of each master.
    pub replicas: usize,
    /// The nodes announce the addresses of their hosts.
    pub announces: bool,
    /// Additional configuration lines for all nodes.
    pub options: String,
}

impl Default for ClusterSetup {
    fn default() -> Self {
        ClusterSetup {
            version: "redis-7.0.15",
            masters: 3,
            replicas: 1,
            announces: false,
            options: String::new(),
        }
    }
}

/// Running Redis Cluster. All nodes have an append-only file, so a killed node keeps its data.
pub struct Cluster {
    /// The initial masters in the order of their slots, then the replicas, shard by shard.
    pub nodes: Vec<Server>,
    ids: Vec<String>,
    setup: ClusterSetup,
}

/// Line of CLUSTER NODES.
#[derive(Debug, Clone)]
pub struct ClusterNode {
    /// The node ID.
    pub id: String,
    /// The host and the port.
    pub address: String,
    /// The flags, for example `myself`, `master` and `fail?`.
    pub flags: Vec<String>,
    /// The node ID of the master; only for a replica.
    pub master: Option<String>,
    /// The slot ranges, as first and last slot.
    pub slots: Vec<(u16, u16)>,
}

impl Cluster {
    /// Starts a cluster on the loopback interface, and waits until it is healthy.
    pub fn start(setup: &ClusterSetup) -> Self {
        Self::start_at(setup, &[Host::loopback()])
    }

    /// Starts a cluster on these hosts, and waits until it is healthy. The hosts are assigned
    /// round-robin, to the masters first.
    pub fn start_at(setup: &ClusterSetup, places: &[Host]) -> Self {
        let mut cluster = Cluster { nodes: Vec::new(), ids: Vec::new(), setup: setup.clone() };
        for place in places.iter().cycle().take(setup.masters * (1 + setup.replicas)) {
            cluster.launch(place);
        }
        let bound = |shard: usize| {
            u16::try_from((usize::from(SLOTS) * shard * 2 + setup.masters) / (2 * setup.masters))
                .expect("the slot exceeds 16 bits")
        };
        for (shard, master) in cluster.nodes[..setup.masters].iter().enumerate() {
            let (first, last) = (bound(shard), bound(shard + 1) - 1);
            if setup.version.starts_with("redis-5") || setup.version.starts_with("redis-6") {
                let slots: Vec<_> = (first..=last).map(|slot| slot.to_string()).collect();
                let command: Vec<_> = ["CLUSTER", "ADDSLOTS"]
                    .into_iter()
                    .chain(slots.iter().map(String::as_str))
                    .collect();
                assert_eq!(master.execute(&command), ["OK"]);
            } else {
                assert_eq!(
                    master.execute(&[
                        "CLUSTER",
                        "ADDSLOTSRANGE",
                        &first.to_string(),
                        &last.to_string()
                    ]),
                    ["OK"]
                );
            }
            assert_eq!(
                master.execute(&["CLUSTER", "SET-CONFIG-EPOCH", &(shard + 1).to_string()]),
                ["OK"]
            );
        }
        for node in 1..cluster.nodes.len() {
            cluster.meet(node);
        }
        for node in setup.masters..cluster.nodes.len() {
            cluster.replicate(node, (node - setup.masters) / setup.replicas);
        }
        cluster.until_healthy();
        cluster
    }

    /// Adds a replica of a node, waits until the cluster is healthy, and returns the index of the
    /// replica.
    pub fn add_replica(&mut self, master: usize) -> usize {
        self.add_replica_at(&Host::loopback(), master)
    }

    /// Does the same as [`Self::add_replica`] on a given host.
    pub fn add_replica_at(&mut self, place: &Host, master: usize) -> usize {
        let node = self.launch(place);
        self.meet(node);
        self.replicate(node, master);
        self.until_healthy();
        node
    }

    /// Adds a master without slots, waits until all nodes know it and it serves commands, and
    /// returns its index.
    pub fn add_master(&mut self) -> usize {
        let node = self.launch(&Host::loopback());
        self.meet(node);
        eventually(LIMIT, "all nodes know the new master", || {
            let knows = |other: usize| {
                self.nodes_seen_by(other).iter().any(|entry| entry.id == self.ids[node])
            };
            (0..node).all(knows).then_some(())
        });
        eventually(LIMIT, "the new master serves", || {
            let state = self.nodes[node].execute(&["CLUSTER", "INFO"]).concat();
            state.contains("cluster_state:ok").then_some(())
        });
        node
    }

    fn launch(&mut self, place: &Host) -> usize {
        let mut options =
            "cluster-enabled yes\ncluster-node-timeout 3000\nappendonly yes\nrepl-timeout 10\n"
                .to_owned();
        if self.setup.announces {
            writeln!(options, "cluster-announce-ip {}", place.host)
                .expect("writing to a string cannot fail");
        }
        let server =
            Server::start(self.setup.version, false, place, &(options + &self.setup.options), None);
        self.ids.push(server.execute(&["CLUSTER", "MYID"]).concat());
        self.nodes.push(server);
        self.nodes.len() - 1
    }

    fn meet(&self, node: usize) {
        let Server { host, port, .. } = &self.nodes[node];
        assert_eq!(self.nodes[0].execute(&["CLUSTER", "MEET", host, &port.to_string()]), ["OK"]);
        eventually(LIMIT, "the new node completes the handshake", || {
            self.nodes_seen_by(node)
                .iter()
                .any(|entry| {
                    entry.id == self.ids[0] && !entry.flags.contains(&"handshake".to_owned())
                })
                .then_some(())
        });
    }

    /// Makes a node a replica of another node. Waits until the node knows its new master.
    pub fn replicate(&self, node: usize, master: usize) {
        eventually(LIMIT, "CLUSTER REPLICATE succeeds", || {
            (self.nodes[node].execute(&["CLUSTER", "REPLICATE", &self.ids[master]]) == ["OK"])
                .then_some(())
        });
    }

    /// Returns the node ID.
    pub fn id(&self, node: usize) -> &str {
        &self.ids[node]
    }

    /// Returns the nodes in CLUSTER NODES of a node; none if the node does not reply.
    pub fn nodes_seen_by(&self, node: usize) -> Vec<ClusterNode> {
        let text = self.nodes[node].try_execute(&["CLUSTER", "NODES"]).unwrap_or_default().concat();
        // A node that loads its data replies with an error.
        text.lines()
            .filter(|line| !line.starts_with("-LOADING"))
            .map(|line| {
                ClusterNode::parse(line)
                    .unwrap_or_else(|| panic!("invalid line in CLUSTER NODES: {line}"))
            })
            .collect()
    }

    /// Returns the fields of CLUSTER INFO of a node; none if the node does not reply.
    pub fn info(&self, node: usize) -> BTreeMap<String, String> {
        let text = self.nodes[node].try_execute(&["CLUSTER", "INFO"]).unwrap_or_default().concat();
        text.lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(field, value)| (field.to_owned(), value.to_owned()))
            .collect()
    }

    /// Returns the index of the node with this address.
    #[track_caller]
    pub fn index_of(&self, address: &str) -> usize {
        self.nodes
            .iter()
            .position(|node| node.address() == address)
            .expect("no node has this address")
    }

    /// Returns the index of the node that serves a slot according to CLUSTER NODES of `node`.
    pub fn owner_according_to(&self, node: usize, slot: u16) -> Option<usize> {
        let serves = |entry: &&ClusterNode| {
            entry.slots.iter().any(|(first, last)| (*first..=*last).contains(&slot))
        };
        let map = self.nodes_seen_by(node);
        let owner = map.iter().find(serves)?;
        self.ids.iter().position(|id| *id == owner.id)
    }

    /// Returns the index of the node that serves a slot according to the first node that knows one.
    #[track_caller]
    pub fn owner(&self, slot: u16) -> usize {
        (0..self.nodes.len())
            .find_map(|node| self.owner_according_to(node, slot))
            .expect("no node serves the slot")
    }

    /// Returns the indexes of the replicas of a master according to its own CLUSTER NODES.
    pub fn replicas_of(&self, master: usize) -> Vec<usize> {
        let map = self.nodes_seen_by(master);
        let replicas = map.iter().filter(|entry| entry.master.as_ref() == Some(&self.ids[master]));
        replicas.filter_map(|entry| self.ids.iter().position(|id| *id == entry.id)).collect()
    }

    /// Waits until all nodes report the cluster state `ok` and know all other nodes, and all
    /// replicas are connected to their master.
    #[track_caller]
    pub fn until_healthy(&self) {
        eventually(LIMIT, "the cluster is healthy", || {
            (0..self.nodes.len()).all(|node| self.is_healthy(node)).then_some(())
        });
    }

    fn is_healthy(&self, node: usize) -> bool {
        let (map, info) = (self.nodes_seen_by(node), self.info(node));
        let is = |field: &str, value: &str| info.get(field).is_some_and(|found| found == value);
        let has_no_failure = |entry: &ClusterNode| {
            entry.flags.iter().all(|flag| ["myself", "master", "slave"].contains(&flag.as_str()))
        };
        let replicas = map.iter().filter(|entry| entry.master.is_some()).count();
        let expected_replicas = self.nodes.len() - self.setup.masters;
        let fields = self.nodes[node].replication();
        let is_connected = fields.get("role").is_some_and(|role| role == "master")
            || fields.get("master_link_status").is_some_and(|link| link == "up");
        let own = map.iter().find(|entry| entry.flags.contains(&"myself".to_owned()));
        let own_replicas = map
            .iter()
            .filter(|entry| {
                entry.master.is_some() && entry.master.as_ref() == own.map(|own| &own.id)
            })
            .count();
        map.len() == self.nodes.len()
            && map.iter().all(has_no_failure)
            && replicas == expected_replicas
            && is("cluster_state", "ok")
            && is("cluster_slots_ok", "16384")
            && is_connected
            && fields
                .get("connected_slaves")
                .is_some_and(|count| *count == own_replicas.to_string())
    }

    /// Waits until all nodes except `before` agree that another node serves the slot and that node
    /// is a master. Returns the index of the new owner.
    #[track_caller]
    pub fn until_failed_over(&self, limit: Duration, before: usize, slot: u16) -> usize {
        let moved = || {
            let mut others = (0..self.nodes.len())
                .filter(|node| *node != before)
                .map(|node| self.owner_according_to(node, slot));
            let first = others.next()?.filter(|owner| *owner != before)?;
            let agreed =
                others.all(|owner| owner == Some(first)) && self.nodes[first].role()? == "master";
            agreed.then_some(first)
        };
        eventually(limit, "another node serves the slot", moved).0
    }

    /// Starts a manual failover to this replica.
    #[track_caller]
    pub fn failover(&self, replica: usize) {
        assert_eq!(self.nodes[replica].execute(&["CLUSTER", "FAILOVER"]), ["OK"]);
    }

    /// Makes all other nodes forget a node.
    #[track_caller]
    pub fn forget(&self, node: usize) {
        // CLUSTER FORGET bans a node ID for one minute. All nodes must forget it within that time,
        // or gossip adds it again.
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            assert_eq!(self.nodes[other].execute(&["CLUSTER", "FORGET", &self.ids[node]]), ["OK"]);
        }
    }

    /// Removes the last node, a replica, with the steps of `redis-cli --cluster del-node`, and
    /// stops it.
    #[track_caller]
    pub fn remove(&mut self, node: usize) {
        assert_eq!(node, self.nodes.len() - 1, "only the last node can be removed");
        self.forget(node);
        assert_eq!(self.nodes[node].execute(&["CLUSTER", "RESET", "SOFT"]), ["OK"]);
        self.ids.pop();
        if let Some(mut server) = self.nodes.pop() {
            server.stop();
        }
    }

    /// Starts to migrate a slot: sets it to importing on the target and to migrating on the source.
    #[track_caller]
    pub fn start_slot_migration(&self, slot: u16, from: usize, to: usize) {
        let slot = slot.to_string();
        assert_eq!(
            self.nodes[to].execute(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.ids[from]]),
            ["OK"]
        );
        assert_eq!(
            self.nodes[from].execute(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.ids[to]]),
            ["OK"]
        );
    }

    /// Completes the migration of a slot: moves the keys, and assigns the slot to the target on all
    /// masters.
    #[track_caller]
    pub fn finish_slot_migration(&self, slot: u16, from: usize, to: usize) {
        let (slot, target) = (slot.to_string(), &self.nodes[to]);
        let mut source = self.nodes[from].connect().expect("cannot connect");
        loop {
            let keys =
                source.execute(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]).expect("no reply");
            if keys.is_empty() {
                break;
            }
            let port = target.port.to_string();
            let command = ["MIGRATE", &target.host, &port, "", "0", "5000", "KEYS"];
            let command: Vec<_> =
                command.into_iter().chain(keys.iter().map(String::as_str)).collect();
            assert_eq!(source.execute(&command).expect("no reply"), ["OK"]);
        }
        // Assign the slot on the target first, then on the source. Otherwise no node serves it in
        // between.
        let others = (0..self.setup.masters).filter(|node| ![from, to].contains(node));
        for node in [to, from].into_iter().chain(others) {
            // A master that learned by gossip that it lost its last slot is a replica now, and
            // refuses SETSLOT.
            let reply =
                self.nodes[node].execute(&["CLUSTER", "SETSLOT", &slot, "NODE", &self.ids[to]]);
            assert!(
                reply == ["OK"] || reply == ["-ERR Please use SETSLOT only with masters."],
                "{reply:?}"
            );
        }
    }

    /// Migrates slots one by one, as `redis-cli --cluster reshard` does.
    #[track_caller]
    pub fn move_slots(&self, slots: std::ops::RangeInclusive<u16>, from: usize, to: usize) {
        for slot in slots {
            self.start_slot_migration(slot, from, to);
            self.finish_slot_migration(slot, from, to);
        }
    }

    /// Writes this many keys with a prefix, each to the node that serves its slot.
    #[track_caller]
    pub fn write(&self, prefix: &str, keys: u32) {
        let mut connections: BTreeMap<usize, Connection> = BTreeMap::new();
        let owners: Vec<_> = self
            .nodes_seen_by(self.owner(0))
            .into_iter()
            .filter(|entry| !entry.slots.is_empty())
            .collect();
        for key in (0..keys).map(|key| format!("{prefix}{key}")) {
            let slot = slot_of(&key);
            let owner = owners.iter().find(|entry| {
                entry.slots.iter().any(|(first, last)| (*first..=*last).contains(&slot))
            });
            let index = self.index_of(&owner.expect("no node serves the slot of the key").address);
            let wire = connections
                .entry(index)
                .or_insert_with(|| self.nodes[index].connect().expect("cannot connect"));
            assert_eq!(
                wire.execute(&["SET", &key, "1"]).expect("no reply"),
                ["OK"],
                "cannot write {key} to {}",
                self.nodes[index].address()
            );
        }
    }

    /// Returns the number of keys on all masters.
    pub fn keys(&self) -> u64 {
        let masters = self.nodes.iter().filter(|node| node.role().as_deref() == Some("master"));
        masters
            .map(|master| master.execute(&["DBSIZE"])[0].parse::<u64>().expect("not a number"))
            .sum()
    }

    /// Returns a `[[deployment]]` section of this cluster with these nodes as seeds, followed by
    /// more keys.
    pub fn deployment(&self, name: &str, seeds: &[usize], more: &str) -> String {
        let urls: Vec<_> =
            seeds.iter().map(|seed| format!("'{}'", self.nodes[*seed].url())).collect();
        format!("[[deployment]]\nname = '{name}'\ncluster = [{}]\n{more}\n", urls.join(", "))
    }
}

impl ClusterNode {
    /// Parses a line; `None` if it is no line of CLUSTER NODES.
    pub fn parse(line: &str) -> Option<Self> {
        let words: Vec<_> = line.split(' ').collect();
        let (address, _) = words.get(1)?.split_once('@')?;
        let range = |word: &&str| {
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            Some((first.parse().ok()?, last.parse().ok()?))
        };
        Some(ClusterNode {
            id: words[0].to_owned(),
            address: address.to_owned(),
            flags: words.get(2)?.split(',').map(str::to_owned).collect(),
            master: Some(*words.get(3)?).filter(|master| *master != "-").map(str::to_owned),
            slots: words.get(8..)?.iter().filter_map(range).collect(),
        })
    }

    /// Returns true if the line has a flag.
    pub fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|own| own == flag)
    }
}

/// Returns the slot of a key without a hash tag: its CRC-16 modulo the number of slots.
fn slot_of(key: &str) -> u16 {
    let crc = key.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    });
    crc % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_cluster_keyslot() {
        // The check value of the cluster specification, and a reply of CLUSTER KEYSLOT.
        assert_eq!(slot_of("123456789"), 0x31C3);
        assert_eq!(slot_of("foo"), 12_182);
    }

    #[test]
    fn a_cluster_forms_migrates_slots_and_fails_over() {
        // The test suite covers the other versions.
        for version in ["redis-5.0.6", "redis-6.2.14", "redis-8.2.3"] {
            let mut cluster = Cluster::start(&ClusterSetup { version, ..ClusterSetup::default() });
            let owners: Vec<_> = [0, 5460, 5461, 10_922, 10_923, 16_383]
                .into_iter()
                .map(|slot| cluster.owner(slot))
                .collect();
            assert_eq!(owners, [0, 0, 1, 1, 2, 2], "{version}");
            assert_eq!(cluster.replicas_of(1), [4]);
            cluster.write("key", 1000);
            assert_eq!(cluster.keys(), 1000);
            cluster.move_slots(5461..=5480, 1, 0);
            assert_eq!((cluster.owner(5480), cluster.owner(5481), cluster.keys()), (0, 1, 1000));
            cluster.failover(3);
            assert_eq!(cluster.until_failed_over(LIMIT, 0, 0), 3);
            cluster.until_healthy();
            cluster.nodes[2].kill();
            assert_eq!(cluster.until_failed_over(LIMIT, 2, 16_000), 5);
            cluster.nodes[2].restart();
            cluster.until_healthy();
            assert_eq!(
                (cluster.nodes[2].role().as_deref(), cluster.keys()),
                (Some("slave"), 1000),
                "{version}"
            );
        }
    }
}
