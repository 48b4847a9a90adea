//! Registry of what exceeds a limit over several deployments: connections to one address, and
//! masters of Sentinels. A round takes the numbers of its deployment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use topology::{Excess, LimitKind};

/// Registry of what exceeds a limit over several deployments.
#[derive(Debug, Clone, Default)]
pub(crate) struct ExcessRegistry(Arc<Mutex<Registered>>);

#[derive(Debug, Default)]
struct Registered {
    /// Connections to discovered nodes, open or being opened, by address.
    connections: HashMap<Arc<str>, usize>,
    /// Nodes without a connection because of the limit, by deployment.
    refused: HashMap<Arc<str>, u64>,
    /// Data nodes of the deployments of all masters, by group of Sentinels.
    group_nodes: HashMap<Arc<str>, usize>,
    /// Masters without a deployment because of the limit, by the deployment that shows them.
    masters: HashMap<String, u64>,
}

/// Place of a connection among those to its address. Dropping it frees the place.
#[derive(Debug)]
pub(crate) struct ConnectionPlace {
    registry: ExcessRegistry,
    address: Arc<str>,
}

/// Number of data nodes of one deployment among those of its group of Sentinels. Dropping it
/// removes the number.
#[derive(Debug)]
pub(crate) struct GroupNodes {
    registry: ExcessRegistry,
    group: Arc<str>,
    count: usize,
}

/// Entry of a node without a connection. Dropping it removes the entry.
#[derive(Debug)]
pub(crate) struct RefusedNode {
    registry: ExcessRegistry,
    deployment: Arc<str>,
}

impl ExcessRegistry {
    /// Takes a place for a connection to an address; `None` if there are `limit` connections.
    pub(crate) fn connect(&self, address: &str, limit: usize) -> Option<ConnectionPlace> {
        let mut registered = self.lock();
        let address: Arc<str> = address.into();
        let connections = registered.connections.entry(Arc::clone(&address)).or_default();
        if *connections >= limit {
            return None;
        }
        *connections += 1;
        Some(ConnectionPlace { registry: self.clone(), address })
    }

    /// Adds a deployment without nodes to a group of Sentinels.
    pub(crate) fn join(&self, group: &Arc<str>) -> GroupNodes {
        GroupNodes { registry: self.clone(), group: Arc::clone(group), count: 0 }
    }

    /// Records a node without a connection.
    pub(crate) fn refuse(&self, deployment: &str) -> RefusedNode {
        let deployment: Arc<str> = deployment.into();
        *self.lock().refused.entry(Arc::clone(&deployment)).or_default() += 1;
        RefusedNode { registry: self.clone(), deployment }
    }

    /// Sets the numbers of masters without a deployment, by the deployment that shows them.
    pub(crate) fn set_masters(&self, masters: HashMap<String, u64>) {
        self.lock().masters = masters;
    }

    /// Returns the excess of a deployment.
    pub(crate) fn of(&self, deployment: &str) -> Excess {
        let registered = self.lock();
        let mut excess = Excess::default();
        for (kind, count) in [
            (LimitKind::Connections, registered.refused.get(deployment)),
            (LimitKind::Masters, registered.masters.get(deployment)),
        ] {
            excess.add(kind, count.copied().unwrap_or_default());
        }
        excess
    }

    fn lock(&self) -> MutexGuard<'_, Registered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GroupNodes {
    /// Returns the number of nodes that may join the deployments of the group. Deployments whose
    /// rounds are computed at the same moment may exceed the limit together, once.
    pub(crate) fn left(&self, limit: usize) -> usize {
        let registered = self.registry.lock();
        limit.saturating_sub(registered.group_nodes.get(&self.group).copied().unwrap_or_default())
    }

    /// Sets the number of data nodes of the deployment.
    pub(crate) fn set(&mut self, count: usize) {
        if count == self.count {
            return;
        }
        let mut registered = self.registry.lock();
        let total = registered.group_nodes.entry(Arc::clone(&self.group)).or_default();
        *total = (*total + count).saturating_sub(self.count);
        self.count = count;
        if *total == 0 {
            registered.group_nodes.remove(&self.group);
        }
    }
}

impl Drop for GroupNodes {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let mut registered = self.registry.lock();
        if let Some(connections) = registered.connections.get_mut(&self.address) {
            *connections -= 1;
            if *connections == 0 {
                registered.connections.remove(&self.address);
            }
        }
    }
}

impl Drop for RefusedNode {
    fn drop(&mut self) {
        let mut registered = self.registry.lock();
        if let Some(refused) = registered.refused.get_mut(&self.deployment) {
            *refused -= 1;
            if *refused == 0 {
                registered.refused.remove(&self.deployment);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_a_group_are_counted_until_their_deployment_ends() {
        let registry = ExcessRegistry::default();
        let (group, other) = ("{master}".into(), "other-{master}".into());
        let [mut one, mut two] = [(); 2].map(|()| registry.join(&group));
        one.set(3);
        two.set(5);
        two.set(4);
        assert_eq!((one.left(10), two.left(10), two.left(6)), (3, 3, 0));
        assert_eq!(registry.join(&other).left(10), 10, "another group");
        drop(two);
        assert_eq!(one.left(10), 7);
        drop(one);
        assert!(registry.lock().group_nodes.is_empty());
    }

    #[test]
    fn an_address_has_at_most_the_limit_of_connections() {
        let registry = ExcessRegistry::default();
        let places: Vec<_> = (0..3).map(|_| registry.connect("10.0.0.1:6379", 2)).collect();
        assert!(places[1].is_some() && places[2].is_none());
        assert!(registry.connect("10.0.0.2:6379", 2).is_some(), "another address");
        let refused = registry.refuse("orders");
        assert_eq!(registry.of("orders").get(LimitKind::Connections), 1);
        drop((places, refused));
        assert!(registry.of("orders").is_empty());
        assert!(registry.connect("10.0.0.1:6379", 1).is_some());
        let registered = registry.lock();
        assert!(registered.connections.is_empty() && registered.refused.is_empty());
    }
}
