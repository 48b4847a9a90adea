//! Branches of replication histories: the offset at which each history left the one before.

use std::collections::VecDeque;

use snapshot::Replication;

/// The largest number of stored branches. Each promotion adds one.
const MAX_BRANCHES: usize = 32;

/// The largest number of histories of one chain.
const MAX_GENERATIONS: usize = 8;

/// The branches of the histories of one shard. A server reports only the branch of its own history,
/// and forgets it when it is promoted again, demoted or restarted.
#[derive(Debug, Default)]
pub(crate) struct Branches(VecDeque<Branch>);

/// Start of a history.
#[derive(Debug)]
struct Branch {
    id: Box<str>,
    /// The history before.
    parent: Box<str>,
    /// The last offset that both have in common.
    offset: u64,
}

/// A history and those that it continues, each with the last offset that it has in common with the
/// first one.
#[derive(Debug)]
struct Ancestry<'a>(Vec<(&'a str, u64)>);

/// The histories that the data of two nodes belonged to.
#[derive(Debug)]
pub(crate) struct CommonHistories<'a> {
    own: Ancestry<'a>,
    other: Ancestry<'a>,
}

impl Branches {
    /// Remembers the branch that a master reports.
    pub(crate) fn observe(&mut self, replication: &Replication) {
        let (Some(id), Some(parent), Some(second_offset)) =
            (&replication.replid, &replication.replid2, replication.second_offset)
        else {
            return;
        };
        if id == parent {
            return;
        }
        // `second_repl_offset` is the first offset of the new history.
        let offset = second_offset.saturating_sub(1);
        if let Some(known) = self.0.iter_mut().find(|known| known.id == *id) {
            // Contradictory reports: the one with the earlier end excludes no lost change.
            if (offset, parent) < (known.offset, &known.parent) {
                (known.offset, known.parent) = (offset, parent.clone());
            }
            return;
        }
        self.0.push_back(Branch { id: id.clone(), parent: parent.clone(), offset });
        if self.0.len() > MAX_BRANCHES {
            self.0.pop_front();
        }
    }

    /// Returns the histories that two nodes have in common, by their present ones.
    pub(crate) fn common<'a>(&'a self, own: &'a str, other: &'a str) -> CommonHistories<'a> {
        CommonHistories { own: self.ancestry(own), other: self.ancestry(other) }
    }

    /// Returns the histories that this one continues, itself first.
    fn ancestry<'a>(&'a self, id: &'a str) -> Ancestry<'a> {
        let mut chain = vec![(id, u64::MAX)];
        while let Some((last, limit)) = chain.last().copied()
            && chain.len() < MAX_GENERATIONS
            && let Some(branch) = self.0.iter().find(|branch| *branch.id == *last)
        {
            chain.push((&branch.parent, branch.offset.min(limit)));
        }
        Ancestry(chain)
    }
}

impl Ancestry<'_> {
    /// Returns the last offset of a history that belongs to this one; `None` if none does.
    fn limit(&self, history: &str) -> Option<u64> {
        self.0.iter().find(|(id, _)| *id == history).map(|(_, limit)| *limit)
    }
}

impl<'a> CommonHistories<'a> {
    /// Returns the last offset of a history up to which the nodes have the same data. It is a
    /// history of the other node; `None` for all others.
    pub(crate) fn limit(&self, history: &str) -> Option<u64> {
        let limit = self.other.limit(history)?;
        Some(self.own.limit(history).map_or(limit, |own| own.min(limit)))
    }

    /// Returns the newest history that the present histories of both nodes continue, and its last
    /// common offset.
    pub(crate) fn newest(&self) -> Option<(&'a str, u64)> {
        self.own.0.iter().find_map(|(id, _)| Some((*id, self.limit(id)?)))
    }

    /// Returns true if a history of the node is the newest common one, or continues it.
    pub(crate) fn is_since_newest(&self, history: &str) -> bool {
        let newest = self.newest().map(|(id, _)| id);
        let position = |id: &str| self.own.0.iter().position(|(own, _)| *own == id);
        let newest = newest.and_then(position);
        newest.is_some_and(|newest| position(history).is_some_and(|own| own <= newest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(id: &str, parent: &str, second_offset: u64) -> Replication {
        Replication {
            replid: Some(id.into()),
            replid2: Some(parent.into()),
            second_offset: Some(second_offset),
            ..Replication::default()
        }
    }

    #[test]
    fn an_ancestry_spans_several_promotions() {
        let mut branches = Branches::default();
        branches.observe(&history("b", "a", 101));
        branches.observe(&history("c", "b", 201));
        // The server was restarted: its own memory has one generation.
        branches.observe(&history("c", "x", 301));
        let ancestry = branches.ancestry("c");
        let limits = ["c", "b", "a", "x"].map(|id| ancestry.limit(id));
        assert_eq!(limits, [Some(u64::MAX), Some(200), Some(100), None]);
    }

    #[test]
    fn the_number_of_branches_is_bounded() {
        let mut branches = Branches::default();
        for number in 0..1000 {
            branches.observe(&history(&format!("{}", number + 1), &number.to_string(), 1));
        }
        assert_eq!(branches.0.len(), MAX_BRANCHES);
        assert_eq!(branches.ancestry("1000").0.len(), MAX_GENERATIONS);
    }
}
