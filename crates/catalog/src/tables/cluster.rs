//! What a cluster node says of the cluster, in CLUSTER INFO.

use crate::row::Legacy::{Gauge, No};
use crate::row::NodeRow;

pub(super) const ROWS: &[NodeRow] = &[
    NodeRow::field("redis_cluster_enabled", "cluster", "cluster_enabled", "Whether the server is a cluster node."),
    NodeRow::cluster("redis_cluster_state", "cluster_state", "Whether the node sees the cluster as working; one that is cut off does not.")
        .ok(),
    NodeRow::cluster("redis_cluster_slots_assigned", "cluster_slots_assigned", "Slots that belong to a node."),
    NodeRow::cluster("redis_cluster_slots_ok", "cluster_slots_ok", "Slots of nodes that work."),
    NodeRow::cluster("redis_cluster_slots_pfail", "cluster_slots_pfail", "Slots of nodes that may have failed."),
    NodeRow::cluster("redis_cluster_slots_fail", "cluster_slots_fail", "Slots of nodes that have failed."),
    NodeRow::cluster("redis_cluster_known_nodes", "cluster_known_nodes", "Nodes that the node knows, those that are gone included."),
    NodeRow::cluster("redis_cluster_size", "cluster_size", "Masters with slots."),
    NodeRow::cluster("redis_cluster_current_epoch", "cluster_current_epoch", "Epoch of the cluster; each failover raises it."),
    NodeRow::cluster("redis_cluster_my_epoch", "cluster_my_epoch", "Epoch of the node's own slots."),
    NodeRow::cluster("redis_cluster_messages_sent_total", "cluster_stats_messages_sent", "Messages sent on the cluster's bus.")
        .legacy(Gauge("redis_cluster_messages_sent_total")),
    NodeRow::cluster("redis_cluster_messages_received_total", "cluster_stats_messages_received", "Messages received on the cluster's bus.")
        .legacy(Gauge("redis_cluster_messages_received_total")),
    NodeRow::cluster(
        "redis_cluster_links_buffer_limit_exceeded_total",
        "total_cluster_links_buffer_limit_exceeded",
        "Links of the cluster's bus cut off because of their buffer.",
    )
    .legacy(No),
];
