//! Routine operations on real deployments whose nodes are like pods of Kubernetes: a pod that is
//! restarted keeps its data and returns with another address.

mod cluster_pods;
mod dns_pods;
mod sentinel_pods;

use std::time::Duration;

pub use cluster_pods::ClusterPods;
pub use dns_pods::DnsPods;
pub use sentinel_pods::{PodAddresses, SentinelPods};

use crate::{Host, Server, pause};

/// Timeout for the servers to complete one step, long enough for a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

/// Time from the end of a pod to the start of its successor.
const RESCHEDULED_AFTER: Duration = Duration::from_secs(4);

/// Time for which a new pod runs before Kubernetes stops the next one: it must be ready first.
const READY_AFTER: Duration = Duration::from_secs(5);

/// A routine operation on a deployment. It returns when the deployment is healthy again.
pub type Operation<D> = (&'static str, fn(&mut D));

/// Stops a pod as Kubernetes does, and starts it with its data at another address.
fn move_pod(server: &mut Server, place: &Host) {
    server.stop();
    pause(RESCHEDULED_AFTER);
    server.start_elsewhere(place);
    pause(READY_AFTER);
}
