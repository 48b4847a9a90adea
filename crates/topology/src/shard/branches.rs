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

/// The data that nodes have in common with one other node.
#[derive(Debug)]
pub(crate) struct CommonData<'a> {
    branches: &'a Branches,
    other: Ancestry<'a>,
}

/// The newest data that two nodes have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CommonEnd<'a> {
    /// The history that both continue.
    pub(crate) history: &'a str,
    /// The last offset of it that both have.
    pub(crate) offset: u64,
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

    /// Returns what other nodes have in common with a node, by its present history.
    pub(crate) fn common_with<'a>(&'a self, other: &'a str) -> CommonData<'a> {
        CommonData { branches: self, other: self.ancestry(other) }
    }

    /// Returns true if a history is another one, or continues it.
    pub(crate) fn continues(&self, history: &str, before: &str) -> bool {
        self.ancestry(history).limit(before).is_some()
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

impl<'a> CommonData<'a> {
    /// Returns the newest data that a node of this history has in common with the other one.
    pub(crate) fn end(&'a self, history: &'a str) -> Option<CommonEnd<'a>> {
        self.branches.ancestry(history).0.into_iter().find_map(|(id, own)| {
            let other = self.other.limit(id)?;
            Some(CommonEnd { history: id, offset: own.min(other) })
        })
    }

    /// Returns true if a history contains the data of another one up to an offset.
    pub(crate) fn contains(&self, history: &str, before: &str, offset: u64) -> bool {
        self.branches.ancestry(history).limit(before).is_some_and(|limit| offset <= limit)
    }

    /// Returns true if a history is another one, or left it without a third one in between.
    pub(crate) fn continues_directly(&self, history: &str, before: &str) -> bool {
        let mut branches = self.branches.0.iter();
        history == before
            || branches.any(|branch| *branch.id == *history && *branch.parent == *before)
    }
}

impl CommonEnd<'_> {
    /// Returns true if a node that had this in common with another one needs no later data of it to
    /// have that in common.
    pub(crate) fn explains(self, later: CommonEnd<'_>) -> bool {
        self.history == later.history && later.offset <= self.offset
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
