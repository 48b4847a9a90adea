//! Registry of the processes of all deployments: which ones are nodes of several deployments.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use topology::{DeploymentView, NodeIndex, SharedNode, Upstream};

/// The processes of all deployments.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProcessRegistry {
    /// The deployments that have each process, by its `run_id`.
    processes: Arc<Mutex<HashMap<Box<str>, Vec<Membership>>>>,
}

/// A process as a node of one deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Membership {
    deployment: Arc<str>,
    /// The deployment has the upstream of the process.
    follows_there: bool,
}

/// The processes of one deployment. Dropping it removes them from the registry.
#[derive(Debug)]
pub(crate) struct RegisteredProcesses {
    registry: ProcessRegistry,
    deployment: Arc<str>,
    /// The registered processes, by node.
    own: Vec<OwnProcess>,
}

/// A process of the own deployment.
#[derive(Debug, PartialEq, Eq)]
struct OwnProcess {
    node: NodeIndex,
    run_id: Box<str>,
    follows_here: bool,
}

impl ProcessRegistry {
    /// Returns the entry of a deployment, without processes.
    pub(crate) fn deployment(&self, name: &str) -> RegisteredProcesses {
        RegisteredProcesses { registry: self.clone(), deployment: name.into(), own: Vec::new() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Vec<Membership>>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RegisteredProcesses {
    /// Registers the processes of the data nodes that are up.
    pub(crate) fn update(&mut self, view: &DeploymentView) {
        let processes = view.nodes.iter().filter(|(_, node)| node.holds_data());
        let own: Vec<_> = processes
            .filter_map(|(node, view)| {
                Some(OwnProcess {
                    node,
                    run_id: view.snapshot()?.identity.run_id.clone()?,
                    follows_here: matches!(view.upstream, Upstream::Node(_)),
                })
            })
            .collect();
        if own == self.own {
            return;
        }
        let registry = self.registry.clone();
        let mut processes = registry.lock();
        self.remove(&mut processes);
        for process in &own {
            let membership = Membership {
                deployment: Arc::clone(&self.deployment),
                follows_there: process.follows_here,
            };
            let memberships = processes.entry(process.run_id.clone()).or_default();
            // Two addresses of one deployment may lead to one process.
            if !memberships.iter().any(|other| other.deployment == self.deployment) {
                memberships.push(membership);
            }
        }
        self.own = own;
    }

    /// Returns the nodes whose processes other deployments have, too, in ascending order.
    pub(crate) fn shared(&self) -> Vec<SharedNode> {
        let processes = self.registry.lock();
        let mut shared: Vec<_> = self
            .own
            .iter()
            .flat_map(|own| {
                let memberships = processes.get(&own.run_id).into_iter().flatten();
                let others =
                    memberships.filter(|membership| membership.deployment != self.deployment);
                others.map(|other| SharedNode {
                    node: own.node,
                    deployment: other.deployment.as_ref().to_owned(),
                    follows_there: other.follows_there,
                })
            })
            .collect();
        shared.sort_unstable();
        shared
    }

    fn remove(&self, processes: &mut HashMap<Box<str>, Vec<Membership>>) {
        for process in &self.own {
            if let Some(memberships) = processes.get_mut(&process.run_id) {
                memberships.retain(|membership| membership.deployment != self.deployment);
                if memberships.is_empty() {
                    processes.remove(&process.run_id);
                }
            }
        }
    }
}

impl Drop for RegisteredProcesses {
    fn drop(&mut self) {
        let registry = self.registry.clone();
        self.remove(&mut registry.lock());
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use snapshot::NodeSnapshot;
    use topology::{
        Deployment, DeploymentKind, DeploymentTracker, Monotonic, NodeReply, PollOutcome, Round,
    };

    use super::*;

    /// Returns a view of a deployment of one node with this process.
    fn view(name: &str, run_id: &str) -> Arc<DeploymentView> {
        let second = Duration::from_secs(1);
        let mut deployment = Deployment::new(name, DeploymentKind::Static, &[], second, second * 3);
        deployment.add("a", "10.0.0.1:6379", None);
        let info = format!("run_id:{run_id}\nrole:master\n");
        let snapshot = NodeSnapshot::from_info(&info).expect("an INFO reply");
        let reply = NodeReply::new(snapshot, Duration::ZERO, SystemTime::UNIX_EPOCH);
        let round = Round::new(
            SystemTime::UNIX_EPOCH,
            Monotonic::from_start(second),
            vec![PollOutcome::Answered(reply)],
        );
        DeploymentTracker::new(Arc::new(deployment)).observe(&round).view
    }

    #[test]
    fn a_process_of_two_deployments_is_shared() {
        let registry = ProcessRegistry::default();
        let mut orders = registry.deployment("orders");
        let mut carts = registry.deployment("carts");
        orders.update(&view("orders", "x"));
        carts.update(&view("carts", "y"));
        assert_eq!((orders.shared(), carts.shared()), (vec![], vec![]));
        carts.update(&view("carts", "x"));
        let with = |deployment: &str| {
            vec![SharedNode {
                node: NodeIndex::new(0),
                deployment: deployment.to_owned(),
                follows_there: false,
            }]
        };
        assert_eq!((orders.shared(), carts.shared()), (with("carts"), with("orders")));
        drop(carts);
        assert_eq!(orders.shared(), vec![]);
        drop(orders);
        assert!(registry.lock().is_empty());
    }
}
