//! Replication offset of the last write of a node.

use snapshot::NodeSnapshot;

/// Returns the replication offset beyond which no write is known. `previous` is the previous reply
/// of the same process and the offset then.
pub(crate) fn last_write(
    previous: Option<(&NodeSnapshot, u64)>,
    now: &NodeSnapshot,
) -> Option<u64> {
    let changes = |snapshot: &NodeSnapshot| snapshot.persistence.rdb.changes;
    let is_unchanged = |previous: &NodeSnapshot| {
        previous.replication.replid == now.replication.replid
            && changes(previous).is_some()
            && changes(previous) == changes(now)
    };
    let unchanged = previous.filter(|(previous, _)| is_unchanged(previous));
    unchanged.map(|(_, offset)| offset).or(now.replication.offset)
}
