//! Data that the trackers exchange: deployments, rounds and views.

pub(crate) mod access;
pub(crate) mod cluster;
pub(crate) mod counters;
pub(crate) mod deployment;
pub(crate) mod endpoint;
pub(crate) mod event;
pub(crate) mod event_history;
pub(crate) mod excess;
pub(crate) mod failover;
pub(crate) mod finding;
pub(crate) mod identity;
pub(crate) mod misrouted;
pub(crate) mod monotonic;
pub(crate) mod node;
pub(crate) mod node_index;
pub(crate) mod node_names;
pub(crate) mod node_state;
pub(crate) mod pause;
pub(crate) mod read_request;
pub(crate) mod refusals;
pub(crate) mod round;
pub(crate) mod saved_state;
pub(crate) mod sentinels;
pub(crate) mod shard;
pub(crate) mod view;
pub(crate) mod witness;
