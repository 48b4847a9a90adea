//! Comparison of the readiness for a failover by Sentinels.

use std::time::Duration;

use super::{Comparison, Fact, Oracle, Rule};
use crate::observed::{FailoverDocument, ShardDocument};
use crate::plan::Kind;
use crate::server::{Fields, ProcessState};
use crate::truth::{DeploymentTruth, SentinelTruth, WatchedMaster};

/// Time for which the readiness must have been stated before the primary died.
const STATED_FOR: Duration = Duration::from_secs(5);

/// Time within which Sentinels fail over: they consider the primary down after 3 s, and repeat a
/// failed election after 20 s.
const FAILOVER_WITHIN: Duration = Duration::from_secs(40);

/// Time for which the only master of a deployment has been dead.
#[derive(Debug)]
pub(super) struct Outage {
    /// Number of operations at its begin. After any other operation it proves nothing.
    operations: u64,
    since: Duration,
    /// A failover was stated to succeed.
    was_ready: bool,
    /// No replica was stated to be a candidate.
    was_without_candidate: bool,
}

impl<'a> Comparison<'a> {
    pub(super) fn compare_failovers(&mut self) {
        let (truth, observed) = (self.truth, self.observed);
        for (index, deployment) in truth.deployments.iter().enumerate() {
            let stated = observed.deployment(deployment.name);
            let Some(shard) = stated.and_then(|stated| stated.shards.first()) else { continue };
            if deployment.kind != Kind::Sentinel {
                continue;
            }
            self.compare_readiness(index, deployment, shard);
            self.compare_outcome(index, deployment, shard);
            self.compare_reach(index, deployment);
        }
    }

    /// Returns what all Sentinels report about the master of a deployment; `None` unless all of
    /// them run and can be read.
    fn watched(&self, deployment: &DeploymentTruth) -> Option<Vec<&'a WatchedMaster>> {
        let can_read = |sentinel: &&SentinelTruth| {
            sentinel.state == ProcessState::Running && sentinel.loss == 0
        };
        let sentinels = self.truth.sentinels.iter();
        sentinels
            .map(|sentinel| sentinel.masters.get(deployment.name).filter(|_| can_read(&sentinel)))
            .collect()
    }

    /// Compares the stated readiness with the replicas that run, while all Sentinels and all nodes
    /// reach each other.
    fn compare_readiness(
        &mut self,
        index: usize,
        deployment: &DeploymentTruth,
        shard: &ShardDocument,
    ) {
        let Some(watched) = self.watched(deployment).filter(|_| self.truth.is_network_whole) else {
            return;
        };
        let failover = shard.failover.as_ref();
        let is_promotable = |node: &usize| {
            let info = deployment.info(*node).filter(|info| !info.is_master());
            info.is_some_and(|info| info.number("slave_priority") != Some(0))
        };
        let promotable: Vec<_> = (0..deployment.nodes.len()).filter(is_promotable).collect();
        if promotable.is_empty() {
            let is_ready = failover.is_some_and(|failover| failover.ready);
            self.check(Rule::Readiness, (index, 0), !is_ready, || {
                "a failover is ready, but no replica may be promoted".to_owned()
            });
        }
        let [master] = deployment.masters()[..] else { return };
        let agrees = watched.iter().all(|watched| {
            deployment.node_at(&watched.address) == Some(master) && !watched.is_in_doubt
        });
        // A node that Sentinels do not list, such as the replica of a replica, is no candidate.
        let is_certain = |node: &usize| {
            deployment.info(*node).is_some_and(Fields::is_linked)
                && deployment.upstream(*node) == Some(master)
                && deployment.is_readable(*node)
        };
        let certain: Vec<_> = promotable.into_iter().filter(is_certain).collect();
        if !certain.is_empty() && agrees {
            let is_missing = failover.is_some_and(lacks_candidate);
            self.check(Rule::Readiness, (index, 1), !is_missing, || {
                format!("no replica can be promoted, but n{certain:?} can")
            });
        }
    }

    /// Compares the readiness that was stated before the primary died with what the Sentinels do.
    fn compare_outcome(
        &mut self,
        index: usize,
        deployment: &DeploymentTruth,
        shard: &ShardDocument,
    ) {
        // At the first moment of an outage, Rolecall may have noticed it already. The statements
        // of the moments before count.
        let had_lasted = |oracle: &Oracle, fact| {
            let since = oracle.facts.get(&(fact, (index, 0)));
            since.is_some_and(|since| self.truth.at.saturating_sub(*since) >= STATED_FOR)
        };
        let was_ready = had_lasted(self.oracle, Fact::StatedReady);
        let was_without_candidate = had_lasted(self.oracle, Fact::StatedWithoutCandidate);
        let failover = shard.failover.as_ref();
        let is_ready = failover.is_some_and(|failover| failover.ready);
        self.lasts(Fact::StatedReady, (index, 0), is_ready);
        let is_missing = failover.is_some_and(lacks_candidate);
        self.lasts(Fact::StatedWithoutCandidate, (index, 0), is_missing);
        let truth = self.truth;
        let primary = self.watched(deployment).and_then(|watched| {
            let node = deployment.node_at(&watched.first()?.address)?;
            let agrees =
                |watched: &&WatchedMaster| deployment.node_at(&watched.address) == Some(node);
            watched.iter().all(agrees).then_some(node)
        });
        let is_dead = |node: &usize| deployment.nodes[*node].state == ProcessState::Dead;
        let is_out = truth.is_network_whole
            && deployment.masters().is_empty()
            && primary.as_ref().is_some_and(is_dead);
        let known = self.oracle.outages.remove(&index);
        let known = known.filter(|outage| outage.operations == truth.operations);
        match (known, is_out) {
            (None, true) => {
                let outage = Outage {
                    operations: truth.operations,
                    since: truth.at,
                    was_ready,
                    was_without_candidate,
                };
                self.oracle.outages.insert(index, outage);
            }
            (Some(outage), true) => {
                let lasted = truth.at.saturating_sub(outage.since);
                if outage.was_ready && lasted >= FAILOVER_WITHIN {
                    self.check(Rule::Failover, (index, 0), false, || {
                        format!("a failover was ready, but did not happen within {lasted:?}")
                    });
                }
                self.oracle.outages.insert(index, outage);
            }
            (Some(outage), false) if !deployment.masters().is_empty() => {
                self.check(Rule::Failover, (index, 0), !outage.was_without_candidate, || {
                    format!(
                        "no replica could be promoted, but {:?} was promoted",
                        deployment.masters()
                    )
                });
            }
            (_, false) => {}
        }
    }

    /// Compares the Sentinels that consider a primary down with the finding about them.
    fn compare_reach(&mut self, index: usize, deployment: &DeploymentTruth) {
        let is_found = self.observed.finds(deployment.name, "RedisSentinelCannotReach");
        let Some(watched) = self.watched(deployment) else { return };
        let masters = deployment.masters();
        let [primary] = masters[..] else { return };
        let is_named = watched.iter().all(|it| deployment.node_at(&it.address) == Some(primary));
        if !is_named || !deployment.is_readable(primary) {
            return;
        }
        let down = watched.iter().filter(|watched| watched.is_down).count();
        let subject = (index, usize::from(down > 0));
        self.check(Rule::CannotReach, subject, is_found == (down > 0), || {
            format!("{down} Sentinels consider n{primary} down, stated: {is_found}")
        });
    }
}

/// Returns true if the lack of a replica is all that prevents a failover.
fn lacks_candidate(failover: &FailoverDocument) -> bool {
    failover.blockers == ["no_candidate"]
}
