//! Offset of the last write of a node.

use snapshot::NodeSnapshot;

/// The offset in a node's stream that no write was seen beyond. `before` is the answer before, and the offset then, if it is one process.
pub(crate) fn last_write(before: Option<(&NodeSnapshot, u64)>, now: &NodeSnapshot) -> Option<u64> {
    let changes = |snapshot: &NodeSnapshot| snapshot.persistence.rdb.changes;
    let before = before.filter(|(before, _)| before.replication.replid == now.replication.replid);
    let unchanged =
        before.filter(|(before, _)| changes(before).is_some() && changes(before) == changes(now));
    unchanged.map(|(_, written)| written).or(now.replication.offset)
}
