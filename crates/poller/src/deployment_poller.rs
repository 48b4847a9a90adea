//! Polling of one deployment, round by round.
//!
//! A round polls all connected nodes. It ends when every responsive node has replied, or at the
//! deadline. A node is responsive if it replied within the deadline in the previous round. Other
//! nodes are polled too, but the round does not wait for them. A hanging node therefore delays one
//! round only.
//!
//! All other work runs in tasks of its own, and a round takes their latest results:
//! - Each node's task opens its connection.
//! - The tasks of `sentinels` poll the Sentinels. An event of a Sentinel starts a round early.
//! - Other tasks check endpoints, look up names and measure free disk space.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use config::DeploymentSettings;
use recording::Restored;
use snapshot::Reason;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use topology::{
    Availability, DeploymentTracker, DeploymentView, Node, NodeKind, PollOutcome, ReadRequest,
    Round, RoundResult, SentinelMessage,
};
use tracing::warn;

use crate::blindness::{ContactReporter, DeploymentContact};
use crate::computation::ComputeTimes;
use crate::context::PollerContext;
use crate::descriptors::exhaustion;
use crate::disk_monitor::DiskMonitor;
use crate::endpoint_checks::EndpointChecks;
use crate::episode::Episodes;
use crate::event_log;
use crate::excess_registry::GroupNodes;
use crate::name_resolver::NameResolver;
use crate::node_handle::{NodeHandle, NodeResult};
use crate::node_messages::{PollRequest, SlotId, SlotReport, TaskReport};
use crate::node_task::NodeTaskSettings;
use crate::phases;
use crate::process_registry::RegisteredProcesses;
use crate::reconnect::{announces_return, linked_again};
use crate::reverse_lookups::ReverseLookups;
use crate::round_recorder::DeploymentRecorder;
use crate::sentinels::{SentinelEvent, SentinelEvents, SentinelHandle};

/// Minimum time from the start of a round to that of a requested round.
const MIN_ROUND_GAP: Duration = Duration::from_millis(100);

/// Limit of the Sentinel messages that wait for a round.
const MAX_MESSAGES: usize = 256;

/// Poller of one deployment.
struct DeploymentPoller {
    settings: Arc<DeploymentSettings>,
    context: PollerContext,
    tracker: DeploymentTracker,
    /// Nodes, by node index.
    slots: Vec<NodeSlot>,
    /// Generation of the last node that was added to `slots`.
    generation: u64,
    report_sender: mpsc::Sender<SlotReport>,
    reports: mpsc::Receiver<SlotReport>,
    tasks: JoinSet<()>,
    sentinel_events: SentinelEvents,
    /// Sentinel messages since the last round.
    messages: Vec<SentinelMessage>,
    checks: EndpointChecks,
    reverse_lookups: ReverseLookups,
    name_resolver: NameResolver,
    disk_monitor: DiskMonitor,
    contact: DeploymentContact,
    contact_reporter: ContactReporter,
    processes: RegisteredProcesses,
    /// Start of the last round.
    last_round_at: Option<Instant>,
    /// Start of the next round, if one was requested before the next tick.
    requested_round_at: Option<Instant>,
    /// Data that the tracker requested for the next round.
    read_requests: HashSet<ReadRequest>,
    /// Recorder of the rounds, if they are recorded. The box keeps its size out of the task.
    recorder: Option<Box<DeploymentRecorder>>,
    compute_times: ComputeTimes,
    /// Time that the computation of the last round took, and true if that was too long.
    computation: Option<(Duration, bool)>,
    /// Conditions that are logged once per episode.
    episodes: Episodes,
    /// Nodes among those of the group of Sentinels, if it has a limit.
    group_nodes: Option<GroupNodes>,
}

/// Node at a node index.
enum NodeSlot {
    /// Data node with its own task.
    Node { handle: Box<NodeHandle>, address: String },
    /// Sentinel, whose task all deployments share.
    Sentinel(SentinelHandle),
    /// Data node whose name has no address yet.
    Unresolved,
    /// No node.
    Vacant,
}

/// Polls a deployment until the task is aborted, and publishes a view after each round.
///
/// `sentinels` are the handles of its Sentinels, in the order of its nodes. `phase` is the offset
/// of its rounds within the interval: all deployments share the phases, which spread their rounds.
///
/// # Errors
/// Fails if one of its tasks ends. This must stop the process.
pub async fn run(
    settings: Arc<DeploymentSettings>,
    sentinels: Vec<SentinelHandle>,
    context: PollerContext,
    publish: watch::Sender<Arc<DeploymentView>>,
    phase: Duration,
) -> anyhow::Result<()> {
    let mut poller = DeploymentPoller::new(settings, sentinels, context);
    let clock = poller.context.clock;
    poller.wait_for_first_results().await?;
    let mut view = poller.run_round(clock.now()).await?;
    if poller.is_pending() {
        // The first round discovered nodes.
        poller.wait_for_first_results().await?;
        view = poller.run_round(clock.now()).await?;
    }
    publish.send_replace(view);
    // The results of the checks are compared with the view, so it must exist before the first one.
    poller.checks.start(&poller.settings, &poller.context, phase, &mut poller.tasks);
    let interval = poller.settings.deployment.interval;
    let mut ticks = phases::ticks(clock, phase, interval);
    loop {
        let requested_at = poller.requested_round_at;
        let requested = async {
            match requested_at {
                Some(requested_at) => sleep_until(requested_at).await,
                None => std::future::pending().await,
            }
        };
        let scheduled = tokio::select! {
            scheduled = ticks.tick() => scheduled,
            // A requested round has no tick, so it is never late.
            () = requested => clock.now(),
            handled = poller.handle_next() => {
                handled?;
                continue;
            }
        };
        publish.send_replace(poller.run_round(scheduled).await?);
    }
}

impl DeploymentPoller {
    fn new(
        settings: Arc<DeploymentSettings>,
        sentinels: Vec<SentinelHandle>,
        context: PollerContext,
    ) -> Self {
        let (report_sender, reports) = mpsc::channel(settings.endpoints.len() + 16);
        let mut tracker = DeploymentTracker::new(Arc::clone(&settings.deployment));
        let started = context.clock.wall();
        let restored = context.state.saved(&settings.deployment.name, started);
        if let Some(Restored { state, downtime }) = &restored {
            tracker.restore(state.clone(), *downtime);
        }
        let recorder = context.recorder.as_ref().map(|recorder| {
            Box::new(recorder.deployment(Arc::clone(&settings.deployment), restored, started))
        });
        let mut tasks = JoinSet::new();
        let name_resolver = NameResolver::start(&settings, &mut tasks);
        let disk_monitor = DiskMonitor::start(&settings, &context, &mut tasks);
        let contact_reporter = context.blindness.reporter();
        let processes = context.processes.deployment(&settings.deployment.name);
        let group_nodes = settings.group.as_ref().map(|group| context.excess.join(group));
        let sentinel_events =
            SentinelEvents::listen(&sentinels, settings.master(), &settings.deployment);
        let window = settings.deployment.interval * 2 + settings.deadline;
        let mut poller = DeploymentPoller {
            slots: sentinels.into_iter().map(NodeSlot::Sentinel).collect(),
            tracker,
            settings,
            context,
            generation: 0,
            report_sender,
            reports,
            tasks,
            sentinel_events,
            messages: Vec::new(),
            checks: EndpointChecks::new(),
            reverse_lookups: ReverseLookups::default(),
            name_resolver,
            disk_monitor,
            contact: DeploymentContact::new(window),
            contact_reporter,
            processes,
            last_round_at: None,
            requested_round_at: None,
            read_requests: HashSet::new(),
            recorder,
            compute_times: ComputeTimes::default(),
            computation: None,
            episodes: Episodes::default(),
            group_nodes,
        };
        poller.update_slots();
        poller
    }

    /// Starts tasks for new nodes of the deployment, and stops those of removed nodes.
    fn update_slots(&mut self) {
        let deployment = Arc::clone(&self.tracker.view().deployment);
        for (index, node) in deployment.nodes.values().enumerate() {
            if self.slots.get(index).is_some_and(|slot| self.is_current(slot, index, node)) {
                continue;
            }
            let new_slot = self.new_slot(&deployment.name, index, node);
            self.contact.reset(index);
            match self.slots.get_mut(index) {
                Some(slot) => *slot = new_slot,
                None => self.slots.push(new_slot),
            }
        }
    }

    /// Returns true if the slot still fits the node at its index.
    fn is_current(&self, slot: &NodeSlot, index: usize, node: &Node) -> bool {
        match slot {
            NodeSlot::Node { address, .. } => {
                node.kind == NodeKind::Data && *address == node.address
            }
            NodeSlot::Sentinel(_) => true,
            NodeSlot::Unresolved => {
                node.kind == NodeKind::Data
                    && self.settings.endpoint(index, &node.address).is_none()
            }
            NodeSlot::Vacant => node.kind == NodeKind::Vacant,
        }
    }

    /// Creates the slot of a node. Starts its task if it is a data node with an address.
    fn new_slot(&mut self, deployment: &str, index: usize, node: &Node) -> NodeSlot {
        self.generation += 1;
        if node.kind != NodeKind::Data {
            return NodeSlot::Vacant;
        }
        let Some(endpoint) = self.settings.endpoint(index, &node.address) else {
            return NodeSlot::Unresolved;
        };
        let settings = NodeTaskSettings {
            slot: SlotId { index, generation: self.generation },
            deployment: deployment.to_owned(),
            node: node.name.clone(),
            endpoint,
            is_sentinel: false,
            connections: self.settings.deployment.limits.connections,
            cadences: self.settings.cadences,
            interval: self.settings.deployment.interval,
            skipped: self.settings.deployment.skipped.clone(),
            assumed_config: self.settings.assumed.clone(),
        };
        let handle = NodeHandle::start(
            settings,
            self.report_sender.clone(),
            self.context.clone(),
            &mut self.tasks,
        );
        NodeSlot::Node { handle: Box::new(handle), address: node.address.clone() }
    }

    /// Returns true if the first result of some node or name is missing.
    fn is_pending(&self) -> bool {
        let is_pending = |slot: &NodeSlot| match slot {
            NodeSlot::Node { handle, .. } => handle.is_pending(),
            NodeSlot::Sentinel(sentinel) => !sentinel.was_polled(),
            NodeSlot::Unresolved | NodeSlot::Vacant => false,
        };
        self.name_resolver.is_pending() || self.slots.iter().any(is_pending)
    }

    /// Waits for the first result of each node, but not longer than the deadline: a hanging node
    /// must not delay the view of the others.
    async fn wait_for_first_results(&mut self) -> anyhow::Result<()> {
        let deadline = self.context.clock.now() + self.settings.deadline;
        while self.is_pending() {
            tokio::select! {
                handled = self.handle_next() => handled?,
                () = sleep_until(deadline) => break,
            }
        }
        Ok(())
    }

    /// Runs one round and returns the resulting view.
    async fn run_round(&mut self, scheduled: Instant) -> anyhow::Result<Arc<DeploymentView>> {
        let started = self.context.clock.now();
        let deadline = started + self.settings.deadline;
        (self.last_round_at, self.requested_round_at) = (Some(started), None);
        self.poll_nodes();
        while self.waits_for_nodes() {
            tokio::select! {
                handled = self.handle_next() => handled?,
                () = sleep_until(deadline) => break,
            }
        }
        let round = self.finish_round(scheduled, started, deadline);
        let (clock, threads) = (self.context.clock, self.context.compute_threads.clone());
        let now = clock.elapsed(clock.now());
        let may_be_long = self.compute_times.expect_long_round(round.outcomes.len(), now);
        let (view, took) = threads.run(clock, may_be_long, || self.compute(&round)).await;
        let now = clock.elapsed(clock.now());
        self.compute_times.record(took, now);
        let DeploymentView { deployment, .. } = &*view;
        let is_slow =
            self.episodes.observe_computation(&deployment.name, took, deployment.interval, now);
        self.computation = Some((took, is_slow));
        self.episodes.observe_excess(&view, now);
        self.episodes.observe_master(&view, now);
        if let Some(nodes) = &mut self.group_nodes {
            let is_data = |node: &&Arc<Node>| node.kind == NodeKind::Data;
            nodes.set(view.deployment.nodes.values().filter(is_data).count());
        }
        Ok(view)
    }

    /// Computes the state of the deployment after a round, and prepares the next round.
    fn compute(&mut self, round: &Round) -> Arc<DeploymentView> {
        let deployment = Arc::clone(&self.tracker.view().deployment);
        if let Some(recorder) = &mut self.recorder {
            recorder.record(round, &deployment);
        }
        let result = self.tracker.observe(round);
        self.processes.update(&result.view);
        event_log::log(&result);
        self.context.state.save(&self.tracker, &result, self.context.clock.wall());
        if !Arc::ptr_eq(&deployment, &result.view.deployment) {
            self.update_slots();
            // An address may belong to another node when it is discovered again.
            self.reverse_lookups.clear();
        }
        self.update_reconnects(&result);
        self.reverse_lookups.request(result.requests.iter());
        if result.requests.contains(&ReadRequest::SentinelLists) {
            self.request_sentinel_lists();
        }
        self.read_requests = result.requests.into_iter().collect();
        result.view
    }

    /// Requests the lists of all Sentinels with their next polls.
    fn request_sentinel_lists(&self) {
        for slot in &self.slots {
            if let NodeSlot::Sentinel(sentinel) = slot {
                sentinel.request_lists(self.settings.master());
            }
        }
    }

    /// Shortens the delays between connection attempts to nodes whose return is awaited, and to
    /// nodes to which a replica connected again, or that a cluster map shows again.
    fn update_reconnects(&self, result: &RoundResult) {
        let linked = linked_again(result);
        let awaited = result.view.awaited();
        for (index, node) in result.view.nodes.iter() {
            let is_seen = node.availability() == Availability::Down && node.vouching().count() > 0;
            let has_sign = is_seen || linked.contains(&index) || result.returned.contains(&index);
            match self.slots.get(index.get()) {
                Some(NodeSlot::Node { handle, .. }) => {
                    handle.set_awaited(awaited.contains(&index));
                    if has_sign {
                        handle.add_sign();
                    }
                }
                Some(NodeSlot::Sentinel(sentinel)) if has_sign => sentinel.add_sign(),
                _ => {}
            }
        }
    }

    /// Returns the handles of the data nodes with their indices.
    fn handles(&self) -> impl Iterator<Item = (topology::NodeIndex, &NodeHandle)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| match slot {
            NodeSlot::Node { handle, .. } => Some((topology::NodeIndex::new(index), &**handle)),
            _ => None,
        })
    }

    /// Sends a poll request to each data node.
    fn poll_nodes(&mut self) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if let NodeSlot::Node { handle, .. } = slot {
                let index = topology::NodeIndex::new(index);
                let requested = |request: ReadRequest| self.read_requests.contains(&request);
                handle.poll(PollRequest {
                    command_stats: requested(ReadRequest::CommandStats(index)),
                    client_list: requested(ReadRequest::ClientList(index)),
                    cluster_map: requested(ReadRequest::ClusterMap(index)),
                    ..PollRequest::default()
                });
            }
        }
    }

    /// Returns true while a responsive node has not replied in this round.
    fn waits_for_nodes(&self) -> bool {
        self.slots
            .iter()
            .any(|slot| matches!(slot, NodeSlot::Node { handle, .. } if handle.blocks_round()))
    }

    /// Ends the round and collects the results of all tasks.
    fn finish_round(&mut self, scheduled: Instant, started: Instant, deadline: Instant) -> Round {
        let clock = self.context.clock;
        let interval = self.settings.deployment.interval;
        let ended = clock.now();
        let elapsed = clock.elapsed(ended);
        let late = started.saturating_duration_since(scheduled);
        let overloaded =
            late > interval / 2 || ended.saturating_duration_since(deadline) > interval / 2;
        let results = self.slots.iter_mut().map(|slot| match slot {
            NodeSlot::Node { handle, .. } => handle.finish_round(),
            NodeSlot::Sentinel(sentinel) => sentinel.new_result(),
            NodeSlot::Unresolved => {
                let reason = exhaustion().map_or(Reason::Dns, |failure| failure.reason);
                NodeResult::unpolled(PollOutcome::Failed(reason))
            }
            NodeSlot::Vacant => NodeResult::unpolled(PollOutcome::Pending),
        });
        let (mut outcomes, mut details, mut contacts) = (Vec::new(), Vec::new(), Vec::new());
        for NodeResult { outcome, detail, contact } in results {
            outcomes.push(outcome);
            details.push(detail);
            contacts.push(contact);
        }
        self.checks.add_errors(&mut outcomes);
        let cut_off_for = self.report_contacts(&outcomes, overloaded, elapsed);
        Round {
            duration: ended - started,
            missed: u64::try_from(late.as_nanos() / interval.as_nanos()).unwrap_or(u64::MAX),
            computation_before: self.computation.map(|(took, _)| took),
            slow_before: self.computation.is_some_and(|(_, is_slow)| is_slow),
            excess: self.context.excess.of(&self.settings.deployment.name),
            nodes_left: self
                .group_nodes
                .as_ref()
                .map(|nodes| nodes.left(self.settings.deployment.limits.group_nodes)),
            blind: overloaded || cut_off_for.is_some(),
            cut_off_for,
            details: details.into(),
            contacts: contacts.into(),
            messages: std::mem::take(&mut self.messages),
            checks: self.checks.take_results(),
            host_names: self.reverse_lookups.names(),
            resolved: self.name_resolver.resolved(),
            disks: self.disk_monitor.free_space(ended).into(),
            shared: self.processes.shared(),
            ..Round::new(clock.wall(), topology::Monotonic::from_start(elapsed), outcomes)
        }
    }

    /// Reports the contact with all nodes after a round. Returns the time for which the exporter
    /// has been cut off; `None` if it is not, or if no node of this deployment is silent.
    fn report_contacts(
        &mut self,
        outcomes: &[PollOutcome],
        overloaded: bool,
        now: Duration,
    ) -> Option<Duration> {
        self.contact.observe(outcomes, overloaded, now);
        for index in &self.tracker.view().reported_down {
            self.contact.record_peer_report(*index);
        }
        self.contact_reporter.report(&self.contact, now)
    }

    /// Waits for the next result of a task, and handles it.
    async fn handle_next(&mut self) -> anyhow::Result<()> {
        tokio::select! {
            biased;
            Some(ended) = self.tasks.join_next() => match ended {
                // The task of a removed node.
                Err(error) if error.is_cancelled() => {}
                ended => {
                    ended.context("the task of a node panicked")?;
                    bail!("the task of a node ended");
                }
            },
            report = self.reports.recv() => {
                self.handle_report(report.context("the tasks of all nodes ended")?);
            }
            () = self.checks.next() => {}
            event = self.sentinel_events.next() => self.handle_sentinel_event(event),
            () = self.reverse_lookups.next() => self.request_round(),
            () = self.disk_monitor.next() => {}
            changed = self.name_resolver.next() => {
                if changed {
                    self.request_round();
                }
            }
        }
        Ok(())
    }

    fn handle_report(&mut self, report: SlotReport) {
        let SlotReport { slot, at, report } = report;
        let deadline = self.settings.deadline;
        let Some(NodeSlot::Node { handle, .. }) = self.slots.get_mut(slot.index) else { return };
        if handle.slot != slot {
            return;
        }
        // Poll a new node, and an awaited one, without waiting for the next tick. A configured node
        // without a connection is no news.
        let is_connected = matches!(report, TaskReport::Connected);
        let is_new = handle.is_pending() && (is_connected || self.settings.discovery.is_some());
        let is_back = handle.expects_return() && is_connected;
        handle.handle_report(report, at, deadline);
        if is_new || is_back {
            self.request_round();
        }
    }

    fn handle_sentinel_event(&mut self, event: SentinelEvent) {
        match event {
            SentinelEvent::Message(message) => {
                if announces_return(&message) {
                    // The announced address may differ from that of the node, so all are tried.
                    self.handles().for_each(|(_, handle)| handle.add_sign());
                }
                if self.messages.len() == MAX_MESSAGES {
                    let deployment = &self.settings.deployment.name;
                    warn!(deployment, "too many Sentinel events, dropping some");
                }
                // One message above the limit marks that the limit was exceeded.
                if self.messages.len() <= MAX_MESSAGES {
                    self.messages.push(*message);
                }
            }
            SentinelEvent::FirstPoll => {}
        }
        self.request_round();
    }

    /// Requests a round before the next tick.
    fn request_round(&mut self) {
        let now = self.context.clock.now();
        self.requested_round_at.get_or_insert_with(|| {
            self.last_round_at.map_or(now, |started| now.max(started + MIN_ROUND_GAP))
        });
    }
}
