//! Commands that a poll sends.

use std::borrow::Cow;
use std::sync::Arc;

use client::Command;
use snapshot::{OptionalCommand, SentCommand};

/// Command to send to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PollCommand {
    Info,
    CommandStats,
    LatencyStats,
    ClusterInfo,
    ClusterNodes,
    SlowLogLength,
    SlowLogEntry,
    /// CONFIG GET of one parameter.
    ConfigGet(&'static str),
    ClientList,
    SentinelMasters,
    /// SENTINEL REPLICAS of one master.
    SentinelReplicas(Arc<str>),
    /// SENTINEL SENTINELS of one master.
    SentinelSentinels(Arc<str>),
    /// SENTINEL CKQUORUM of one master.
    SentinelQuorum(Arc<str>),
}

impl PollCommand {
    /// Returns the row of the table of sent commands.
    fn row(&self) -> &'static SentCommand {
        match self {
            PollCommand::Info => &snapshot::INFO,
            PollCommand::CommandStats => &snapshot::INFO_COMMANDSTATS,
            PollCommand::LatencyStats => &snapshot::INFO_LATENCYSTATS,
            PollCommand::ClusterInfo => &snapshot::CLUSTER_INFO,
            PollCommand::ClusterNodes => &snapshot::CLUSTER_NODES,
            PollCommand::SlowLogLength => &snapshot::SLOWLOG_LEN,
            PollCommand::SlowLogEntry => &snapshot::SLOWLOG_GET,
            PollCommand::ConfigGet(_) => &snapshot::CONFIG_GET,
            PollCommand::ClientList => &snapshot::CLIENT_LIST,
            PollCommand::SentinelMasters => &snapshot::SENTINEL_MASTERS,
            PollCommand::SentinelReplicas(_) => &snapshot::SENTINEL_REPLICAS,
            PollCommand::SentinelSentinels(_) => &snapshot::SENTINEL_SENTINELS,
            PollCommand::SentinelQuorum(_) => &snapshot::SENTINEL_CKQUORUM,
        }
    }

    /// Returns the optional command that it belongs to; `None` if it is always sent.
    pub(super) fn optional(&self) -> Option<OptionalCommand> {
        OptionalCommand::of(self.row())
    }

    /// Returns the argument that follows the fixed ones.
    fn operand(&self) -> Option<Cow<'static, str>> {
        match self {
            PollCommand::ConfigGet(parameter) => Some(Cow::Borrowed(parameter)),
            PollCommand::SentinelReplicas(master)
            | PollCommand::SentinelSentinels(master)
            | PollCommand::SentinelQuorum(master) => Some(Cow::Owned(master.to_string())),
            _ => None,
        }
    }

    /// Returns the command for the client.
    pub(crate) fn command(&self) -> Command {
        Command::new(self.row(), self.operand())
    }
}
