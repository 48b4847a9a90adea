//! The parsed replies of one server in one round.

use std::sync::Arc;

use crate::keyspace::{self, Database};
use crate::sentinel::{self, MasterSummary, SentinelReport};
use crate::{
    ClusterMap, CommandLatency, CommandStats, Config, ErrorStats, Fields, Identity, ParseIssue,
    Persistence, Replication, SlowLog, key_values,
};

/// The parsed replies of one server in one round.
///
/// Values that Rolecall interprets have typed fields. Values that it only exports are in
/// [`NodeSnapshot::fields`].
#[derive(Debug, Clone, Default)]
pub struct NodeSnapshot {
    /// The process that replied. INFO server.
    pub identity: Identity,
    /// Role, replication offset and replication link. INFO replication.
    pub replication: Replication,
    /// State of AOF and RDB. INFO persistence.
    pub persistence: Persistence,
    /// Error replies by code. INFO errorstats.
    pub errors: ErrorStats,
    /// Databases that contain keys. INFO keyspace.
    pub keyspace: Vec<Database>,
    /// Names and versions of the loaded modules. INFO modules.
    pub modules: Vec<(Box<str>, Box<str>)>,
    /// Summaries of the masters that a Sentinel monitors. INFO sentinel.
    pub watched: Vec<MasterSummary>,
    /// Details of the masters that a Sentinel monitors, as last read.
    pub sentinel: Option<Arc<SentinelReport>>,
    /// Every `name:value` line of INFO.
    pub fields: Fields,
    /// Statistics of each command, as last read. INFO commandstats is read less often than INFO.
    pub commands: Option<Arc<CommandStats>>,
    /// Latency of each command, as last read. `None` unless INFO latencystats is read.
    pub latencies: Option<Arc<Vec<CommandLatency>>>,
    /// Fields of CLUSTER INFO. `None` unless the node is in cluster mode.
    pub cluster: Option<Arc<Fields>>,
    /// The reply to CLUSTER NODES. `None` unless it was read in this round.
    pub map: Option<Arc<ClusterMap>>,
    /// The slow log, as last read.
    pub slowlog: Option<SlowLog>,
    /// CONFIG parameters, as last read. If the server refuses CONFIG, the values of `assume` in the
    /// configuration file; `None` without such values.
    pub config: Option<Arc<Config>>,
    /// Values of INFO that the parser does not know.
    pub issues: Vec<ParseIssue>,
}

impl NodeSnapshot {
    /// Parses the reply to INFO.
    ///
    /// Returns `None` if the reply contains neither a run ID nor a role. Then it is not a reply to
    /// INFO. Fields that are missing or malformed are `None`, and do not affect other fields.
    ///
    /// ```
    /// use snapshot::{LinkStatus, NodeSnapshot, Role};
    ///
    /// let reply = "# Replication\r\nrole:slave\r\nmaster_link_status:up\r\n\
    ///              # Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=0\r\n";
    /// let node = NodeSnapshot::from_info(reply).expect("a reply to INFO");
    /// assert_eq!(node.replication.role, Some(Role::Replica));
    /// assert_eq!(node.replication.link.expect("a replica").status, Some(LinkStatus::Up));
    /// assert_eq!(node.keyspace[0].keys, 3);
    /// assert_eq!(node.identity.uptime, None);
    ///
    /// assert!(NodeSnapshot::from_info("+PONG\r\n").is_none());
    /// ```
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

/// Returns name and version of each line `module:name=...,ver=...`.
fn modules(text: &str) -> Vec<(Box<str>, Box<str>)> {
    const MAX_MODULES: usize = 64;
    let module = |line: &str| {
        let line = line.strip_prefix("module:")?;
        let value = |name| key_values::label_value(key_values::get(line, name)?);
        Some((value("name")?, value("ver")?))
    };
    text.lines().filter_map(module).take(MAX_MODULES).collect()
}
