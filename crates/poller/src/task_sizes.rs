//! Sizes of the tasks of nodes and deployments, of which there are thousands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use config::{DeploymentSettings, Settings};
use tokio::sync::{mpsc, watch};
use topology::DeploymentView;

use crate::node_messages::SlotId;
use crate::node_task::{NodeTask, NodeTaskSettings};
use crate::reconnect::ReturnSigns;
use crate::{Clock, PollerContext, StateStore, deployment_poller};

/// Limit of the size of the task of a node, bytes.
const MAX_NODE_TASK: usize = 3800;

/// Limit of the size of the task of a deployment, bytes.
const MAX_DEPLOYMENT_TASK: usize = 4900;

fn deployment() -> DeploymentSettings {
    let text = "[[deployment]]\nname = 'a'\nnodes = [{ url = 'redis://10.0.0.5' }]";
    let mut settings = Settings::parse("test", text).expect("a configuration");
    settings.deployments.pop().expect("a deployment")
}

fn context() -> PollerContext {
    PollerContext::new(Clock::start(), StateStore::open(None).expect("no file"))
}

#[test]
fn task_of_a_node_is_small() {
    let DeploymentSettings { deployment, endpoints, cadences, .. } = deployment();
    let settings = NodeTaskSettings {
        slot: SlotId { index: 0, generation: 0 },
        deployment: deployment.name.clone(),
        node: String::new(),
        endpoint: endpoints[0].clone(),
        is_sentinel: false,
        connections: 1,
        cadences,
        interval: deployment.interval,
        skipped: deployment.skipped.clone(),
        assumed_config: BTreeMap::new(),
    };
    let ((_, requests), (reports, _)) = (mpsc::channel(1), mpsc::channel(1));
    let (_, signs) = watch::channel(ReturnSigns::default());
    let task = NodeTask::new(settings, requests, reports, signs, context());
    let size = size_of_val(&task) + size_of_val(&Box::new(task).run());
    assert!(size <= MAX_NODE_TASK, "{size}");
}

#[test]
fn task_of_a_deployment_is_small() {
    let settings = deployment();
    let view = DeploymentView::empty(Arc::clone(&settings.deployment));
    let (publish, _) = watch::channel(Arc::new(view));
    let task =
        deployment_poller::run(Arc::new(settings), Vec::new(), context(), publish, Duration::ZERO);
    let size = size_of_val(&task);
    assert!(size <= MAX_DEPLOYMENT_TASK, "{size}");
}
