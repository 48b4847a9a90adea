//! Log lines of events.

use topology::{Event, EventKind, RoundResult};
use tracing::{info, warn};

/// Limit of the nodes that join or leave in one round and have a line each. A cluster may give all
/// of its nodes other names in each round.
const MAX_MEMBERSHIP_LINES: usize = 20;

/// Logs one line for each event of a round, and the number of further nodes that joined or left.
pub(crate) fn log(result: &RoundResult) {
    let deployment = &result.view.deployment.name;
    let (events, more) = logged(&result.events);
    for event in events {
        log_event(deployment, event);
    }
    if more > 0 {
        info!(deployment, "and {more} more nodes joined or left");
    }
}

/// Returns the events that have a line of their own, and the number of the others.
fn logged(events: &[Event]) -> (Vec<&Event>, usize) {
    let is_membership =
        |event: &&Event| matches!(event.kind, EventKind::NodeDiscovered | EventKind::NodeGone);
    let mut left = MAX_MEMBERSHIP_LINES;
    let is_logged = |event: &&Event| {
        if !is_membership(event) {
            return true;
        }
        let is_logged = left > 0;
        left = left.saturating_sub(1);
        is_logged
    };
    let total = events.len();
    let events: Vec<_> = events.iter().filter(is_logged).collect();
    let more = total - events.len();
    (events, more)
}

/// Logs one event. Events that may need attention are warnings.
fn log_event(deployment: &str, event: &Event) {
    let (node, kind) = (event.node.as_deref(), event.kind.label());
    macro_rules! log {
        ($level:ident, $($fields_and_message:tt)+) => {
            $level!(deployment, node, event = kind, $($fields_and_message)+)
        };
    }
    match &event.kind {
        EventKind::NodeUnreachable { reason, state } => {
            log!(warn, reason = reason.label(), state = state.label(), "node unreachable");
        }
        EventKind::NodeBack { down } => {
            log!(info, seconds = down.as_secs_f64(), "node reachable again");
        }
        EventKind::Restarted => log!(warn, "node restarted"),
        EventKind::NodeReplaced => log!(warn, "node replaced by another server"),
        EventKind::RoleChanged { from, to } => {
            log!(warn, from = from.label(), to = to.label(), "role changed");
        }
        EventKind::LinkDropped => log!(warn, "replication link down"),
        EventKind::LinkRestored { down } => {
            log!(info, seconds = down.as_secs_f64(), "replication link restored");
        }
        EventKind::PrimaryChanged { from, to, cause } => {
            log!(warn, from, to, cause = cause.label(), "primary changed");
        }
        EventKind::PrimaryLost { why } => log!(warn, why = why.label(), "primary lost"),
        EventKind::PrimaryRegained => log!(info, "primary regained"),
        EventKind::SplitBrainBegan { masters } => {
            log!(warn, masters = masters.join(","), "split brain began");
        }
        EventKind::SplitBrainEnded { lasted, unreplicated_writes, unreplicated_bytes } => {
            let seconds = lasted.as_secs_f64();
            let lost = unreplicated_writes.to_string();
            log!(warn, seconds, lost_changes = lost, unreplicated_bytes, "split brain ended");
        }
        EventKind::PrimaryDisputed { witnesses } => {
            log!(warn, witnesses = witnesses.join(", "), "primary disputed");
        }
        EventKind::PrimaryUndisputed { witnesses } => {
            log!(info, witnesses = witnesses.join(", "), "primary undisputed");
        }
        EventKind::FullResync => log!(info, "full resync completed"),
        EventKind::AofWriteFailed => log!(warn, "AOF write failed"),
        EventKind::AofWriteRecovered => log!(info, "AOF write recovered"),
        EventKind::AofRewriteFailed => log!(warn, "AOF rewrite failed"),
        EventKind::StatsReset => log!(info, "server statistics reset"),
        EventKind::Reconfigured { command } => log!(info, command, "topology command executed"),
        EventKind::ClientsPaused => log!(warn, "clients paused by CLIENT PAUSE"),
        EventKind::LaggingPromotion { bytes } => {
            log!(warn, bytes, "promoted replica lacked data of the previous primary");
        }
        EventKind::DatasetReplaced { from, keys_before, keys_after } => {
            log!(warn, from, keys_before, keys_after, "data set replaced by a foreign one");
        }
        EventKind::NodeDiscovered => log!(info, "node discovered"),
        EventKind::NodeGone => log!(info, "node left the deployment"),
        EventKind::SentinelEvent { channel, payload } => {
            log!(info, channel, payload, "received Sentinel event");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn nodes_that_join_or_leave_have_few_lines() {
        let event = |node: usize, kind: EventKind| Event {
            at: SystemTime::UNIX_EPOCH,
            shard: None,
            node: Some(format!("n{node}")),
            kind,
        };
        let mut events: Vec<_> = (0..1000)
            .flat_map(|node| [EventKind::NodeDiscovered, EventKind::NodeGone].map(|k| (node, k)))
            .map(|(node, kind)| event(node, kind))
            .collect();
        events.push(event(0, EventKind::Restarted));
        let (lines, more) = logged(&events);
        assert_eq!((lines.len(), more), (MAX_MEMBERSHIP_LINES + 1, 1980));
        assert_eq!(lines.last().map(|event| event.kind.label()), Some("restarted"));
        let (lines, more) = logged(&events[..20]);
        assert_eq!((lines.len(), more), (20, 0));
    }
}
