//! Choice among the replicas that may be promoted.

use std::time::Duration;

use crate::model::node_index::NodeIndex;

/// A replica that may be promoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contender {
    pub(super) node: NodeIndex,
    /// The setting `replica-priority`: lower ones come first. The same for all in a cluster.
    pub(super) priority: u64,
    /// Replication offset, bytes.
    pub(super) offset: u64,
    pub(super) run_id: Box<str>,
    /// The link is up: the offset rises.
    pub(super) live: bool,
    /// Time behind the primary, if it is known.
    pub(super) behind: Option<Duration>,
}

/// Rule for replicas with equal priority and offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TieBreak {
    /// The lowest `run_id` wins, as Sentinels choose.
    RunId,
    /// Chance decides, as in a cluster.
    Chance,
}

/// Returns the replicas of which one would be promoted, in ascending order. Offsets of links that
/// are up rise and are not read at the same moment, so they only decide against a replica that is
/// behind for longer than `tolerance`.
pub(super) fn choose(
    mut contenders: Vec<Contender>,
    tie: TieBreak,
    tolerance: Duration,
) -> Vec<NodeIndex> {
    let best = contenders.iter().map(|contender| contender.priority).min();
    contenders.retain(|contender| Some(contender.priority) == best);
    let is_live = contenders.iter().any(|contender| contender.live);
    let mut chosen =
        if is_live { ahead_of_live(contenders, tolerance) } else { furthest(contenders, tie) };
    chosen.sort_unstable();
    chosen
}

/// Returns the replicas that no replica with a link is certainly ahead of.
fn ahead_of_live(contenders: Vec<Contender>, tolerance: Duration) -> Vec<NodeIndex> {
    let live = contenders.iter().filter(|contender| contender.live);
    let furthest = live.map(|contender| contender.offset).max().unwrap_or_default();
    let may_win = |contender: &Contender| {
        let is_behind = contender.behind.is_some_and(|behind| behind > tolerance);
        contender.offset >= furthest || (contender.live && !is_behind)
    };
    contenders.into_iter().filter(may_win).map(|contender| contender.node).collect()
}

/// Returns the replicas with the highest offset, or the one that the tie break selects of them.
fn furthest(mut contenders: Vec<Contender>, tie: TieBreak) -> Vec<NodeIndex> {
    let furthest = contenders.iter().map(|contender| contender.offset).max();
    contenders.retain(|contender| Some(contender.offset) == furthest);
    if tie == TieBreak::RunId {
        contenders.sort_by(|a, b| a.run_id.cmp(&b.run_id));
        contenders.truncate(1);
    }
    contenders.into_iter().map(|contender| contender.node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contender(node: usize, priority: u64, offset: u64, live: bool) -> Contender {
        Contender {
            node: NodeIndex::new(node),
            priority,
            offset,
            run_id: format!("{}", 9 - node).into(),
            live,
            behind: Some(Duration::ZERO),
        }
    }

    fn chosen(contenders: &[Contender], tie: TieBreak) -> Vec<usize> {
        let chosen = choose(contenders.to_vec(), tie, Duration::from_secs(3));
        chosen.into_iter().map(NodeIndex::get).collect()
    }

    #[test]
    fn the_priority_decides_before_the_offset() {
        let contenders = [
            contender(1, 100, 900, true),
            contender(2, 10, 5, false),
            contender(3, 100, 900, true),
        ];
        assert_eq!(chosen(&contenders, TieBreak::RunId), [2]);
    }

    #[test]
    fn the_offset_decides_between_links_that_are_down() {
        let contenders =
            [contender(1, 1, 50, false), contender(2, 1, 70, false), contender(3, 1, 60, false)];
        assert_eq!(chosen(&contenders, TieBreak::RunId), [2]);
        assert_eq!(chosen(&contenders, TieBreak::Chance), [2]);
    }

    #[test]
    fn only_sentinels_decide_a_tie_by_the_run_id() {
        let contenders = [contender(1, 1, 50, false), contender(2, 1, 50, false)];
        assert_eq!(chosen(&contenders, TieBreak::RunId), [2]);
        assert_eq!(chosen(&contenders, TieBreak::Chance), [1, 2]);
    }

    #[test]
    fn rising_offsets_decide_nothing() {
        let contenders =
            [contender(1, 1, 50, true), contender(2, 1, 90, true), contender(3, 1, 40, false)];
        assert_eq!(chosen(&contenders, TieBreak::RunId), [1, 2]);
    }

    #[test]
    fn a_lagging_replica_loses_to_a_current_one() {
        let lagging =
            Contender { behind: Some(Duration::from_secs(20)), ..contender(1, 1, 50, true) };
        assert_eq!(chosen(&[lagging.clone(), contender(2, 1, 90, true)], TieBreak::RunId), [2]);
        assert_eq!(chosen(&[lagging], TieBreak::RunId), [1]);
    }
}
