//! Polling: one task for each deployment and each node, and the views that result.
//!
//! [`Fleet`] runs the deployments. `deployment_poller.rs` polls one deployment round by round,
//! `node_task.rs` polls one node, and `sentinels` polls Sentinels that deployments share.
//! [`ViewRegistry`] publishes one immutable view for each deployment and round.

mod blindness;
mod clock;
mod context;
mod deployment_poller;
mod descriptors;
mod disk_monitor;
mod endpoint_checker;
mod event_log;
mod fleet;
mod name_resolver;
mod node_handle;
mod node_task;
mod poll_plan;
mod reverse_lookups;
mod sentinels;
mod state_store;
mod view_registry;

pub use clock::Clock;
pub use context::PollerContext;
pub use deployment_poller::run;
pub use fleet::{Changes, Fleet};
pub use sentinels::SentinelHandle;
pub use state_store::StateStore;
pub use view_registry::{ViewPublisher, ViewRegistry};
