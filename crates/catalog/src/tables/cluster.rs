//! Theme `cluster`: CLUSTER INFO of each node, and the consolidated state of the cluster.

use crate::row::RedisExporterName::{Absent, AsGauge, Same};
use crate::row::{DeploymentRow, NodeRow};

/// Metrics of the whole cluster, from the replies of all nodes.
pub(super) const DEPLOYMENT: &[DeploymentRow] = &[
    DeploymentRow::value(
        "redis_cluster_ok",
        Absent,
        "CLUSTER INFO: cluster_state",
        "Whether most reachable masters with slots report cluster_state:ok; absent while unknown.",
        |view| view.cluster.as_ref()?.working().map(f64::from),
    )
    .core(),
    DeploymentRow::value(
        "redis_cluster_nodes_doubtful",
        Absent,
        "CLUSTER INFO: cluster_state",
        "Reachable nodes that report cluster_state:fail; a partitioned node reports fail on its \
         own.",
        |view| view.cluster.as_ref().map(|cluster| cluster.doubtful.len() as f64),
    )
    .core(),
    DeploymentRow::value(
        "redis_cluster_slots_uncovered",
        Absent,
        "CLUSTER INFO: cluster_slots_ok",
        "Slots that no working node serves, as reported by most reachable masters with slots; \
         absent while none answers.",
        |view| view.cluster.as_ref()?.uncovered.map(|slots| slots as f64),
    )
    .core(),
    DeploymentRow::value(
        "redis_cluster_slots_conflicting",
        Absent,
        "CLUSTER NODES: slots of myself",
        "Slots that two masters report as their own; slots of a partitioned master that was \
         replaced are not counted.",
        |view| view.cluster.as_ref().map(|cluster| cluster.conflicts as f64),
    )
    .core(),
    DeploymentRow::value(
        "redis_cluster_slots_migrating",
        Absent,
        "CLUSTER NODES: slots of myself",
        "Slots that reachable masters report as migrating or importing; each slot counts once.",
        |view| view.cluster.as_ref().map(|cluster| cluster.open_slots.len() as f64),
    )
    .core(),
    DeploymentRow::value(
        "redis_cluster_open_slot_seconds",
        Absent,
        "CLUSTER NODES: slots of myself",
        "Time since Rolecall first saw the oldest migrating or importing slot, seconds; absent \
         without such a slot.",
        |view| {
            let since = view.cluster.as_ref()?.open_since()?;
            Some(view.now.since(since).as_secs_f64())
        },
    )
    .core(),
    DeploymentRow::value(
        "redis_cluster_foreign_masters_total",
        Absent,
        "CLUSTER NODES: slots, configuration epochs; INFO replication, keyspace, commandstats",
        "Masters that joined the cluster with keys of an unknown history and took slots of other \
         masters: two clusters met.",
        |view| view.cluster.as_ref().map(|_| view.foreign_masters.total as f64),
    )
    .core(),
    DeploymentRow::value(
        "redis_cluster_nodes_misjudged",
        Absent,
        "CLUSTER NODES: flags; INFO replication: role",
        "Nodes that report another role than other nodes report for them.",
        |view| view.cluster.as_ref().map(|cluster| cluster.misjudged.len() as f64),
    ),
    DeploymentRow::value(
        "redis_cluster_ghosts",
        Absent,
        "CLUSTER NODES: flags",
        "Nodes that are still listed although they have been failed for longer than ghost_after.",
        |view| view.cluster.as_ref().map(|cluster| cluster.ghosts.len() as f64),
    ),
];

/// Metrics of a cluster node.
pub(super) const NODE: &[NodeRow] = &[
    NodeRow::field(
        "redis_cluster_enabled",
        Same,
        "cluster",
        "cluster_enabled",
        "Whether cluster mode is enabled.",
    ),
    NodeRow::cluster_status(
        "redis_cluster_state",
        Same,
        "cluster_state",
        "Whether the node reports cluster_state:ok; a partitioned node reports fail.",
    )
    .core(),
    NodeRow::cluster_field(
        "redis_cluster_slots_assigned",
        Same,
        "cluster_slots_assigned",
        "Slots that are assigned to a node.",
    ),
    NodeRow::cluster_field(
        "redis_cluster_slots_ok",
        Same,
        "cluster_slots_ok",
        "Slots of nodes that are not in state pfail or fail.",
    ),
    NodeRow::cluster_field(
        "redis_cluster_slots_pfail",
        Same,
        "cluster_slots_pfail",
        "Slots of nodes in state pfail.",
    ),
    NodeRow::cluster_field(
        "redis_cluster_slots_fail",
        Same,
        "cluster_slots_fail",
        "Slots of nodes in state fail.",
    )
    .core(),
    NodeRow::cluster_field(
        "redis_cluster_known_nodes",
        Same,
        "cluster_known_nodes",
        "Nodes that the node knows, failed nodes included.",
    ),
    NodeRow::cluster_field("redis_cluster_size", Same, "cluster_size", "Masters with slots."),
    NodeRow::cluster_field(
        "redis_cluster_current_epoch",
        Same,
        "cluster_current_epoch",
        "Current epoch of the cluster; each failover increases it.",
    ),
    NodeRow::cluster_field(
        "redis_cluster_my_epoch",
        Same,
        "cluster_my_epoch",
        "Config epoch of the node.",
    )
    .core(),
    NodeRow::cluster_field(
        "redis_cluster_messages_sent_total",
        AsGauge("redis_cluster_messages_sent_total"),
        "cluster_stats_messages_sent",
        "Messages sent over the cluster bus.",
    ),
    NodeRow::cluster_field(
        "redis_cluster_messages_received_total",
        AsGauge("redis_cluster_messages_received_total"),
        "cluster_stats_messages_received",
        "Messages received over the cluster bus.",
    ),
    NodeRow::cluster_field(
        "redis_cluster_links_buffer_limit_exceeded_total",
        Absent,
        "total_cluster_links_buffer_limit_exceeded",
        "Links of the cluster bus that were closed because of cluster-link-sendbuf-limit.",
    ),
];
