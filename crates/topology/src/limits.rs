//! Thresholds and time limits of views and findings. Alerting rules use the same values.

use std::time::Duration;

/// Time for which the last known state of silent nodes is kept while the exporter is cut off.
pub const BLIND_LIMIT: Duration = Duration::from_secs(60);

/// Time for which the statement of a witness remains valid beyond the period in which the witness
/// renews it.
pub const WITNESS_SLACK: Duration = Duration::from_secs(2);

/// Time by which the ping of an upstream to its replicas may be late. An idle link reaches 11 s
/// without data, 13 s on a busy machine, and a round reads that up to a second later.
pub const PING_LATE: Duration = Duration::from_secs(5);

/// Error of a time that a server states in whole seconds.
pub const WHOLE_SECOND: Duration = Duration::from_secs(1);

/// Time between two reads of the replicas and the other Sentinels that a Sentinel lists.
pub const SENTINEL_LISTS_READ_WITHIN: Duration = Duration::from_secs(10);

/// Connection attempts in a row that a host must refuse for its node to count as down at once.
pub const REFUSED_ATTEMPTS: u32 = 2;

/// Time in which Rolecall connects again to a node that was down and that witnesses vouch for.
pub const RETURN_WITHIN: Duration = Duration::from_secs(5);

/// Time by which a peer may have noticed the loss of a node before Rolecall did.
pub const PEER_REPORT_SLACK: Duration = Duration::from_secs(10);

/// Silence of the upstream after which a link counts as stalled. Twice
/// `repl-ping-replica-period` is used if that is longer: a healthy link is silent for up to that
/// period (10 s by default).
pub const LINK_STALLED_AFTER: Duration = Duration::from_secs(20);

/// Number of synchronizations that start within [`SYNC_LOOP_WINDOW`] without completing, from
/// which on a link counts as sync looping.
pub const SYNC_LOOP_COUNT: usize = 3;

/// See [`SYNC_LOOP_COUNT`].
pub const SYNC_LOOP_WINDOW: Duration = Duration::from_secs(15 * 60);

/// The largest number of intervals that one round adds to durations that accumulate, so that a
/// pause of the exporter adds nothing.
pub const MAX_ACCRUED_INTERVALS: u32 = 2;

/// Tolerance between the uptime of a server, in whole seconds, and the clock of the exporter when
/// it decides if a process is newer than the last reply.
pub const UPTIME_SLACK: Duration = Duration::from_secs(2);

/// Time for which a server without any relation to the known node must reply at its address before
/// it replaces the node.
pub const STRANGER_ACCEPTED_AFTER: Duration = Duration::from_secs(60);

/// Shortest time for which the servers at one address are remembered, to recognise that several of
/// them take turns.
pub const SERVERS_SEEN_WITHIN: Duration = Duration::from_secs(60);

/// Returns the time for which the servers at one address are remembered: eight intervals, and at
/// least [`SERVERS_SEEN_WITHIN`].
pub fn servers_seen_within(interval: Duration) -> Duration {
    SERVERS_SEEN_WITHIN.max(interval.saturating_mul(8))
}

/// Changes of the server at one address within [`servers_seen_within`] from which on several
/// servers are behind it. A virtual IP address that moves and returns changes twice. Restarts do
/// not count.
pub const AMBIGUOUS_CHANGES: usize = 3;

/// The largest number of servers that are remembered for one address.
pub const MAX_SEEN_SERVERS: usize = 64;

/// Time after another server took the place of a node in which a missing primary says nothing: the
/// former server may still run, and several servers may be behind the address.
pub const REPLACEMENT_SETTLES_WITHIN: Duration = Duration::from_secs(60);

/// Number of rounds that a change of the primary waits for evidence of its cause.
pub const CAUSE_WITHIN_ROUNDS: u32 = 3;

/// Consecutive comparisons at one offset of one history with different numbers of keys, from which
/// on a replica counts as diverged.
pub const DIVERGED_AFTER_COMPARISONS: u32 = 3;

/// Period whose largest number of replicas is expected if no number is configured.
pub const REPLICA_COUNT_WINDOW: Duration = Duration::from_secs(60 * 60);

/// Duration of a split brain from which on it is critical. A routine failover ends within about
/// 11 s of the return of the old master.
pub const SPLIT_BRAIN_CRITICAL_AFTER: Duration = Duration::from_secs(30);

/// Time within which a failover demotes the old primary. Sentinels need about 10 s.
pub const DEMOTED_WITHIN: Duration = Duration::from_secs(15);

/// Duration of a disagreement of Sentinels, or of a lost quorum, from which on it is no part of a
/// failover. A failover takes a few seconds.
pub const SENTINELS_AGREE_WITHIN: Duration = Duration::from_secs(60);

/// Time for which the lists of Sentinels may contradict each other after a change, because lists
/// and masters are not read at the same moment.
pub const SENTINELS_LIST_WITHIN: Duration = Duration::from_secs(5);

/// Time within which the lists of Sentinels and cluster nodes reflect a change. A node that is down
/// and that none of them lists any more leaves after that.
pub const LISTS_SETTLE_WITHIN: Duration = Duration::from_secs(5);

/// Consecutive checks with a wrong server, from which on an endpoint is a finding.
pub const ENDPOINT_WRONG_CHECKS: u32 = 2;

/// Time after a failover within which an endpoint should lead to the new primary. DNS, Services
/// and load balancers need a while.
pub const ENDPOINT_FOLLOWS_WITHIN: Duration = Duration::from_secs(30);

/// Duration of the tilt mode of a Sentinel, in which it does not act. Fixed in every server.
pub const TILT_LASTS: Duration = Duration::from_secs(30);

/// Time within which the Sentinels must have been read for their majority to decide.
pub const SENTINELS_READ_WITHIN: Duration = Duration::from_secs(10);

/// Age of the last reply to a Sentinel up to which it would promote a replica. Fixed in every
/// server: five of its pings.
pub const SENTINEL_AVAILABLE_WITHIN: Duration = Duration::from_secs(5);

/// Age of the last INFO that a Sentinel read from a replica up to which it would promote it. Fixed
/// in every server: three of its periods. While the master is down, it reads INFO each second.
pub const SENTINEL_INFO_WITHIN: Duration = Duration::from_secs(30);

/// Time for which the link of a replica may be down before Sentinels refuse to promote it, as a
/// multiple of `down-after-milliseconds`. The time since the master is down is added. Fixed in
/// every server.
pub const SENTINEL_DOWN_AFTERS: u32 = 10;

/// Time for which the lists of Sentinels are read in each round while a Sentinel has no contact
/// with a replica. It makes contact within a second.
pub const SENTINEL_CONTACT_WITHIN: Duration = Duration::from_secs(30);

/// Lag from which on the replica that a failover would promote is a blocker, if
/// `min-replicas-to-write` is not in use.
pub const CANDIDATE_LAGS_AFTER: Duration = Duration::from_secs(10);

/// Time by which replicas that follow the primary may seem to differ, because they are not polled
/// at the same moment. Three intervals if that is longer.
pub const OFFSETS_DIFFER_FOR: Duration = Duration::from_secs(3);

/// Time for which a deployment may not be ready for a failover after a failover or a restart.
pub const FAILOVER_READY_WITHIN: Duration = Duration::from_secs(60);

/// Age of the last reply to a Sentinel up to which it considers the node alive. It sends a PING
/// each second.
pub const SENTINEL_HEARD_WITHIN: Duration = Duration::from_secs(3);

/// Time for which a write counts as recent evidence that clients use a master.
pub const WRITTEN_RECENTLY: Duration = Duration::from_secs(30);

/// Time for which a Sentinel must consider a primary down that replies to Rolecall. After a restart
/// of the primary, a Sentinel needs a second or two to notice it.
pub const SENTINEL_RECOVERS_WITHIN: Duration = Duration::from_secs(5);

/// Time over which error replies to Sentinels are counted. A Sentinel sends a PING each second, and
/// each one is refused.
pub const REFUSALS_COUNTED_OVER: Duration = Duration::from_secs(5);

/// Consecutive checks of the endpoint for writes that must lead to one server for the endpoint to
/// be evidence.
pub const ENDPOINT_LED_CHECKS: usize = 3;

/// Number of maps of both nodes that must show a slot conflict. Maps are not read at the same
/// moment.
pub const CONFLICT_AFTER_MAPS: u32 = 2;

/// Time for which a slot may stay migrating or importing. A slot migrates within seconds, one with
/// very many keys within minutes.
pub const SLOT_OPEN_FOR: Duration = Duration::from_secs(10 * 60);

/// Time for which a cluster node may report a failed cluster after its start.
pub const CLUSTER_NODE_DOUBTS_FOR: Duration = Duration::from_secs(15);

/// Lag of a replica from which on it is a finding.
pub const LAG_HIGH: Duration = Duration::from_secs(10);

/// Time for which all links may be down in a failover, while the replicas connect to the new
/// primary.
pub const LINKS_RETURN_WITHIN: Duration = Duration::from_secs(3);

/// Duration from which on a link that is down is critical: it will not recover by itself.
pub const LINK_DOWN_CRITICAL_AFTER: Duration = Duration::from_secs(10 * 60);

/// Time after a refused command for which the node counts as refusing. Replicas try to connect
/// once a second.
pub const REFUSED_WITHIN: Duration = Duration::from_secs(30);

/// The largest number of connected clients with which CLIENT LIST is read. For a thousand clients
/// it takes about 0.8 ms of server time and 330 kB.
pub const MAX_LISTED_CLIENTS: u64 = 1000;

/// The shortest time between two CLIENT LIST commands on one node.
pub const CLIENT_LIST_CADENCE: Duration = Duration::from_secs(30);

/// Duration of refused writes from which on they are a finding.
pub const MISROUTED_AFTER: Duration = Duration::from_secs(60);

/// Time without refused writes after which clients no longer write to the replica.
pub const MISROUTED_UNTIL: Duration = Duration::from_secs(60);

/// Time that clients may need to find the primary after it changed.
pub const CLIENTS_RECONNECT_WITHIN: Duration = Duration::from_secs(60);

/// Duration of a pause of writes from which on the node counts as refusing them. A FAILOVER whose
/// replica follows takes less than a second.
pub const WRITES_PAUSED_AFTER: Duration = Duration::from_secs(5);

/// Time for which a CLIENT PAUSE is assumed to last on a server that does not report its end.
pub const CLIENT_PAUSE_ASSUMED_FOR: Duration = Duration::from_secs(60 * 60);

/// Time after a demotion for which it explains refused writes.
pub const DEMOTED_RECENTLY: Duration = Duration::from_secs(60 * 60);

/// Time after the loss of a primary for which its return is awaited: Rolecall then tries more often
/// to connect to the nodes of the shard.
pub const PRIMARY_AWAITED_FOR: Duration = Duration::from_secs(10 * 60);

/// Time for which a data loss is shown after it was last detected.
pub const LOSS_SHOWN_FOR: Duration = Duration::from_secs(10 * 60);

/// Time for which a node that joined with foreign data counts as foreign.
pub const FOREIGN_FOR: Duration = Duration::from_secs(60 * 60);

/// Gap in the replies of a primary in which no server can copy its data, be promoted and leave that
/// history again. A replication ID remembers one generation only.
pub const SUCCESSION_TAKES: Duration = Duration::from_secs(10);

/// Time within which a member that is back replies: the longest delay between two connection
/// attempts is 10 s, and its jitter as much.
pub const MEMBER_REPLIES_WITHIN: Duration = Duration::from_secs(20);

/// Time after a restart of the primary for which nodes that join may be restarted members at other
/// addresses.
pub const RESTART_SETTLES_WITHIN: Duration = Duration::from_secs(10 * 60);

/// Size of an append-only file, as a multiple of its rewrite trigger, from which on the rewrite is
/// overdue.
pub const AOF_BLOATED_FACTOR: f64 = 1.5;

/// Ratio of used memory to `maxmemory` from which on a server that refuses writes instead of
/// evicting keys is close to its limit.
pub const MEMORY_NEAR_LIMIT_RATIO: f64 = 0.9;

/// Ratio of the keys without expiry after and before a restart, from which on the server must have
/// loaded its dump. For servers that do not report the number of loaded keys.
pub const KEYS_LOADED_RATIO: f64 = 0.5;
