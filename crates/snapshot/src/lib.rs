//! Parsers for the replies of one Redis or Valkey server, and the [`NodeSnapshot`] they produce.
//!
//! The crate does no I/O, reads no clock and writes no log.
//!
//! Parsers skip malformed fields, lines and entries, and keep the rest. Unknown values of important
//! fields are listed as [`ParseIssue`]s. A field that the server did not send is `None`, never
//! zero. Each table has a maximum number of entries, and each kind of name a maximum length
//! ([`NameKind`]), whatever the server sends.

mod clients;
mod cluster;
mod commands;
mod config;
mod errors;
mod fields;
mod identity;
mod key_values;
mod keyspace;
mod latency;
mod layout;
mod lines;
mod modules;
mod names;
mod node;
mod optional_command;
mod parse_issue;
mod persistence;
mod pool;
mod reason;
mod replication;
mod reply;
mod scripting;
mod sent_commands;
mod sentinel;
mod slots;
mod slowlog;
mod texts;

pub use clients::{Client, ClientKind};
pub use cluster::{ClusterMap, ClusterNode, OpenSlot, Shard, ShardNode, SlotDirection};
pub use commands::{CommandNames, CommandStat, CommandStats};
pub use config::{CONFIG_PARAMETERS, Config, OutputBufferLimit};
pub use errors::ErrorStats;
pub use fields::Fields;
pub use identity::Identity;
pub use keyspace::Database;
pub use latency::CommandLatency;
pub use layout::{ExpectedLayout, Layouts};
pub use modules::Module;
pub use names::NameKind;
pub use node::NodeSnapshot;
pub use optional_command::OptionalCommand;
pub use parse_issue::ParseIssue;
pub use persistence::{Aof, Persistence, Rdb};
pub use pool::Pool;
pub use reason::Reason;
pub use replication::{AttachedReplica, Link, LinkStatus, Replication, Role};
pub use reply::{Reply, ServerError, printable};
pub use scripting::ScriptingEngine;
pub use sent_commands::{
    AUTH, CLIENT_ID, CLIENT_LIST, CLUSTER_INFO, CLUSTER_NODES, CONFIG_GET, INFO, INFO_COMMANDSTATS,
    INFO_LATENCYSTATS, INFO_SERVER, PSUBSCRIBE, Receiver, ReplySize, SENT_COMMANDS,
    SENTINEL_CKQUORUM, SENTINEL_MASTERS, SENTINEL_REPLICAS, SENTINEL_SENTINELS, SLOWLOG_GET,
    SLOWLOG_LEN, SentCommand, is_polling_command,
};
pub use sentinel::{
    DownState, LeftOut, MasterReport, MasterSettings, MasterSummary, PromotionProperties, Quorum,
    SentinelEntry, SentinelList, SentinelReport,
};
pub use slots::{SLOTS, SlotSet};
pub use slowlog::SlowLog;
