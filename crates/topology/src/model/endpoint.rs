//! Endpoints that applications use, such as a DNS name, a Service or a load balancer.

use std::time::Duration;

use snapshot::{Reason, Role};

use crate::model::monotonic::Monotonic;

/// Purpose of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndpointKind {
    /// For writes: it should lead to the primary.
    Primary,
    /// For reads: it should lead to a node that serves reads.
    Reader,
}

/// An endpoint as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceEndpoint {
    /// Purpose.
    pub kind: EndpointKind,
    /// Address, `host:port`.
    pub address: String,
}

/// Result of one check of an endpoint, which uses a new connection.
#[derive(Debug, Clone)]
pub struct EndpointCheckResult {
    /// The endpoint.
    pub endpoint: EndpointKind,
    /// Monotonic time at which the check started to connect.
    pub started: Monotonic,
    /// Monotonic time at which the check ended.
    pub ended: Monotonic,
    /// Time between two checks of the endpoint.
    pub interval: Duration,
    /// The server that replied, or the reason why none did. A failure is no evidence about the
    /// endpoint.
    pub outcome: Result<EndpointServer, Reason>,
}

/// The server that replied behind an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointServer {
    /// The `run_id` field of INFO.
    pub run_id: Option<Box<str>>,
    /// The `role` field of INFO.
    pub role: Option<Role>,
    /// The `master_replid` field of INFO.
    pub replid: Option<Box<str>>,
}

/// State of an endpoint after a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointView {
    /// The endpoint as configured.
    pub configured: ServiceEndpoint,
    /// Checks since the exporter started, with or without a reply.
    pub checks: u64,
    /// A server replied to the last check; `None` before the first check.
    pub up: Option<bool>,
    /// Reason why no server replied to the last check.
    pub reason: Option<Reason>,
    /// Role that the server claimed in the last check.
    pub role: Option<Role>,
    /// The server of the last check.
    pub leads_to: Option<EndpointTarget>,
    /// The endpoint leads to the right server; `None` while this is unknown.
    pub correct: Option<bool>,
    /// Consecutive checks with a wrong server, while the process of the primary stayed the same.
    pub wrong_checks: u32,
    /// The last of these checks began so long after the last change of the primary that the
    /// endpoint should have followed.
    pub overdue: bool,
}

/// The server behind an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointTarget {
    /// The node with this label.
    Node(String),
    /// A server that is no node of the deployment.
    Stranger,
}

impl EndpointKind {
    /// Returns the value of the label `endpoint`.
    pub const fn label(self) -> &'static str {
        match self {
            EndpointKind::Primary => "primary",
            EndpointKind::Reader => "reader",
        }
    }
}

impl EndpointTarget {
    /// Returns the label of the node, or `stranger`.
    pub fn label(&self) -> &str {
        match self {
            EndpointTarget::Node(name) => name,
            EndpointTarget::Stranger => "stranger",
        }
    }
}

impl EndpointView {
    /// Returns the view of an endpoint before its first check.
    pub(crate) fn pending(configured: &ServiceEndpoint) -> Self {
        EndpointView {
            configured: configured.clone(),
            checks: 0,
            up: None,
            reason: None,
            role: None,
            leads_to: None,
            correct: None,
            wrong_checks: 0,
            overdue: false,
        }
    }
}
