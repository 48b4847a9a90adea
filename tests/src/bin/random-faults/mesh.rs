//! Network of hosts in which any two can be cut off from each other: network namespaces on one
//! bridge, each with a packet filter. It needs root, `ip` and `nft`.
//!
//! The program itself reaches all hosts at any time.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use tests::Host;

use crate::operation::HostId;

/// Number of networks that a process may have at the same time.
pub(crate) const MAX_NETWORKS: usize = 16;

/// Number by which the second address of a host is higher than the first.
const SECOND_ADDRESS: usize = 100;

/// Filter of a host. Faults add the addresses of other hosts to its sets.
const FILTER: &str = "
table inet faults {
    set cut { type ipv4_addr; }
    set lose5 { type ipv4_addr; }
    set lose30 { type ipv4_addr; }
    set lose80 { type ipv4_addr; }
    chain incoming {
        type filter hook input priority 0; policy accept;
        ip saddr @cut drop
        ip saddr @lose5 numgen random mod 100 < 5 drop
        ip saddr @lose30 numgen random mod 100 < 30 drop
        ip saddr @lose80 numgen random mod 100 < 80 drop
    }
}
";

/// Network of hosts. It is removed when the value is dropped.
pub(crate) struct Mesh {
    /// Prefix of all device and namespace names.
    tag: String,
    /// The first three octets of all addresses.
    network: String,
    hosts: BTreeMap<HostId, Host>,
    /// Share of the packets that are lost on the way from one host to another, percent.
    loss: BTreeMap<(HostId, HostId), u8>,
}

impl Mesh {
    /// Creates a network with these hosts. `number` tells the networks of this process apart.
    pub(crate) fn new(number: usize, hosts: &[HostId]) -> Result<Self, String> {
        assert!(number < MAX_NETWORKS, "a process can have at most {MAX_NETWORKS} networks");
        let process = std::process::id();
        let mut mesh = Mesh {
            tag: format!("rf{process:x}{number:x}"),
            network: format!(
                "10.{}.{}",
                192 + process % 60,
                process / 60 % 16 * 16 + u32::try_from(number).unwrap_or_default()
            ),
            hosts: BTreeMap::new(),
            loss: BTreeMap::new(),
        };
        let bridge = mesh.bridge();
        run("ip", &format!("link add {bridge} type bridge stp_state 0 forward_delay 0"))?;
        run("ip", &format!("addr add {}.254/24 dev {bridge}", mesh.network))?;
        run("ip", &format!("link set {bridge} up"))?;
        for id in hosts {
            mesh.add_host(*id)?;
        }
        Ok(mesh)
    }

    fn add_host(&mut self, id: HostId) -> Result<(), String> {
        let number = self.hosts.len() + 1;
        let (namespace, port) =
            (format!("{}n{number}", self.tag), format!("{}p{number}", self.tag));
        let address = format!("{}.{number}", self.network);
        let second = format!("{}.{}", self.network, number + SECOND_ADDRESS);
        let host =
            Host { host: address.clone(), namespace: Some(namespace.clone()), resolver: None };
        // Insert it first, so that it is removed if a command fails.
        self.hosts.insert(id, host);
        run("ip", &format!("netns add {namespace}"))?;
        run("ip", &format!("link add {port} type veth peer name eth0 netns {namespace}"))?;
        run("ip", &format!("link set {port} master {} up", self.bridge()))?;
        run("ip", &format!("-n {namespace} addr add {address}/24 dev eth0"))?;
        run("ip", &format!("-n {namespace} addr add {second}/24 dev eth0"))?;
        for device in ["lo", "eth0"] {
            run("ip", &format!("-n {namespace} link set {device} up"))?;
        }
        nft(&namespace, FILTER)
    }

    /// Returns a host.
    pub(crate) fn host(&self, id: HostId) -> &Host {
        &self.hosts[&id]
    }

    /// Returns all addresses of a host: the one from which it connects, and a second one.
    pub(crate) fn addresses(&self, id: HostId) -> [String; 2] {
        let first = self.hosts[&id].host.clone();
        let number: usize =
            first.rsplit('.').next().and_then(|number| number.parse().ok()).unwrap_or_default();
        [first, format!("{}.{}", self.network, number + SECOND_ADDRESS)]
    }

    /// Returns the network in CIDR notation.
    pub(crate) fn cidr(&self) -> String {
        format!("{}.0/24", self.network)
    }

    /// Returns all hosts.
    pub(crate) fn hosts(&self) -> Vec<HostId> {
        self.hosts.keys().copied().collect()
    }

    /// Makes the network lose a share of the packets from one host to another, in percent: 0, 5,
    /// 30, 80 or 100.
    pub(crate) fn lose(&mut self, from: HostId, to: HostId, percent: u8) -> Result<(), String> {
        let before = self.loss.remove(&(from, to)).unwrap_or_default();
        if from == to || before == percent {
            self.loss.extend((before > 0).then_some(((from, to), before)));
            return Ok(());
        }
        let set = |percent: u8| match percent {
            100 => "cut".to_owned(),
            _ => format!("lose{percent}"),
        };
        let addresses = self.addresses(from).join(", ");
        let change = |verb, percent| {
            format!("{verb} element inet faults {} {{ {addresses} }}\n", set(percent))
        };
        let old = (before > 0).then(|| change("delete", before));
        let new = (percent > 0).then(|| change("add", percent));
        self.loss.extend((percent > 0).then_some(((from, to), percent)));
        let script: String = old.into_iter().chain(new).collect();
        nft(self.hosts[&to].namespace.as_deref().unwrap_or_default(), &script)
    }

    /// Ends all faults.
    pub(crate) fn heal(&mut self) -> Result<(), String> {
        let faults: Vec<_> = self.loss.keys().copied().collect();
        faults.into_iter().try_for_each(|(from, to)| self.lose(from, to, 0))
    }

    /// Returns the share of lost packets between two hosts, in percent: the larger one of both
    /// directions.
    pub(crate) fn loss_between(&self, one: HostId, other: HostId) -> u8 {
        let loss = |from, to| self.loss.get(&(from, to)).copied().unwrap_or_default();
        loss(one, other).max(loss(other, one))
    }

    /// Returns true if no packet between two hosts is lost.
    pub(crate) fn connects(&self, one: HostId, other: HostId) -> bool {
        self.loss_between(one, other) == 0
    }

    /// Returns true if the network loses no packets.
    pub(crate) fn is_whole(&self) -> bool {
        self.loss.is_empty()
    }

    fn bridge(&self) -> String {
        format!("{}b", self.tag)
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        // Parts may be missing if the creation failed.
        for host in self.hosts.values() {
            let namespace = host.namespace.as_deref().unwrap_or_default();
            let _ = run("ip", &format!("netns del {namespace}"));
            let _ = std::fs::remove_dir_all(format!("/etc/netns/{namespace}"));
        }
        let _ = run("ip", &format!("link del {}", self.bridge()));
    }
}

fn run(program: &str, arguments: &str) -> Result<(), String> {
    let output = Command::new(program)
        .args(arguments.split(' '))
        .output()
        .map_err(|error| format!("cannot run {program}: {error}"))?;
    let error = || {
        format!("{program} {arguments} failed: {}", String::from_utf8_lossy(&output.stderr).trim())
    };
    output.status.success().then_some(()).ok_or_else(error)
}

/// Runs a script of the packet filter in a network namespace.
fn nft(namespace: &str, script: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot run nft in {namespace}: {error}");
    let mut child = Command::new("ip")
        .args(["netns", "exec", namespace, "nft", "-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    child.stdin.take().expect("it is piped").write_all(script.as_bytes()).map_err(failed)?;
    let output = child.wait_with_output().map_err(failed)?;
    let error =
        || format!("nft in {namespace} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    output.status.success().then_some(()).ok_or_else(error)
}
