//! Tracker of the identity of the data set of a deployment.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use snapshot::Role;

use crate::discovery::cluster::ClusterTracker;
use crate::identity::histories::Histories;
use crate::identity::newcomers::{NewcomersTracker, Standing};
use crate::identity::reign::{Reign, Resync, keys};
use crate::limits::{
    LOSS_SHOWN_FOR, MAX_ACCRUED_INTERVALS, MEMBER_REPLIES_WITHIN, RESTART_SETTLES_WITHIN,
    SUCCESSION_TAKES,
};
use crate::model::identity::{DatasetReplacedView, DatasetReplacement, ForeignMastersView};
use crate::model::monotonic::Monotonic;
use crate::model::node::{NodeView, Upstream};
use crate::model::node_index::{NodeIndex, NodeMap, NodeVec};
use crate::model::round::NodeReply;
use crate::model::saved_state::{SavedNode, SavedReplacement, SavedState};
use crate::model::shard::ShardView;
use crate::node::process::ProcessChange;
use crate::shard::context::RoundContext;

/// Tracks the identity of the data set.
#[derive(Debug, Default)]
pub(crate) struct IdentityTracker {
    histories: Histories,
    newcomers: NewcomersTracker,
    /// The last process of each node that was the undisputed primary of a shard, until its data is
    /// that of another primary.
    reigns: NodeMap<Reign>,
    /// Monotonic time at which a primary was first seen as another process.
    restarted: Option<Monotonic>,
    /// Replacements by the label of the shard; without a label outside of a cluster.
    replaced: BTreeMap<Option<String>, DatasetReplacedView>,
    /// Cluster IDs of the nodes that took slots of another owner, with the time.
    took_slots: BTreeMap<Box<str>, Monotonic>,
    foreign_masters: BTreeSet<NodeIndex>,
    /// Number of foreign masters so far.
    foreign_masters_total: u64,
}

/// State of the nodes within one round.
#[derive(Clone, Copy)]
pub(crate) struct IdentityRound<'a> {
    pub(crate) nodes: &'a NodeVec<NodeView>,
    pub(crate) cluster: &'a ClusterTracker,
    pub(crate) context: &'a RoundContext<'a>,
}

/// The end of the replication chain of a former primary.
enum Source {
    /// A node or an address whose data shares no history with the deployment.
    Foreign(String),
    /// Not known yet.
    Unknown,
    /// A server that belongs to the deployment, or that may have copied its data.
    Familiar,
}

impl IdentityTracker {
    /// Processes one round, and adds the results to the shards.
    pub(crate) fn observe(&mut self, round: IdentityRound<'_>, shards: &mut [ShardView]) {
        let now = round.context.now();
        self.observe_members(round);
        // A member that was promoted in this round may be the source of a resync in this round.
        self.observe_histories(round);
        for view in self.replaced.values_mut() {
            view.new.clear();
        }
        let of_primaries = shards_of_primaries(shards, round.nodes.len());
        for (index, reply) in round.replies() {
            match reply.snapshot.replication.role {
                Some(Role::Master) => {
                    self.observe_master(index, reply, of_primaries[index], round);
                }
                Some(Role::Replica) => self.observe_replica(index, reply, shards, round),
                Some(Role::Sentinel) | None => {}
            }
        }
        self.observe_slots(round);
        self.adopt_primaries(shards, round.nodes);
        for shard in shards {
            let view = self.replaced.entry(shard.shard.clone()).or_default();
            view.last.take_if(|last| now > last.shown_until);
            shard.dataset_replaced = view.clone();
        }
    }

    /// Returns the masters that joined a cluster with slots and keys of their own.
    pub(crate) fn foreign_masters(&self) -> ForeignMastersView {
        ForeignMastersView {
            total: self.foreign_masters_total,
            recent: self.foreign_masters.iter().copied().collect(),
        }
    }

    /// Updates the newcomers.
    fn observe_members(&mut self, round: IdentityRound<'_>) {
        let (context, now) = (round.context, round.context.now());
        // All nodes may have been restarted at other addresses.
        let has_settled =
            self.restarted.is_none_or(|restarted| now.since(restarted) > RESTART_SETTLES_WITHIN);
        // Who joined before the first primary of this run was seen joined at an unknown time.
        let is_established = has_settled && self.reigns.values().any(Reign::is_observed);
        self.newcomers.observe_members(context.deployment, is_established, now);
        for (index, reply) in round.replies() {
            let (snapshot, kind) = (&reply.snapshot, context.deployment.kind);
            self.newcomers.observe(index, snapshot, &self.histories, kind, now);
        }
    }

    /// Records a primary, or a former one that still is a master. `shard` is the one whose
    /// undisputed primary it is.
    fn observe_master(
        &mut self,
        index: NodeIndex,
        reply: &NodeReply,
        shard: Option<&ShardView>,
        round: IdentityRound<'_>,
    ) {
        let now = round.context.now();
        let before = self.reigns.get(&index);
        let is_known = before.is_some_and(|before| before.is_process(&reply.snapshot));
        if round.context.process_change(index) == Some(ProcessChange::Restarted) && shard.is_some()
        {
            self.restarted = Some(now);
        }
        if shard.is_none() && !is_known {
            self.reigns.remove(&index);
            return;
        }
        if reply.snapshot.persistence.loading == Some(true) {
            return;
        }
        let label = shard
            .map_or(before.and_then(|before| before.shard.as_ref()), |shard| shard.shard.as_ref());
        match Reign::read(reply, label, before, now, round.allowed_gap()) {
            Some(reign) => drop(self.reigns.insert(index, reign)),
            None => drop(self.reigns.remove(&index)),
        }
    }

    /// Decides about a former primary that is a replica.
    fn observe_replica(
        &mut self,
        index: NodeIndex,
        reply: &NodeReply,
        shards: &[ShardView],
        round: IdentityRound<'_>,
    ) {
        let now = round.context.now();
        let Some(mut reign) = self.reigns.remove(&index) else { return };
        // In a gap, several promotions may hide where the data comes from. A primary without keys
        // has lost nothing: it is new, or a slot migration emptied it.
        let is_observed = reign.is_over() || reign.gap(now) <= round.allowed_gap();
        if !reign.is_process(&reply.snapshot) || !is_observed || reign.keys == 0 {
            return;
        }
        let resync = reign.observe_replica(reply, now);
        let source = match resync {
            Resync::Continued => return,
            Resync::Running => Source::Unknown,
            Resync::Completed { .. } => self.source(index, &reign, reply, round),
        };
        match (resync, source) {
            (Resync::Completed { planned }, Source::Foreign(from)) => {
                let replacement = DatasetReplacement {
                    node: round.nodes[index].node.name.clone(),
                    from,
                    keys_before: reign.keys,
                    keys_after: keys(&reply.snapshot),
                    planned,
                    shown_until: now + LOSS_SHOWN_FOR,
                };
                let shard = shard_label(&reign, index, shards);
                self.replaced.entry(shard).or_default().add(replacement);
            }
            (_, Source::Familiar) => {}
            (_, _) => drop(self.reigns.insert(index, reign)),
        }
    }

    /// Makes each primary a member whose predecessor is gone or has its data: its data set is the
    /// one of the deployment now.
    fn adopt_primaries(&mut self, shards: &[ShardView], nodes: &NodeVec<NodeView>) {
        let mut newcomers = Vec::new();
        for shard in shards.iter().filter(|shard| !shard.primary_disputed) {
            let is_newcomer =
                |primary: &&NodeIndex| self.newcomers.standing(**primary) != Standing::Member;
            let primaries = shard.primaries.iter().filter(is_newcomer);
            newcomers.extend(primaries.map(|primary| (*primary, &shard.shard)));
        }
        if newcomers.is_empty() {
            return;
        }
        // Former primaries that are not gone, by shard. Without a shard, they may be of any.
        let mut present: HashMap<&Option<String>, usize> = HashMap::new();
        for (_, reign) in self.reigns.iter().filter(|(index, _)| !nodes[**index].is_absent()) {
            *present.entry(&reign.shard).or_default() += 1;
        }
        let count = |shard: &Option<String>| present.get(shard).copied().unwrap_or_default();
        for (primary, shard) in newcomers {
            let of_any = if shard.is_some() { count(&None) } else { 0 };
            let own = self.reigns.get(&primary).filter(|_| !nodes[primary].is_absent());
            let is_counted = |own: &Reign| own.shard == *shard || own.shard.is_none();
            if count(shard) + of_any == usize::from(own.is_some_and(is_counted)) {
                self.newcomers.adopt(primary);
            }
        }
    }

    /// Returns the source of the data of a former primary.
    fn source(
        &self,
        index: NodeIndex,
        reign: &Reign,
        reply: &NodeReply,
        round: IdentityRound<'_>,
    ) -> Source {
        let replid = reply.snapshot.replication.replid.as_deref();
        if replid.is_none_or(|replid| self.histories.contains(replid)) {
            return Source::Familiar;
        }
        let name = |index: NodeIndex| round.nodes[index].node.name.clone();
        let mut current = index;
        for _ in 0..round.nodes.len() {
            match &round.nodes[current].upstream {
                Upstream::Nothing if current == index => return Source::Unknown,
                Upstream::Nothing => {
                    let standing = self.newcomers.standing(current);
                    return if self.newcomers.is_foreign(current)
                        || standing.is_overdue(round.context.now())
                    {
                        Source::Foreign(name(current))
                    } else if standing == Standing::Member {
                        Source::Familiar
                    } else {
                        Source::Unknown
                    };
                }
                Upstream::Unknown(address) => {
                    let is_known = self.histories.may_be_known(address) || reign.may_be_copied;
                    return if is_known {
                        Source::Familiar
                    } else if self.awaits_member(reign, round) {
                        Source::Unknown
                    } else {
                        Source::Foreign(address.clone())
                    };
                }
                Upstream::Node(upstream) => current = *upstream,
            }
        }
        Source::Unknown
    }

    /// Returns true if a member that has not replied may be the server at an unknown address: it
    /// was promoted, and Rolecall is about to connect to it again.
    fn awaits_member(&self, reign: &Reign, round: IdentityRound<'_>) -> bool {
        let is_silent_member = |(index, node): (NodeIndex, &NodeView)| {
            node.holds_data()
                && self.newcomers.standing(index) == Standing::Member
                && !round.context.answered(index)
        };
        reign.connected_for(round.context.now()) <= MEMBER_REPLIES_WITHIN
            && round.nodes.iter().any(is_silent_member)
    }

    /// Records the histories and the outside addresses that belong to the data set.
    fn observe_histories(&mut self, round: IdentityRound<'_>) {
        let names: HashSet<&str> =
            round.nodes.values().map(|node| node.node.name.as_str()).collect();
        for (index, reply) in round.replies() {
            let node = &round.nodes[index];
            let replication = &reply.snapshot.replication;
            let is_own = match replication.role {
                Some(Role::Master) => self.newcomers.standing(index) == Standing::Member,
                // Its primary may be outside of the deployment. Once there is a primary in it, only
                // that one has the data.
                Some(Role::Replica) => self.reigns.is_empty(),
                Some(Role::Sentinel) | None => false,
            };
            if is_own {
                if let Some(id) = &replication.replid {
                    self.histories.add(id);
                }
                if let Upstream::Unknown(address) = &node.upstream {
                    self.histories.add_address(address);
                }
            }
            if is_own || self.reigns.get(&index).is_none_or(|reign| !reign.is_over()) {
                for replica in node.attached_replicas.iter().filter(|it| !names.contains(&*it.name))
                {
                    self.histories.add_address(&replica.name);
                }
            }
        }
    }

    /// Records the foreign masters that took slots from another owner. They stay listed for a while
    /// after they became members.
    fn observe_slots(&mut self, round: IdentityRound<'_>) {
        let now = round.context.now();
        for id in round.cluster.takers() {
            self.took_slots.insert(id.into(), now);
        }
        // IDs that no map lists any more are forgotten, because a cluster can invent any number.
        self.took_slots
            .retain(|id, at| now.since(*at) <= LOSS_SHOWN_FOR && round.cluster.is_known(id));
        let takers = self.took_slots.keys().filter_map(|id| round.cluster.index(id));
        let was_foreign = std::mem::take(&mut self.foreign_masters);
        self.foreign_masters = takers
            .filter(|index| self.newcomers.is_foreign(*index) || was_foreign.contains(index))
            .collect();
        self.foreign_masters_total += self.foreign_masters.difference(&was_foreign).count() as u64;
    }

    /// Writes the state of a node that is kept over a restart of the exporter.
    pub(crate) fn save_node(&self, index: NodeIndex, now: Monotonic, saved: &mut SavedNode) {
        saved.foreign = self.newcomers.is_foreign(index);
        saved.reign = self.reigns.get(&index).map(|reign| reign.saved(now));
    }

    /// Writes the state of the deployment that is kept over a restart of the exporter.
    pub(crate) fn save(&self, now: Monotonic, state: &mut SavedState) {
        state.histories = self.histories.newest().map(str::to_owned).collect();
        state.outside_addresses = self.histories.addresses().map(str::to_owned).collect();
        let last = |(shard, view): (&Option<String>, &DatasetReplacedView)| {
            let last = view.last.as_ref()?;
            Some(SavedReplacement {
                shard: shard.clone(),
                node: last.node.clone(),
                from: last.from.clone(),
                keys_before: last.keys_before,
                keys_after: last.keys_after,
                planned: last.planned,
                shown_for: last.shown_until.since(now).as_secs(),
            })
        };
        state.replaced = self.replaced.iter().filter_map(last).collect();
    }

    /// Restores the saved state of a deployment.
    pub(crate) fn restore(&mut self, state: &SavedState, downtime: Duration) {
        for address in &state.outside_addresses {
            self.histories.add_address(address);
        }
        state.histories.iter().for_each(|id| self.histories.add(id));
        for (name, node) in &state.nodes {
            self.newcomers.restore(name, node.foreign);
        }
        for saved in &state.replaced {
            let Some(left) = Duration::from_secs(saved.shown_for).checked_sub(downtime) else {
                continue;
            };
            let last = DatasetReplacement {
                node: saved.node.clone(),
                from: saved.from.clone(),
                keys_before: saved.keys_before,
                keys_after: saved.keys_after,
                planned: saved.planned,
                shown_until: Monotonic::START + left.min(LOSS_SHOWN_FOR),
            };
            self.replaced.entry(saved.shard.clone()).or_default().last = Some(last);
        }
    }

    /// Restores the saved state of a node.
    pub(crate) fn restore_node(&mut self, index: NodeIndex, saved: &SavedNode, downtime: Duration) {
        if let Some(reign) = &saved.reign {
            self.reigns.insert(index, Reign::restore(reign, downtime));
        }
    }

    /// Forgets a node that left.
    pub(crate) fn clear(&mut self, index: NodeIndex) {
        self.newcomers.clear(index);
        self.reigns.remove(&index);
        self.foreign_masters.remove(&index);
    }
}

impl<'a> IdentityRound<'a> {
    /// Returns the replies of the nodes that are up, without those of strangers.
    fn replies(self) -> impl Iterator<Item = (NodeIndex, &'a NodeReply)> {
        let answered = move |index: &NodeIndex| self.context.answered(*index);
        self.nodes
            .indices()
            .filter(answered)
            .filter_map(move |index| Some((index, self.context.reply(index)?)))
    }

    /// Returns the gap between two replies of a primary in which no other server can copy its data
    /// and be promoted more than once.
    fn allowed_gap(self) -> Duration {
        SUCCESSION_TAKES.max(self.context.interval() * MAX_ACCRUED_INTERVALS)
    }
}

impl DatasetReplacedView {
    fn add(&mut self, replacement: DatasetReplacement) {
        self.total += 1;
        self.planned += u64::from(replacement.planned);
        if self.last.as_ref().is_none_or(|last| last.planned || !replacement.planned) {
            self.last = Some(replacement.clone());
        }
        self.new.push(replacement);
    }
}

/// Returns the first shard whose undisputed primary each node is.
fn shards_of_primaries(shards: &[ShardView], nodes: usize) -> NodeVec<Option<&ShardView>> {
    let mut of_primaries = NodeVec::default();
    of_primaries.grow(nodes, || None);
    for shard in shards.iter().filter(|shard| !shard.primary_disputed) {
        for primary in &shard.primaries {
            of_primaries[*primary].get_or_insert(shard);
        }
    }
    of_primaries
}

/// Returns the label of the shard to which a former primary belongs: its present one, or else that
/// of its time as the primary.
fn shard_label(reign: &Reign, index: NodeIndex, shards: &[ShardView]) -> Option<String> {
    let is_known = |shard: &&ShardView| shard.shard == reign.shard;
    let shard = shards.iter().find(is_known).or(shards.iter().find(|shard| shard.contains(index)));
    shard.map_or_else(|| reign.shard.clone(), |shard| shard.shard.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planned_replacement_hides_no_other_one() {
        let mut view = DatasetReplacedView::default();
        let replacement = |planned: bool| DatasetReplacement {
            node: "a".to_owned(),
            from: "b".to_owned(),
            keys_before: 1,
            keys_after: 1,
            planned,
            shown_until: Monotonic::START,
        };
        view.add(replacement(true));
        view.add(replacement(false));
        view.add(replacement(true));
        assert_eq!((view.total, view.planned, view.new.len()), (3, 2, 3));
        assert_eq!(view.last, Some(replacement(false)));
    }
}
