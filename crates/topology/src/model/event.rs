//! Events: changes between two rounds.

use std::time::{Duration, SystemTime};

use snapshot::{Reason, Role};

use crate::model::node_state::Availability;
use crate::model::shard::{Cause, ChangeCount, NoPrimaryReason};

/// A change between two rounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Wall time of the round that detected the change.
    pub at: SystemTime,
    /// Label of the node, if the event concerns one.
    pub node: Option<String>,
    /// Label of the shard, if the event concerns one of a cluster.
    pub shard: Option<String>,
    /// Kind of the event.
    pub kind: EventKind,
}

/// Defines the kinds of events with their labels and ranks.
macro_rules! event_kinds {
    ($(
        $(#[$doc:meta])*
        $label:literal ($rank:expr) => $kind:ident $({
            $($(#[$field_doc:meta])* $field:ident: $type:ty,)*
        })?,
    )*) => {
        /// Kind of an event.
        #[derive(Debug, Clone, PartialEq)]
        pub enum EventKind {
            $($(#[$doc])* $kind $({ $($(#[$field_doc])* $field: $type,)* })?,)*
        }

        /// The kinds without their fields. The discriminants are positions in the reference.
        enum Position {
            $($kind,)*
        }

        impl EventKind {
            /// The labels of all kinds, in the order of the reference.
            pub const LABELS: [&str; [$($label),*].len()] = [$($label),*];

            /// Returns the value of `kind` in the API, in log lines and in labels.
            pub const fn label(&self) -> &'static str {
                Self::LABELS[self.position()]
            }

            /// Returns the position of the kind in [`EventKind::LABELS`].
            pub(crate) const fn position(&self) -> usize {
                match self {
                    $(EventKind::$kind { .. } => Position::$kind as usize,)*
                }
            }

            /// Returns the rank of the kind among the events of one round.
            const fn rank(&self) -> Rank {
                match self {
                    $(EventKind::$kind { .. } => $rank,)*
                }
            }
        }
    };
}

/// Order of the events of one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Node,
    Role,
    Link,
    Primary,
    SplitBrain,
    Other,
}

event_kinds! {
    /// The node does not reply to Rolecall any longer, or its state changed since.
    "node_unreachable" (Rank::Node) => NodeUnreachable {
        /// Reason of the last failed poll.
        reason: Reason,
        /// State of the node.
        state: Availability,
    },
    /// The node replies again.
    "node_back" (Rank::Node) => NodeBack {
        /// Time for which the node was down; zero if it was down in the first round.
        down: Duration,
    },
    /// The node was restarted: a new process replies.
    "restarted" (Rank::Node) => Restarted,
    /// The node was replaced: another, older process replies.
    "node_replaced" (Rank::Node) => NodeReplaced,
    /// The node claims another role.
    "role_changed" (Rank::Role) => RoleChanged {
        /// The role before.
        from: Role,
        /// The role after.
        to: Role,
    },
    /// The replication link went down.
    "link_dropped" (Rank::Link) => LinkDropped,
    /// The replication link is up again.
    "link_restored" (Rank::Link) => LinkRestored {
        /// Time for which the link was down.
        down: Duration,
    },
    /// Another node became the primary.
    "primary_changed" (Rank::Primary) => PrimaryChanged {
        /// Label of the primary before.
        from: String,
        /// Label of the primary after.
        to: String,
        /// Cause of the change.
        cause: Cause,
    },
    /// No node is the primary any longer.
    "primary_lost" (Rank::Primary) => PrimaryLost {
        /// Reason.
        why: NoPrimaryReason,
    },
    /// There is a primary again.
    "primary_regained" (Rank::Primary) => PrimaryRegained,
    /// Several nodes claim to be master of one data set.
    "split_brain_began" (Rank::SplitBrain) => SplitBrainBegan {
        /// Labels of these nodes.
        masters: Vec<String>,
    },
    /// At most one node claims to be master again.
    "split_brain_ended" (Rank::SplitBrain) => SplitBrainEnded {
        /// Duration of the split brain.
        lasted: Duration,
        /// Changes that stale masters accepted and the primary does not have.
        unreplicated_writes: ChangeCount,
        /// The same as bytes of the replication stream; `None` if the primary does not continue
        /// their histories.
        unreplicated_bytes: Option<u64>,
    },
    /// The statements about the primary contradict each other, or rivals cannot be told apart.
    "primary_disputed" (Rank::SplitBrain) => PrimaryDisputed {
        /// The nodes with the evidence for each: `node (evidence, evidence)`.
        witnesses: Vec<String>,
    },
    /// The statements about the primary agree again.
    "primary_undisputed" (Rank::SplitBrain) => PrimaryUndisputed {
        /// The nodes with the evidence for each: `node (evidence, evidence)`.
        witnesses: Vec<String>,
    },
    /// A full resync of the node completed.
    "full_resync" (Rank::Other) => FullResync,
    /// The append-only file can no longer be written.
    "aof_write_failed" (Rank::Other) => AofWriteFailed,
    /// The append-only file can be written again.
    "aof_write_recovered" (Rank::Other) => AofWriteRecovered,
    /// A rewrite of the append-only file failed.
    "aof_rewrite_failed" (Rank::Other) => AofRewriteFailed,
    /// The statistics of the server were reset.
    "stats_reset" (Rank::Other) => StatsReset,
    /// A command that changes the topology succeeded.
    "reconfigured" (Rank::Other) => Reconfigured {
        /// Label of the command.
        command: &'static str,
    },
    /// CLIENT PAUSE succeeded: commands of clients wait.
    "clients_paused" (Rank::Other) => ClientsPaused,
    /// The data of a former primary was replaced by data that shares no history with it.
    "dataset_replaced" (Rank::Other) => DatasetReplaced {
        /// The source of the data: label of the node, or an address without a node.
        from: String,
        /// Keys of the former primary in its last reply as a master.
        keys_before: u64,
        /// Its keys after the full resync.
        keys_after: u64,
    },
    /// The node was promoted without all writes of the previous primary.
    "lagging_promotion" (Rank::Other) => LaggingPromotion {
        /// Bytes of the replication stream that it lacked. A lower bound.
        bytes: u64,
    },
    /// The node was discovered.
    "node_discovered" (Rank::Node) => NodeDiscovered,
    /// The node left the deployment.
    "node_gone" (Rank::Node) => NodeGone,
    /// A Sentinel published a message.
    "sentinel_event" (Rank::Other) => SentinelEvent {
        /// Pub/Sub channel, which is the kind of the event: `+switch-master`.
        channel: String,
        /// Text of the message: the instance that the event is about.
        payload: String,
    },
}

impl Event {
    /// Returns the sort key of events: time, and within a round node, role, link, primary, split
    /// brain, others.
    pub fn order(&self) -> impl Ord + use<> {
        (self.at, self.kind.rank())
    }
}
