//! The parsed replies of one server in one round.

use std::sync::Arc;

use crate::keyspace::{self, Database};
use crate::sentinel::{self, MasterSummary, SentinelReport};
use crate::{
    ClusterMap, CommandLatency, CommandStats, Config, ErrorStats, ExpectedLayout, Fields, Identity,
    Module, ParseIssue, Persistence, Replication, Role, ScriptingEngine, SlowLog, modules,
    scripting,
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
    /// The loaded modules. INFO modules.
    pub modules: Vec<Module>,
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

/// Fields of which a reply to INFO has at least one, whatever the system and its state. Managed
/// services and servers that load their data leave out whole sections.
const KNOWN_FIELDS: [&str; 24] = [
    "redis_version",
    "valkey_version",
    "dragonfly_version",
    "kvrocks_version",
    "upstash_version",
    "pika_version",
    "garnet_version",
    "redis_mode",
    "server_mode",
    "run_id",
    "process_id",
    "tcp_port",
    "uptime_in_seconds",
    "role",
    "connected_slaves",
    "connected_clients",
    "maxclients",
    "used_memory",
    "maxmemory",
    "loading",
    "aof_enabled",
    "total_connections_received",
    "total_commands_processed",
    "cluster_enabled",
];

/// Beginnings of the names of fields about one process and its replication.
const DISTINCTIVE_FIELDS: [&str; 9] = [
    "run_id",
    "process_id",
    "uptime_in_",
    "role",
    "master_",
    "slave",
    "connected_slaves",
    "second_repl_offset",
    "repl_backlog_",
];

impl NodeSnapshot {
    /// Parses the reply to INFO.
    ///
    /// Returns `None` if the reply contains no field that servers are known to report. Then it is
    /// not a reply to INFO. Fields that are missing or malformed are `None`, and do not affect
    /// other fields.
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
        Self::from_expected_info(text, &mut ExpectedLayout::default())
    }

    /// Parses the reply to INFO of a node whose last reply had the expected layout. Returns the
    /// same as [`NodeSnapshot::from_info`].
    pub fn from_expected_info(text: &str, layout: &mut ExpectedLayout) -> Option<Self> {
        let mut error_lines = Vec::new();
        let mut has_modules = false;
        let fields = layout.parse_with(text, |line| {
            if line.starts_with(ErrorStats::PREFIX) || line.starts_with(ErrorStats::HEADING) {
                error_lines.push(line);
            }
            has_modules |= line.starts_with(modules::PREFIX);
        });
        has_modules |= fields.get("module").is_some();
        if !KNOWN_FIELDS.iter().any(|name| fields.get(name).is_some()) {
            return None;
        }
        let mut issues = Vec::new();
        let identity = Identity::read(&fields);
        Some(NodeSnapshot {
            replication: Replication::read(&fields, identity.mode.as_deref(), &mut issues),
            persistence: Persistence::read(&fields),
            errors: ErrorStats::read(&error_lines),
            keyspace: keyspace::read(&fields),
            modules: if has_modules { modules::read(text) } else { Vec::new() },
            watched: sentinel::read(&fields),
            sentinel: None,
            identity,
            fields,
            commands: None,
            latencies: None,
            cluster: None,
            map: None,
            slowlog: None,
            config: None,
            issues,
        })
    }

    /// Returns the scripting engines of Valkey. INFO scriptingengines.
    ///
    /// ```
    /// use snapshot::NodeSnapshot;
    ///
    /// let reply = "redis_version:7.2.4\r\nengine_0:name=LUA,module=lua,abi_version=4,\
    ///              used_memory=69632,memory_overhead=56\r\n";
    /// let node = NodeSnapshot::from_info(reply).expect("a reply to INFO");
    /// assert_eq!(node.scripting_engines()[0].used_memory, 69_632);
    /// ```
    pub fn scripting_engines(&self) -> Vec<ScriptingEngine> {
        scripting::read(&self.fields)
    }

    /// Returns what the replies of two servers have in common: the lines of INFO with equal values,
    /// without INFO replication and without the process.
    ///
    /// ```
    /// use snapshot::NodeSnapshot;
    ///
    /// let reply = |used_memory| {
    ///     let text = format!("role:master\nmaxmemory:100\nused_memory:{used_memory}\n");
    ///     NodeSnapshot::from_info(&text).expect("a reply to INFO")
    /// };
    /// let common = reply(7).in_common(&reply(8));
    /// assert_eq!(common.fields.get("maxmemory"), Some("100"));
    /// assert_eq!(common.fields.get("used_memory"), None);
    /// assert_eq!(common.replication.role, None);
    /// ```
    #[must_use]
    pub fn in_common(&self, other: &NodeSnapshot) -> Self {
        let is_common = |(name, value): &(&str, &str)| {
            other.fields.get(name) == Some(*value)
                && !DISTINCTIVE_FIELDS.iter().any(|prefix| name.starts_with(prefix))
        };
        let lines = self.fields.lines().filter(is_common);
        let text: String = lines.flat_map(|(name, value)| [name, ":", value, "\n"]).collect();
        let common = NodeSnapshot::from_info(&text).unwrap_or_default();
        let role = common.replication.role.filter(|role| *role == Role::Sentinel);
        NodeSnapshot { replication: Replication { role, ..Replication::default() }, ..common }
    }
}
