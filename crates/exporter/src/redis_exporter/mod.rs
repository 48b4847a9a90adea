//! The mode that replaces redis_exporter: it accepts the flags and variables of redis_exporter and
//! serves its metrics. Everything after the flags is the normal daemon.

pub(crate) mod flags;
mod options;
pub(crate) mod targets;

pub(crate) use options::WebOptions;
