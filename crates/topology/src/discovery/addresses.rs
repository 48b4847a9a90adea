//! Index of the addresses of nodes. Servers report each other under the addresses that they see,
//! which may differ from the configured ones.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use snapshot::{Config, NodeSnapshot};

use crate::model::deployment::{Deployment, address};
use crate::model::node_index::{NodeIndex, NodeVec};

/// Addresses that nodes announce, and addresses at which Rolecall reached them.
#[derive(Debug, Default)]
pub(crate) struct AddressIndex {
    known: NodeVec<KnownAddresses>,
    /// `None` if several nodes share an address, for example behind NAT.
    nodes: HashMap<String, Option<NodeIndex>>,
    changed: bool,
}

#[derive(Debug, Default)]
struct KnownAddresses {
    peer: Option<SocketAddr>,
    config: Option<Arc<Config>>,
    addresses: Vec<String>,
}

impl AddressIndex {
    /// Records the addresses of a node from its reply. They take effect with the next
    /// [`rebuild`](Self::rebuild).
    pub(crate) fn record(
        &mut self,
        node: NodeIndex,
        snapshot: &NodeSnapshot,
        peer: Option<SocketAddr>,
    ) {
        let known = self.known.get_or_grow(node);
        let same_config = match (&known.config, &snapshot.config) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (None, None) => true,
            _ => false,
        };
        if same_config && known.peer == peer {
            return;
        }
        (known.peer, known.config) = (peer, snapshot.config.clone());
        let addresses = addresses(snapshot, peer);
        if known.addresses != addresses {
            known.addresses = addresses;
            self.changed = true;
        }
    }

    /// Forgets the addresses of a node.
    pub(crate) fn clear(&mut self, node: NodeIndex) {
        if let Some(known) = self.known.get_mut(node) {
            *known = KnownAddresses::default();
            self.changed = true;
        }
    }

    /// Rebuilds the index if addresses changed.
    pub(crate) fn rebuild(&mut self) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        self.nodes.clear();
        for (node, known) in self.known.iter() {
            for address in &known.addresses {
                self.nodes
                    .entry(address.clone())
                    .and_modify(|other| *other = other.filter(|other| *other == node))
                    .or_insert(Some(node));
            }
        }
    }

    /// Returns the node at an address. Configured addresses take precedence.
    pub(crate) fn node_at(&self, deployment: &Deployment, address: &str) -> Option<NodeIndex> {
        deployment.index(address).or_else(|| self.nodes.get(address).copied().flatten())
    }

    /// Returns true if a node replied at an address or announced it.
    pub(crate) fn is_known(&self, node: NodeIndex, address: &str) -> bool {
        self.known.get(node).is_some_and(|known| known.addresses.iter().any(|own| own == address))
    }

    /// Returns true if the node runs on this machine, so that a loopback address that it reports
    /// is one of this machine too. A node without a known address counts as local.
    pub(crate) fn is_local(&self, node: NodeIndex) -> bool {
        self.known.get(node).and_then(|known| known.peer).is_none_or(|peer| peer.ip().is_loopback())
    }
}

/// Returns the address at which Rolecall reached a node, the one that the node announces, and the
/// one of its TLS port: with `tls-replication yes`, replicas follow that one. A node behind a
/// forwarded port announces the port that it listens on.
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
    let tls_port = announced("tls-port")
        .or_else(|| tls_listener(snapshot).map(str::to_owned))
        .and_then(|port| port.parse().ok());
    let reached = peer.map(|peer| address(&peer.ip().to_string(), peer.port()));
    let at = |port: Option<u16>| host.as_ref().zip(port).map(|(host, port)| address(host, port));
    let mut addresses: Vec<String> = Vec::new();
    for address in [reached, at(port), at(tls_port)].into_iter().flatten() {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

/// Returns the TLS port of a server that refuses CONFIG GET. The `listenerN` fields of INFO exist
/// from Redis 7.2 on.
fn tls_listener(snapshot: &NodeSnapshot) -> Option<&str> {
    let listeners = ["listener0", "listener1", "listener2", "listener3"];
    listeners.iter().find_map(|field| {
        let listener = snapshot.fields.get(field)?;
        let value = |name: &str| listener.split(',').find_map(|part| part.strip_prefix(name));
        value("port=").filter(|_| value("name=") == Some("tls"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses_of(info: &str, config: &[(&str, &str)]) -> Vec<String> {
        let mut snapshot =
            NodeSnapshot::from_info(&format!("run_id:0\nrole:master\n{info}")).expect("a snapshot");
        let values = config.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        snapshot.config = Some(Arc::new(Config::assumed(&values.collect())));
        addresses(&snapshot, Some("10.0.0.5:7000".parse().expect("an address")))
    }

    #[test]
    fn a_node_is_known_at_its_tls_port() {
        let known = addresses_of("tcp_port:6379\n", &[("tls-port", "6380")]);
        assert_eq!(known, ["10.0.0.5:7000", "10.0.0.5:6379", "10.0.0.5:6380"]);
        let known = addresses_of("tcp_port:6379\n", &[("tls-port", "0")]);
        assert_eq!(known, ["10.0.0.5:7000", "10.0.0.5:6379"]);
        let known = addresses_of("tcp_port:0\n", &[("tls-port", "7000")]);
        assert_eq!(known, ["10.0.0.5:7000"]);
    }

    #[test]
    fn a_listener_tells_the_tls_port_without_config_get() {
        let known = addresses_of(
            "tcp_port:6379\nlistener0:name=tcp,bind=127.0.0.1,port=6379\n\
             listener1:name=tls,bind=127.0.0.1,bind=-::1,port=6380\n",
            &[],
        );
        assert_eq!(known, ["10.0.0.5:7000", "10.0.0.5:6379", "10.0.0.5:6380"]);
    }
}
