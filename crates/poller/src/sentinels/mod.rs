//! Sentinels, each asked by one watcher however many deployments name it: a connection that asks, and one that listens.

mod events;
mod listener;
mod registry;
mod task;

pub(crate) use events::{SentinelEvent, SentinelEvents};
pub(crate) use registry::SentinelRegistry;
pub use task::SentinelHandle;
