//! Subscription to the events of one Sentinel.

use std::time::Duration;

use client::{Endpoint, Failure, Subscription, SubscriptionMessage};
use snapshot::Reason;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::events::PubSubMessage;
use crate::connect_limits::ConnectLane;
use crate::context::PollerContext;
use crate::logged_reasons::LoggedReasons;
use crate::node_task::CONNECT_LIMIT;
use crate::reconnect::backoff;

/// Longest delay between connection attempts. A subscription that lasts longer resets the delay.
const MAX_DELAY: Duration = Duration::from_secs(10);

/// Receiver of the `run_id` of the Sentinel process that replies.
pub(super) type RunIdReceiver = watch::Receiver<Option<Box<str>>>;

/// Subscribes to the events of a Sentinel until the task is aborted. If a process refuses the
/// subscription, waits for another process.
pub(super) async fn run(
    endpoint: Endpoint,
    context: PollerContext,
    messages: mpsc::Sender<PubSubMessage>,
    mut run_id: RunIdReceiver,
) {
    let mut delays = backoff();
    let mut logged = LoggedReasons::default();
    let mut lane = ConnectLane::default();
    loop {
        let attempt = Subscription::open(&endpoint, CONNECT_LIMIT);
        let failure = match context.connect(&endpoint.address, &mut lane, attempt).await {
            Ok(subscription) => {
                if logged.clear() {
                    info!(sentinel = %endpoint, "subscribed to Sentinel events");
                }
                let started = context.clock.now();
                let failure = forward_messages(subscription, &context, &messages).await;
                // Keep the long delay for a server that closes each subscription at once.
                if context.clock.now() - started > MAX_DELAY {
                    delays = backoff();
                }
                failure
            }
            Err(failure) => {
                // The polling task logs other failures. Only this task sees a refused subscription.
                if logged.add(failure.reason) && failure.reason == Reason::Noperm {
                    warn!(
                        sentinel = %endpoint,
                        detail = failure.detail,
                        "cannot subscribe to Sentinel events, changes are detected by polls only"
                    );
                }
                failure
            }
        };
        debug!(sentinel = %endpoint, %failure, "not subscribed to Sentinel events");
        if matches!(failure.reason, Reason::Noperm | Reason::Unsupported) {
            let _ = run_id.changed().await;
        }
        sleep(delays.next().unwrap_or(MAX_DELAY)).await;
    }
}

/// Forwards messages until the connection fails.
async fn forward_messages(
    mut subscription: Subscription,
    context: &PollerContext,
    messages: &mpsc::Sender<PubSubMessage>,
) -> Failure {
    loop {
        match subscription.next().await {
            Ok(SubscriptionMessage::Published { channel, payload }) => {
                let message = PubSubMessage::new(context.clock.wall(), channel, payload);
                if messages.send(message).await.is_err() {
                    // The Sentinel is no longer used, so this task is being aborted.
                    std::future::pending::<()>().await;
                }
            }
            Ok(SubscriptionMessage::Missed(missed)) => {
                warn!(missed, "too many Sentinel events, dropping some");
            }
            Err(failure) => return failure,
        }
    }
}
