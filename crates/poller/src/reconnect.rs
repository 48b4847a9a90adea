//! Delays between the connection attempts to one node, and signs that the node is back.
//!
//! The delays grow, so that thousands of dead nodes cause few attempts. While the return of a node
//! is awaited, and after a sign that it is back, a delay ends [`SHORT_DELAY`] after the last
//! attempt. The poller of the deployment decides when this applies.

use std::collections::HashSet;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::sync::watch;
use tokio::time::sleep_until;
use topology::{DeploymentView, EventKind, NodeIndex, RoundResult, SentinelMessage, Upstream};

use crate::clock::Clock;

/// First delay between connection attempts.
const MIN_DELAY: Duration = Duration::from_millis(250);

/// Longest delay between connection attempts, without jitter.
const MAX_DELAY: Duration = Duration::from_secs(10);

/// Longest delay while the return of a node is awaited, and after a sign that it is back.
const SHORT_DELAY: Duration = Duration::from_secs(1);

/// Signs that a node is back or will be back soon.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ReturnSigns {
    /// The return of the node is awaited, because its shard has no primary.
    pub(crate) awaited: bool,
    /// Number of signs so far that the node is back.
    pub(crate) count: u64,
}

/// Delays between the connection attempts to one node.
pub(crate) struct ReconnectDelays {
    clock: Clock,
    delays: ExponentialBackoff,
    signs: watch::Receiver<ReturnSigns>,
}

impl ReconnectDelays {
    pub(crate) fn new(clock: Clock, signs: watch::Receiver<ReturnSigns>) -> Self {
        ReconnectDelays { clock, delays: backoff(), signs }
    }

    /// Starts again with the first delay.
    pub(crate) fn reset(&mut self) {
        self.delays = backoff();
    }

    /// Waits before the next connection attempt.
    pub(crate) async fn wait(&mut self) {
        let started = self.clock.now();
        let delay = self.delays.next().unwrap_or(MAX_DELAY);
        let before = self.signs.borrow_and_update().count;
        loop {
            let signs = *self.signs.borrow_and_update();
            let is_short = signs.awaited || signs.count != before;
            let end = started + if is_short { delay.min(SHORT_DELAY) } else { delay };
            tokio::select! {
                () = sleep_until(end) => return,
                changed = self.signs.changed() => {
                    if changed.is_err() {
                        // The handle is gone, so this task is being aborted.
                        return sleep_until(end).await;
                    }
                }
            }
        }
    }
}

/// Returns the delays between connection attempts.
pub(crate) fn backoff() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(MIN_DELAY)
        .with_max_delay(MAX_DELAY)
        .with_jitter()
        .without_max_times()
        .build()
}

/// Returns true if a Sentinel announces that a data node is back.
pub(crate) fn announces_return(message: &SentinelMessage) -> bool {
    let is_data_node = ["master ", "slave "].iter().any(|kind| message.payload.starts_with(kind));
    is_data_node && matches!(&*message.channel, "-sdown" | "-odown" | "+reboot")
}

/// Returns the nodes with a replication link although Rolecall has no connection to them: those to
/// which the link of a replica was restored in a round, and those that their upstream lists as
/// connected replicas.
pub(crate) fn linked_again(result: &RoundResult) -> Vec<NodeIndex> {
    let mut linked = upstreams_of_restored_links(result);
    linked.extend(attached_but_down(&result.view));
    linked
}

fn attached_but_down(view: &DeploymentView) -> Vec<NodeIndex> {
    let attached: HashSet<&str> = view
        .nodes
        .values()
        .filter(|node| node.snapshot().is_some())
        .flat_map(|node| &node.attached_replicas)
        .filter(|replica| replica.reported.is_online() == Some(true))
        .map(|replica| replica.name.as_str())
        .collect();
    let down = view.nodes.iter().filter(|(_, node)| node.up() == Some(false));
    down.filter(|(_, node)| attached.contains(node.node.name.as_str()))
        .map(|(index, _)| index)
        .collect()
}

fn upstreams_of_restored_links(result: &RoundResult) -> Vec<NodeIndex> {
    let restored = result.events.iter().filter_map(|event| match event.kind {
        EventKind::LinkRestored { .. } => event.node.as_deref(),
        _ => None,
    });
    let upstream = |name: &str| {
        let mut members = result.view.members();
        match members.find(|(_, node)| node.node.name == name)?.1.upstream {
            Upstream::Node(upstream) => Some(upstream),
            Upstream::Nothing | Upstream::Unknown(_) => None,
        }
    };
    restored.filter_map(upstream).collect()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    /// Returns delays that have grown to their maximum, and the sender of signs.
    fn grown_delays() -> (watch::Sender<ReturnSigns>, ReconnectDelays) {
        let (sender, signs) = watch::channel(ReturnSigns::default());
        let mut delays = ReconnectDelays::new(Clock::start(), signs);
        delays.delays.nth(9);
        (sender, delays)
    }

    /// Returns the duration of the next delay.
    async fn next_delay(delays: &mut ReconnectDelays) -> Duration {
        let started = delays.clock.now();
        delays.wait().await;
        delays.clock.now() - started
    }

    #[tokio::test(start_paused = true)]
    async fn delays_grow_and_are_reset() {
        let (_sender, mut delays) = grown_delays();
        assert!(next_delay(&mut delays).await >= MAX_DELAY);
        delays.reset();
        assert!(next_delay(&mut delays).await < MIN_DELAY * 3);
    }

    #[tokio::test(start_paused = true)]
    async fn delays_are_short_while_the_node_is_awaited() {
        let (sender, mut delays) = grown_delays();
        sender.send_modify(|signs| signs.awaited = true);
        for _ in 0..3 {
            let delay = next_delay(&mut delays).await;
            assert!((SHORT_DELAY..SHORT_DELAY * 2).contains(&delay), "{delay:?}");
        }
        sender.send_modify(|signs| signs.awaited = false);
        assert!(next_delay(&mut delays).await >= MAX_DELAY);
    }

    #[tokio::test(start_paused = true)]
    async fn running_delay_ends_early_but_never_within_the_short_delay() {
        for after in [100, 5000].map(Duration::from_millis) {
            let (sender, mut delays) = grown_delays();
            let (delay, ()) = tokio::join!(next_delay(&mut delays), async {
                tokio::time::sleep(after).await;
                sender.send_modify(|signs| signs.awaited = true);
            });
            let expected = after.max(SHORT_DELAY);
            assert!((expected..expected + SHORT_DELAY).contains(&delay), "{after:?}: {delay:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn sign_shortens_the_running_delay_only() {
        let (sender, mut delays) = grown_delays();
        let (delay, ()) = tokio::join!(next_delay(&mut delays), async {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_millis(10)).await;
                sender.send_modify(|signs| signs.count += 1);
            }
        });
        assert!((SHORT_DELAY..SHORT_DELAY * 2).contains(&delay), "{delay:?}");
        assert!(next_delay(&mut delays).await >= MAX_DELAY);
    }

    #[test]
    fn only_messages_about_data_nodes_announce_a_return() {
        for (channel, payload, expected) in [
            ("-sdown", "master orders 10.0.0.5 6379", true),
            ("+reboot", "master orders 10.0.0.5 6379", true),
            ("-sdown", "slave 10.0.0.6:6379 10.0.0.6 6379 @ orders 10.0.0.5 6379", true),
            ("-odown", "master orders 10.0.0.5 6379", true),
            ("+sdown", "master orders 10.0.0.5 6379", false),
            ("-sdown", "sentinel f90933ab 10.0.0.7 26379 @ orders 10.0.0.5 6379", false),
            ("+new-epoch", "1", false),
        ] {
            let message = SentinelMessage {
                at: SystemTime::UNIX_EPOCH,
                sentinel: "sentinel".into(),
                channel: channel.into(),
                payload: payload.into(),
            };
            assert_eq!(announces_return(&message), expected, "{channel} {payload}");
        }
    }
}
