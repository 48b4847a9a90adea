//! What was published: the last view of each deployment. Reading it waits for nobody.

use std::sync::Arc;

use futures_util::future::select_all;
use tokio::sync::watch;
use topology::DeploymentView;

/// The last view of one deployment, as its rounds publish it.
pub(crate) type View = watch::Receiver<Arc<DeploymentView>>;

/// The last view of each deployment.
#[derive(Debug, Clone)]
pub struct ViewRegistry {
    shown: watch::Receiver<RegisteredView>,
}

/// What is shown.
#[derive(Debug, Default)]
struct RegisteredView {
    deployments: Vec<View>,
    /// That is all there is to be.
    complete: bool,
}

/// Says which deployments the board shows.
#[derive(Debug, Default)]
pub struct ViewPublisher {
    shown: watch::Sender<RegisteredView>,
}

impl ViewRegistry {
    /// Every deployment, each as of its last round.
    pub fn views(&self) -> Vec<Arc<DeploymentView>> {
        self.shown.borrow().deployments.iter().map(|view| Arc::clone(&view.borrow())).collect()
    }

    /// Every deployment had its first round.
    pub fn ready(&self) -> bool {
        let shown = self.shown.borrow();
        shown.complete && shown.deployments.iter().all(|view| view.borrow().at.is_some())
    }

    /// Waits until this holds of every deployment there is to be, of all at once.
    pub async fn until(&self, holds: impl Fn(&DeploymentView) -> bool) {
        let mut shown = self.shown.clone();
        loop {
            let (mut views, complete) = {
                let shown = shown.borrow_and_update();
                (shown.deployments.clone(), shown.complete)
            };
            let held = views
                .iter_mut()
                .map(|view| holds(&view.borrow_and_update()))
                .filter(|held| *held)
                .count();
            if complete && held == views.len() {
                return;
            }
            // A view that is published no more belongs to a deployment that is gone, and others are shown then.
            let others = shown.changed();
            let ended = if views.is_empty() {
                others.await
            } else {
                let published = select_all(views.iter_mut().map(|view| Box::pin(view.changed())));
                tokio::select! {
                    biased;
                    ended = others => ended,
                    _ = published => Ok(()),
                }
            };
            if ended.is_err() {
                return;
            }
        }
    }
}

impl ViewPublisher {
    /// A place for a deployment: its rounds publish through the sender.
    pub fn open(first: DeploymentView) -> (watch::Sender<Arc<DeploymentView>>, View) {
        watch::channel(Arc::new(first))
    }

    /// The view of a deployment that is shown already.
    pub fn kept(&self, name: &str) -> Option<View> {
        self.shown
            .borrow()
            .deployments
            .iter()
            .find(|view| view.borrow().deployment.name == name)
            .cloned()
    }

    /// Shows these deployments, in this order; `complete` says whether these are all there are to be.
    pub fn show(&self, deployments: Vec<View>, complete: bool) {
        self.shown.send_replace(RegisteredView { deployments, complete });
    }

    /// Where it is shown.
    pub fn registry(&self) -> ViewRegistry {
        ViewRegistry { shown: self.shown.subscribe() }
    }
}
