//! Findings as data: kind, severity, subject and typed evidence.

pub mod evidence;
mod kind;
mod provisional;
pub mod tiers;
mod values;

use std::time::SystemTime;

pub use kind::{Evidence, FindingKind, NO_FINDING};
pub use values::Value;

use crate::model::endpoint::EndpointKind;

/// A condition that needs attention.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The kind, as given by the evidence.
    pub kind: FindingKind,
    /// The current severity.
    pub severity: Severity,
    /// Label of the affected node; `None` if the finding concerns no single node.
    pub node: Option<String>,
    /// Label of the affected shard of a cluster; `None` if the finding concerns no single shard.
    pub shard: Option<String>,
    /// Wall time at which the finding was first seen.
    pub since: SystemTime,
    /// The supporting values.
    pub evidence: Evidence,
}

/// Severity of a finding, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Needs immediate action.
    Critical,
    /// Needs attention within a day.
    Warning,
    /// Needs no action.
    Info,
}

impl Severity {
    /// Returns the value of the label `severity`.
    pub const fn label(self) -> &'static str {
        match self {
            Severity::Critical => "critical",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

impl Finding {
    /// Returns true if the finding is about an incident that is over. It is listed below all that
    /// still happens.
    pub fn is_over(&self) -> bool {
        matches!(self.kind, FindingKind::RedisWritesLost)
    }

    /// Returns the affected endpoint, if the finding concerns one.
    pub fn endpoint(&self) -> Option<EndpointKind> {
        match &self.evidence {
            Evidence::RedisPrimaryEndpointWrong(evidence) => Some(evidence.endpoint),
            _ => None,
        }
    }
}
