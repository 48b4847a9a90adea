//! The values of the evidence that select the cause and the fix in the runbook of a finding. All
//! are labels from closed sets: a name of a node selects nothing.

use snapshot::Reason;
use topology::evidence::{EndpointEvidence, FailoverEvidence};
use topology::{
    Cause, DeploymentView, EndpointKind, EndpointTarget, Evidence, Finding, PauseCause, Upstream,
};

use crate::placeholders::node_index;

/// Returns the keys of a finding, the most specific one first.
pub(crate) fn cause_keys(view: &DeploymentView, finding: &Finding) -> Vec<&'static str> {
    match &finding.evidence {
        Evidence::RolecallCannotRead(evidence) => {
            let missing = evidence.password_missing && evidence.reason == Reason::Auth;
            let missing = missing.then_some("missing");
            missing.into_iter().chain([evidence.reason.label()]).collect()
        }
        Evidence::RedisDown(evidence) => vec![evidence.reason.label()],
        Evidence::RedisUnreachable(evidence) => vec![evidence.reason.label()],
        Evidence::RedisSentinelDown(evidence) => vec![evidence.reason.label()],
        Evidence::RolecallNeverReached(evidence) => {
            evidence.reasons.iter().map(|(reason, _)| reason.label()).collect()
        }
        Evidence::RedisSplitBrain(evidence) => {
            evidence.cause.map(Cause::label).into_iter().collect()
        }
        Evidence::RedisNoPrimary(evidence) => vec![evidence.reason.label()],
        Evidence::RedisWritesBlocked(evidence) => {
            let importing = (!evidence.importing_slots.is_empty()).then_some("importing_slots");
            let reasons = evidence.reasons.iter().map(|reason| reason.label());
            let paused_by = evidence.paused_by.map(PauseCause::label);
            importing.into_iter().chain(paused_by).chain(reasons).collect()
        }
        Evidence::RedisReplicaOrphaned(evidence) => vec![evidence.reason.label()],
        Evidence::RedisReplicaLinkDown(_) | Evidence::RedisReplicaRejectsReads(_) => {
            link_keys(view, finding).into_iter().collect()
        }
        Evidence::RedisWritesHitReplica(evidence) => vec![evidence.reason.label()],
        Evidence::RedisClusterDown(evidence) => vec![evidence.reported_by.label()],
        Evidence::RedisSentinelDisagreement(evidence) => vec![evidence.reason.label()],
        Evidence::RedisSentinelMisconfigured(evidence) => {
            evidence.errors.iter().map(|error| error.label()).collect()
        }
        Evidence::RedisPrimaryEndpointWrong(evidence) => endpoint_keys(evidence),
        Evidence::RedisFailoverNotReady(evidence) => failover_keys(evidence),
        Evidence::RedisSentinelCannotReach(evidence) => {
            evidence.reasons.iter().map(|reason| reason.label()).collect()
        }
        Evidence::RedisTopologyCommand(evidence) => vec![evidence.command],
        _ => Vec::new(),
    }
}

/// Returns the state of the upstream of a replica whose link is down.
fn link_keys(view: &DeploymentView, finding: &Finding) -> Option<&'static str> {
    let replica = view.nodes.get(node_index(view, finding.node.as_deref()?)?)?;
    if let Some(reason) = replica.orphan {
        return Some(reason.label());
    }
    match &replica.upstream {
        Upstream::Node(master) => {
            view.nodes.get(*master)?.up().filter(|up| *up).map(|_| "master_up")
        }
        Upstream::Unknown(_) | Upstream::Nothing => None,
    }
}

/// Returns what prevents the promotion of the replicas if there is no candidate, and the reasons.
fn failover_keys(evidence: &FailoverEvidence) -> Vec<&'static str> {
    let obstacles = evidence.refused.iter().map(|(_, why)| why.label());
    let obstacles = obstacles.filter(|_| evidence.candidates.is_empty());
    obstacles.chain(evidence.reasons.iter().map(|reason| reason.label())).collect()
}

fn endpoint_keys(evidence: &EndpointEvidence) -> Vec<&'static str> {
    if evidence.leads_to.as_ref().is_some_and(|target| matches!(target, EndpointTarget::Stranger)) {
        return vec!["stranger"];
    }
    match evidence.endpoint {
        EndpointKind::Reader => vec!["reader"],
        EndpointKind::Primary => evidence.role.map(snapshot::Role::label).into_iter().collect(),
    }
}
