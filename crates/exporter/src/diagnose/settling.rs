//! Conditions for which `diagnose` waits: the nodes are known and were polled, and what is normal
//! during a failover has ended or has lasted for too long.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use snapshot::Reason;
use topology::tiers::first_causes;
use topology::{DeploymentKind, DeploymentView, Finding, FindingKind, Monotonic, NodeView};

/// Members of each deployment, and the time since which they are the same. Discovery takes several
/// rounds: the Sentinels or the cluster reply, and only then the nodes that they list are polled.
#[derive(Debug, Default)]
pub(super) struct Settling {
    deployments: RefCell<HashMap<String, Members>>,
}

/// Members of a deployment.
#[derive(Debug)]
struct Members {
    names: Vec<String>,
    /// Rounds before they were first seen.
    rounds: u64,
    /// Monotonic time at which they were first seen.
    since: Monotonic,
}

impl Settling {
    /// Returns true if the members of the view have not changed for this many rounds and this time.
    pub(super) fn is_settled(&self, view: &DeploymentView, rounds: u64, time: Duration) -> bool {
        let names: Vec<_> = view.members().map(|(_, node)| node.node.name.clone()).collect();
        let (total, now) = (view.rounds.total, view.now);
        let mut deployments = self.deployments.borrow_mut();
        let members = deployments.entry(view.deployment.name.clone()).or_insert_with(|| Members {
            names: Vec::new(),
            rounds: 0,
            since: Monotonic::default(),
        });
        // The first round already polls the configured nodes.
        if members.names != names {
            let first = members.names.is_empty() && view.deployment.kind == DeploymentKind::Static;
            let (rounds, since) = if first { (0, Monotonic::default()) } else { (total, now) };
            *members = Members { names, rounds, since };
        }
        total >= members.rounds + rounds && now.since(members.since) >= time && is_discovered(view)
    }
}

/// Returns true unless data nodes may still be discovered: a DNS name was not looked up yet, or no
/// data node replied and a Sentinel or a configured node is silent. A slow node may reply later.
fn is_discovered(view: &DeploymentView) -> bool {
    let is_resolved = view.names.iter().all(|name| name.addresses.is_some() || name.failures > 0);
    let is_known = view.members().any(|(_, node)| node.holds_data() && node.up() == Some(true));
    let is_silent = |node: &NodeView| node.polling.failing == Some(Reason::Timeout);
    let may_reply = || view.members().any(|(_, node)| is_silent(node));
    let is_static = view.deployment.kind == DeploymentKind::Static;
    is_resolved && (is_static || is_known || !may_reply())
}

/// Returns the findings of a view that may be a part of a failover, with the time after which they
/// are not.
pub(super) fn provisional(view: &DeploymentView) -> impl Iterator<Item = (&Finding, Duration)> {
    let left = |finding: &Finding| {
        let age = view.at?.duration_since(finding.since).unwrap_or_default();
        // A finding becomes more severe in the first round after this age.
        finding.normal_for().and_then(|normal| normal.checked_sub(age))
    };
    let causes = first_causes(&view.findings);
    // Its cause decides what is reported.
    let is_explained = move |(finding, cause): &(&Finding, Option<usize>)| {
        finding.kind == FindingKind::RedisFailoverNotReady && cause.is_some()
    };
    let findings = view.findings.iter().zip(causes).filter(move |found| !is_explained(found));
    findings.filter_map(move |(finding, _)| Some((finding, left(finding)?)))
}
