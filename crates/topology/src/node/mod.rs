//! Trackers of single nodes.

pub(crate) mod counters;
pub(crate) mod label_values;
pub(crate) mod link;
pub(crate) mod pause;
pub(crate) mod poll_history;
pub(crate) mod process;
pub(crate) mod refusals;
pub(crate) mod rising_errors;
pub(crate) mod servers;
pub(crate) mod state;
pub(crate) mod tracker;
pub(crate) mod write_offset;
