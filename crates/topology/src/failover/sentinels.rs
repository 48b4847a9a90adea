//! Readiness of a deployment with Sentinels: which replica they would promote, and if they would
//! start a failover at all.

use std::collections::BTreeMap;
use std::time::Duration;

use snapshot::{MasterReport, SentinelEntry};

use crate::discovery::addresses::AddressIndex;
use crate::discovery::sources::master_report;
use crate::limits::{
    SENTINEL_AVAILABLE_WITHIN, SENTINEL_CONTACT_WITHIN, SENTINEL_DOWN_AFTERS, SENTINEL_INFO_WITHIN,
};
use crate::model::deployment::address;
use crate::model::failover::{FailoverBlocker, FailoverView, PromotionObstacle, RefusedReplica};
use crate::model::monotonic::Monotonic;
use crate::model::node::NodeView;
use crate::model::node_index::{NodeIndex, NodeVec};
use crate::model::sentinels::{CannotReach, SentinelsView};
use crate::model::shard::ShardView;
use crate::shard::context::RoundContext;

use super::FailoverRound;
use super::attempts::AttemptTracker;
use super::choice::{Contender, TieBreak, choose};
use super::replica::{self, Judgement, candidates, data_blockers, tolerance};

/// Tracks the readiness of a deployment with Sentinels.
#[derive(Debug, Default)]
pub(super) struct SentinelFailoverTracker {
    attempts: AttemptTracker,
    group: SentinelGroup,
    /// Monotonic time since which a Sentinel has had no contact with some replica.
    without_contact_since: Option<Monotonic>,
    needs_lists: bool,
}

/// Size of the group of Sentinels, as they last reported it.
#[derive(Debug, Clone, Copy, Default)]
struct SentinelGroup {
    /// Sentinels that the Sentinels know, including dead ones.
    known: u64,
    /// The `quorum` field.
    quorum: u64,
}

/// Replicas as the Sentinels judge them.
#[derive(Debug, Default)]
struct Judged {
    contenders: Vec<Contender>,
    refused: Vec<RefusedReplica>,
    /// The judgement of some replica is not known yet.
    unknown: bool,
    /// A Sentinel has no contact with one of them.
    without_contact: bool,
    /// The Sentinels know more replicas than they list.
    unlisted: bool,
}

impl SentinelFailoverTracker {
    /// Processes one round. Returns `None` while the readiness is unknown, and without replicas by
    /// design.
    pub(super) fn observe(
        &mut self,
        shard: &ShardView,
        round: FailoverRound<'_>,
    ) -> Option<FailoverView> {
        let FailoverRound { nodes, addresses, cannot_reach, context, .. } = round;
        let sentinels = context.sentinels;
        self.attempts.observe(sentinels, nodes, context);
        self.group.observe(sentinels);
        let judged = judge_replicas(nodes, addresses, context);
        let now = context.now();
        self.without_contact_since =
            judged.without_contact.then(|| self.without_contact_since.unwrap_or(now));
        self.needs_lists = self
            .without_contact_since
            .is_some_and(|since| now.since(since) <= SENTINEL_CONTACT_WITHIN);
        let waits_for = self.attempts.waits_for(sentinels, now);
        let mut blockers: Vec<_> = [
            (FailoverBlocker::NoQuorum, self.has_no_quorum(nodes, context)),
            (FailoverBlocker::SentinelsBlind, are_blind(cannot_reach, sentinels)),
            (FailoverBlocker::Waiting, waits_for.is_some()),
        ]
        .into_iter()
        .filter(|(_, applies)| *applies)
        .map(|(blocker, _)| blocker)
        .collect();

        let Judged { contenders, refused, unknown, unlisted, .. } = judged;
        let listed = sentinels.iter().flat_map(|sentinels| &sentinels.statements);
        let known_replicas = listed.map(|statement| statement.replicas).max();
        if known_replicas.unwrap_or_default() == 0 && shard.expected_replicas == 0 {
            return None;
        }
        let chosen = choose(contenders, TieBreak::RunId, tolerance(context));
        let primary = shard.primary.map(|primary| primary.node).or(shard.last_primary);
        if let Some(primary) = primary {
            blockers.extend(data_blockers(&chosen, primary, nodes, context));
        }
        let is_undecided = unknown || unlisted || known_replicas.is_none();
        if chosen.is_empty() && !is_undecided {
            blockers.push(FailoverBlocker::NoCandidate);
        }
        if chosen.is_empty() && blockers.is_empty() {
            return None;
        }
        blockers.sort_unstable();
        let candidates = candidates(&chosen, nodes);
        Some(FailoverView { blockers, candidates, refused, unlisted, waits_for })
    }

    /// Returns true if a Sentinel has not reached a replica yet. That lasts for seconds, and the
    /// lists are read every 10 s.
    pub(super) fn needs_lists(&self) -> bool {
        self.needs_lists
    }

    /// Returns true if the Sentinels cannot reach quorum or majority: they report it, or so many of
    /// them are down.
    fn has_no_quorum(&self, nodes: &NodeVec<NodeView>, context: &RoundContext<'_>) -> bool {
        let down = context.deployment.sentinels().filter(|index| nodes[*index].is_down()).count();
        let reported = context.sentinels.is_some_and(SentinelsView::quorum_lost);
        reported || self.group.is_lost_without(down as u64)
    }
}

impl SentinelGroup {
    fn observe(&mut self, sentinels: Option<&SentinelsView>) {
        let statements = sentinels.map_or(&[][..], |sentinels| &sentinels.statements);
        if let Some(known) = statements.iter().map(|statement| statement.known).max() {
            let quorum = statements.iter().map(|statement| statement.needed).max();
            *self = SentinelGroup { known, quorum: quorum.unwrap_or_default() };
        }
    }

    /// Returns true if fewer Sentinels than needed are left without some that are down.
    fn is_lost_without(self, down: u64) -> bool {
        let needed = self.quorum.max(self.known / 2 + 1);
        self.known > 0 && self.known.saturating_sub(down) < needed
    }
}

/// Returns true if most Sentinels have considered the primary down for a while although it
/// replies.
fn are_blind(cannot_reach: &CannotReach, sentinels: Option<&SentinelsView>) -> bool {
    let blind = cannot_reach.lasting().count();
    sentinels.is_some_and(|sentinels| blind * 2 > sentinels.statements.len())
}

/// Judges all replicas that the Sentinels list. Sentinels with an outdated configuration are
/// ignored.
fn judge_replicas(
    nodes: &NodeVec<NodeView>,
    addresses: &AddressIndex,
    context: &RoundContext<'_>,
) -> Judged {
    let statements = context.sentinels.map_or(&[][..], |sentinels| &sentinels.statements);
    let epoch = statements.iter().map(|statement| statement.epoch).max();
    let discovery = context.deployment.discovery.as_ref();
    let reports: Vec<_> = statements
        .iter()
        .filter(|statement| Some(statement.epoch) == epoch)
        .filter_map(|statement| master_report(&nodes[statement.sentinel], discovery?))
        .filter(|report| report.replicas.is_some())
        .collect();
    let mut judged = Judged {
        unlisted: reports.iter().any(|report| has_unlisted(report)),
        unknown: reports.is_empty() && !statements.is_empty(),
        ..Judged::default()
    };
    let mut entries: BTreeMap<NodeIndex, Vec<(&MasterReport, &SentinelEntry)>> = BTreeMap::new();
    for report in reports.iter().copied() {
        for entry in report.replicas.iter().flat_map(|replicas| replicas.iter()) {
            let address = address(&entry.ip, entry.port);
            match addresses.node_at(context.deployment, &address) {
                Some(node) => entries.entry(node).or_default().push((report, entry)),
                // A dead node that is no member any more stays listed.
                None => judged.unknown |= !entry.down(),
            }
        }
    }
    for (node, entries) in entries {
        let judgements = entries.iter().map(|(report, entry)| judge(report, entry, &nodes[node]));
        match combine(&judgements.collect::<Vec<_>>(), reports.len()) {
            Judgement::Accepted => {
                judged.contenders.extend(contender(node, &nodes[node], &entries));
            }
            Judgement::Refused(why) => judged.refused.push(RefusedReplica { node, why }),
            Judgement::Unknown => {
                judged.unknown = true;
                judged.without_contact |= entries.iter().any(|(_, entry)| lacks_contact(entry));
            }
        }
    }
    judged
}

/// Returns true if a Sentinel knows more replicas than it lists (`replica-announced no`). It would
/// promote those too.
fn has_unlisted(report: &MasterReport) -> bool {
    let known = report.master.settings.as_ref().map_or(0, |settings| settings.replicas);
    let listed = report.replicas.as_ref().map_or(0, |replicas| replicas.len());
    known > listed as u64
}

/// Returns the judgement of one Sentinel about a replica, by the rules of the servers.
fn judge(
    report: &MasterReport,
    entry: &SentinelEntry,
    node: &NodeView,
) -> Judgement<PromotionObstacle> {
    use PromotionObstacle::{Down, LinkDown, Priority};
    let fresh = node.snapshot();
    if fresh.is_some() && !node.is_replica() {
        // It was promoted, or will be demoted.
        return Judgement::Unknown;
    }
    let priority = fresh
        .and_then(|snapshot| snapshot.fields.count("slave_priority"))
        .or(entry.promotion.map(|promotion| promotion.priority));
    if priority == Some(0) {
        return Judgement::Refused(Priority);
    }
    if entry.down() {
        return Judgement::Refused(Down);
    }
    if lacks_contact(entry) {
        return Judgement::Unknown;
    }
    let info_age = entry.promotion.map(|promotion| promotion.info_age);
    if entry.last_ok_ping.is_some_and(|age| age > SENTINEL_AVAILABLE_WITHIN)
        || info_age.is_some_and(|age| age > SENTINEL_INFO_WITHIN)
    {
        return Judgement::Refused(Down);
    }
    let link_down_for = fresh
        .and_then(replica::link_down_for)
        .or(entry.promotion.map(|promotion| promotion.link_down_for));
    match (priority, link_down_for) {
        (Some(_), Some(down_for)) if down_for <= longest_link_loss(report) => Judgement::Accepted,
        (Some(_), Some(_)) => Judgement::Refused(LinkDown),
        _ => Judgement::Unknown,
    }
}

/// Returns true if a Sentinel has just begun to observe a replica, or has just lost the connection.
fn lacks_contact(entry: &SentinelEntry) -> bool {
    entry.run_id.is_empty() || entry.disconnected
}

/// Returns the time for which the link of a replica may be down.
fn longest_link_loss(report: &MasterReport) -> Duration {
    let down_after = report.master.settings.as_ref().map(|settings| settings.down_after);
    let master_down_for = report.master.down_for.filter(|_| report.master.down());
    down_after
        .unwrap_or_default()
        .saturating_mul(SENTINEL_DOWN_AFTERS)
        .saturating_add(master_down_for.unwrap_or_default())
}

/// Returns the judgement of most of the Sentinels. One that does not list the replica has none.
fn combine(
    judgements: &[Judgement<PromotionObstacle>],
    sentinels: usize,
) -> Judgement<PromotionObstacle> {
    let is_accepted = |judgement: &&Judgement<_>| **judgement == Judgement::Accepted;
    let accepted = judgements.iter().filter(is_accepted).count();
    let obstacles: Vec<_> = judgements
        .iter()
        .filter_map(|judgement| match judgement {
            Judgement::Refused(why) => Some(*why),
            Judgement::Accepted | Judgement::Unknown => None,
        })
        .collect();
    if accepted * 2 > sentinels {
        Judgement::Accepted
    } else if obstacles.len() * 2 > sentinels
        && let Some(why) = obstacles.iter().min()
    {
        Judgement::Refused(*why)
    } else {
        Judgement::Unknown
    }
}

fn contender(
    node: NodeIndex,
    view: &NodeView,
    entries: &[(&MasterReport, &SentinelEntry)],
) -> Option<Contender> {
    let (_, entry) = entries.first()?;
    let known = entry.promotion.unwrap_or_default();
    let fresh = view.snapshot();
    Some(Contender {
        node,
        priority: fresh
            .and_then(|snapshot| snapshot.fields.count("slave_priority"))
            .unwrap_or(known.priority),
        offset: fresh.and_then(|snapshot| snapshot.replication.offset).unwrap_or(known.offset),
        run_id: entry.run_id.clone(),
        live: fresh.map_or(known.link_down_for.is_zero(), replica::is_linked),
        behind: view.lag.behind,
    })
}
