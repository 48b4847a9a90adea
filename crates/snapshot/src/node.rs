//! Everything one server said, as of one round.

use std::sync::Arc;

use crate::keyspace::{self, Database};
use crate::sentinel::{self, MasterSummary, SentinelReport};
use crate::{
    ClusterMap, CommandLatency, CommandStats, Config, ErrorStats, Fields, Identity, Issue,
    Persistence, Replication, SlowLog, list,
};

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
    /// Databases with keys.
    pub keyspace: Vec<Database>,
    /// Loaded modules: name and version. INFO modules.
    pub modules: Vec<(Box<str>, Box<str>)>,
    /// The masters that a Sentinel watches, in short.
    pub watched: Vec<MasterSummary>,
    /// What a Sentinel says of each of them, as last read.
    pub sentinel: Option<Arc<SentinelReport>>,
    /// Every scalar line of INFO.
    pub fields: Fields,
    /// Statistics by command, as last read; it is read less often than INFO.
    pub commands: Option<Arc<CommandStats>>,
    /// Times by command, where they are read.
    pub latencies: Option<Arc<Vec<CommandLatency>>>,
    /// CLUSTER INFO, on a cluster node.
    pub cluster: Option<Arc<Fields>>,
    /// What a cluster node knows of the cluster; only in the answer with which it was read.
    pub map: Option<Arc<ClusterMap>>,
    /// The slow log, as last read.
    pub slowlog: Option<SlowLog>,
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
            errors: ErrorStats::read(text),
            keyspace: keyspace::read(&fields),
            modules: modules(text),
            watched: sentinel::read(&fields),
            identity,
            fields,
            issues,
            ..NodeSnapshot::default()
        })
    }
}

/// The lines `module:name=...,ver=...`, of which there may be several.
fn modules(text: &str) -> Vec<(Box<str>, Box<str>)> {
    const MAX_MODULES: usize = 64;
    let module = |line: &str| {
        let line = line.strip_prefix("module:")?;
        Some((list::name(list::get(line, "name")?)?, list::name(list::get(line, "ver")?)?))
    };
    text.lines().filter_map(module).take(MAX_MODULES).collect()
}
