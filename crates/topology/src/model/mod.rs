//! Data that the trackers exchange: deployments, rounds and views.

pub(crate) mod deployment;
pub(crate) mod event_history;
pub(crate) mod node_names;
pub(crate) mod round;
pub(crate) mod saved_state;
pub(crate) mod view;
