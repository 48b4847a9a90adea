//! The server process that sent the reply.

use std::time::Duration;

use crate::Fields;
use crate::names::{NameKind, bounded_name};

/// The server process that sent the reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Random ID that the process chose at its start. INFO server: `run_id`, at most 64 bytes.
    pub run_id: Option<Box<str>>,
    /// ID of the process in its operating system. In containers it is often 1 for every process.
    /// INFO server: `process_id`.
    pub process_id: Option<u64>,
    /// Time since the process started, whole seconds. INFO server: `uptime_in_seconds`.
    pub uptime: Option<Duration>,
    /// `standalone`, `cluster` or `sentinel`. INFO server: `redis_mode`; `server_mode` on Valkey.
    pub mode: Option<Box<str>>,
}

impl Identity {
    pub(crate) fn read(fields: &Fields) -> Self {
        Identity {
            run_id: fields.get("run_id").and_then(|id| bounded_name(NameKind::RunId, id)),
            process_id: fields.count("process_id"),
            uptime: fields.count("uptime_in_seconds").map(Duration::from_secs),
            mode: fields
                .get("redis_mode")
                .or_else(|| fields.get("server_mode"))
                .and_then(|mode| bounded_name(NameKind::LabelValue, mode)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_id_and_mode_are_bounded_like_other_names() {
        let long = "x".repeat(65);
        let text = |name: &str| format!("run_id:{name}\nredis_mode:{name}\n");
        let identity = Identity::read(&Fields::parse(&text("standalone")));
        assert_eq!(identity.run_id, identity.mode);
        assert_eq!(identity.mode.as_deref(), Some("standalone"));
        for name in [&*long, "a\u{1b}[2J"] {
            assert_eq!(Identity::read(&Fields::parse(&text(name))), Identity::default(), "{name}");
        }
    }
}
