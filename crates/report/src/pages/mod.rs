//! The pages: problems first, then each deployment as a drawing and as a table. The server renders
//! complete pages. A script only keeps them up to date.

mod assets;
mod deployment;
mod drawing;
mod findings;
mod layout;
mod links;
mod markdown;
mod node;
mod nodes;
mod runbooks;
mod search;
mod status;
mod timeline;
mod tree;
mod witnesses;

use std::sync::Arc;
use std::time::SystemTime;

use topology::DeploymentView;

pub use assets::{Asset, assets};
pub use search::SearchQuery;

/// The input of every page. Each page is a method, in the module of its name.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// Version of the program.
    pub version: &'a str,
    /// Wall time, from which ages are computed.
    pub now: SystemTime,
    /// The views of all deployments after their last round.
    pub views: &'a [Arc<DeploymentView>],
}

impl<'a> Site<'a> {
    /// Returns the deployment with this name.
    fn view(&self, name: &str) -> Option<&'a Arc<DeploymentView>> {
        self.views.iter().find(|view| view.deployment.name == name)
    }
}
