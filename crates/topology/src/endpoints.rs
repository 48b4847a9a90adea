//! Fact: where the endpoints lead that applications use, such as a DNS name, a Service or a load balancer.
//!
//! A check is held against the primary's process, and its answer and that of the primary are not of one moment. So that neither a failover
//! nor a restart makes a good endpoint wrong, a check counts only if the primary and its process were known before it began; and against
//! an endpoint only if that process answered once more after it ended. Until then it waits.

use std::time::Duration;

use snapshot::{Reason, Role};

use crate::limits::ENDPOINT_FOLLOWS_WITHIN;
use crate::model::deployment::Deployment;
use crate::model::view::NodeView;
use crate::shard::serving;
use crate::shard::shards::RoundContext;

/// What an endpoint is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndpointKind {
    /// Applications write to it: it should lead to the primary.
    Primary,
    /// Applications read from it: it should lead to any node that serves reads.
    Reader,
}

/// An endpoint that applications use, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceEndpoint {
    /// What it is for.
    pub kind: EndpointKind,
    /// Where it is, `host:port`.
    pub address: String,
}

/// One check of an endpoint, over a connection of its own.
#[derive(Debug, Clone)]
pub struct EndpointCheckResult {
    /// Which endpoint.
    pub endpoint: EndpointKind,
    /// Monotonic time at which it began to connect, since the exporter started.
    pub begun: Duration,
    /// Monotonic time at which it ended.
    pub ended: Duration,
    /// What answered, or why nothing did. The latter is unknown, not evidence.
    pub outcome: Result<EndpointServer, Reason>,
}

/// The server that answered behind an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointServer {
    /// Its process. INFO server: `run_id`.
    pub run_id: Option<Box<str>>,
    /// What it claims to be. INFO replication: `role`.
    pub role: Option<Role>,
    /// The history that its data belongs to. INFO replication: `master_replid`.
    pub replid: Option<Box<str>>,
}

/// What is known of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointView {
    /// What was configured.
    pub configured: ServiceEndpoint,
    /// Checks so far, answered or not.
    pub checks: u64,
    /// Whether the last check was answered; `None` before the first.
    pub up: Option<bool>,
    /// Why it was not.
    pub reason: Option<Reason>,
    /// What the server behind it claims to be, as of the last check.
    pub role: Option<Role>,
    /// Which server is behind it, as of the last check.
    pub leads_to: Option<EndpointTarget>,
    /// Whether it leads where it should; `None` while that is unknown.
    pub correct: Option<bool>,
    /// Checks in a row that found it wrong, while the primary was the same process.
    pub wrong: u32,
    /// The primary was known for so long when the last of them began that the endpoint should have followed.
    pub late: bool,
}

/// Which server is behind an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointTarget {
    /// The node of this label.
    Node(String),
    /// None of the nodes.
    Stranger,
}

/// What the fact remembers.
#[derive(Debug, Default)]
pub(crate) struct EndpointsTracker {
    /// The process of each node that is up, by its place.
    processes: Vec<Option<Process>>,
    /// The primary, or all masters where several are meant.
    acting: Vec<usize>,
    acting_since: Duration,
    /// Who acted last, and when that was somebody else than before.
    last_acting: Vec<usize>,
    changed: Option<Duration>,
    endpoints: Vec<Endpoint>,
}

/// A process that answers as a node.
#[derive(Debug, Clone)]
struct Process {
    run_id: Box<str>,
    /// When it was first seen.
    since: Duration,
    /// When the last round began in which it answered.
    heard: Duration,
}

/// What checks are held against: processes, all of which are known.
#[derive(Debug, Clone, Copy)]
struct JudgementBasis {
    /// Since when they all have been what they are.
    since: Duration,
    /// Since then each of them answered once more.
    heard: Duration,
}

/// What is remembered of one endpoint.
#[derive(Debug)]
struct Endpoint {
    view: EndpointView,
    /// The last check that was answered.
    last: Option<EndpointServer>,
    /// It, while it is still to be judged.
    waiting: Option<EndpointCheckResult>,
    /// Of the endpoint for writes: since when the primary has been what it is, as of the last round.
    ground: Option<Duration>,
}

impl EndpointKind {
    /// The value of the label `endpoint`.
    pub const fn label(self) -> &'static str {
        match self {
            EndpointKind::Primary => "primary",
            EndpointKind::Reader => "reader",
        }
    }
}

impl EndpointTarget {
    /// The label of the node, or `stranger`.
    pub fn label(&self) -> &str {
        match self {
            EndpointTarget::Node(name) => name,
            EndpointTarget::Stranger => "stranger",
        }
    }
}

impl EndpointView {
    /// Nothing is known yet of any endpoint.
    pub(crate) fn pending(deployment: &Deployment) -> Vec<Self> {
        let of = |configured: &ServiceEndpoint| EndpointView {
            configured: configured.clone(),
            checks: 0,
            up: None,
            reason: None,
            role: None,
            leads_to: None,
            correct: None,
            wrong: 0,
            late: false,
        };
        deployment.endpoints.iter().map(of).collect()
    }
}

// === impl Memory ===

impl EndpointsTracker {
    /// Takes up one round. `acting` are the places of the primary, or of all masters where several are meant.
    pub(crate) fn observe(
        &mut self,
        nodes: &[NodeView],
        acting: &[usize],
        context: &RoundContext<'_>,
    ) -> Vec<EndpointView> {
        if context.deployment.endpoints.is_empty() {
            return Vec::new();
        }
        self.follow(nodes, acting, context);
        if self.endpoints.is_empty() {
            let pending = EndpointView::pending(context.deployment).into_iter();
            self.endpoints = pending
                .map(|view| Endpoint { view, last: None, waiting: None, ground: None })
                .collect();
        }
        let mut endpoints = std::mem::take(&mut self.endpoints);
        for endpoint in &mut endpoints {
            let kind = endpoint.view.configured.kind;
            self.judge(endpoint, nodes, context);
            for check in context.round.checks.iter().filter(|check| check.endpoint == kind) {
                endpoint.take(check);
                self.judge(endpoint, nodes, context);
            }
            endpoint.find(nodes);
        }
        self.endpoints = endpoints;
        self.endpoints.iter().map(|endpoint| endpoint.view.clone()).collect()
    }

    /// Takes note of the processes that answer, and of who is primary.
    fn follow(&mut self, nodes: &[NodeView], acting: &[usize], context: &RoundContext<'_>) {
        let round = context.round;
        self.processes.resize(nodes.len(), None);
        for (index, process) in self.processes.iter_mut().enumerate() {
            let run_id =
                nodes[index].snapshot().and_then(|snapshot| snapshot.identity.run_id.as_ref());
            let Some(run_id) = run_id else {
                *process = None;
                continue;
            };
            if process.as_ref().is_none_or(|known| known.run_id != *run_id) {
                *process = Some(Process {
                    run_id: run_id.clone(),
                    since: round.elapsed,
                    heard: Duration::ZERO,
                });
            }
            if let (Some(known), Some(_)) = (process, context.successions[index]) {
                known.heard = round.elapsed.saturating_sub(round.took);
            }
        }
        if self.acting != acting {
            acting.clone_into(&mut self.acting);
            self.acting_since = round.elapsed;
            if !acting.is_empty() && self.last_acting != acting {
                // At first sight it may have been so for long.
                self.changed = (!self.last_acting.is_empty()).then_some(round.elapsed);
                acting.clone_into(&mut self.last_acting);
            }
        }
    }

    /// What to hold a check against that should lead to one of these nodes, or to none of them.
    fn ground(&self, mut indices: impl Iterator<Item = usize>) -> Option<JudgementBasis> {
        let first = JudgementBasis { since: self.acting_since, heard: Duration::MAX };
        let ground = indices.try_fold(first, |ground, index| {
            let process = self.processes[index].as_ref()?;
            Some(JudgementBasis {
                since: ground.since.max(process.since),
                heard: ground.heard.min(process.heard),
            })
        })?;
        (ground.heard != Duration::MAX).then_some(ground)
    }

    /// Judges the check that waits, if the time has come.
    fn judge(&self, endpoint: &mut Endpoint, nodes: &[NodeView], context: &RoundContext<'_>) {
        if endpoint.view.configured.kind == EndpointKind::Primary {
            let ground = self.ground(self.acting.iter().copied()).map(|ground| ground.since);
            if endpoint.ground != ground {
                // Another primary, or another process of it: what was found before says nothing about it.
                endpoint.forget();
                endpoint.ground = ground;
            }
        }
        let Some(check) = &endpoint.waiting else { return };
        let Some(correct) = self.verdict(check, nodes, context) else { return };
        let follows_by =
            self.changed.map_or(Duration::ZERO, |changed| changed + ENDPOINT_FOLLOWS_WITHIN);
        endpoint.view.late = check.begun >= follows_by;
        endpoint.view.correct = Some(correct);
        endpoint.view.wrong = if correct { 0 } else { endpoint.view.wrong + 1 };
        endpoint.waiting = None;
    }

    /// Whether a check led where it should; `None` while that cannot be told.
    fn verdict(
        &self,
        check: &EndpointCheckResult,
        nodes: &[NodeView],
        context: &RoundContext<'_>,
    ) -> Option<bool> {
        let answerer = check.outcome.as_ref().ok()?;
        let run_id = answerer.run_id.as_ref()?;
        let is = |index: &usize| {
            self.processes[*index].as_ref().is_some_and(|process| process.run_id == *run_id)
        };
        // The same processes were there before and after: so it was none of them.
        let led_elsewhere = |ground: JudgementBasis| {
            (check.begun > ground.since && ground.heard >= check.ended).then_some(false)
        };
        match check.endpoint {
            EndpointKind::Primary => {
                let ground = self
                    .ground(self.acting.iter().copied())
                    .filter(|ground| check.begun > ground.since)?;
                if self.acting.iter().any(&is) {
                    return Some(true);
                }
                // Where several masters are meant, one that does not answer us may answer others.
                let complete =
                    context.expect.masters.is_none_or(|meant| self.acting.len() >= meant as usize);
                led_elsewhere(ground).filter(|_| complete)
            }
            EndpointKind::Reader => {
                let data = || (0..nodes.len()).filter(|index| nodes[*index].holds_data());
                match data().find(is) {
                    Some(index) => Some(!serving::refuses(&nodes[index].reads_refused)),
                    // Sentinels may not have told yet of a replica that is new.
                    None if context.deployment.discovery.is_some()
                        && holds_our_data(nodes, answerer) =>
                    {
                        None
                    }
                    // A node that does not answer us may have restarted, and be the one.
                    None => led_elsewhere(self.ground(data())?),
                }
            }
        }
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// Takes up what came of a check. Until an answer is judged, what was found before stands.
    fn take(&mut self, check: &EndpointCheckResult) {
        if self.waiting.is_some() {
            // Nothing could be said of the check before, so this one does not follow on what was found earlier.
            self.forget();
        }
        let view = &mut self.view;
        view.checks += 1;
        view.up = Some(check.outcome.is_ok());
        view.reason = check.outcome.as_ref().err().copied();
        view.leads_to = None;
        self.last = check.outcome.as_ref().ok().cloned();
        view.role = self.last.as_ref().and_then(|answerer| answerer.role);
        if self.last.as_ref().is_none_or(|answerer| answerer.run_id.is_none()) {
            self.forget();
        } else {
            self.waiting = Some(check.clone());
        }
    }

    /// Whether it is right is unknown.
    fn forget(&mut self) {
        (self.view.correct, self.view.wrong, self.view.late) = (None, 0, false);
        self.waiting = None;
    }

    /// Which node answered. Once it is known it stays so until the next check, whatever becomes of that process.
    fn find(&mut self, nodes: &[NodeView]) {
        let Some(run_id) = self.last.as_ref().and_then(|answerer| answerer.run_id.as_ref()) else {
            return;
        };
        if matches!(self.view.leads_to, Some(EndpointTarget::Node(_))) {
            return;
        }
        let is = |node: &&NodeView| {
            node.last.as_ref().is_some_and(|last| last.identity.run_id.as_ref() == Some(run_id))
        };
        let found = nodes.iter().find(is).map(|node| EndpointTarget::Node(node.node.name.clone()));
        self.view.leads_to = Some(found.unwrap_or(EndpointTarget::Stranger));
    }
}

/// Its data belongs to the history of a node.
fn holds_our_data(nodes: &[NodeView], answerer: &EndpointServer) -> bool {
    let replids = nodes.iter().filter_map(|node| node.snapshot()?.replication.replid.as_deref());
    answerer.replid.as_deref().is_some_and(|replid| replids.into_iter().any(|ours| ours == replid))
}
