//! A primary and its replicas, with a daemon that watches them.

use std::time::Duration;

use crate::{Daemon, Redis};

/// The longest that it may take until all is known.
const LIMIT: Duration = Duration::from_secs(10);

/// Gives a primary a replica and a daemon, and waits until both links and roles are known.
#[track_caller]
pub fn pair(primary: Redis) -> (Redis, Redis, Daemon) {
    let replica = primary.replica();
    let daemon = Daemon::settled(&primary, &[&replica]);
    (primary, replica, daemon)
}

/// The same with two replicas.
#[track_caller]
pub fn trio(primary: Redis) -> (Redis, Redis, Redis, Daemon) {
    let (first, second) = (primary.replica(), primary.replica());
    let daemon = Daemon::settled(&primary, &[&first, &second]);
    (primary, first, second, daemon)
}

impl Daemon {
    /// Watches a primary and its replicas, and waits until it knows that this is the only primary, and that the replicas are linked.
    #[track_caller]
    pub fn settled(primary: &Redis, replicas: &[&Redis]) -> Self {
        let daemon = Self::watch(&[&[primary], replicas].concat());
        daemon.until_primary(LIMIT, primary, "sole");
        for replica in replicas {
            daemon.until_link(LIMIT * 2, replica, "up");
        }
        daemon
    }
}
