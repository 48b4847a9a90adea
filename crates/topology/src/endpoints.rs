//! Tracker of the endpoints that applications use.
//!
//! A check is compared with the process of the primary, but the check and the poll of the primary
//! happen at different moments. A failover or a restart must not make a correct endpoint wrong. So
//! a check counts only if the primary and its process were known before the check began. It counts
//! against the endpoint only if the same process replied once more after the check ended. Until
//! then the check is pending.

use crate::limits::ENDPOINT_FOLLOWS_WITHIN;
use crate::model::endpoint::{
    EndpointCheckResult, EndpointKind, EndpointServer, EndpointTarget, EndpointView,
};
use crate::model::monotonic::Monotonic;
use crate::model::node::NodeView;
use crate::model::node_index::{NodeIndex, NodeVec};
use crate::model::refusals::refuses;
use crate::shard::context::RoundContext;

/// Tracks the endpoints of a deployment.
#[derive(Debug, Default)]
pub(crate) struct EndpointsTracker {
    /// The process of each node that is up.
    processes: NodeVec<Option<Process>>,
    /// The primary, or all masters if the configuration expects several.
    primaries: Vec<NodeIndex>,
    /// Monotonic time since which `primaries` is the same.
    primaries_since: Monotonic,
    /// The last primaries that were known.
    last_primaries: Vec<NodeIndex>,
    /// Monotonic time of the last change from known primaries to others.
    last_change: Option<Monotonic>,
    endpoints: Vec<TrackedEndpoint>,
}

/// A process that replies as a node.
#[derive(Debug, Clone)]
struct Process {
    run_id: Box<str>,
    /// Monotonic time at which it was first seen.
    since: Monotonic,
    /// Monotonic time at which the last round with its reply began.
    last_reply: Monotonic,
}

/// A period in which some known processes did not change.
#[derive(Debug, Clone, Copy)]
struct StablePeriod {
    /// Monotonic time since which the processes are known.
    since: Monotonic,
    /// Monotonic time after which each of them replied once more.
    until: Monotonic,
}

/// State of one endpoint.
#[derive(Debug)]
struct TrackedEndpoint {
    view: EndpointView,
    /// The server of the last check.
    server: Option<EndpointServer>,
    /// The last check, until it is judged.
    pending: Option<EndpointCheckResult>,
    /// Of the endpoint for writes: monotonic time since which the process of the primary is the
    /// same, as of the last round.
    primary_since: Option<Monotonic>,
}

impl EndpointsTracker {
    /// Processes one round. `primaries` is the primary, or all masters if the configuration
    /// expects several.
    pub(crate) fn observe(
        &mut self,
        nodes: &NodeVec<NodeView>,
        primaries: &[NodeIndex],
        context: &RoundContext<'_>,
    ) -> Vec<EndpointView> {
        if context.deployment.endpoints.is_empty() {
            return Vec::new();
        }
        self.observe_processes(nodes, context);
        self.observe_primaries(primaries, context.now());
        if self.endpoints.is_empty() {
            let pending = context.deployment.endpoints.iter().map(EndpointView::pending);
            self.endpoints = pending.map(TrackedEndpoint::new).collect();
        }
        let mut endpoints = std::mem::take(&mut self.endpoints);
        for endpoint in &mut endpoints {
            let kind = endpoint.view.configured.kind;
            self.judge(endpoint, nodes, context);
            for check in context.round.checks.iter().filter(|check| check.endpoint == kind) {
                endpoint.add_check(check);
                self.judge(endpoint, nodes, context);
            }
            endpoint.find_target(nodes);
        }
        self.endpoints = endpoints;
        self.endpoints.iter().map(|endpoint| endpoint.view.clone()).collect()
    }

    fn observe_processes(&mut self, nodes: &NodeVec<NodeView>, context: &RoundContext<'_>) {
        self.processes.grow(nodes.len(), || None);
        for (index, process) in self.processes.iter_mut() {
            let run_id =
                nodes[index].snapshot().and_then(|snapshot| snapshot.identity.run_id.as_ref());
            let Some(run_id) = run_id else {
                *process = None;
                continue;
            };
            if process.as_ref().is_none_or(|known| known.run_id != *run_id) {
                *process = Some(Process {
                    run_id: run_id.clone(),
                    since: context.now(),
                    last_reply: Monotonic::START,
                });
            }
            if let Some(known) = process.as_mut().filter(|_| context.answered(index)) {
                known.last_reply = context.now().saturating_sub(context.round.duration);
            }
        }
    }

    fn observe_primaries(&mut self, primaries: &[NodeIndex], now: Monotonic) {
        if self.primaries == primaries {
            return;
        }
        primaries.clone_into(&mut self.primaries);
        self.primaries_since = now;
        if !primaries.is_empty() && self.last_primaries != primaries {
            // The first known primary may have been the primary for long.
            self.last_change = (!self.last_primaries.is_empty()).then_some(now);
            primaries.clone_into(&mut self.last_primaries);
        }
    }

    /// Returns the period in which the processes of some nodes and the primary stayed the same;
    /// `None` if a process is unknown, or without nodes.
    fn stable_period(&self, nodes: impl Iterator<Item = NodeIndex>) -> Option<StablePeriod> {
        let mut period: Option<StablePeriod> = None;
        for index in nodes {
            let process = self.processes[index].as_ref()?;
            let (since, until) = period
                .map_or((self.primaries_since, process.last_reply), |period| {
                    (period.since, period.until)
                });
            period = Some(StablePeriod {
                since: since.max(process.since),
                until: until.min(process.last_reply),
            });
        }
        period
    }

    /// Judges the pending check, if that is possible now.
    fn judge(
        &self,
        endpoint: &mut TrackedEndpoint,
        nodes: &NodeVec<NodeView>,
        context: &RoundContext<'_>,
    ) {
        if endpoint.view.configured.kind == EndpointKind::Primary {
            let period = self.stable_period(self.primaries.iter().copied());
            let since = period.map(|period| period.since);
            if endpoint.primary_since != since {
                // Earlier results say nothing about another primary or another process.
                endpoint.reset();
                endpoint.primary_since = since;
            }
        }
        let Some(check) = &endpoint.pending else { return };
        let Some(correct) = self.verdict(check, nodes, context) else { return };
        let follows_by = self
            .last_change
            .map_or(Monotonic::START, |last_change| last_change + ENDPOINT_FOLLOWS_WITHIN);
        endpoint.view.overdue = check.started >= follows_by;
        endpoint.view.correct = Some(correct);
        endpoint.view.wrong_checks = if correct { 0 } else { endpoint.view.wrong_checks + 1 };
        endpoint.pending = None;
    }

    /// Returns true if a check reached the right server; `None` while this is unknown.
    fn verdict(
        &self,
        check: &EndpointCheckResult,
        nodes: &NodeVec<NodeView>,
        context: &RoundContext<'_>,
    ) -> Option<bool> {
        let server = check.outcome.as_ref().ok()?;
        let run_id = server.run_id.as_ref()?;
        let is_server = |index: NodeIndex| {
            self.processes[index].as_ref().is_some_and(|process| process.run_id == *run_id)
        };
        match check.endpoint {
            EndpointKind::Primary => {
                let period = self
                    .stable_period(self.primaries.iter().copied())
                    .filter(|period| check.started > period.since)?;
                if self.primaries.iter().any(|primary| is_server(*primary)) {
                    return Some(true);
                }
                // If the configuration expects several masters, one that does not reply to
                // Rolecall may have replied to the check.
                let expected = context.expect.masters;
                let is_complete =
                    expected.is_none_or(|masters| self.primaries.len() >= masters as usize);
                (period.covers(check) && is_complete).then_some(false)
            }
            EndpointKind::Reader => {
                let is_data = |index: &NodeIndex| nodes[*index].holds_data();
                let data_nodes = || nodes.indices().filter(is_data);
                if let Some(index) = data_nodes().find(|index| is_server(*index)) {
                    return Some(!refuses(&nodes[index].reads_refused));
                }
                // Sentinels may not list a new replica yet.
                if context.deployment.discovery.is_some() && shares_history(nodes, server) {
                    return None;
                }
                // A node that does not reply may have restarted and be the server.
                let period = self.stable_period(data_nodes())?;
                period.covers(check).then_some(false)
            }
        }
    }
}

impl StablePeriod {
    /// Returns true if the processes were the same before and after the check.
    fn covers(self, check: &EndpointCheckResult) -> bool {
        check.started > self.since && self.until >= check.ended
    }
}

impl TrackedEndpoint {
    fn new(view: EndpointView) -> Self {
        TrackedEndpoint { view, server: None, pending: None, primary_since: None }
    }

    /// Adds the result of a check. The previous verdict stays until this check is judged.
    fn add_check(&mut self, check: &EndpointCheckResult) {
        if self.pending.is_some() {
            // The previous check was never judged, so this one does not continue a series.
            self.reset();
        }
        let view = &mut self.view;
        view.checks += 1;
        view.up = Some(check.outcome.is_ok());
        view.reason = check.outcome.as_ref().err().copied();
        view.leads_to = None;
        self.server = check.outcome.as_ref().ok().cloned();
        view.role = self.server.as_ref().and_then(|server| server.role);
        if self.server.as_ref().is_none_or(|server| server.run_id.is_none()) {
            self.reset();
        } else {
            self.pending = Some(check.clone());
        }
    }

    /// Sets the verdict to unknown.
    fn reset(&mut self) {
        (self.view.correct, self.view.wrong_checks, self.view.overdue) = (None, 0, false);
        self.pending = None;
    }

    /// Finds the node that replied to the last check. Once found, it stays the same until the next
    /// check, even if the process ends.
    fn find_target(&mut self, nodes: &NodeVec<NodeView>) {
        let Some(run_id) = self.server.as_ref().and_then(|server| server.run_id.as_ref()) else {
            return;
        };
        if matches!(self.view.leads_to, Some(EndpointTarget::Node(_))) {
            return;
        }
        let is_server = |node: &&NodeView| {
            node.last.as_ref().is_some_and(|last| last.identity.run_id.as_ref() == Some(run_id))
        };
        let node = nodes.values().find(is_server);
        self.view.leads_to =
            Some(node.map_or(EndpointTarget::Stranger, |node| {
                EndpointTarget::Node(node.node.name.clone())
            }));
    }
}

/// Returns true if the data of a server belongs to the history of a node.
fn shares_history(nodes: &NodeVec<NodeView>, server: &EndpointServer) -> bool {
    let mut known =
        nodes.values().filter_map(|node| node.snapshot()?.replication.replid.as_deref());
    server.replid.as_deref().is_some_and(|replid| known.any(|known| known == replid))
}
