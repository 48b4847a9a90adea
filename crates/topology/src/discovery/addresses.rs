//! Fact: which node is at an address. Servers name one another by the addresses that they see, which need not be the configured ones.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use snapshot::{Config, NodeSnapshot};

use crate::model::deployment::{Deployment, address};

/// What the fact remembers of a deployment: the addresses that nodes announce, and those where they were reached.
#[derive(Debug, Default)]
pub(crate) struct AddressIndex {
    learned: Vec<KnownAddresses>,
    /// `None` where several nodes share an address, behind NAT for example: unmatched, never a guess.
    nodes: HashMap<String, Option<usize>>,
    moved: bool,
}

#[derive(Debug, Default)]
struct KnownAddresses {
    peer: Option<SocketAddr>,
    config: Option<Arc<Config>>,
    addresses: Vec<String>,
}

impl AddressIndex {
    /// Learns from one answer where a node is.
    pub(crate) fn learn(&mut self, node: usize, snapshot: &NodeSnapshot, peer: Option<SocketAddr>) {
        if self.learned.len() <= node {
            self.learned.resize_with(node + 1, KnownAddresses::default);
        }
        let learned = &mut self.learned[node];
        let same_config = match (&learned.config, &snapshot.config) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (None, None) => true,
            _ => false,
        };
        if same_config && learned.peer == peer {
            return;
        }
        (learned.peer, learned.config) = (peer, snapshot.config.clone());
        let addresses = addresses(snapshot, peer);
        if learned.addresses == addresses {
            return;
        }
        learned.addresses = addresses;
        self.moved = true;
    }

    /// Forgets the node at a place.
    pub(crate) fn clear(&mut self, node: usize) {
        if let Some(learned) = self.learned.get_mut(node) {
            *learned = KnownAddresses::default();
            self.moved = true;
        }
    }

    /// Ends the learning of a round.
    pub(crate) fn settle(&mut self) {
        if !std::mem::take(&mut self.moved) {
            return;
        }
        self.nodes.clear();
        for (node, learned) in self.learned.iter().enumerate() {
            for address in &learned.addresses {
                self.nodes
                    .entry(address.clone())
                    .and_modify(|at| *at = at.filter(|at| *at == node))
                    .or_insert(Some(node));
            }
        }
    }

    /// The node at an address: as configured, else as learned.
    pub(crate) fn at(&self, deployment: &Deployment, address: &str) -> Option<usize> {
        deployment.index(address).or_else(|| self.nodes.get(address).copied().flatten())
    }

    /// Whether the node was reached on this machine, so that a loopback address it names is ours too; unknown counts as such.
    pub(crate) fn is_local(&self, node: usize) -> bool {
        self.learned
            .get(node)
            .and_then(|learned| learned.peer)
            .is_none_or(|peer| peer.ip().is_loopback())
    }
}

/// Where we reached a node, and what it announces. A node behind a forwarded port announces the port that it listens on.
fn addresses(snapshot: &NodeSnapshot, peer: Option<SocketAddr>) -> Vec<String> {
    let announced = |name: &str| {
        let config = snapshot.config.as_ref()?;
        config.get(name).filter(|value| !value.is_empty() && *value != "0").map(str::to_owned)
    };
    let listens = snapshot.fields.get("tcp_port").filter(|port| *port != "0");
    let host = announced("replica-announce-ip").or_else(|| peer.map(|peer| peer.ip().to_string()));
    let port = announced("replica-announce-port")
        .or_else(|| listens.map(str::to_owned))
        .and_then(|port| port.parse().ok());
    let reached = peer.map(|peer| address(&peer.ip().to_string(), peer.port()));
    let announced = host.zip(port).map(|(host, port)| address(&host, port));
    let mut addresses: Vec<_> = reached.into_iter().chain(announced).collect();
    addresses.dedup();
    addresses
}
