//! The pages: what is wrong first, then each deployment, drawn and as a table. Rendered here as a whole; a script only keeps them current.

mod assets;
mod deployment;
mod drawing;
mod findings;
mod forest;
mod frame;
mod links;
mod markdown;
mod node;
mod nodes;
mod runbooks;
mod search;
mod status;
mod timeline;

use std::sync::Arc;
use std::time::SystemTime;

use topology::DeploymentView;

pub use assets::{Asset, assets};
pub use search::SearchQuery;

/// What pages are made from. Each page is a method, in the file of its name.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// Version of the program.
    pub version: &'a str,
    /// Wall time, which says how long ago things were.
    pub now: SystemTime,
    /// Every deployment, as of its last round.
    pub views: &'a [Arc<DeploymentView>],
}

impl<'a> Site<'a> {
    /// The deployment of that name.
    fn named(&self, name: &str) -> Option<&'a Arc<DeploymentView>> {
        self.views.iter().find(|view| view.deployment.name == name)
    }
}
