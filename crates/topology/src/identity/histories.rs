//! Memory of the histories and of the outside addresses that belong to the data set of a
//! deployment.

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;

/// The largest number of histories. Each failover, and each restart of a master, adds one.
const MAX_HISTORIES: usize = 4096;

/// The largest number of outside addresses.
const MAX_ADDRESSES: usize = 256;

/// Set that forgets its oldest members.
#[derive(Debug, Default)]
struct BoundedSet {
    members: HashSet<Box<str>>,
    /// The oldest first.
    order: VecDeque<Box<str>>,
}

/// The largest number of histories that are saved.
const MAX_SAVED: usize = 256;

/// Histories and outside addresses of a data set.
#[derive(Debug, Default)]
pub(crate) struct Histories {
    /// Histories that a node of the deployment wrote or replicated. Those that a server only loaded
    /// with its data (`master_replid2`) do not count: a copy of the same file continues them, too.
    ids: BoundedSet,
    /// Addresses without a node that replicated from a node of the deployment, or from which one
    /// replicated. A server at such an address may have the data.
    addresses: BoundedSet,
}

impl BoundedSet {
    fn add(&mut self, member: &str, limit: usize) {
        if self.members.contains(member) {
            return;
        }
        self.members.insert(member.into());
        self.order.push_back(member.into());
        if self.order.len() > limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.members.remove(&oldest);
        }
    }
}

impl Histories {
    /// Adds a replication ID.
    pub(crate) fn add(&mut self, id: &str) {
        self.ids.add(id, MAX_HISTORIES);
    }

    /// Returns true if a replication ID belongs to the data set.
    pub(crate) fn contains(&self, id: &str) -> bool {
        self.ids.members.contains(id)
    }

    /// Returns the newest replication IDs.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &str> {
        let order = &self.ids.order;
        order.iter().skip(order.len().saturating_sub(MAX_SAVED)).map(|id| &**id)
    }

    /// Adds an address without a node, `host:port`.
    pub(crate) fn add_address(&mut self, address: &str) {
        self.addresses.add(address, MAX_ADDRESSES);
    }

    /// Returns true if the server at an address without a node may have the data. Servers report
    /// replicas by IP address: a host name may be any of them.
    pub(crate) fn may_be_known(&self, address: &str) -> bool {
        let addresses = &self.addresses.members;
        addresses.contains(address) || (!is_ip(address) && !addresses.is_empty())
    }

    /// Returns the addresses without a node.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &str> {
        self.addresses.order.iter().map(|address| &**address)
    }
}

/// Returns true if the host of an address is an IP address.
fn is_ip(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_bounded() {
        let mut histories = Histories::default();
        for number in 0..10_000 {
            histories.add(&number.to_string());
            histories.add_address(&format!("10.0.0.1:{number}"));
        }
        assert_eq!(histories.ids.members.len(), MAX_HISTORIES);
        assert_eq!(histories.addresses().count(), MAX_ADDRESSES);
        assert!(histories.contains("9999") && !histories.contains("0"));
    }

    #[test]
    fn a_host_name_may_be_any_known_address() {
        let mut histories = Histories::default();
        assert!(!histories.may_be_known("redis.example:6379"));
        histories.add_address("[2001:db8::1]:6379");
        assert!(histories.may_be_known("redis.example:6379"));
        assert!(histories.may_be_known("[2001:db8::1]:6379"));
        assert!(!histories.may_be_known("[2001:db8::2]:6379"));
    }
}
