//! What was published: the last view of each deployment. Reading it waits for nobody.

use std::sync::Arc;

use tokio::sync::watch;
use topology::DeploymentView;

/// The last view of each deployment.
#[derive(Debug, Clone, Default)]
pub struct Board {
    deployments: Vec<watch::Receiver<Arc<DeploymentView>>>,
}

impl Board {
    /// Makes a place for a deployment; its rounds publish through the sender.
    pub fn add(&mut self, first: DeploymentView) -> watch::Sender<Arc<DeploymentView>> {
        let (publish, view) = watch::channel(Arc::new(first));
        self.deployments.push(view);
        publish
    }

    /// Every deployment, each as of its last round.
    pub fn views(&self) -> Vec<Arc<DeploymentView>> {
        self.deployments.iter().map(|view| Arc::clone(&view.borrow())).collect()
    }

    /// Every deployment had its first round.
    pub fn ready(&self) -> bool {
        self.deployments.iter().all(|view| view.borrow().at.is_some())
    }
}
