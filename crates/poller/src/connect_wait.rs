//! Wait of one node for the permit to connect, and what is known about the node until then.
//!
//! The limits of new connections may make a node wait. If no attempt to connect was made since the
//! contact with it was lost, its state is unknown, with the reason `local`: it must not count as
//! down because Rolecall did not try.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use client::{Address, Failure};
use config::ConnectLimits;
use snapshot::Reason;
use tokio::time::{Instant, timeout};

use crate::connect_limits::{ConnectLane, ConnectLimiter, ConnectPermit};
use crate::node_task::CONNECT_LIMIT;

/// Time between two checks if another attempt reached the host.
const CHECK_CADENCE: Duration = Duration::from_millis(250);

/// Last evidence about a node without a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum LastContact {
    /// No attempt to connect has ended.
    #[default]
    Never,
    /// The connection was lost at this time, and no attempt has ended since.
    Lost {
        at: Instant,
        /// Neither the server nor its host replied.
        is_silent: bool,
    },
    /// The last attempt failed. Its result counts until the next one ends.
    Attempted,
}

impl LastContact {
    /// Returns the time after which a wait is reported. A first attempt may take as long.
    fn patience(self) -> Duration {
        match self {
            LastContact::Never => CONNECT_LIMIT,
            LastContact::Lost { .. } | LastContact::Attempted => Duration::ZERO,
        }
    }

    /// Returns true if only an attempt can show the state of the node.
    ///
    /// A node that did not reply on its connection is judged by that: its host may be lost, and
    /// hundreds of nodes with it, which cannot all be tried at once. But if the host replies to an
    /// attempt to connect to another node, the host is not lost.
    fn needs_attempt(self, limiter: &ConnectLimiter, address: &Address) -> bool {
        match self {
            LastContact::Never | LastContact::Lost { is_silent: false, .. } => true,
            LastContact::Lost { at, is_silent: true } => limiter.has_answered(address, at),
            LastContact::Attempted => false,
        }
    }
}

/// Waits for the permit to connect. Runs `report` if only an attempt can show the state of the
/// node, and the attempt has to wait.
///
/// # Errors
/// Those of [`ConnectLimiter::permit`].
pub(crate) async fn wait_for_permit(
    limiter: &Arc<ConnectLimiter>,
    address: &Address,
    lane: ConnectLane,
    contact: LastContact,
    report: impl Future<Output = ()>,
) -> Result<ConnectPermit, Failure> {
    let mut permit = pin!(limiter.permit(address, lane));
    if matches!(contact, LastContact::Attempted) {
        return permit.await;
    }
    let mut patience = contact.patience();
    loop {
        if let Ok(permit) = timeout(patience, &mut permit).await {
            return permit;
        }
        if contact.needs_attempt(limiter, address) {
            report.await;
            break;
        }
        patience = CHECK_CADENCE;
    }
    permit.await
}

/// Returns the failure to report for a node that waits.
pub(crate) fn waiting(limiter: &ConnectLimiter) -> Failure {
    let ConnectLimits { per_host, per_second } = limiter.limits();
    let problem = format!(
        "waiting to connect: limits.connections_per_host is {per_host}, and \
         limits.connections_per_second is {per_second}"
    );
    Failure::new(Reason::Local, problem)
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;
    use crate::clock::Clock;

    /// A host whose only place is taken by an attempt that hangs.
    struct HangingHost {
        clock: Clock,
        limiter: Arc<ConnectLimiter>,
        permit: ConnectPermit,
    }

    fn address(port: u16) -> Address {
        Address::Tcp { host: "10.0.0.1".to_owned(), port }
    }

    impl HangingHost {
        async fn new() -> Self {
            let clock = Clock::start();
            let limits = ConnectLimits { per_host: 1, ..ConnectLimits::DEFAULT };
            let limiter = Arc::new(ConnectLimiter::new(clock, limits));
            let permit = limiter.permit(&address(1), ConnectLane::Fast).await.expect("a permit");
            HangingHost { clock, limiter, permit }
        }

        /// Returns the time after which another node of the host is reported as waiting; `None` if
        /// it is not within a minute.
        async fn reported_after(&self, contact: LastContact) -> Option<Duration> {
            let started = self.clock.now();
            let mut reported = None;
            let report = async { reported = Some(self.clock.now() - started) };
            let (other, lane) = (address(2), ConnectLane::Fast);
            let waiting = wait_for_permit(&self.limiter, &other, lane, contact, report);
            let ended = timeout(Duration::from_secs(60), waiting).await;
            assert!(ended.is_err(), "the place is taken");
            reported
        }

        fn lost(&self, is_silent: bool) -> LastContact {
            LastContact::Lost { at: self.clock.now(), is_silent }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_was_never_tried_is_unknown() {
        let host = HangingHost::new().await;
        assert_eq!(host.reported_after(LastContact::Never).await, Some(CONNECT_LIMIT));
        let closed = host.lost(false);
        assert_eq!(host.reported_after(closed).await, Some(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_node_is_judged_by_its_silence_unless_its_host_replies() {
        let host = HangingHost::new().await;
        let silent = host.lost(true);
        assert_eq!(host.reported_after(silent).await, None);
        let answer = async {
            sleep(Duration::from_secs(10)).await;
            host.permit.record_outcome(&Ok(()));
        };
        let (reported, ()) = tokio::join!(host.reported_after(silent), answer);
        let reported = reported.expect("a report").as_secs_f64();
        assert!((10.0..10.5).contains(&reported), "{reported}");
        sleep(Duration::from_secs(1)).await;
        assert_eq!(host.reported_after(host.lost(true)).await, None, "an earlier reply");
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_whose_attempt_failed_keeps_this_result() {
        let host = HangingHost::new().await;
        assert_eq!(host.reported_after(LastContact::Attempted).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_need_not_wait_is_not_reported() {
        let HangingHost { limiter, permit, .. } = HangingHost::new().await;
        drop(permit);
        let report = async { panic!("no wait") };
        let (other, contact) = (address(2), LastContact::Never);
        let permit = wait_for_permit(&limiter, &other, ConnectLane::Fast, contact, report).await;
        assert!(permit.is_ok());
    }
}
