//! Which process answered.

use std::time::Duration;

use crate::Fields;

/// Which process answered, and for how long it has run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Random name of this process. INFO server: `run_id`.
    pub run_id: Option<Box<str>>,
    /// Time since the process started, whole seconds. INFO server: `uptime_in_seconds`.
    pub uptime: Option<Duration>,
    /// `standalone`, `cluster` or `sentinel`. INFO server: `redis_mode`, on Valkey `server_mode`.
    pub mode: Option<Box<str>>,
}

impl Identity {
    pub(crate) fn read(fields: &Fields) -> Self {
        Identity {
            run_id: fields.get("run_id").map(Into::into),
            uptime: fields.count("uptime_in_seconds").map(Duration::from_secs),
            mode: fields.get("redis_mode").or_else(|| fields.get("server_mode")).map(Into::into),
        }
    }
}
