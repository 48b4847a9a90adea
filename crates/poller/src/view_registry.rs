//! Registry of the last view of each deployment. Reading a view never blocks.

use std::future::pending;
use std::sync::Arc;

use futures_util::future::select_all;
use tokio::sync::watch;
use topology::DeploymentView;

/// Receiver of the views of one deployment.
pub(crate) type ViewReceiver = watch::Receiver<Arc<DeploymentView>>;

/// Read access to the last view of each deployment.
#[derive(Debug, Clone)]
pub struct ViewRegistry {
    registered: watch::Receiver<RegisteredViews>,
}

/// Views of the registered deployments.
#[derive(Debug, Default)]
struct RegisteredViews {
    views: Vec<ViewReceiver>,
    /// False while Sentinels still have to list the masters of a deployment.
    complete: bool,
}

/// Write access to the registry.
#[derive(Debug, Default)]
pub struct ViewPublisher {
    registered: watch::Sender<RegisteredViews>,
}

impl ViewRegistry {
    /// Returns the last view of each deployment.
    pub fn views(&self) -> Vec<Arc<DeploymentView>> {
        self.registered.borrow().views.iter().map(|view| Arc::clone(&view.borrow())).collect()
    }

    /// Returns true if all deployments are known and each had its first round.
    pub fn ready(&self) -> bool {
        let registered = self.registered.borrow();
        registered.complete && registered.views.iter().all(|view| view.borrow().at.is_some())
    }

    /// Waits until the last view of a deployment satisfies `condition`, and returns it. Waits for
    /// the deployment too.
    pub async fn view_when(
        &self,
        name: &str,
        condition: impl Fn(&DeploymentView) -> bool,
    ) -> Arc<DeploymentView> {
        let mut registered = self.registered.clone();
        loop {
            let mut view = {
                let registered = registered.borrow_and_update();
                let mut views = registered.views.iter();
                views.find(|view| view.borrow().deployment.name == name).cloned()
            };
            let satisfied = async {
                let view = view.as_mut()?.wait_for(|view| condition(view)).await.ok()?;
                Some(Arc::clone(&view))
            };
            tokio::select! {
                Some(view) = satisfied => return view,
                // Also without a view, and after its deployment ended.
                changed = registered.changed() => if changed.is_err() { pending::<()>().await },
            }
        }
    }

    /// Waits until all deployments are known and all their last views satisfy `condition`.
    pub async fn wait_until(&self, condition: impl Fn(&DeploymentView) -> bool) {
        let mut registered = self.registered.clone();
        loop {
            let (mut views, complete) = {
                let registered = registered.borrow_and_update();
                (registered.views.clone(), registered.complete)
            };
            let satisfied = views
                .iter_mut()
                .map(|view| condition(&view.borrow_and_update()))
                .filter(|satisfied| *satisfied)
                .count();
            if complete && satisfied == views.len() {
                return;
            }
            // If a view has no sender any longer, its deployment ended and `registered` changes.
            let other_views = registered.changed();
            let changed = if views.is_empty() {
                other_views.await
            } else {
                let new_view = select_all(views.iter_mut().map(|view| Box::pin(view.changed())));
                tokio::select! {
                    biased;
                    changed = other_views => changed,
                    _ = new_view => Ok(()),
                }
            };
            if changed.is_err() {
                return;
            }
        }
    }
}

impl ViewPublisher {
    /// Creates the channel for the views of one deployment.
    pub fn channel(first: DeploymentView) -> (watch::Sender<Arc<DeploymentView>>, ViewReceiver) {
        watch::channel(Arc::new(first))
    }

    /// Returns the receiver of a registered deployment.
    pub fn registered(&self, name: &str) -> Option<ViewReceiver> {
        self.registered
            .borrow()
            .views
            .iter()
            .find(|view| view.borrow().deployment.name == name)
            .cloned()
    }

    /// Replaces the registered deployments. `complete` is false if more are still to come.
    pub fn replace(&self, views: Vec<ViewReceiver>, complete: bool) {
        self.registered.send_replace(RegisteredViews { views, complete });
    }

    /// Returns read access to the registry.
    pub fn registry(&self) -> ViewRegistry {
        ViewRegistry { registered: self.registered.subscribe() }
    }
}
