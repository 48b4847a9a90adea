//! One log line for each event.

use tracing::{info, warn};

use topology::{EventKind, Step};

/// Logs what changed in a round.
pub(super) fn log(step: &Step) {
    let deployment = &step.view.deployment.name;
    for event in &step.events {
        let node = event.node.as_deref();
        let kind = event.kind.label();
        match event.kind {
            EventKind::NodeUnreachable { reason } => warn!(deployment, node, event = kind, reason = reason.label(), "node does not answer"),
            EventKind::NodeBack { down } => info!(deployment, node, event = kind, seconds = down.as_secs_f64(), "node answers again"),
            EventKind::Restarted => warn!(deployment, node, event = kind, "node restarted"),
            EventKind::NodeReplaced => warn!(deployment, node, event = kind, "another server answers as this node"),
            EventKind::RoleChanged { from, to } => {
                warn!(deployment, node, event = kind, from = from.label(), to = to.label(), "node changed its role");
            }
            EventKind::LinkDropped => warn!(deployment, node, event = kind, "replica lost its master"),
            EventKind::LinkRestored { down } => {
                info!(deployment, node, event = kind, seconds = down.as_secs_f64(), "link to the master is no longer down");
            }
            EventKind::AofWriteFailed => warn!(deployment, node, event = kind, "append-only file cannot be written"),
            EventKind::AofWriteRecovered => info!(deployment, node, event = kind, "append-only file is written again"),
        }
    }
}
