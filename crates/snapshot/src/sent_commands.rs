//! Table of the commands that Rolecall sends to servers.
//!
//! The poller takes the commands from here. The ACL files in `deploy/acl` and the documentation in
//! `crates/client/COMMANDS.md` are generated from this table.

/// One command that Rolecall sends.
#[derive(Debug, PartialEq, Eq)]
pub struct SentCommand {
    /// Command name in capitals: `CLIENT`.
    pub name: &'static str,
    /// Fixed arguments that follow the name: `ID`. Variable ones are in [`SentCommand::operand`].
    pub arguments: &'static [&'static str],
    /// Placeholder of the argument that differs from call to call, for the documentation.
    pub operand: Option<&'static str>,
    /// Kind of server that receives the command.
    pub receiver: Receiver,
    /// Size of the reply.
    pub reply: ReplySize,
    /// Rule of an ACL file that permits the command. Empty where no rule is needed.
    pub acl: &'static str,
    /// Purpose of the command, without a full stop.
    pub purpose: &'static str,
    /// Interval between two calls, in words. Names the configuration key if there is one.
    pub cadence: &'static str,
    /// First supported version of Redis that has the command.
    pub since: &'static str,
}

/// Size that the reply to a command may have. A larger reply is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplySize {
    /// A number, a parameter or one entry of a log.
    Small,
    /// Text of INFO.
    Info,
    /// A list that grows with the number of nodes, masters or clients.
    Large,
}

/// Kind of server that receives a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receiver {
    /// Any data node.
    DataNode,
    /// A data node with `cluster_enabled:1`.
    ClusterNode,
    /// A Sentinel.
    Sentinel,
    /// Any data node or Sentinel.
    Any,
}

impl SentCommand {
    /// Returns the name that INFO commandstats and CLIENT LIST use from Redis 7.0 on: `client|id`.
    pub fn stat_name(&self) -> String {
        match self.arguments.first() {
            Some(subcommand) if self.has_subcommands() => {
                format!("{}|{}", self.name, subcommand).to_lowercase()
            }
            _ => self.name.to_lowercase(),
        }
    }

    /// Returns the command as it is typed: `SENTINEL REPLICAS <master>`.
    pub fn usage(&self) -> String {
        let words = [self.name].into_iter().chain(self.arguments.iter().copied());
        words.chain(self.operand).collect::<Vec<_>>().join(" ")
    }

    /// Returns whether the first argument is a subcommand with an ACL rule of its own.
    fn has_subcommands(&self) -> bool {
        self.name != AUTH.name && self.name != INFO.name && self.name != PSUBSCRIBE.name
    }
}

/// Default values of a row: a command for data nodes that every supported version has.
const BASE: SentCommand = SentCommand {
    name: "",
    arguments: &[],
    operand: None,
    receiver: Receiver::DataNode,
    reply: ReplySize::Small,
    acl: "",
    purpose: "",
    cadence: "",
    since: "5.0",
};

/// Authenticates a new connection.
pub const AUTH: SentCommand = SentCommand {
    name: "AUTH",
    operand: Some("[username] password"),
    receiver: Receiver::Any,
    purpose: "Authenticates the connection, if a password is configured",
    cadence: "each new connection",
    ..BASE
};

/// Reads the ID of a connection.
pub const CLIENT_ID: SentCommand = SentCommand {
    name: "CLIENT",
    arguments: &["ID"],
    receiver: Receiver::Any,
    acl: "+client|id",
    purpose: "Part of the connection setup of fred, the client library for these connections; a \
              refusal is harmless but adds an entry to ACL LOG",
    cadence: "each new connection to a Sentinel or an endpoint",
    ..BASE
};

/// Reads the default sections of INFO.
pub const INFO: SentCommand = SentCommand {
    name: "INFO",
    reply: ReplySize::Info,
    receiver: Receiver::Any,
    acl: "+info",
    purpose: "Role, replication, persistence, memory, clients and error counters",
    cadence: "`interval` (1s)",
    ..BASE
};

/// Reads the section `server` of INFO on a new connection.
pub const INFO_SERVER: SentCommand = SentCommand {
    name: "INFO",
    reply: ReplySize::Info,
    arguments: &["server"],
    receiver: Receiver::Any,
    acl: "+info",
    purpose: "Part of the connection setup: the first command of a connection without a password, \
              and part of the setup of fred, the client library for Sentinels and endpoints",
    cadence: "each new connection",
    ..BASE
};

/// Reads the statistics of each command.
pub const INFO_COMMANDSTATS: SentCommand = SentCommand {
    name: "INFO",
    reply: ReplySize::Info,
    arguments: &["commandstats"],
    acl: "+info",
    purpose: "Calls, failures and rejections of each command; the cause of a primary change",
    cadence: "`cadence.commands` (10s); each round while errors or topology commands increase",
    ..BASE
};

/// Reads the latency of each command.
pub const INFO_LATENCYSTATS: SentCommand = SentCommand {
    name: "INFO",
    reply: ReplySize::Info,
    arguments: &["latencystats"],
    acl: "+info",
    purpose: "Latency percentiles of each command; costs the server as much as seven INFO",
    cadence: "`cadence.latencystats` (never)",
    since: "7.0",
    ..BASE
};

/// Reads the length of the slow log.
pub const SLOWLOG_LEN: SentCommand = SentCommand {
    name: "SLOWLOG",
    arguments: &["LEN"],
    acl: "+slowlog|len",
    purpose: "Number of entries in the slow log",
    cadence: "`cadence.slowlog` (10s)",
    ..BASE
};

/// Reads the newest entry of the slow log.
pub const SLOWLOG_GET: SentCommand = SentCommand {
    name: "SLOWLOG",
    arguments: &["GET", "1"],
    acl: "+slowlog|get",
    purpose: "ID and duration of the newest entry in the slow log",
    cadence: "`cadence.slowlog` (10s)",
    ..BASE
};

/// Reads one parameter of [`CONFIG_PARAMETERS`](crate::CONFIG_PARAMETERS).
pub const CONFIG_GET: SentCommand = SentCommand {
    name: "CONFIG",
    arguments: &["GET"],
    operand: Some("<parameter>"),
    acl: "+config|get",
    purpose: "Limits, persistence and replication settings, one parameter by name in each call",
    cadence: "`cadence.config` (60s)",
    ..BASE
};

/// Lists the normal clients. Replicas and subscribers are omitted, because they do not write and
/// may be many.
pub const CLIENT_LIST: SentCommand = SentCommand {
    name: "CLIENT",
    reply: ReplySize::Large,
    arguments: &["LIST", "TYPE", "normal"],
    acl: "+client|list",
    purpose: "Clients that send writes to a replica; not sent above 1,000 clients",
    cadence: "at most once in 30s, only while a replica refuses writes",
    ..BASE
};

/// Reads the state of a cluster as one node reports it.
pub const CLUSTER_INFO: SentCommand = SentCommand {
    name: "CLUSTER",
    arguments: &["INFO"],
    receiver: Receiver::ClusterNode,
    acl: "+cluster|info",
    purpose: "State, slots and epoch of the cluster as the node reports them",
    cadence: "`interval` (1s)",
    ..BASE
};

/// Reads the cluster map of one node.
pub const CLUSTER_NODES: SentCommand = SentCommand {
    name: "CLUSTER",
    reply: ReplySize::Large,
    arguments: &["NODES"],
    receiver: Receiver::ClusterNode,
    acl: "+cluster|nodes",
    purpose: "Map of the cluster: nodes, slots, flags and epochs",
    cadence: "each round from three nodes in turn, and from nodes whose state or epoch changed",
    ..BASE
};

/// Lists the masters that a Sentinel monitors.
pub const SENTINEL_MASTERS: SentCommand = SentCommand {
    name: "SENTINEL",
    reply: ReplySize::Large,
    arguments: &["MASTERS"],
    receiver: Receiver::Sentinel,
    acl: "+sentinel|masters",
    purpose: "Masters that the Sentinel monitors, with address, flags and epoch",
    cadence: "`interval` (1s)",
    ..BASE
};

/// Lists the replicas of one master.
pub const SENTINEL_REPLICAS: SentCommand = SentCommand {
    name: "SENTINEL",
    reply: ReplySize::Large,
    arguments: &["REPLICAS"],
    operand: Some("<master>"),
    receiver: Receiver::Sentinel,
    acl: "+sentinel|replicas",
    purpose: "Replicas of the master",
    cadence: "10s, and after an event of the master",
    ..BASE
};

/// Lists the other Sentinels of one master.
pub const SENTINEL_SENTINELS: SentCommand = SentCommand {
    name: "SENTINEL",
    reply: ReplySize::Large,
    arguments: &["SENTINELS"],
    operand: Some("<master>"),
    receiver: Receiver::Sentinel,
    acl: "+sentinel|sentinels",
    purpose: "Other Sentinels of the master",
    cadence: "10s, and after an event of the master",
    ..BASE
};

/// Checks the quorum of one master.
pub const SENTINEL_CKQUORUM: SentCommand = SentCommand {
    name: "SENTINEL",
    arguments: &["CKQUORUM"],
    operand: Some("<master>"),
    receiver: Receiver::Sentinel,
    acl: "+sentinel|ckquorum",
    purpose: "Reachable Sentinels: enough for quorum and majority or not",
    cadence: "10s, and after an event of the master",
    ..BASE
};

/// Subscribes to the events of a Sentinel.
pub const PSUBSCRIBE: SentCommand = SentCommand {
    name: "PSUBSCRIBE",
    arguments: &["+*", "-*"],
    receiver: Receiver::Sentinel,
    acl: "+psubscribe",
    purpose: "Events of the Sentinel, over a second connection; an event starts a round at once",
    cadence: "once for each connection",
    ..BASE
};

/// Every command that Rolecall sends.
pub const SENT_COMMANDS: [&SentCommand; 17] = [
    &AUTH,
    &INFO_SERVER,
    &INFO,
    &INFO_COMMANDSTATS,
    &INFO_LATENCYSTATS,
    &CLIENT_ID,
    &CLIENT_LIST,
    &CONFIG_GET,
    &CLUSTER_INFO,
    &CLUSTER_NODES,
    &SLOWLOG_LEN,
    &SLOWLOG_GET,
    &SENTINEL_MASTERS,
    &SENTINEL_REPLICAS,
    &SENTINEL_SENTINELS,
    &SENTINEL_CKQUORUM,
    &PSUBSCRIBE,
];

/// Returns whether an exporter such as Rolecall sends the command to data nodes while it polls.
///
/// `command` is the name as CLIENT LIST shows it: with its subcommand from Redis 7.0 on, and
/// without it before.
///
/// ```
/// use snapshot::is_polling_command;
///
/// assert!(is_polling_command("cluster|nodes"));
/// assert!(is_polling_command("cluster"));
/// assert!(!is_polling_command("set"));
/// ```
pub fn is_polling_command(command: &str) -> bool {
    SENT_COMMANDS
        .iter()
        .filter(|sent| sent.receiver != Receiver::Sentinel && **sent != &AUTH)
        .any(|sent| sent.stat_name() == command || sent.name.eq_ignore_ascii_case(command))
}
