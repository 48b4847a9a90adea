//! Findings about Sentinels that do not reach the primary.

use super::FindingsCollector;
use crate::model::finding::evidence::SentinelCannotReachEvidence;
use crate::model::finding::{Evidence, Severity};
use crate::model::sentinels::{SentinelsView, UnreachedPrimary, UnreachedReason};

impl FindingsCollector<'_> {
    /// Checks for Sentinels that consider the primary down, although it replies to Rolecall.
    pub(super) fn check_reach(&mut self, sentinels: &SentinelsView) {
        let cannot_reach = &sentinels.cannot_reach;
        let Some(primary) = cannot_reach.primary else { return };
        let unreached: Vec<_> = cannot_reach.lasting().collect();
        let Some(longest) = unreached.iter().map(|unreached| unreached.lasted).max() else {
            return;
        };
        let reasons = most_frequent_first(&unreached);
        let name = |unreached: &&UnreachedPrimary| {
            let name = self.view.name(unreached.sentinel);
            if reasons.len() > 1 {
                format!("{name} ({})", unreached.reason.label())
            } else {
                name.to_owned()
            }
        };
        let evidence = SentinelCannotReachEvidence {
            primary: self.view.name(primary).to_owned(),
            sentinels: unreached.iter().map(name).collect(),
            known: sentinels.statements.len(),
            error_codes: cannot_reach.error_codes.clone(),
            lasted: longest,
            reasons,
        };
        self.add(Severity::Warning, None, Evidence::RedisSentinelCannotReach(evidence));
    }
}

/// Returns the reasons of some Sentinels, that of the most Sentinels first.
fn most_frequent_first(unreached: &[&UnreachedPrimary]) -> Vec<UnreachedReason> {
    use UnreachedReason::{Auth, ErrorReply, Misconf, Network};
    let count = |reason: &UnreachedReason| {
        unreached.iter().filter(|unreached| unreached.reason == *reason).count()
    };
    let mut reasons: Vec<_> = [Auth, Misconf, ErrorReply, Network]
        .into_iter()
        .filter(|reason| count(reason) > 0)
        .collect();
    reasons.sort_by_key(|reason| std::cmp::Reverse(count(reason)));
    reasons
}
