//! What a cluster node says of the cluster, in CLUSTER INFO, and what all of them say together.

use crate::row::Legacy::{Gauge, No};
use crate::row::{DeploymentRow, NodeRow};

/// What all nodes of a cluster say together.
pub(super) const DEPLOYMENT: &[DeploymentRow] = &[
    DeploymentRow::one(
        "redis_cluster_ok",
        "CLUSTER INFO: cluster_state",
        "Whether the cluster works, as most masters with slots say that answer; absent while none does.",
        |view| view.cluster.as_ref()?.working().map(f64::from),
    ),
    DeploymentRow::one(
        "redis_cluster_nodes_doubtful",
        "CLUSTER INFO: cluster_state",
        "Nodes that answer and hold the cluster not to work; one that is cut off says so alone.",
        |view| view.cluster.as_ref().map(|cluster| cluster.doubtful.len() as f64),
    ),
    DeploymentRow::one(
        "redis_cluster_slots_uncovered",
        "CLUSTER INFO: cluster_slots_ok",
        "Slots that no working node serves, as most masters say; absent while none answers.",
        |view| view.cluster.as_ref()?.uncovered.map(|slots| slots as f64),
    ),
    DeploymentRow::one(
        "redis_cluster_slots_conflicting",
        "CLUSTER NODES: slots of myself",
        "Slots that two masters claim to serve, each by its own word; not those of one that was replaced while it was cut off.",
        |view| view.cluster.as_ref().map(|cluster| cluster.conflicts as f64),
    ),
    DeploymentRow::one(
        "redis_cluster_slots_migrating",
        "CLUSTER NODES: slots of myself",
        "Slots that are being given away or taken in, counted at either end.",
        |view| view.cluster.as_ref().map(|cluster| cluster.migrating as f64),
    ),
    DeploymentRow::one(
        "redis_cluster_nodes_misjudged",
        "CLUSTER NODES: flags; INFO replication: role",
        "Nodes whose own role is not the one that other nodes know.",
        |view| view.cluster.as_ref().map(|cluster| cluster.misjudged.len() as f64),
    ),
    DeploymentRow::one(
        "redis_cluster_ghosts",
        "CLUSTER NODES: flags",
        "Nodes that are listed, but have failed for longer than ghost_after.",
        |view| view.cluster.as_ref().map(|cluster| cluster.ghosts.len() as f64),
    ),
];

/// What a cluster node says of the cluster.
pub(super) const NODE: &[NodeRow] = &[
    NodeRow::field(
        "redis_cluster_enabled",
        "cluster",
        "cluster_enabled",
        "Whether the server is a cluster node.",
    ),
    NodeRow::cluster(
        "redis_cluster_state",
        "cluster_state",
        "Whether the node sees the cluster as working; one that is cut off does not.",
    )
    .ok(),
    NodeRow::cluster(
        "redis_cluster_slots_assigned",
        "cluster_slots_assigned",
        "Slots that belong to a node.",
    ),
    NodeRow::cluster("redis_cluster_slots_ok", "cluster_slots_ok", "Slots of nodes that work."),
    NodeRow::cluster(
        "redis_cluster_slots_pfail",
        "cluster_slots_pfail",
        "Slots of nodes that may have failed.",
    ),
    NodeRow::cluster(
        "redis_cluster_slots_fail",
        "cluster_slots_fail",
        "Slots of nodes that have failed.",
    ),
    NodeRow::cluster(
        "redis_cluster_known_nodes",
        "cluster_known_nodes",
        "Nodes that the node knows, those that are gone included.",
    ),
    NodeRow::cluster("redis_cluster_size", "cluster_size", "Masters with slots."),
    NodeRow::cluster(
        "redis_cluster_current_epoch",
        "cluster_current_epoch",
        "Epoch of the cluster; each failover raises it.",
    ),
    NodeRow::cluster(
        "redis_cluster_my_epoch",
        "cluster_my_epoch",
        "Epoch of the node's own slots.",
    ),
    NodeRow::cluster(
        "redis_cluster_messages_sent_total",
        "cluster_stats_messages_sent",
        "Messages sent on the cluster's bus.",
    )
    .legacy(Gauge("redis_cluster_messages_sent_total")),
    NodeRow::cluster(
        "redis_cluster_messages_received_total",
        "cluster_stats_messages_received",
        "Messages received on the cluster's bus.",
    )
    .legacy(Gauge("redis_cluster_messages_received_total")),
    NodeRow::cluster(
        "redis_cluster_links_buffer_limit_exceeded_total",
        "total_cluster_links_buffer_limit_exceeded",
        "Links of the cluster's bus cut off because of their buffer.",
    )
    .legacy(No),
];
