//! Tracker of failovers that Sentinels started and aborted. A Sentinel that started one, or voted
//! for another one that did, starts none for twice `failover-timeout`, even if the reason is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use snapshot::DownState;

use crate::model::monotonic::Monotonic;
use crate::model::node::NodeView;
use crate::model::node_index::NodeVec;
use crate::model::round::SentinelMessage;
use crate::model::sentinels::SentinelsView;
use crate::node::process::ProcessChange;
use crate::shard::context::RoundContext;

/// A Sentinel waits for this many times `failover-timeout`. Fixed in every server.
const TIMEOUTS: u32 = 2;

/// Tracks aborted failovers.
#[derive(Debug, Default)]
pub(super) struct AttemptTracker {
    /// Failovers that run, by the label of the Sentinel that started them.
    running: BTreeMap<String, Attempt>,
    /// The last one that was aborted.
    aborted: Option<AbortedAttempt>,
}

/// A failover that a Sentinel started.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    begun: Monotonic,
    /// The Sentinels agreed that the master is down, so they voted. A failover that an operator
    /// started needs no votes, and only the Sentinel that received the command waits after it.
    automatic: bool,
}

/// An aborted failover.
#[derive(Debug, Clone, Copy)]
struct AbortedAttempt {
    begun: Monotonic,
    /// Epoch of the configuration, which a successful failover increases.
    epoch: Option<u64>,
}

impl AttemptTracker {
    /// Processes the messages of one round.
    pub(super) fn observe(
        &mut self,
        sentinels: Option<&SentinelsView>,
        nodes: &NodeVec<NodeView>,
        context: &RoundContext<'_>,
    ) {
        let epoch = sentinels.and_then(highest_epoch);
        for message in &context.round.messages {
            self.observe_message(message, epoch, sentinels, nodes, context);
        }
        // A Sentinel that restarted does not wait.
        let restarted = context.deployment.sentinels().any(|sentinel| {
            matches!(
                context.process_change(sentinel),
                Some(ProcessChange::Restarted | ProcessChange::Replaced)
            )
        });
        let is_over = |aborted: AbortedAttempt| epoch > aborted.epoch && aborted.epoch.is_some();
        if restarted || self.aborted.is_some_and(is_over) {
            self.aborted = None;
        }
    }

    fn observe_message(
        &mut self,
        message: &SentinelMessage,
        epoch: Option<u64>,
        sentinels: Option<&SentinelsView>,
        nodes: &NodeVec<NodeView>,
        context: &RoundContext<'_>,
    ) {
        let begun = Attempt {
            begun: context.now(),
            automatic: is_odown(&message.sentinel, sentinels, nodes, &context.round.messages),
        };
        match message.channel.as_str() {
            "+try-failover" => drop(self.running.insert(message.sentinel.clone(), begun)),
            "+switch-master" | "+reset-master" => {
                self.running.clear();
                self.aborted = None;
            }
            channel if channel.starts_with("-failover-abort") => {
                let attempt = self.running.remove(&message.sentinel).unwrap_or(begun);
                if attempt.automatic {
                    self.aborted = Some(AbortedAttempt { begun: attempt.begun, epoch });
                }
            }
            _ => {}
        }
    }

    /// Returns the time until the Sentinels start another failover; `None` if they do not wait.
    pub(super) fn waits_for(
        &self,
        sentinels: Option<&SentinelsView>,
        now: Monotonic,
    ) -> Option<Duration> {
        let statements = &sentinels?.statements;
        let timeout = statements.iter().map(|statement| statement.failover_timeout).max()?;
        let waited = now.since(self.aborted?.begun);
        timeout.saturating_mul(TIMEOUTS).checked_sub(waited).filter(|left| !left.is_zero())
    }
}

fn highest_epoch(sentinels: &SentinelsView) -> Option<u64> {
    sentinels.statements.iter().map(|statement| statement.epoch).max()
}

/// Returns true if a Sentinel knows that the others consider the master down too: by its last
/// reply, or by a message of this round.
fn is_odown(
    sentinel: &str,
    sentinels: Option<&SentinelsView>,
    nodes: &NodeVec<NodeView>,
    messages: &[SentinelMessage],
) -> bool {
    let statements = sentinels.map_or(&[][..], |sentinels| &sentinels.statements);
    let reports = statements.iter().any(|statement| {
        nodes[statement.sentinel].node.name == sentinel
            && statement.state == DownState::ObjectivelyDown
    });
    let announces =
        |message: &SentinelMessage| message.sentinel == sentinel && message.channel == "+odown";
    reports || messages.iter().any(announces)
}
