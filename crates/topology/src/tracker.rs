//! Tracker of a deployment: the state that is kept between rounds, and the order in which a round
//! updates it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use snapshot::{NodeSnapshot, Role};

use crate::discovery::addresses::AddressIndex;
use crate::discovery::cannot_reach::CannotReachTracker;
use crate::discovery::cluster::{ClusterTracker, MapExcess};
use crate::discovery::membership::{MembershipChanges, MembershipTracker};
use crate::discovery::sentinels;
use crate::endpoints::EndpointsTracker;
use crate::events;
use crate::failover::{FailoverRound, FailoverTracker};
use crate::findings::FindingsTracker;
use crate::identity::{IdentityRound, IdentityTracker};
use crate::limits::MAX_ACCRUED_INTERVALS;
use crate::model::cluster::ClusterView;
use crate::model::deployment::{Deployment, DeploymentKind, address};
use crate::model::event::Event;
use crate::model::event_history::EventHistory;
use crate::model::excess::{Excess, LimitKind};
use crate::model::identity::SharedNode;
use crate::model::node::{AttachedView, NodeView, PollStats};
use crate::model::node_index::{NodeIndex, NodeMap, NodeVec};
use crate::model::node_state::NodeState;
use crate::model::read_request::ReadRequest;
use crate::model::round::{NodeReply, PollOutcome, Round, SentinelMessage};
use crate::model::saved_state::{SavedClaim, SavedClaims, SavedNode, SavedState};
use crate::model::sentinels::{CannotReach, SentinelsView};
use crate::model::shard::ShardView;
use crate::model::view::{DeploymentView, RoundStats};
use crate::node::link;
use crate::node::process::ProcessChange;
use crate::node::tracker::NodeTracker;
use crate::shard::claim_group::SharedClaim;
use crate::shard::context::RoundContext;
use crate::shard::shards::ShardsTracker;
use crate::shard::tracker::SavedMember;
use crate::shard::upstream;
use crate::witnesses::WitnessTracker;

/// Tracks a deployment from round to round.
///
/// ```
/// use std::sync::Arc;
/// use std::time::{Duration, SystemTime};
///
/// use snapshot::NodeSnapshot;
/// use topology::{
///     Deployment, DeploymentKind, DeploymentTracker, Monotonic, NodeReply, PollOutcome, Round,
/// };
///
/// let second = Duration::from_secs(1);
/// let mut deployment =
///     Deployment::new("orders", DeploymentKind::Static, &[], second, second * 3);
/// deployment.add("a", "10.0.0.1:6379", None);
/// let mut tracker = DeploymentTracker::new(Arc::new(deployment));
///
/// let snapshot = NodeSnapshot::from_info("run_id:x\nrole:master\n").expect("an INFO reply");
/// let reply = NodeReply::new(snapshot, Duration::ZERO, SystemTime::UNIX_EPOCH);
/// let result = tracker.observe(&Round::new(
///     SystemTime::UNIX_EPOCH,
///     Monotonic::from_start(second),
///     vec![PollOutcome::Answered(reply)],
/// ));
/// let primary = result.view.shards[0].primary.expect("a primary");
/// assert_eq!(result.view.name(primary.node), "a");
/// ```
#[derive(Debug)]
pub struct DeploymentTracker {
    nodes: NodeVec<NodeTracker>,
    membership: MembershipTracker,
    addresses: AddressIndex,
    cluster: ClusterTracker,
    witnesses: WitnessTracker,
    cannot_reach: CannotReachTracker,
    shards: ShardsTracker,
    identity: IdentityTracker,
    endpoints: EndpointsTracker,
    failover: FailoverTracker,
    findings: FindingsTracker,
    /// Saved state of nodes that have not been discovered yet.
    pending_restore: PendingRestore,
    view: Arc<DeploymentView>,
}

/// Saved state that waits for the discovery of its nodes.
#[derive(Debug, Default)]
struct PendingRestore {
    /// Without claims.
    state: SavedState,
    claims: Vec<PendingClaims>,
    /// Time between the saving of the state and the start of the exporter.
    downtime: Duration,
}

/// Saved claims of nodes that have not been discovered yet.
#[derive(Debug)]
struct PendingClaims {
    claimants: BTreeSet<String>,
    claim: Arc<SavedClaim>,
}

/// Result of one round.
#[derive(Debug)]
pub struct RoundResult {
    /// State of the deployment after the round, without state that is outdated because the
    /// exporter is cut off.
    pub view: Arc<DeploymentView>,
    /// Events of the round, in order.
    pub events: Vec<Event>,
    /// Replies that should be read in the next round.
    pub requests: Vec<ReadRequest>,
    /// Nodes that had failed according to cluster maps, and that the map of another node shows
    /// again without the flags `fail` and `fail?`.
    pub returned: Vec<NodeIndex>,
}

/// State of the nodes within one round.
struct RoundNodes {
    deployment: Arc<Deployment>,
    /// The previous view, with the nodes of this round.
    previous: Arc<DeploymentView>,
    views: NodeVec<NodeView>,
    /// Relation of each process that replied to the one before.
    process_changes: NodeVec<Option<ProcessChange>>,
    /// Replies that count instead of those of the round, of nodes at whose addresses several
    /// servers take turns.
    common: NodeMap<NodeReply>,
    /// Nodes that do not reply, and that a node which replies reports as down.
    reported_down: Vec<NodeIndex>,
}

impl DeploymentTracker {
    /// Creates a tracker before the first round.
    pub fn new(deployment: Arc<Deployment>) -> Self {
        DeploymentTracker {
            nodes: deployment.nodes.values().map(|_| NodeTracker::default()).collect(),
            membership: MembershipTracker::default(),
            addresses: AddressIndex::default(),
            cluster: ClusterTracker::default(),
            witnesses: WitnessTracker::default(),
            cannot_reach: CannotReachTracker::default(),
            shards: ShardsTracker::default(),
            identity: IdentityTracker::default(),
            endpoints: EndpointsTracker::default(),
            failover: FailoverTracker::default(),
            findings: FindingsTracker::default(),
            pending_restore: PendingRestore::default(),
            view: Arc::new(DeploymentView::empty(deployment)),
        }
    }

    /// Returns the state of the deployment after the last round.
    pub fn view(&self) -> Arc<DeploymentView> {
        Arc::clone(&self.view)
    }

    /// Processes one round.
    ///
    /// # Panics
    /// If the round does not have one outcome for each node.
    pub fn observe(&mut self, round: &Round) -> RoundResult {
        assert_eq!(round.outcomes.len(), self.nodes.len(), "a round has one outcome for each node");
        let accrued = self.accrued(round);
        let expect = self.view.deployment.expect.at(round.at);
        let mut nodes = self.observe_nodes(round);
        self.index_addresses(&nodes, round);
        self.decide_states(&mut nodes, round, accrued);
        if nodes.deployment.kind == DeploymentKind::Cluster {
            let limit = nodes.deployment.node_limit();
            self.cluster.observe(&nodes.views, &nodes.process_changes, limit, round.now);
        }
        let mut changes = self.observe_membership(&mut nodes, round);
        self.addresses.rebuild();
        let mut sentinels =
            sentinels::collect_reports(&nodes.views, &nodes.deployment, &self.addresses);
        self.connect_nodes(&mut nodes, round);
        for node in nodes.views.iter_mut().map(|(_, node)| node) {
            let is_replica = expect.external && node.holds_data();
            node.expected_role = node.node.expected_role.or(is_replica.then_some(Role::Replica));
            node.expected_aof =
                expect.aof.zip(node.role()).and_then(|(aof, role)| aof.for_role(role));
            node.expects_unknown_role = expect.unknown_role;
        }

        let context = RoundContext {
            round,
            deployment: &nodes.deployment,
            expect,
            process_changes: &nodes.process_changes,
            common: &nodes.common,
            accrued,
            previous: &nodes.previous,
            sentinels: sentinels.as_ref(),
            listed: &changes.listed,
        };
        let ghosts = std::mem::take(&mut changes.ghosts);
        let mut shards = self.shards.observe(&mut nodes.views, &self.cluster, &context);
        let identity =
            IdentityRound { nodes: &nodes.views, cluster: &self.cluster, context: &context };
        self.identity.observe(identity, &mut shards);
        let primary = shards.first().and_then(|shard| shard.primary).map(|primary| primary.node);
        let cannot_reach = context.sentinels.map_or_else(CannotReach::default, |sentinels| {
            let answered = |index| context.answered(index);
            self.cannot_reach.observe(&nodes.views, sentinels, primary, answered, round.now)
        });
        let failover = FailoverRound {
            nodes: &nodes.views,
            cluster: &self.cluster,
            addresses: &self.addresses,
            cannot_reach: &cannot_reach,
            context: &context,
        };
        self.failover.observe(&mut shards, failover);
        let cluster = self.cluster_view(&nodes.views, &shards, ghosts, &context);
        // The process of an unreachable primary is unknown.
        let primaries = shards.iter().flat_map(ShardView::primaries).copied();
        let primaries: Vec<_> =
            primaries.filter(|primary| !nodes.views[*primary].is_unreachable()).collect();
        let endpoints = self.endpoints.observe(&nodes.views, &primaries, &context);
        if let Some(sentinels) = &mut sentinels {
            compare_sentinels(sentinels, &shards, &nodes.previous, &changes);
            sentinels.cannot_reach = cannot_reach;
        }

        self.drop_cluster_maps(&mut nodes.views);
        let RoundNodes { deployment, previous, views, reported_down, .. } = nodes;
        let excess = self.excess(&views, &deployment, round, &changes);
        let nodes_len = views.len();
        let view = DeploymentView {
            at: Some(round.at),
            now: round.now,
            expect,
            rounds: round_stats(previous.rounds, round),
            nodes: views,
            shards,
            endpoints,
            sentinels,
            cluster,
            foreign_masters: self.identity.foreign_masters(),
            shared: shared_nodes(round, nodes_len),
            names: Arc::clone(&round.resolved),
            reported_down,
            excess,
            findings: Vec::new(),
            history: Arc::clone(&previous.history),
            deployment,
        };
        let events = self.publish(view, &previous, &round.messages);
        let requests = self.read_requests(changes.unnamed);
        let view = if self.view.is_outdated() {
            Arc::new(self.view.without_outdated())
        } else {
            Arc::clone(&self.view)
        };
        let returned = self.cluster.returned().collect();
        RoundResult { view, events, requests, returned }
    }

    /// Returns the numbers of things that exceed a limit after a round.
    fn excess(
        &self,
        views: &NodeVec<NodeView>,
        deployment: &Deployment,
        round: &Round,
        changes: &MembershipChanges,
    ) -> Excess {
        let MapExcess { nodes, names } = self.cluster.excess();
        let values: usize = self.nodes.values().map(NodeTracker::excess_label_values).sum();
        let addresses: usize = round.resolved.iter().map(|name| name.excess).sum();
        let mut excess = round.excess.plus(sentinels::list_excess(views, deployment));
        for (kind, count) in [
            (LimitKind::Nodes, changes.excess + nodes + addresses),
            (LimitKind::GroupNodes, changes.excess_of_group),
            (LimitKind::LabelValues, values),
            (LimitKind::Names, names),
        ] {
            excess.add(kind, count as u64);
        }
        excess
    }

    /// Reads the outcome of each node by itself.
    fn observe_nodes(&mut self, round: &Round) -> RoundNodes {
        let deployment = Arc::clone(&self.view.deployment);
        let syncs = link::upstream_syncs(&self.view.nodes);
        let (mut views, mut process_changes) = (Vec::new(), Vec::new());
        let mut common = NodeMap::default();
        for ((index, tracker), syncs) in self.nodes.iter_mut().zip(syncs) {
            let observation = tracker.observe(index, round, &deployment, syncs);
            views.push(observation.view);
            process_changes.push(observation.process_change);
            if let Some(reply) = observation.common {
                common.insert(index, reply);
            }
        }
        RoundNodes {
            deployment,
            previous: Arc::clone(&self.view),
            views: views.into(),
            process_changes: process_changes.into(),
            common,
            reported_down: Vec::new(),
        }
    }

    /// Decides the states of the nodes that do not reply, from the statements of those that do.
    fn decide_states(&mut self, nodes: &mut RoundNodes, round: &Round, accrued: Duration) {
        let RoundNodes { deployment, views, reported_down, .. } = nodes;
        self.witnesses.observe(views, deployment, &self.addresses, &self.cluster, round);
        let is_failing = |node: &NodeView| node.polling.failing_since.is_some();
        let failing: Vec<_> =
            views.iter().filter(|(_, node)| is_failing(node)).map(|(index, _)| index).collect();
        let testimonies: Vec<_> = failing
            .iter()
            .map(|index| self.witnesses.testimony(*index, views, deployment, round.now))
            .collect();
        for (index, testimony) in failing.into_iter().zip(testimonies) {
            if testimony.reported_down {
                reported_down.push(index);
            }
            views[index] = self.nodes[index].decide(index, testimony, round, accrued, deployment);
        }
    }

    /// Updates the members of the deployment.
    fn observe_membership(&mut self, nodes: &mut RoundNodes, round: &Round) -> MembershipChanges {
        let mut changes =
            self.membership.observe(&nodes.deployment, &nodes.views, &mut self.cluster, round);
        if let Some(deployment) = changes.deployment.take() {
            nodes.deployment = deployment;
            self.shards.remove_replicas(&changes.removed);
            self.apply_membership(nodes, &changes);
            nodes.process_changes.grow(nodes.views.len(), || None);
            for index in &changes.gone {
                nodes.process_changes[*index] = None;
                nodes.common.remove(index);
            }
        }
        changes
    }

    /// Adds nodes that joined, resets those that left, and renames those that moved. The previous
    /// view gets the same nodes, so that both can be compared.
    fn apply_membership(&mut self, nodes: &mut RoundNodes, changes: &MembershipChanges) {
        for index in &changes.gone {
            self.nodes[*index] = NodeTracker::default();
            self.addresses.clear(*index);
            self.shards.clear(*index);
            self.identity.clear(*index);
            self.cluster.clear(*index);
            self.witnesses.clear(*index);
            self.cannot_reach.clear(*index);
            nodes.reported_down.retain(|down| down != index);
        }
        let RoundNodes { deployment, previous, views, .. } = nodes;
        let previous = Arc::make_mut(previous);
        for (index, node) in deployment.nodes.iter() {
            match views.get_mut(index) {
                Some(known) if Arc::ptr_eq(&known.node, node) => continue,
                Some(known) if changes.moved.contains(&index) => {
                    if known.node.name != node.name {
                        // The availability under the new name is not known yet.
                        self.nodes[index].reset_state();
                        for view in [&mut *known, &mut previous.nodes[index]] {
                            view.presence = NodeState::Pending;
                            view.polling = PollStats::default();
                        }
                    }
                    known.node = Arc::clone(node);
                    self.addresses.clear(index);
                    continue;
                }
                Some(known) => {
                    *known = NodeView::pending(node);
                    previous.nodes[index] = NodeView::pending(node);
                }
                None => {
                    views.push(NodeView::pending(node));
                    previous.nodes.push(NodeView::pending(node));
                    self.nodes.push(NodeTracker::default());
                }
            }
            self.restore_node(index, &node.name);
        }
    }

    /// Removes the cluster maps from the last replies. They are large, and the trackers keep what
    /// later rounds need of them.
    fn drop_cluster_maps(&mut self, views: &mut NodeVec<NodeView>) {
        for (index, view) in views.iter_mut() {
            if let Some(last) = view.last.as_ref().filter(|last| last.map.is_some()) {
                let last = Arc::new(NodeSnapshot { map: None, ..NodeSnapshot::clone(last) });
                self.nodes[index].replace_last(Arc::clone(&last));
                view.last = Some(last);
            }
        }
    }

    fn index_addresses(&mut self, nodes: &RoundNodes, round: &Round) {
        for (index, outcome) in round.outcomes.iter() {
            if let (PollOutcome::Answered(reply), Some(_)) = (outcome, nodes.process_changes[index])
            {
                let reply = nodes.common.get(&index).unwrap_or(reply);
                self.addresses.record(index, &reply.snapshot, reply.peer);
            }
        }
        self.addresses.rebuild();
    }

    /// Finds the upstream and the replicas of each node.
    fn connect_nodes(&self, nodes: &mut RoundNodes, round: &Round) {
        for (index, node) in nodes.views.iter_mut() {
            node.disk = round.disks.get(index).copied().flatten();
            node.attached_replicas = self.attached_replicas(node, &nodes.deployment);
            node.upstream =
                upstream::find_upstream(node, index, &nodes.deployment, &self.addresses);
        }
    }

    /// Returns the state of the cluster; `None` if the deployment is none.
    fn cluster_view(
        &mut self,
        nodes: &NodeVec<NodeView>,
        shards: &[ShardView],
        ghosts: Vec<String>,
        context: &RoundContext<'_>,
    ) -> Option<ClusterView> {
        if context.deployment.kind != DeploymentKind::Cluster {
            return None;
        }
        let stale: Vec<_> = shards.iter().flat_map(|shard| &shard.stale_masters).copied().collect();
        Some(self.cluster.view(nodes, &stale, ghosts, context.now()))
    }

    /// Adds the findings and the events of the round to the view, makes it the current one and
    /// returns the events.
    fn publish(
        &mut self,
        mut view: DeploymentView,
        previous: &DeploymentView,
        messages: &[SentinelMessage],
    ) -> Vec<Event> {
        view.findings = self.findings.observe(&view);
        let events = events::between(previous, &view, messages);
        if !events.is_empty() {
            let mut history = EventHistory::clone(&view.history);
            history.add(&events, view.nodes.len());
            view.history = Arc::new(history);
        }
        self.view = Arc::new(view);
        events
    }

    /// Returns the replies that should be read in the next round. `unnamed` are IP addresses whose
    /// host names are needed.
    fn read_requests(&mut self, unnamed: Vec<String>) -> Vec<ReadRequest> {
        let mut requests: Vec<_> = self.shards.read_requests().collect();
        requests.extend(unnamed.into_iter().map(ReadRequest::HostName));
        let interval = self.view.deployment.interval;
        let has_sentinels = self.view.deployment.kind == DeploymentKind::Sentinel;
        let is_undecided = || self.view.nodes.values().any(|node| node.is_undecided(interval));
        if has_sentinels && (is_undecided() || self.failover.needs_lists()) {
            requests.push(ReadRequest::SentinelLists);
        }
        if self.view.deployment.kind == DeploymentKind::Cluster {
            let maps = self.cluster.maps_to_read(&self.view.nodes);
            requests.extend(maps.into_iter().map(ReadRequest::ClusterMap));
        }
        requests
    }

    /// Returns the state that is kept over a restart of the exporter.
    pub fn saved_state(&self) -> SavedState {
        let is_cluster = self.view.deployment.kind == DeploymentKind::Cluster;
        // The saved state of nodes that have not been discovered yet is kept.
        let PendingRestore { state, claims, downtime } = &self.pending_restore;
        let mut state = state.clone();
        let pending = claims.iter().filter(|pending| !pending.claimants.is_empty());
        state.claims = pending.map(PendingClaims::saved).collect();
        state.claims.extend(self.shards.saved_claims(&self.view.nodes));
        let since_saved = downtime.saturating_add(self.view.now.since_start()).as_secs();
        for node in state.nodes.values_mut() {
            node.silence = node.silence.saturating_add(since_saved);
        }
        state.old_addresses = self.membership.old_addresses().to_vec();
        let shards = self.shards.trackers();
        for (index, view) in self.view.members() {
            let tracker = &self.nodes[index];
            let shard = shards.get(&index).copied().unwrap_or(self.shards.single());
            let mut node = SavedNode {
                run_id: tracker.run_id().map(str::to_owned),
                silence: tracker.silence(self.view.now).as_secs(),
                epoch: self.shards.epoch(index),
                appendfsync: tracker.appendfsync().map(str::to_owned),
                ..SavedNode::default()
            };
            shard.save(index, &self.view.nodes, &mut node);
            let was_primary = shard.was_primary(index);
            self.identity.save_node(index, self.view.now, &mut node);
            if was_primary && !is_cluster {
                state.primary = Some(view.node.name.clone());
            }
            node.primary = was_primary && is_cluster;
            state.nodes.insert(view.node.name.clone(), node);
        }
        self.identity.save(self.view.now, &mut state);
        state
    }

    /// Restores the state that was saved `downtime` before the exporter started. Call this before
    /// the first round. The state of a node that is discovered later is restored then.
    pub fn restore(&mut self, mut state: SavedState, downtime: Duration) {
        self.membership.restore(state.old_addresses.clone());
        self.identity.restore(&state, downtime);
        let claims = std::mem::take(&mut state.claims).into_iter().map(PendingClaims::new);
        self.pending_restore = PendingRestore { claims: claims.collect(), state, downtime };
        let deployment = Arc::clone(&self.view.deployment);
        for (index, node) in deployment.nodes.iter() {
            self.restore_node(index, &node.name);
        }
    }

    fn restore_node(&mut self, index: NodeIndex, name: &str) {
        let PendingRestore { state, claims, downtime } = &mut self.pending_restore;
        let Some(node) = state.nodes.remove(name) else { return };
        let mut claim = None;
        for (position, pending) in claims.iter_mut().enumerate() {
            if pending.claimants.remove(name) {
                let shared = || SharedClaim { position, claim: Arc::clone(&pending.claim) };
                claim.get_or_insert_with(shared);
            }
        }
        self.nodes[index].restore(&node, *downtime);
        self.identity.restore_node(index, &node, *downtime);
        let was_primary = node.primary || state.primary.as_deref() == Some(name);
        self.shards.restore(index, SavedMember { was_primary, node, claim });
    }

    /// Returns the time that a round may add to durations that accumulate.
    fn accrued(&self, round: &Round) -> Duration {
        let interval = self.view.deployment.interval;
        if self.view.at.is_none() {
            return interval;
        }
        round.now.since(self.view.now).min(interval * MAX_ACCRUED_INTERVALS)
    }

    /// Returns the replicas that a node reports, with the names of the nodes at their addresses.
    fn attached_replicas(&self, node: &NodeView, deployment: &Deployment) -> Vec<AttachedView> {
        let Some(snapshot) = node.snapshot() else { return Vec::new() };
        let name = |address: String| {
            let index = self.addresses.node_at(deployment, &address);
            index.map_or(address, |index| deployment.nodes[index].name.clone())
        };
        let replicas = snapshot.replication.attached.iter();
        let mut views: Vec<_> = replicas
            .map(|reported| AttachedView {
                name: name(address(&reported.ip, reported.port)),
                reported: reported.clone(),
            })
            .collect();
        // A replica that reconnected is listed twice until its old connection times out.
        views.sort_by(|a, b| {
            a.name.cmp(&b.name).then_with(|| b.reported.liveness().cmp(&a.reported.liveness()))
        });
        views.dedup_by(|b, a| a.name == b.name);
        views
    }
}

impl PendingClaims {
    fn new(saved: SavedClaims) -> Self {
        PendingClaims { claimants: saved.claimants, claim: Arc::new(saved.claim) }
    }

    fn saved(&self) -> SavedClaims {
        SavedClaims { claimants: self.claimants.clone(), claim: SavedClaim::clone(&self.claim) }
    }
}

/// Compares the reports of the Sentinels with the primary.
fn compare_sentinels(
    sentinels: &mut SentinelsView,
    shards: &[ShardView],
    previous: &DeploymentView,
    changes: &MembershipChanges,
) {
    let was_listed = previous.sentinels.as_ref().is_some_and(|previous| previous.listed);
    sentinels.listed = was_listed || (sentinels.listed && changes.unnamed.is_empty());
    let primary = shards.first().and_then(|shard| shard.primary);
    sentinels.compare_with(primary.map(|primary| primary.node));
}

/// Returns the shared nodes of a round, without those at unknown positions.
fn shared_nodes(round: &Round, nodes: usize) -> Vec<SharedNode> {
    round.shared.iter().filter(|shared| shared.node.get() < nodes).cloned().collect()
}

fn round_stats(previous: RoundStats, round: &Round) -> RoundStats {
    RoundStats {
        total: previous.total + 1,
        missed: previous.missed + round.missed,
        blind: previous.blind + u64::from(round.blind),
        slow: previous.slow + u64::from(round.slow_before),
        duration: round.duration,
        computation: round.computation_before,
    }
}
