//! Primary and replicas that Sentinels watch, each in a pod.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{LIMIT, Operation, move_pod};
use crate::{Host, MASTER, NameServer, Server, Writer, eventually, free_port, sentinel_deployment};

/// Time for which a Sentinel may not have heard of a node that it lists. It pings every second.
const HEARD_WITHIN: Duration = Duration::from_secs(3);

/// Form of the addresses that the Sentinels list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodAddresses {
    /// IP addresses.
    Ip,
    /// Host names, which the pods announce.
    HostNames,
}

/// Three pods with data and three Sentinels.
pub struct SentinelPods {
    name_server: Arc<NameServer>,
    deployment: &'static str,
    addresses: PodAddresses,
    version: &'static str,
    port: u16,
    pods: Vec<Pod>,
    /// The Sentinels.
    pub sentinels: Vec<Server>,
}

/// One pod with its host name.
struct Pod {
    host_name: String,
    server: Server,
}

impl SentinelPods {
    /// The operations that need no more than this deployment and that no alert may notice.
    pub const OPERATIONS: [Operation<Self>; 2] = [
        ("rolling restart with other addresses", Self::rolling_restart),
        ("one replica more, and one less", Self::scale_out_and_in),
    ];

    /// Starts the pods and their Sentinels, and waits until all Sentinels know all pods.
    pub fn start(
        name_server: &Arc<NameServer>,
        deployment: &'static str,
        addresses: PodAddresses,
        version: &'static str,
    ) -> Self {
        let mut pods = SentinelPods {
            name_server: Arc::clone(name_server),
            deployment,
            addresses,
            version,
            port: free_port(),
            pods: Vec::new(),
            sentinels: Vec::new(),
        };
        (0..3).for_each(|_| pods.add_pod());
        let place = Host { host: "127.0.0.1".to_owned(), ..pods.name_server.new_host() };
        let names = match addresses {
            PodAddresses::Ip => "",
            PodAddresses::HostNames => {
                "sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\n"
            }
        };
        let options = format!(
            "{names}sentinel monitor {MASTER} {} {} 2\n\
             sentinel down-after-milliseconds {MASTER} 5000\n\
             sentinel failover-timeout {MASTER} 20000\n",
            pods.announced(0),
            pods.port
        );
        pods.sentinels.extend((0..3).map(|_| Server::start(version, true, &place, &options, None)));
        pods.until_listed();
        pods
    }

    /// Starts one more pod. Unless it is the first one, it replicates from the primary.
    fn add_pod(&mut self) {
        let (place, number) = (self.name_server.new_host(), self.pods.len());
        let host_name = format!("pod-{number}.{}.test", self.deployment);
        self.name_server.rename(&place, &[&host_name]);
        // One group has an append-only file, so its nodes forget their history at a restart. The
        // other one has a dump with the history.
        let mut options = match self.addresses {
            PodAddresses::Ip => "appendonly yes\n".to_owned(),
            PodAddresses::HostNames => format!("save 3600 1\nreplica-announce-ip {host_name}\n"),
        };
        if !self.pods.is_empty() {
            options += &format!("replicaof {} {}\n", self.announced(self.primary()), self.port);
        }
        let server = Server::start_on(self.version, false, &place, self.port, &options, None);
        if !self.pods.is_empty() {
            server.until_synchronised();
        }
        self.pods.push(Pod { host_name, server });
    }

    /// Returns the host under which the Sentinels know a pod.
    fn announced(&self, pod: usize) -> String {
        let Pod { host_name, server } = &self.pods[pod];
        match self.addresses {
            PodAddresses::Ip => server.host.clone(),
            PodAddresses::HostNames => host_name.clone(),
        }
    }

    /// Returns the pod that the Sentinels name as the primary.
    fn primary(&self) -> usize {
        if self.sentinels.is_empty() {
            return 0;
        }
        let find = || {
            let named = self.named_by(0)?;
            (0..self.pods.len()).find(|pod| self.announced(*pod) == named)
        };
        eventually(LIMIT, "a Sentinel names a pod as the primary", find).0
    }

    fn named_by(&self, sentinel: usize) -> Option<String> {
        let command = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER];
        self.sentinels[sentinel].try_execute(&command)?.first().cloned()
    }

    /// Waits until all replicas are synchronised, and all Sentinels list them as usable. They may
    /// list addresses of former pods too.
    #[track_caller]
    fn until_listed(&self) {
        let primary = self.primary();
        (0..self.pods.len())
            .filter(|pod| *pod != primary)
            .for_each(|pod| self.until_pod_listed(pod));
    }

    #[track_caller]
    fn until_pod_listed(&self, replica: usize) {
        eventually(LIMIT, "all Sentinels list the replica", || {
            let host = self.announced(replica);
            let knows_all = |sentinel: &Server| {
                let listed = sentinel.table(&["SENTINEL", "REPLICAS", MASTER]);
                let is_usable = |entry: &BTreeMap<String, String>| {
                    let heard: u128 = entry["last-ok-ping-reply"].parse().unwrap_or(u128::MAX);
                    entry["ip"] == host
                        && entry["flags"] == "slave"
                        && entry["master-link-status"] == "ok"
                        && heard < HEARD_WITHIN.as_millis()
                };
                let others = sentinel.table(&["SENTINEL", "SENTINELS", MASTER]).len();
                listed.iter().any(is_usable) && others == 2
            };
            self.sentinels.iter().all(knows_all).then_some(())
        });
    }

    /// Returns a `[[deployment]]` section of the Sentinels, followed by more keys.
    pub fn configuration(&self, more: &str) -> String {
        let urls: Vec<_> = self.sentinels.iter().map(Server::url).collect();
        sentinel_deployment(self.deployment, Some(MASTER), &urls, more)
    }

    /// Returns the addresses of the pods, as the Sentinels list them.
    pub fn listed_addresses(&self) -> Vec<String> {
        (0..self.pods.len()).map(|pod| format!("{}:{}", self.announced(pod), self.port)).collect()
    }

    /// Starts a client that writes to the primary that the first Sentinel names.
    pub fn write(&self, prefix: &'static str, per_second: u32) -> Writer {
        let sentinel = self.sentinels[0].address();
        let hosts: Vec<_> = (0..self.pods.len())
            .map(|pod| (self.announced(pod), self.pods[pod].server.host.clone()))
            .collect();
        let port = self.port;
        Writer::follow(
            move || {
                let mut wire = crate::Connection::connect(&sentinel, None).ok()?;
                let named = wire.execute(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]).ok()?;
                let (_, host) = hosts.iter().find(|(announced, _)| *announced == named[0])?;
                Some(format!("{host}:{port}"))
            },
            prefix,
            per_second,
        )
    }

    /// Restarts each pod. Each one returns with another address: first the replicas, then, after a
    /// planned failover, the old primary.
    pub fn rolling_restart(&mut self) {
        let primary = self.primary();
        let mut order: Vec<_> = (0..self.pods.len()).filter(|pod| *pod != primary).collect();
        for pod in order.drain(..) {
            self.move_pod(pod);
        }
        self.fail_over();
        self.move_pod(primary);
    }

    fn move_pod(&mut self, pod: usize) {
        let place = self.name_server.new_host();
        let Pod { host_name, server } = &mut self.pods[pod];
        self.name_server.rename(&server.place, &[]);
        self.name_server.rename(&place, &[host_name]);
        move_pod(server, &place);
        server.until_synchronised();
        self.until_pod_listed(pod);
    }

    /// Moves a replica to another address.
    pub fn move_first_replica(&mut self) {
        let primary = self.primary();
        let pod = (0..self.pods.len()).find(|pod| *pod != primary).expect("there is a replica");
        self.move_pod(pod);
    }

    /// Stops a replica for good, and returns its address as the Sentinels list it.
    pub fn remove_replica(&mut self) -> String {
        let primary = self.primary();
        let pod = (0..self.pods.len()).rfind(|pod| *pod != primary).expect("there is a replica");
        let address = format!("{}:{}", self.announced(pod), self.port);
        let mut removed = self.pods.remove(pod);
        self.name_server.rename(&removed.server.place, &[]);
        removed.server.stop();
        address
    }

    /// Kills a replica, which stays dead.
    pub fn kill_replica(&mut self) -> String {
        let primary = self.primary();
        let pod = (0..self.pods.len()).rfind(|pod| *pod != primary).expect("there is a replica");
        self.pods[pod].server.kill();
        format!("{}:{}", self.announced(pod), self.port)
    }

    /// Adds a replica, and waits until the Sentinels list it.
    pub fn scale_out(&mut self) {
        self.add_pod();
        self.until_listed();
    }

    /// Adds a replica, and removes one as the documentation of Sentinel describes: it stops the
    /// server and then resets all Sentinels.
    pub fn scale_out_and_in(&mut self) {
        self.scale_out();
        self.remove_replica();
        let is_gone = |sentinel: &Server| {
            sentinel.table(&["SENTINEL", "REPLICAS", MASTER]).len() == self.pods.len() - 1
        };
        // A reset Sentinel lists a removed replica again while the primary still does.
        let attached = || {
            let fields = self.pods[self.primary()].server.replication();
            (fields.get("connected_slaves")? == &(self.pods.len() - 1).to_string()).then_some(())
        };
        eventually(LIMIT, "the primary has dropped the removed replica", attached);
        for sentinel in &self.sentinels {
            assert_eq!(sentinel.execute(&["SENTINEL", "RESET", MASTER]), ["1"]);
        }
        self.until_listed();
        assert!(self.sentinels.iter().all(is_gone), "no Sentinel lists the removed replica");
    }

    /// Upgrades each node to another version: first the replicas, then, after a planned failover,
    /// the old primary.
    pub fn upgrade(&mut self, version: &'static str) {
        let primary = self.primary();
        for pod in (0..self.pods.len()).filter(|pod| *pod != primary) {
            self.upgrade_pod(pod, version);
        }
        self.fail_over_to_new_version();
        self.upgrade_pod(primary, version);
        self.version = version;
    }

    fn upgrade_pod(&mut self, pod: usize, version: &'static str) {
        let server = &mut self.pods[pod].server;
        server.stop();
        server.start_upgraded(version);
        server.until_synchronised();
        self.until_listed();
    }

    /// Performs a planned failover with SENTINEL FAILOVER, and waits until all nodes replicate from
    /// the new primary.
    pub fn fail_over(&mut self) {
        self.fail_over_to_new_version();
        self.until_listed();
    }

    /// Does the same, without waiting for the old primary. A server cannot load the dump of a newer
    /// version, so it may not be able to replicate before it is upgraded too.
    fn fail_over_to_new_version(&mut self) {
        self.until_listed();
        let before = self.primary();
        let old = self.announced(before);
        let started = || {
            (self.sentinels[0].execute(&["SENTINEL", "FAILOVER", MASTER]) == ["OK"]).then_some(())
        };
        eventually(LIMIT, "the Sentinel starts a failover", started);
        eventually(LIMIT, "the failover completes", || {
            let named: Vec<_> =
                (0..self.sentinels.len()).map(|sentinel| self.named_by(sentinel)).collect();
            let first = named[0].as_ref().filter(|first| **first != old)?;
            let agreed = named.iter().all(|other| other.as_ref() == Some(first));
            let roles = [self.primary(), before].map(|pod| self.pods[pod].server.role());
            (agreed && roles == [Some("master".to_owned()), Some("slave".to_owned())]).then_some(())
        });
    }
}
