//! Verdict that a round should have given instead of a fault, for the replay of its recording.

use recording::{Expectation, Verdict};

use super::{Fault, Rule};
use crate::observed::{DeploymentDocument, Observed};
use crate::truth::Truth;

/// Returns what the round before a fault should have stated; `None` if the rule is not about the
/// state of a deployment after a round.
pub(super) fn expected(fault: &Fault, truth: &Truth, observed: &Observed) -> Option<Expectation> {
    let deployment = &truth.deployments[fault.subject.0];
    let stated = observed.deployment(deployment.name)?;
    let document = stated.node(&deployment.addresses[fault.subject.1]);
    let node = || document.map(|document| document.name.clone());
    let is = Expectation::of;
    let is_not = |verdict| Expectation { not: true, ..Expectation::of(verdict) };
    let finding = |kind: &str| Verdict::Finding { kind: kind.to_owned(), node: None };
    let expectation = match fault.rule {
        Rule::RepliesUp => is(Verdict::NodeState { node: node()?, state: "up".to_owned() }),
        Rule::GoneDown => is(Verdict::NodeState { node: node()?, state: "down".to_owned() }),
        Rule::AliveNotDown => {
            is_not(Verdict::NodeState { node: node()?, state: "down".to_owned() })
        }
        Rule::PrimaryIsMaster
        | Rule::PrimaryOfSentinels
        | Rule::PrimaryInUse
        | Rule::PrimaryOfCluster => {
            let shard = shard_of(stated, &node()?);
            Expectation { shard, ..is_not(Verdict::Primary { node: node() }) }
        }
        Rule::SplitBrain => is(finding("RedisSplitBrain")),
        Rule::FalseSplitBrain => is_not(finding("RedisSplitBrain")),
        Rule::HasPrimary => is_not(finding("RedisNoPrimary")),
        Rule::HasNoPrimary => is(finding("RedisNoPrimary")),
        Rule::Writable => {
            let refusing = stated.shards.iter().find(|shard| shard.writable == Some(false))?;
            let expectation = is_not(Verdict::Writable(Some(false)));
            Expectation { shard: refusing.shard.clone(), ..expectation }
        }
        Rule::NotWritable => {
            let shard = shard_of(stated, &node()?);
            Expectation { shard, ..is_not(Verdict::Writable(Some(true))) }
        }
        Rule::Link => is_not(Verdict::Link { node: node()?, state: document?.link_state.clone() }),
        Rule::NoOrphan => is_not(Verdict::Orphan { node: node()? }),
        Rule::CannotReach => {
            let is_reported = observed.finds(deployment.name, "RedisSentinelCannotReach");
            Expectation { not: is_reported, ..is(finding("RedisSentinelCannotReach")) }
        }
        Rule::Loop => {
            let is_reported = stated.shards.first()?.replication_loop;
            Expectation { not: is_reported, ..is(finding("RedisReplicationLoop")) }
        }
        Rule::Responds
        | Rule::Lag
        | Rule::Cause
        | Rule::Slots
        | Rule::Readiness
        | Rule::Failover
        | Rule::ReplacedData
        | Rule::ClientBlamed
        | Rule::DownAlert
        | Rule::NoPrimaryAlert
        | Rule::SplitBrainAlert
        | Rule::HarmlessAlert
        | Rule::SilentOutage
        | Rule::LostWrites
        | Rule::Recovered => return None,
    };
    Some(expectation)
}

/// Returns the label of the shard of a primary.
fn shard_of(stated: &DeploymentDocument, primary: &str) -> Option<String> {
    let shard = stated.shards.iter().find(|shard| shard.primary.as_deref() == Some(primary))?;
    shard.shard.clone()
}
