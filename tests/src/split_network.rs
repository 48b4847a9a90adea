//! Network of two sides that can be partitioned, made of network namespaces. It needs root.
//!
//! Each side is a bridge. Two veth devices connect the bridges. The test and the daemon that it
//! starts are attached to both bridges and have a separate route to each server. So they reach
//! every server at its announced address, even during a partition.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

/// Host on which servers run: an IP address and its network namespace.
#[derive(Debug, Clone)]
pub struct Host {
    /// The IP address.
    pub host: String,
    /// The network namespace; absent for that of the test.
    pub namespace: Option<String>,
    /// The `resolv.conf` of its servers; absent for that of the test.
    pub resolver: Option<PathBuf>,
}

impl Host {
    /// Returns the loopback interface of this machine.
    pub fn loopback() -> Self {
        Host { host: "127.0.0.1".to_owned(), namespace: None, resolver: None }
    }

    /// Returns a second address of the loopback interface, which counts as another host.
    pub fn second_loopback() -> Self {
        Host { host: "127.0.0.2".to_owned(), namespace: None, resolver: None }
    }
}

/// One side of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The left side.
    Left,
    /// The right side.
    Right,
}

/// Network of two sides. It is removed when the value is dropped.
pub struct SplitNetwork {
    /// The prefix of all device and namespace names.
    tag: String,
    /// The first three octets of all addresses.
    network: String,
    places: Vec<Host>,
}

impl SplitNetwork {
    /// Creates both sides, connected and without hosts.
    pub fn new() -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        assert!(number < 32, "a process can have at most 32 networks");
        let network =
            format!("10.{}.{}", 64 + process % 128, process / 128 % 8 * 32 + u32::from(number));
        let sides =
            SplitNetwork { tag: format!("rc{process:x}{number:x}"), network, places: Vec::new() };
        for (side, own) in [(Side::Left, 254), (Side::Right, 253)] {
            let bridge = sides.bridge(side);
            ip(&format!("link add {bridge} type bridge stp_state 0 forward_delay 0"));
            // Each bridge must answer ARP requests only for its own address. Otherwise traffic to
            // one side could pass through the other.
            std::fs::write(format!("/proc/sys/net/ipv4/conf/{bridge}/arp_ignore"), "1")
                .expect("cannot set arp_ignore");
            ip(&format!("addr add {}.{own}/32 dev {bridge}", sides.network));
            ip(&format!("link set {bridge} up"));
        }
        let (one, other) = sides.cable();
        ip(&format!("link add {one} type veth peer name {other}"));
        for (end, side) in [(one, Side::Left), (other, Side::Right)] {
            ip(&format!("link set {end} master {} up", sides.bridge(side)));
        }
        sides
    }

    /// Adds a host to a side.
    pub fn add_host(&mut self, side: Side) -> Host {
        let number = self.places.len() + 1;
        let (tag, network) = (&self.tag, &self.network);
        let (namespace, port, host) =
            (format!("{tag}n{number}"), format!("{tag}p{number}"), format!("{network}.{number}"));
        let place = Host { host, namespace: Some(namespace.clone()), resolver: None };
        self.places.push(place.clone());
        let (host, bridge) = (&place.host, self.bridge(side));
        ip(&format!("netns add {namespace}"));
        ip(&format!("link add {port} type veth peer name eth0 netns {namespace}"));
        ip(&format!("link set {port} master {bridge} up"));
        ip(&format!("-n {namespace} addr add {host}/24 dev eth0"));
        for device in ["lo", "eth0"] {
            ip(&format!("-n {namespace} link set {device} up"));
        }
        ip(&format!("route add {host}/32 dev {bridge} src {}", self.test_address(side)));
        place
    }

    /// Returns the address of the test itself on a side.
    pub fn test_address(&self, side: Side) -> String {
        format!("{}.{}", self.network, if side == Side::Left { 254 } else { 253 })
    }

    /// Partitions the network: the sides cannot reach each other.
    pub fn partition(&self) {
        ip(&format!("link set {} down", self.cable().0));
    }

    /// Ends the partition.
    pub fn heal(&self) {
        ip(&format!("link set {} up", self.cable().0));
    }

    /// Disconnects a host from everything, including the test.
    pub fn disconnect(&self, place: &Host) {
        ip(&format!("link set {} down", self.port(place)));
    }

    /// Reconnects a host.
    pub fn reconnect(&self, place: &Host) {
        ip(&format!("link set {} up", self.port(place)));
    }

    /// Gives names to hosts. Only processes that start later on the hosts `on` can resolve them.
    pub fn name(&self, on: &[&Host], names: &[(&Host, &str)]) {
        let lines = names.iter().map(|(place, name)| format!("{} {name}\n", place.host));
        let text = lines.collect::<String>();
        for place in on {
            // `ip netns exec` mounts this file as /etc/hosts.
            let folder = settings(place);
            std::fs::create_dir_all(&folder).expect("cannot create a directory");
            std::fs::write(folder.join("hosts"), &text).expect("cannot write a file");
        }
    }

    fn port(&self, place: &Host) -> String {
        let number = self
            .places
            .iter()
            .position(|other| other.host == place.host)
            .expect("no host of this network")
            + 1;
        format!("{}p{number}", self.tag)
    }

    fn bridge(&self, side: Side) -> String {
        format!("{}{}", self.tag, if side == Side::Left { "l" } else { "r" })
    }

    fn cable(&self) -> (String, String) {
        (format!("{}x", self.tag), format!("{}y", self.tag))
    }
}

impl Default for SplitNetwork {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for SplitNetwork {
    fn drop(&mut self) {
        for (number, place) in self.places.iter().enumerate() {
            run(&format!("link del {}p{}", self.tag, number + 1));
            run(&format!(
                "netns del {}",
                place.namespace.as_deref().expect("the host has no namespace")
            ));
            // Only hosts with names have this directory.
            let _ = std::fs::remove_dir_all(settings(place));
        }
        for device in [self.cable().0, self.bridge(Side::Left), self.bridge(Side::Right)] {
            run(&format!("link del {device}"));
        }
    }
}

/// Returns the directory of files that replace those in `/etc` on a host.
fn settings(place: &Host) -> PathBuf {
    Path::new("/etc/netns").join(place.namespace.as_deref().expect("the host has no namespace"))
}

#[track_caller]
pub(crate) fn ip(arguments: &str) {
    assert!(run(arguments), "ip {arguments} failed: network namespaces need root");
}

fn run(arguments: &str) -> bool {
    Command::new("ip").args(arguments.split(' ')).status().is_ok_and(|status| status.success())
}
