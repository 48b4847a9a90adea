//! Tracker of Sentinels that consider the primary down, although it replies to Rolecall.
//!
//! A Sentinel sends PING each second and considers every reply valid that is PONG, LOADING or
//! MASTERDOWN. Its record has the time of the last reply of any kind. While the record shows recent
//! replies, the primary refuses the pings; otherwise no reply arrives at the Sentinel. Errors of
//! credentials and permissions that increase at the pace of the pings show that these are refused.

use std::collections::{BTreeMap, HashMap, VecDeque};

use snapshot::{DownState, Role};

use crate::limits::{REFUSALS_COUNTED_OVER, SENTINEL_HEARD_WITHIN};
use crate::model::counters::saturating_sum;
use crate::model::monotonic::Monotonic;
use crate::model::node::NodeView;
use crate::model::node_index::{NodeIndex, NodeVec};
use crate::model::refusals::RefusalReason;
use crate::model::sentinels::{
    CannotReach, SentinelStatement, SentinelsView, UnreachedPrimary, UnreachedReason,
};
use crate::node::rising_errors::ACCESS_CODES;

/// Access errors per second that one Sentinel causes at least: half of its pings.
const ERRORS_PER_SECOND: f64 = 0.5;

/// Tracks the Sentinels of one deployment.
#[derive(Debug, Default)]
pub(crate) struct CannotReachTracker {
    /// The primary that the Sentinels consider down.
    primary: Option<NodeIndex>,
    /// The Sentinels that consider it down.
    unreached: HashMap<NodeIndex, Period>,
    /// Access errors of the primary so far by code, in recent replies.
    errors: VecDeque<(Monotonic, BTreeMap<&'static str, u64>)>,
}

/// Period in which a Sentinel considered the primary down, from the first to the last round in
/// which both replied. A missed poll does not end it.
#[derive(Debug, Clone, Copy)]
struct Period {
    first: Monotonic,
    last: Monotonic,
}

impl CannotReachTracker {
    /// Processes one round. `primary` is the primary that was identified, and `answered` tells
    /// which nodes replied in this round.
    pub(crate) fn observe(
        &mut self,
        nodes: &NodeVec<NodeView>,
        sentinels: &SentinelsView,
        primary: Option<NodeIndex>,
        answered: impl Fn(NodeIndex) -> bool,
        now: Monotonic,
    ) -> CannotReach {
        let majority = sentinels.majority.as_ref().and_then(|majority| majority.node);
        let is_master = |primary: &NodeIndex| {
            nodes[*primary].is_known_up() && nodes[*primary].role() == Some(Role::Master)
        };
        let primary = majority.or(primary).filter(is_master);
        let Some(primary) = primary else {
            *self = CannotReachTracker::default();
            return CannotReach::default();
        };
        if self.primary != Some(primary) {
            *self = CannotReachTracker { primary: Some(primary), ..CannotReachTracker::default() };
        }
        if answered(primary) {
            self.record_errors(&nodes[primary], now);
        }
        // In TILT mode a Sentinel does not update its records.
        let considers_down = |statement: &&SentinelStatement| {
            statement.node == Some(primary)
                && statement.state != DownState::Up
                && !statement.role_mismatch
                && !statement.tilt
        };
        let mut unreached: Vec<_> = sentinels.statements.iter().filter(considers_down).collect();
        let is_unreached = |sentinel: &NodeIndex| {
            unreached.iter().any(|statement| statement.sentinel == *sentinel)
        };
        self.unreached.retain(|sentinel, _| is_unreached(sentinel));
        let confirmed = unreached.iter().map(|statement| statement.sentinel);
        for sentinel in confirmed.filter(|sentinel| answered(primary) && answered(*sentinel)) {
            self.unreached.entry(sentinel).or_insert(Period { first: now, last: now }).last = now;
        }
        unreached.retain(|statement| self.unreached.contains_key(&statement.sentinel));
        if unreached.is_empty() {
            return CannotReach::default();
        }
        let refused = unreached.iter().filter(|statement| is_replied_to(statement)).count();
        let error_codes = self.rising_codes(refused);
        let sentinels = unreached
            .iter()
            .map(|statement| {
                let Period { first, last } = self.unreached[&statement.sentinel];
                UnreachedPrimary {
                    sentinel: statement.sentinel,
                    reason: reason(statement, &nodes[primary], &error_codes),
                    lasted: last.since(first),
                }
            })
            .collect();
        CannotReach { primary: Some(primary), sentinels, error_codes }
    }

    /// Forgets a node that left.
    pub(crate) fn clear(&mut self, index: NodeIndex) {
        self.unreached.remove(&index);
        if self.primary == Some(index) {
            *self = CannotReachTracker::default();
        }
    }

    fn record_errors(&mut self, primary: &NodeView, now: Monotonic) {
        let Some(errors) = primary.counters.errors() else {
            self.errors.clear();
            return;
        };
        let known = |code: &str| ACCESS_CODES.iter().copied().find(|known| *known == code);
        let errors = errors.filter_map(|(code, total)| Some((known(code)?, total))).collect();
        self.errors.push_back((now, errors));
        // The oldest reply that is kept is the last one before the period.
        while self.errors.get(1).is_some_and(|(at, _)| now.since(*at) >= REFUSALS_COUNTED_OVER) {
            self.errors.pop_front();
        }
    }

    /// Returns the codes of the access errors that increased, if all of them together increased at
    /// the pace of this number of Sentinels.
    fn rising_codes(&self, sentinels: usize) -> Vec<&'static str> {
        let (Some((first, before)), Some((last, after))) =
            (self.errors.front(), self.errors.back())
        else {
            return Vec::new();
        };
        let increase = |code: &str| {
            let total = |errors: &BTreeMap<_, _>| errors.get(code).copied().unwrap_or_default();
            total(after).saturating_sub(total(before))
        };
        let errors = saturating_sum(ACCESS_CODES.iter().map(|code| increase(code)));
        let pace = ERRORS_PER_SECOND * sentinels as f64 * last.since(*first).as_secs_f64();
        if sentinels == 0 || errors == 0 || (errors as f64) < pace {
            return Vec::new();
        }
        ACCESS_CODES.iter().copied().filter(|code| increase(code) > 0).collect()
    }
}

/// Returns true if the primary replies to the pings of the Sentinel, so with errors.
fn is_replied_to(statement: &SentinelStatement) -> bool {
    statement.last_ping_reply.is_some_and(|age| age <= SENTINEL_HEARD_WITHIN)
}

fn reason(
    statement: &SentinelStatement,
    primary: &NodeView,
    error_codes: &[&str],
) -> UnreachedReason {
    let refuses = |reason| primary.writes_refused.contains(&(reason, true));
    if !is_replied_to(statement) {
        UnreachedReason::Network
    } else if refuses(RefusalReason::MisconfAof) || refuses(RefusalReason::MisconfRdb) {
        UnreachedReason::Misconf
    } else if !error_codes.is_empty() {
        UnreachedReason::Auth
    } else {
        UnreachedReason::ErrorReply
    }
}
