//! The few numbers that facts and findings need. Alerts that need one of them use the same.

use std::time::Duration;

/// A link on which the master was silent for longer is stalled; or for twice `repl-ping-replica-period`, if that is longer still. Healthy
/// links pause for up to that period (10 s unless configured).
pub const LINK_STALLED_AFTER: Duration = Duration::from_secs(20);

/// That many synchronisations begun within [`SYNC_LOOP_WINDOW`] without reaching a standing link are a loop.
pub const SYNC_LOOP_COUNT: usize = 3;

/// See [`SYNC_LOOP_COUNT`].
pub const SYNC_LOOP_WINDOW: Duration = Duration::from_secs(15 * 60);

/// Seconds accrue at most that many intervals per round, so that a pause of the exporter adds nothing.
pub const MAX_ACCRUED_INTERVALS: u32 = 2;

/// How far a server's uptime, in whole seconds, may disagree with our clock before a new process counts as another server.
pub const UPTIME_SLACK: Duration = Duration::from_secs(2);

/// How long another server, which shares nothing with the known node, must answer in its place before it is taken for the node.
pub const STRANGER_ACCEPTED_AFTER: Duration = Duration::from_secs(60);

/// For how many rounds a change of the primary waits for what tells its cause.
pub const CAUSE_WITHIN_ROUNDS: u32 = 3;

/// That many comparisons in a row must show other keys on a replica, at one offset of one history, before its data counts as different.
pub const DIVERGED_AFTER_COMPARISONS: u32 = 3;

/// For how long replicas that were there are missed, where no number is declared.
pub const REPLICA_COUNT_WINDOW: Duration = Duration::from_secs(60 * 60);

/// A split brain that lasts longer is no routine failover: those end within some 11 s of the old master's return.
pub const SPLIT_BRAIN_CRITICAL_AFTER: Duration = Duration::from_secs(30);

/// Sentinels that disagree for longer, or lack a quorum, are not in the middle of a failover: those take a few seconds.
pub const SENTINELS_AGREE_WITHIN: Duration = Duration::from_secs(60);

/// What Sentinels list may be strange for a moment while it changes: lists and masters are not read at one moment.
pub const SENTINELS_LIST_WITHIN: Duration = Duration::from_secs(5);

/// That many checks in a row must find an endpoint wrong.
pub const ENDPOINT_WRONG_CHECKS: u32 = 2;

/// Within that time after a failover an endpoint should lead to the new primary: DNS, Services and load balancers take a while.
pub const ENDPOINT_FOLLOWS_WITHIN: Duration = Duration::from_secs(30);

/// For how long a Sentinel that distrusts its clock does nothing. Fixed in every server.
pub const TILT_LASTS: Duration = Duration::from_secs(30);

/// That many readings of both nodes must show a slot that two nodes claim: maps are not of one moment.
pub const CONFLICT_AFTER_MAPS: u32 = 2;

/// A master of a cluster that was started doubts the cluster for some seconds.
pub const CLUSTER_NODE_DOUBTS_FOR: Duration = Duration::from_secs(15);

/// A replica further behind its primary than that is late.
pub const LAG_HIGH: Duration = Duration::from_secs(10);

/// A link that is down for longer will not come back by itself.
pub const LINK_DOWN_CRITICAL_AFTER: Duration = Duration::from_secs(10 * 60);

/// A node that refused something within that time is doing so: replicas try to connect every second, and clients to write.
pub const REFUSED_WITHIN: Duration = Duration::from_secs(30);

/// Clients are listed on a node with at most that many: of a thousand the list takes some 0.8 ms of server time and 330 kB.
pub const MAX_LISTED_CLIENTS: u64 = 1000;

/// Clients are listed at most that often on one node.
pub const CLIENT_LIST_CADENCE: Duration = Duration::from_secs(30);

/// Writes that a replica refuses for longer are no passing mistake.
pub const MISROUTED_AFTER: Duration = Duration::from_secs(60);

/// Once a replica refused no write for that long, clients write to it no more.
pub const MISROUTED_UNTIL: Duration = Duration::from_secs(60);

/// For how long clients may look for the primary after a change of it.
pub const CLIENTS_RECONNECT_WITHIN: Duration = Duration::from_secs(60);

/// A node that was master within that time was so lately.
pub const DEMOTED_RECENTLY: Duration = Duration::from_secs(60 * 60);

/// For how long a loss is shown after it was last seen to happen.
pub const LOSS_SHOWN_FOR: Duration = Duration::from_secs(10 * 60);

/// An append-only file larger than its rewrite trigger times this should have been rewritten.
pub const AOF_BLOATED_FACTOR: f64 = 1.5;

/// The part of `maxmemory` above which a server that refuses instead of evicting is close to refusing.
pub const MEMORY_NEAR_LIMIT_RATIO: f64 = 0.9;

/// A primary that holds this part of its lasting keys after a restart, or more, read them from its dump, where it does not tell.
pub const KEYS_LOADED_RATIO: f64 = 0.5;
