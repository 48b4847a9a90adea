//! One log line for each event.

use topology::{EventKind, RoundResult};
use tracing::{info, warn};

/// Logs what changed in a round. What may need a person is a warning.
pub(super) fn log(step: &RoundResult) {
    let deployment = &step.view.deployment.name;
    for event in &step.events {
        let node = event.node.as_deref();
        let kind = event.kind.label();
        match &event.kind {
            EventKind::NodeUnreachable { reason } => warn!(
                deployment,
                node,
                event = kind,
                reason = reason.label(),
                "node does not answer"
            ),
            EventKind::NodeBack { down } => info!(
                deployment,
                node,
                event = kind,
                seconds = down.as_secs_f64(),
                "node answers again"
            ),
            EventKind::Restarted => warn!(deployment, node, event = kind, "node restarted"),
            EventKind::NodeReplaced => {
                warn!(deployment, node, event = kind, "another server answers as this node");
            }
            EventKind::RoleChanged { from, to } => {
                warn!(
                    deployment,
                    node,
                    event = kind,
                    from = from.label(),
                    to = to.label(),
                    "node changed its role"
                );
            }
            EventKind::LinkDropped => {
                warn!(deployment, node, event = kind, "replica lost its master");
            }
            EventKind::LinkRestored { down } => {
                info!(
                    deployment,
                    node,
                    event = kind,
                    seconds = down.as_secs_f64(),
                    "link to the master is no longer down"
                );
            }
            EventKind::PrimaryChanged { from, to, cause } => {
                warn!(
                    deployment,
                    event = kind,
                    from,
                    to,
                    cause = cause.label(),
                    "another node is the primary"
                );
            }
            EventKind::PrimaryLost { why } => {
                warn!(deployment, event = kind, why = why.label(), "no node is primary");
            }
            EventKind::PrimaryRegained => {
                info!(deployment, event = kind, "there is a primary again");
            }
            EventKind::SplitBrainBegan { masters } => {
                warn!(
                    deployment,
                    event = kind,
                    masters = masters.join(","),
                    "several nodes claim to be master"
                );
            }
            EventKind::SplitBrainEnded { lasted, unreplicated_writes, unreplicated_bytes } => {
                let seconds = lasted.as_secs_f64();
                warn!(
                    deployment,
                    event = kind,
                    seconds,
                    unreplicated_writes,
                    unreplicated_bytes,
                    "at most one node claims to be master again"
                );
            }
            EventKind::FullResync => {
                info!(
                    deployment,
                    node,
                    event = kind,
                    "replica went through a full synchronisation"
                );
            }
            EventKind::AofWriteFailed => {
                warn!(deployment, node, event = kind, "append-only file cannot be written");
            }
            EventKind::AofWriteRecovered => {
                info!(deployment, node, event = kind, "append-only file is written again");
            }
            EventKind::AofRewriteFailed => {
                warn!(deployment, node, event = kind, "rewriting the append-only file failed");
            }
            EventKind::StatsReset => {
                info!(deployment, node, event = kind, "statistics of the server were reset");
            }
            EventKind::Reconfigured { command } => {
                info!(deployment, node, event = kind, command, "topology command ran");
            }
            EventKind::LaggingPromotion { bytes } => {
                warn!(
                    deployment,
                    node,
                    event = kind,
                    bytes,
                    "promoted without all that the primary before had written"
                );
            }
            EventKind::NodeDiscovered => info!(deployment, node, event = kind, "node was found"),
            EventKind::NodeGone => info!(
                deployment,
                node,
                event = kind,
                "node does not belong to the deployment any more"
            ),
            EventKind::SentinelEvent { channel, payload } => {
                info!(deployment, node, event = kind, channel, payload, "Sentinel announced");
            }
        }
    }
}
