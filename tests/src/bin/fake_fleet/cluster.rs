//! Replies to CLUSTER NODES and CLUSTER INFO.

use std::fmt::Write as _;
use std::io::Write as _;

use tests::{Shape, address};

use crate::{Node, id};

/// Number of slots of a cluster.
const SLOTS: usize = 16_384;

/// Distinguishes IDs of cluster nodes from other IDs.
const CLUSTER_NODE: u64 = 3;

/// The map of the cluster, which all nodes share except for the flag `myself`.
pub(crate) struct ClusterMap {
    text: String,
    /// Position of the flags of each node.
    flags: Vec<usize>,
}

impl ClusterMap {
    /// Creates the map; an empty one for other shapes.
    pub(crate) fn new(shape: Shape, nodes: usize, port: u16) -> Self {
        let (mut text, mut flags) = (String::new(), Vec::new());
        let nodes = if shape == Shape::Cluster { nodes } else { 0 };
        let shards = nodes / 2;
        for node in 0..nodes {
            let master = shape.master(node, nodes);
            let bus = usize::from(port) + 10_000;
            write!(text, "{} {}:{port}@{bus} ", id(node, CLUSTER_NODE), address(node))
                .expect("writing to a string cannot fail");
            flags.push(text.len());
            let epoch = master + 1;
            let line = if node == master {
                let (first, end) = (SLOTS * node / shards, SLOTS * (node + 1) / shards);
                format!("master - 0 0 {epoch} connected {first}-{}\n", end - 1)
            } else {
                format!("slave {} 0 0 {epoch} connected\n", id(master, CLUSTER_NODE))
            };
            text += &line;
        }
        ClusterMap { text, flags }
    }

    /// Appends the map as one node reports it.
    pub(crate) fn write(&self, node: usize, body: &mut Vec<u8>) {
        let Some(flags) = self.flags.get(node) else { return };
        let (before, after) = self.text.split_at(*flags);
        for part in [before, "myself,", after] {
            body.extend(part.as_bytes());
        }
    }
}

impl Node<'_> {
    /// Appends the reply to CLUSTER INFO.
    pub(crate) fn write_cluster_info(self, body: &mut Vec<u8>) {
        let nodes = self.fleet.nodes;
        let (shards, epoch) = (nodes / 2, self.master() + 1);
        write!(
            body,
            "cluster_state:ok\r\ncluster_slots_assigned:{SLOTS}\r\ncluster_slots_ok:{SLOTS}\r\n\
             cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:{nodes}\r\n\
             cluster_size:{shards}\r\ncluster_current_epoch:{shards}\r\n\
             cluster_my_epoch:{epoch}\r\ncluster_stats_messages_sent:{sent}\r\n\
             cluster_stats_messages_received:{sent}\r\n\
             total_cluster_links_buffer_limit_exceeded:0\r\n",
            sent = 1000 + self.seconds * 10,
        )
        .expect("writing to memory cannot fail");
    }
}
