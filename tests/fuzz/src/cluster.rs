//! CLUSTER NODES and CLUSTER SHARDS.

use std::path::Path;

use snapshot::{ClusterMap, ClusterNode, NameKind, SLOTS, Shard};

use super::resp::first_reply;
use super::seeds;
use super::text::check_name;

pub(super) fn check(input: &[u8]) {
    check_map(&ClusterMap::parse(&String::from_utf8_lossy(input)));
    if let Some(reply) = first_reply(input) {
        if let Some(text) = reply.text() {
            check_map(&ClusterMap::parse(text));
        }
        let shards = Shard::parse_list(&reply);
        assert!(shards.len() <= 4096);
        shards.iter().for_each(check_shard);
    }
}

fn check_map(map: &ClusterMap) {
    assert!(map.nodes.len() <= 4096);
    let myself = map.myself().map(std::ptr::from_ref);
    let mut served_by_others = 0;
    let mut open = 0;
    for node in &map.nodes {
        check_node(node);
        let served = check_slots(&node.slots);
        if myself != Some(std::ptr::from_ref(node)) {
            served_by_others += served;
        }
        open += node.open_slots.len();
    }
    assert!(served_by_others <= usize::from(SLOTS), "{served_by_others} slots");
    assert!(open <= usize::from(SLOTS), "{open} open slots");
    let lines: Vec<_> = map.nodes.iter().map(ClusterNode::line).collect();
    assert_eq!(ClusterMap::parse(&lines.join("\n")).nodes, map.nodes, "{lines:?}");
}

fn check_node(node: &ClusterNode) {
    assert!(!node.id.is_empty());
    check_name(NameKind::ClusterId, &node.id);
    check_name(NameKind::Host, &node.host);
    node.hostname.iter().for_each(|name| check_name(NameKind::Host, name));
    node.master.iter().for_each(|id| check_name(NameKind::ClusterId, id));
    assert!(node.flags.len() <= 16);
    node.flags.iter().for_each(|flag| check_name(NameKind::ClusterFlag, flag));
    for open in &node.open_slots {
        assert!(open.slot < SLOTS);
        check_name(NameKind::ClusterId, &open.peer);
    }
}

/// Checks that ranges are valid, disjoint and in order. Returns the number of their slots.
fn check_slots(slots: &[(u16, u16)]) -> usize {
    assert!(slots.iter().all(|(first, last)| first <= last && *last < SLOTS), "{slots:?}");
    assert!(slots.windows(2).all(|pair| pair[0].1 < pair[1].0), "{slots:?}");
    slots.iter().map(|(first, last)| usize::from(last - first) + 1).sum()
}

fn check_shard(shard: &Shard) {
    check_slots(&shard.slots);
    assert!(shard.nodes.len() <= 4096);
    for node in &shard.nodes {
        check_name(NameKind::ClusterId, &node.id);
        check_name(NameKind::Host, &node.ip);
        check_name(NameKind::LabelValue, &node.health);
        for name in node.endpoint.iter().chain(&node.hostname) {
            check_name(NameKind::Host, name);
        }
    }
}

pub(super) fn seeds(root: &Path) -> Vec<Vec<u8>> {
    let mut seeds = seeds::texts(root, &["CLUSTER NODES"]);
    seeds.extend(seeds::replies(root, &["CLUSTER SHARDS"]));
    let conflict = "a 10.0.0.5:1@0,h myself,master - 0 0 4 connected 0-100 [93->-b] [94-<-c]\n\
        b [::1]:2@0 master - 0 0 3 connected 50-150 7\n\
        c :0@0 slave,noaddr,fail? a 0 5 5 disconnected 40-99 200 16383\n";
    seeds.push(conflict.as_bytes().to_vec());
    seeds
}
