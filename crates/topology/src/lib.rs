//! What the servers of a deployment mean together: rounds become facts and events. Pure: time arrives with the rounds.
//!
//! [`Fold::apply`] takes one [`Round`] and gives the next [`DeploymentView`] and the [`Event`]s that led to it. Each fact has a file of
//! its own, with the memory it needs; `fold.rs` says in which order they are formed.

mod counters;
mod deployment;
mod events;
mod fold;
pub mod limits;
mod link;
mod presence;
mod process;
mod refusals;
mod round;
mod view;

pub use counters::{Counters, TOPOLOGY_COMMANDS, topology_moved};
pub use deployment::{AofExpectation, Deployment, Expectations, Kind, Labels, Node};
pub use events::{Event, EventKind};
pub use fold::{Fold, Step};
pub use link::{LinkState, LinkView};
pub use presence::{Polling, Presence};
pub use process::ProcessView;
pub use refusals::{Refusal, Refusals};
pub use round::{Answer, Outcome, OwnErrors, Round};
pub use view::{AttachedView, DeploymentView, NodeView, RoundFigures};
