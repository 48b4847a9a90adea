//! Verdict about the primary: which of the nodes that claim the role of master it is, according to
//! the evidence, and if the evidence contradicts itself.

use crate::model::node_index::NodeIndex;
use crate::model::shard::{PrimaryEvidence, PrimaryStatement, PrimaryView};
use crate::shard::evidence::Statements;

/// Kinds of evidence that decide, the strongest first. In a cluster, the cluster decides. A
/// majority of the Sentinels decides where there is one. The others decide between rivals, after
/// them lineage. The previous primary is shown, but never decides. A declaration knows no failover:
/// it does not decide against a successor.
const DECISION_ORDER: [PrimaryEvidence; 7] = [
    PrimaryEvidence::Cluster,
    PrimaryEvidence::Sentinel,
    PrimaryEvidence::Sole,
    PrimaryEvidence::Followers,
    PrimaryEvidence::Writers,
    PrimaryEvidence::Declared,
    PrimaryEvidence::Endpoint,
];

/// Verdict of one round.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The primary; `None` if nothing decides.
    pub(crate) primary: Option<PrimaryView>,
    /// The statements for and against it, in ascending order.
    pub(crate) statements: Vec<PrimaryStatement>,
    /// The statements contradict each other, or nothing decides between rivals of one history.
    pub(crate) disputed: bool,
    /// Sentinels are known, but no majority of them was read recently.
    pub(crate) unconfirmed: bool,
}

impl Verdict {
    /// Decides by the strongest evidence.
    pub(crate) fn decide(statements: Statements) -> Self {
        let Statements { all, successor, related, unconfirmed } = statements;
        let by = |evidence: PrimaryEvidence| {
            if evidence == PrimaryEvidence::Declared && successor.is_some() {
                return None;
            }
            let statement = all.iter().find(|statement| statement.evidence == evidence)?;
            Some(PrimaryView { node: statement.node, evidence })
        };
        let by_lineage = |node: NodeIndex| PrimaryView { node, evidence: PrimaryEvidence::Lineage };
        let primary = DECISION_ORDER.into_iter().find_map(by).or_else(|| successor.map(by_lineage));
        let favourite =
            primary.map(|primary| primary.node).or(all.first().map(|statement| statement.node));
        let contradicts = |statement: &PrimaryStatement| Some(statement.node) != favourite;
        let disputed = all.iter().any(contradicts) || (primary.is_none() && related);
        Verdict { primary, statements: all, disputed, unconfirmed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PrimaryEvidence::{
        Cluster, Declared, Endpoint, Followers, Lineage, Previous, Sentinel, Sole, Writers,
    };

    /// Decides about statements of the form (node, evidence) between related rivals.
    fn decide(statements: &[(usize, PrimaryEvidence)], successor: Option<usize>) -> Verdict {
        let mut all: Vec<_> = statements
            .iter()
            .map(|(node, evidence)| PrimaryStatement {
                node: NodeIndex::new(*node),
                evidence: *evidence,
            })
            .collect();
        all.sort_unstable();
        let successor = successor.map(NodeIndex::new);
        Verdict::decide(Statements { all, successor, related: true, unconfirmed: false })
    }

    fn primary(verdict: &Verdict) -> Option<(usize, PrimaryEvidence)> {
        verdict.primary.map(|primary| (primary.node.get(), primary.evidence))
    }

    #[test]
    fn each_kind_of_evidence_outweighs_the_following_ones() {
        let order = [Cluster, Sentinel, Followers, Writers, Declared, Endpoint];
        for (position, evidence) in order.into_iter().enumerate() {
            let mut statements = vec![(0, evidence), (1, Previous), (1, Lineage)];
            statements.extend(order[position + 1..].iter().map(|weaker| (1, *weaker)));
            let verdict = decide(&statements, None);
            assert_eq!((primary(&verdict), verdict.disputed), (Some((0, evidence)), true));
        }
    }

    #[test]
    fn a_declaration_does_not_outweigh_a_successor() {
        let verdict = decide(&[(0, Declared), (1, Lineage)], Some(1));
        assert_eq!((primary(&verdict), verdict.disputed), (Some((1, Lineage)), true));
        for act in [Sentinel, Followers, Writers, Endpoint] {
            let verdict = decide(&[(0, act), (1, Lineage)], Some(1));
            assert_eq!((primary(&verdict), verdict.disputed), (Some((0, act)), true));
        }
    }

    #[test]
    fn lineage_decides_only_for_a_successor() {
        let statements = [(1, Lineage)];
        let verdict = decide(&statements, Some(1));
        assert_eq!((primary(&verdict), verdict.disputed), (Some((1, Lineage)), false));
        assert_eq!(primary(&decide(&statements, None)), None);
    }

    #[test]
    fn the_previous_primary_never_decides() {
        let verdict = decide(&[(0, Previous)], None);
        assert_eq!((primary(&verdict), verdict.disputed), (None, true));
    }

    #[test]
    fn rivals_that_nothing_tells_apart_are_a_dispute() {
        let verdict = decide(&[(0, Previous), (1, Lineage)], None);
        assert_eq!((primary(&verdict), verdict.disputed), (None, true));
        let unrelated = Statements::default();
        assert_eq!(Verdict::decide(unrelated), Verdict::default());
    }

    #[test]
    fn evidence_that_agrees_is_no_dispute() {
        let verdict = decide(&[(0, Sentinel), (0, Followers), (0, Writers), (0, Previous)], None);
        assert_eq!((primary(&verdict), verdict.disputed), (Some((0, Sentinel)), false));
        let verdict = decide(&[(2, Sole), (2, Previous), (2, Declared)], None);
        assert_eq!((primary(&verdict), verdict.disputed), (Some((2, Sole)), false));
    }
}
