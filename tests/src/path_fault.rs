//! Faults of the network path from one host to another, which no other host notices.

use std::process::Command;

use crate::Host;
use crate::split_network::ip;

/// Hardware address that no device has.
const NOBODY: &str = "02:00:00:00:00:01";

/// Fault of a network path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathFault {
    /// Packets are lost, as with a network policy that drops them.
    Loss,
    /// There is no route.
    NoRoute,
    /// Connections are refused, as by a firewall that rejects them, or behind a wrong NAT rule.
    Refusal,
}

/// Faulty path from one host to another. The path works again when the value is dropped.
pub struct FaultyPath {
    namespace: String,
    target: String,
    fault: PathFault,
}

impl FaultyPath {
    /// Makes the path from one host of a [`SplitNetwork`](crate::SplitNetwork) to another faulty.
    pub fn new(from: &Host, to: &Host, fault: PathFault) -> Self {
        let namespace = from.namespace.clone().expect("the host has no network namespace");
        let path = FaultyPath { namespace, target: to.host.clone(), fault };
        if fault == PathFault::Refusal {
            // The host must not answer ARP requests for the address of the other one.
            let file = "/proc/sys/net/ipv4/conf/all/arp_ignore";
            let status = Command::new("ip")
                .args(["netns", "exec", &path.namespace])
                .args(["sh", "-c", &format!("echo 1 > {file}")])
                .status();
            assert!(status.is_ok_and(|status| status.success()), "cannot set arp_ignore");
        }
        path.apply(true);
        path
    }

    /// Adds or removes the fault.
    fn apply(&self, add: bool) {
        let FaultyPath { namespace, target, fault } = self;
        let verb = if add { "add" } else { "del" };
        ip(&match fault {
            PathFault::Loss if add => format!(
                "-n {namespace} neigh replace {target} lladdr {NOBODY} nud permanent dev eth0"
            ),
            PathFault::Loss => format!("-n {namespace} neigh del {target} dev eth0"),
            PathFault::NoRoute => format!("-n {namespace} route {verb} unreachable {target}/32"),
            // The host owns the address now, and no process listens on it.
            PathFault::Refusal => format!("-n {namespace} addr {verb} {target}/32 dev lo"),
        });
    }
}

impl Drop for FaultyPath {
    fn drop(&mut self) {
        self.apply(false);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Server, Side, SplitNetwork, pause};

    /// Returns the error of a connection attempt from a host, or nothing if it succeeds.
    fn connect(from: &Host, to: &Server) -> Option<String> {
        let script = format!("exec 3<>/dev/tcp/{}/{}", to.host, to.port);
        let namespace = from.namespace.as_deref().expect("the host has no network namespace");
        let output = Command::new("ip")
            .args(["netns", "exec", namespace, "timeout", "1", "bash", "-c", &script])
            .output()
            .expect("cannot run ip");
        (!output.status.success()).then(|| {
            format!("{:?} {}", output.status.code(), String::from_utf8_lossy(&output.stderr))
        })
    }

    #[test]
    fn only_one_host_notices_a_faulty_path() {
        let mut network = SplitNetwork::new();
        let [exporter, primary, replica] = [(); 3].map(|()| network.add_host(Side::Left));
        let start =
            |host: &Host, options: &str| Server::start("redis-7.0.15", false, host, options, None);
        let target = start(&primary, "repl-timeout 3\nrepl-ping-replica-period 1\n");
        let follower = start(&replica, &format!("replicaof {} {}\n", target.host, target.port));
        follower.until_synchronised();
        for (fault, error) in [
            (PathFault::Loss, "Some(124)"),
            (PathFault::NoRoute, "No route to host"),
            (PathFault::Refusal, "Connection refused"),
        ] {
            assert_eq!(connect(&exporter, &target), None);
            let path = FaultyPath::new(&exporter, &primary, fault);
            let found = connect(&exporter, &target).expect("the connection must fail");
            assert!(found.contains(error), "{fault:?}: {found}");
            // Longer than the replica tolerates silence of its master.
            pause(Duration::from_secs(4));
            assert!(connect(&exporter, &target).is_some(), "{fault:?}");
            drop(path);
        }
        assert_eq!(connect(&exporter, &target), None);
        let resyncs = target.section("stats");
        assert_eq!((&*resyncs["sync_full"], &*resyncs["sync_partial_ok"]), ("1", "0"));
        assert_eq!(follower.replication()["master_link_status"], "up");
    }
}
