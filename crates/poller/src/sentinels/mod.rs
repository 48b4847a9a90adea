//! Polling of Sentinels, which deployments share.
//!
//! Each Sentinel has one task, however many deployments use it, with two connections: one for polls
//! and one that subscribes to its events.
//!
//! - `registry.rs`: starts and stops the tasks.
//! - `task.rs`: polls one Sentinel.
//! - `subscriber.rs`: subscribes to the events of one Sentinel.
//! - `handle.rs`: gives a deployment the results of the polls.
//! - `events.rs`: passes events to the deployments that they concern.

mod events;
mod handle;
mod registry;
mod subscriber;
mod task;

pub(crate) use events::SentinelEvent;
pub(crate) use handle::SentinelEvents;
pub use handle::SentinelHandle;
pub(crate) use registry::SentinelRegistry;
