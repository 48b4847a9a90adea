//! What one server said: raw replies become a [`NodeSnapshot`]. Pure: no I/O, no clock, no log, and nothing about other servers.
//!
//! Parsing never fails as a whole. It keeps what it understood, leaves out what it did not, and lists the latter as [`Issue`]s.
//! A field that a server did not send is `None`, never zero.

mod clients;
mod cluster;
mod commands;
mod config;
mod errors;
mod fields;
mod identity;
mod issue;
mod keyspace;
mod latency;
mod list;
mod node;
mod persistence;
mod reason;
mod replication;
mod reply;
mod sent_commands;
mod sentinel;
mod slowlog;

pub use clients::{Client, ClientKind};
pub use cluster::{ClusterMap, ClusterNode, Shard, ShardNode};
pub use commands::{CommandStat, CommandStats};
pub use config::{CONFIG_PARAMETERS, Config, OutputBufferLimit};
pub use errors::ErrorStats;
pub use fields::Fields;
pub use identity::Identity;
pub use issue::Issue;
pub use keyspace::Database;
pub use latency::CommandLatency;
pub use node::NodeSnapshot;
pub use persistence::{Aof, Persistence, Rdb};
pub use reason::Reason;
pub use replication::{Attached, Link, LinkStatus, Replication, Role};
pub use reply::{Reply, ServerError};
pub use sent_commands::{
    AUTH, CLIENT_ID, CLIENT_LIST, CLUSTER_INFO, CLUSTER_NODES, CONFIG_GET, INFO, INFO_COMMANDSTATS,
    INFO_LATENCYSTATS, INFO_SERVER, PSUBSCRIBE, Receiver, SENT_COMMANDS, SENTINEL_CKQUORUM,
    SENTINEL_MASTERS, SENTINEL_REPLICAS, SENTINEL_SENTINELS, SLOWLOG_GET, SLOWLOG_LEN, SentCommand,
    is_polling_command,
};
pub use sentinel::{
    MasterReport, MasterSettings, MasterState, MasterSummary, Quorum, SentinelReport, WatchedMaster,
};
pub use slowlog::SlowLog;
