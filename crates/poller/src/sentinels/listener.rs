//! The connection to one Sentinel that listens.

use std::time::{Duration, SystemTime};

use crate::context::{ConnectLane, PollerContext};
use crate::node_task::{CONNECT_LIMIT, backoff};
use client::{Endpoint, Failure, Subscription, SubscriptionMessage};
use snapshot::Reason;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tracing::{debug, info, warn};

/// The longest delay between attempts.
const MAX_DELAY: Duration = Duration::from_secs(10);

/// What was announced: when it arrived, the channel, and what was said.
pub(super) type Announced = (SystemTime, String, String);

/// The run id of the process that answers as the Sentinel.
pub(super) type Process = watch::Receiver<Option<Box<str>>>;

/// Listens for ever. Where a process refuses that, it is not asked again.
pub(super) async fn run(
    endpoint: Endpoint,
    shared: PollerContext,
    announced: mpsc::Sender<Announced>,
    mut process: Process,
) {
    let mut delays = backoff();
    let mut logged = None;
    let mut lane = ConnectLane::default();
    loop {
        let failure = match shared
            .open(&mut lane, Subscription::open(&endpoint, CONNECT_LIMIT))
            .await
        {
            Ok(subscription) => {
                if logged.take().is_some() {
                    info!(sentinel = %endpoint, "listening to Sentinel");
                }
                let begun = shared.clock.now();
                let failure = listen(subscription, &shared, &announced).await;
                // One that closes what it opened is not tried again and again.
                if shared.clock.now() - begun > MAX_DELAY {
                    delays = backoff();
                }
                failure
            }
            Err(failure) => {
                // That it does not answer at all is logged where it is asked; a refusal is only seen here.
                if failure.reason == Reason::Noperm && logged != Some(failure.reason) {
                    warn!(sentinel = %endpoint, detail = failure.detail, "cannot listen to Sentinel, its events are seen by polling only");
                }
                logged = Some(failure.reason);
                failure
            }
        };
        debug!(sentinel = %endpoint, %failure, "not listening to Sentinel");
        if matches!(failure.reason, Reason::Noperm | Reason::Unsupported) {
            let _ = process.changed().await;
        }
        sleep(delays.next().unwrap_or(MAX_DELAY)).await;
    }
}

/// Passes on what is announced, until the connection ends.
async fn listen(
    mut subscription: Subscription,
    shared: &PollerContext,
    announced: &mpsc::Sender<Announced>,
) -> Failure {
    loop {
        match subscription.next().await {
            Ok(SubscriptionMessage::Published { channel, payload }) => {
                if announced.send((shared.clock.wall(), channel, payload)).await.is_err() {
                    // Nobody is there to hear it, and this task is being ended.
                    std::future::pending::<()>().await;
                }
            }
            Ok(SubscriptionMessage::Missed(missed)) => {
                warn!(missed, "Sentinel announces more than is taken up, the rest is left out");
            }
            Err(failure) => return failure,
        }
    }
}
