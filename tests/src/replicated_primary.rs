//! Primary with replicas and a daemon that polls them.

use std::time::Duration;

use crate::{Daemon, Redis};

/// Timeout for the daemon to know the primary.
const LIMIT: Duration = Duration::from_secs(10);

/// Starts a replica and a daemon for a primary, and waits until the daemon knows the primary and
/// sees the replication link up.
#[track_caller]
pub fn primary_with_replica(primary: Redis) -> (Redis, Redis, Daemon) {
    let replica = primary.replica();
    let daemon = Daemon::with_replicas(&primary, &[&replica]);
    (primary, replica, daemon)
}

/// Does the same as [`primary_with_replica`] with two replicas.
#[track_caller]
pub fn primary_with_two_replicas(primary: Redis) -> (Redis, Redis, Redis, Daemon) {
    let (first, second) = (primary.replica(), primary.replica());
    let daemon = Daemon::with_replicas(&primary, &[&first, &second]);
    (primary, first, second, daemon)
}

impl Daemon {
    /// Starts a daemon for a primary and its replicas. Waits until the daemon knows the primary by
    /// the evidence `sole` and sees all replication links up.
    #[track_caller]
    pub fn with_replicas(primary: &Redis, replicas: &[&Redis]) -> Self {
        let daemon = Self::watch(&[&[primary], replicas].concat());
        daemon.until_primary(LIMIT, primary, "sole");
        for replica in replicas {
            daemon.until_link(LIMIT * 2, replica, "up");
        }
        daemon
    }
}
