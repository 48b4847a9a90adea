//! Everything one server said, as of one round.

use std::sync::Arc;

use crate::{CommandStats, Config, ErrorStats, Fields, Identity, Issue, Persistence, Replication};

/// Everything one server said: typed where the program reasons about it, by name where it only carries it on.
#[derive(Debug, Clone, Default)]
pub struct NodeSnapshot {
    /// Which process answered.
    pub identity: Identity,
    /// Role, offsets and the link to the master.
    pub replication: Replication,
    /// AOF and RDB.
    pub persistence: Persistence,
    /// Refusals by code.
    pub errors: ErrorStats,
    /// Every scalar line of INFO.
    pub fields: Fields,
    /// Statistics by command, as last read; it is read less often than INFO.
    pub commands: Option<Arc<CommandStats>>,
    /// CONFIG parameters, as last read; `None` where CONFIG is closed to us.
    pub config: Option<Arc<Config>>,
    /// What was strange in the reply.
    pub issues: Vec<Issue>,
}

impl NodeSnapshot {
    /// Reads an INFO reply. `None` when it holds no line of INFO at all: then something other than a Redis server answered.
    pub fn from_info(text: &str) -> Option<Self> {
        let fields = Fields::parse(text);
        let identity = Identity::read(&fields);
        let mut issues = Vec::new();
        let replication = Replication::read(&fields, identity.mode.as_deref(), &mut issues);
        if identity.run_id.is_none() && replication.role.is_none() {
            return None;
        }
        Some(NodeSnapshot {
            replication,
            persistence: Persistence::read(&fields),
            errors: ErrorStats::read(text, &fields),
            identity,
            fields,
            commands: None,
            config: None,
            issues,
        })
    }
}
