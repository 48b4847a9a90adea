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
