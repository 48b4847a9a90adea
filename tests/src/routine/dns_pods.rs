//! Primary and replicas behind a DNS name, as behind a headless Service.

use std::sync::Arc;
use std::time::Duration;

use super::{LIMIT, Operation, move_pod};
use crate::{NameServer, Server, Writer, eventually, free_port, pause};

/// Time within which clients see a changed DNS record: the interval of lookups, and a little more.
const PUBLISHED_AFTER: Duration = Duration::from_secs(12);

/// A primary and two replicas without Sentinels. The name lists the pods that are ready.
pub struct DnsPods {
    name_server: Arc<NameServer>,
    deployment: &'static str,
    port: u16,
    pods: Vec<Server>,
    primary: usize,
}

impl DnsPods {
    /// The operations that need no more than this deployment and that no alert may notice.
    pub const OPERATIONS: [Operation<Self>; 2] = [
        ("rolling restart with other addresses", Self::rolling_restart),
        ("one replica more, and one less", Self::scale_out_and_in),
    ];

    /// Starts the pods.
    pub fn start(name_server: &Arc<NameServer>, deployment: &'static str) -> Self {
        let mut pods = DnsPods {
            name_server: Arc::clone(name_server),
            deployment,
            port: free_port(),
            pods: Vec::new(),
            primary: 0,
        };
        (0..3).for_each(|_| pods.add_pod());
        pods
    }

    fn add_pod(&mut self) {
        let place = self.name_server.new_host();
        let mut options = "save 3600 1\n".to_owned();
        if let Some(primary) = self.pods.get(self.primary) {
            options += &format!("replicaof {} {}\n", primary.host, self.port);
        }
        let server = Server::start_on("redis-7.0.15", false, &place, self.port, &options, None);
        if !self.pods.is_empty() {
            server.until_synchronised();
        }
        self.name_server.rename(&place, &[&self.name()]);
        self.pods.push(server);
    }

    fn name(&self) -> String {
        format!("{}.test", self.deployment)
    }

    /// Returns a `[[deployment]]` section, followed by more keys.
    pub fn configuration(&self, more: &str) -> String {
        format!(
            "[[deployment]]\nname = '{}'\ndns = ['redis://{}:{}']\ntrust = ['{}']\n{more}\n",
            self.deployment,
            self.name(),
            self.port,
            self.name_server.network()
        )
    }

    /// Returns the addresses of the pods.
    pub fn addresses(&self) -> Vec<String> {
        self.pods.iter().map(Server::address).collect()
    }

    /// Starts a client that writes to the pod that is a master.
    pub fn write(&self, prefix: &'static str, per_second: u32) -> Writer {
        let addresses = self.addresses();
        let is_master = |address: &String| {
            let mut wire = crate::Connection::connect(address, None).ok()?;
            let info = wire.execute(&["INFO", "replication"]).ok()?.concat();
            info.contains("role:master").then_some(())
        };
        Writer::follow(
            move || addresses.iter().find(|address| is_master(address).is_some()).cloned(),
            prefix,
            per_second,
        )
    }

    /// Restarts each pod. Each one returns with another address: first the replicas, then, after a
    /// planned failover, the old primary.
    pub fn rolling_restart(&mut self) {
        let primary = self.primary;
        for pod in (0..self.pods.len()).filter(|pod| *pod != primary) {
            self.move_pod(pod);
        }
        self.fail_over();
        self.move_pod(primary);
    }

    /// Moves a replica to another address.
    pub fn move_first_replica(&mut self) {
        self.move_pod((0..self.pods.len()).find(|pod| *pod != self.primary).expect("a replica"));
    }

    /// Moves a pod to another address. A pod that is not ready has no DNS record.
    fn move_pod(&mut self, pod: usize) {
        let place = self.name_server.new_host();
        let name = self.name();
        let server = &mut self.pods[pod];
        self.name_server.rename(&server.place, &[]);
        move_pod(server, &place);
        server.until_synchronised();
        self.name_server.rename(&place, &[&name]);
        pause(PUBLISHED_AFTER);
    }

    /// Kills a replica, which stays dead. The name no longer lists it.
    pub fn kill_replica(&mut self) -> String {
        let pod = (0..self.pods.len()).rfind(|pod| *pod != self.primary).expect("a replica");
        self.pods[pod].kill();
        self.name_server.rename(&self.pods[pod].place, &[]);
        self.pods[pod].address()
    }

    /// Adds a replica, and removes one by removing its DNS record and stopping it.
    pub fn scale_out_and_in(&mut self) {
        self.add_pod();
        pause(PUBLISHED_AFTER);
        let pod = (0..self.pods.len()).rfind(|pod| *pod != self.primary).expect("a replica");
        let mut removed = self.pods.remove(pod);
        self.name_server.rename(&removed.place, &[]);
        removed.stop();
    }

    /// Performs a planned failover with FAILOVER TO, and makes the other replicas follow.
    pub fn fail_over(&mut self) {
        let before = self.primary;
        let target = (0..self.pods.len()).find(|pod| *pod != before).expect("a replica");
        let (host, port) = (self.pods[target].host.clone(), self.port.to_string());
        let command = ["FAILOVER", "TO", &host, &port, "TIMEOUT", "20000"];
        assert_eq!(self.pods[before].execute(&command), ["OK"]);
        eventually(LIMIT, "the roles are swapped", || {
            let roles = [target, before].map(|pod| self.pods[pod].role());
            (roles == [Some("master".to_owned()), Some("slave".to_owned())]).then_some(())
        });
        self.primary = target;
        for (pod, server) in self.pods.iter().enumerate() {
            if pod != target && pod != before {
                assert_eq!(server.execute(&["REPLICAOF", &host, &port])[..1], ["OK"]);
            }
            assert_eq!(server.execute(&["CONFIG", "REWRITE"]), ["OK"]);
        }
        for (_, server) in self.pods.iter().enumerate().filter(|(pod, _)| *pod != target) {
            server.until_synchronised();
        }
    }
}
