//! Table of tiers: which alerts are causes, and which are their effects.
//!
//! Pages and `diagnose` show a finding below the finding that explains it. Alertmanager inhibits
//! the same alerts: a test compares `alerts/alertmanager.yaml` with this table.

use std::collections::BTreeMap;

use super::{Finding, FindingKind, Severity};

/// Alerts of one tier. They explain the alerts of all lower tiers.
struct Tier {
    alerts: &'static [&'static str],
    /// Those of them that explain effects as a warning too, not only as critical.
    as_warning: &'static [&'static str],
}

/// The tiers, causes above effects.
const TIERS: [Tier; 10] = [
    // A node is down. As a warning, RedisCrashLoop is about a Sentinel, which has no effects below.
    Tier { alerts: &["RedisDown", "RedisCrashLoop"], as_warning: &["RedisDown"] },
    both(&[
        "RedisAofWriteFailing",
        "RedisAofFsyncStuck",
        "RedisOutOfMemory",
        "RedisNotEnoughReplicas",
        "RedisBgsaveFailing",
    ]),
    // Data is lost or at risk. As a warning the incident is over, or a failover that works.
    critical(&[
        "RedisDatasetReplaced",
        "RedisPrimaryRestartedEmpty",
        "RedisSplitBrain",
        "RedisWritesLost",
    ]),
    critical(&["RedisNoPrimary", "RedisReplicationLoop"]),
    both(&["RedisWritesBlocked"]),
    both(&["RedisSentinelDisagreement", "RedisUnexpectedRole", "RedisPrimaryEndpointWrong"]),
    critical(&["RedisReplicationAuthFailing", "RedisFullSyncLoop"]),
    both(&[
        "RedisReplicaLinkDown",
        "RedisReplicaLinkStalled",
        "RedisReplicaLinkFlapping",
        "RedisReplicaRejectsReads",
        "RedisReplicasMissing",
        "RedisReplicaOrphaned",
        "RedisClusterShardWithoutReplica",
    ]),
    both(&["RedisReplicationLag", "RedisStaleClients", "RedisWritesHitReplica"]),
    critical(&["RedisErrorReplies"]),
];

/// Causes and effects that the order of the tiers does not give.
const PAIRS: [Pair; 20] = [
    // Nothing else about this node is known.
    Pair {
        causes: &["RolecallCannotRead", "RedisUnreachable"],
        severity: Severity::Warning,
        effects: Effects::AllAboutRedis,
        scope: Scope::Node,
    },
    // No node is a replica, so no data is shared.
    Pair::critical(
        &["RolecallUnrelatedMasters"],
        &["RedisUnexpectedRole", "RedisPrimaryEndpointWrong", "RedisReplicasMissing"],
        Scope::Deployment,
    ),
    // A Sentinel makes a node that is listed as its own replica replicate from itself.
    Pair::critical(
        &["RedisSentinelMisconfigured"],
        &["RedisReplicationLoop", "RedisNoPrimary"],
        Scope::Deployment,
    ),
    // RedisWritesLost reports the same incident once it is over.
    Pair::critical(&["RedisSplitBrain"], &["RedisWritesLost"], Scope::Shard),
    Pair::warning(&["RedisSplitBrain"], &["RedisWritesLost"], Scope::Shard),
    // Sentinels on both sides of a partition name different masters.
    Pair::warning(&["RedisSplitBrain"], &["RedisSentinelDisagreement"], Scope::Deployment),
    Pair::critical(&["RedisReplicationLoop"], &["RedisNoPrimary"], Scope::Shard),
    // A replica refuses reads only if its link is down.
    Pair::critical(&["RedisReplicaRejectsReads"], &["RedisReplicaLinkDown"], Scope::Node),
    Pair::warning(
        &["RedisReplicaRejectsReads", "RedisReplicaOrphaned"],
        &["RedisReplicaLinkDown"],
        Scope::Node,
    ),
    Pair::warning(&["RedisClientAuthFailing"], &["RedisErrorReplies"], Scope::Node),
    // A primary that replies with MISCONF refuses the pings of Sentinels too.
    Pair::critical(&["RedisWritesBlocked"], &["RedisSentinelCannotReach"], Scope::Deployment),
    // The pings of Sentinels whose password is wrong are refused on every node.
    Pair::warning(
        &["RedisSentinelCannotReach"],
        &["RedisClientAuthFailing", "RedisErrorReplies"],
        Scope::Deployment,
    ),
    // The masters of a split brain claim the same slots.
    Pair::critical(&["RedisSplitBrain"], &["RedisClusterSlotConflict"], Scope::Deployment),
    // A failover needs Sentinels that agree and are reachable, masters of the cluster, and a
    // replica with a link.
    Pair::critical(
        &[
            "RedisDown",
            "RedisNoPrimary",
            "RedisClusterSlotsUncovered",
            "RedisClusterDown",
            "RedisSentinelDisagreement",
            "RedisSentinelQuorumLost",
            "RedisReplicationAuthFailing",
            "RedisFullSyncLoop",
            "RedisReplicaLinkDown",
        ],
        &["RedisFailoverNotReady"],
        Scope::Deployment,
    ),
    Pair::warning(
        &[
            "RedisDown",
            "RedisSentinelDisagreement",
            "RedisSentinelQuorumLost",
            "RedisSentinelCannotReach",
            "RedisReplicaLinkDown",
        ],
        &["RedisFailoverNotReady"],
        Scope::Deployment,
    ),
    Pair::critical(&["RedisReplicasMissing"], &["RedisFailoverNotReady"], Scope::Shard),
    Pair::warning(
        &["RedisReplicasMissing", "RedisClusterShardWithoutReplica"],
        &["RedisFailoverNotReady"],
        Scope::Shard,
    ),
    // Clusters: a node, then its slots, then the cluster, then the shards.
    Pair::critical(
        &["RedisDown"],
        &["RedisClusterSlotsUncovered", "RedisClusterDown"],
        Scope::Deployment,
    ),
    Pair::critical(&["RedisClusterSlotsUncovered"], &["RedisClusterDown"], Scope::Deployment),
    Pair::critical(
        &["RedisClusterSlotsUncovered", "RedisClusterDown"],
        &["RedisClusterShardWithoutReplica", "RedisNoPrimary", "RedisWritesBlocked"],
        Scope::Deployment,
    ),
];

/// Alerts that explain others, and the alerts that they explain. A critical alert explains any
/// severity, a warning only warnings and infos, and an info explains nothing.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    causes: &'static [&'static str],
    severity: Severity,
    effects: Effects,
    scope: Scope,
}

/// Effects of a cause.
#[derive(Debug, Clone, Copy)]
enum Effects {
    Named(&'static [&'static str]),
    /// All alerts of a tier from this number on.
    FromTier(usize),
    /// All alerts whose name begins with `Redis`.
    AllAboutRedis,
}

/// Subject that a cause and its effect must have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// The deployment.
    Deployment,
    /// The deployment and the shard.
    Shard,
    /// The deployment and the node.
    Node,
}

const fn both(alerts: &'static [&'static str]) -> Tier {
    Tier { alerts, as_warning: alerts }
}

const fn critical(alerts: &'static [&'static str]) -> Tier {
    Tier { alerts, as_warning: &[] }
}

impl Pair {
    const fn critical(
        causes: &'static [&'static str],
        effects: &'static [&'static str],
        scope: Scope,
    ) -> Self {
        Pair { causes, severity: Severity::Critical, effects: Effects::Named(effects), scope }
    }

    const fn warning(
        causes: &'static [&'static str],
        effects: &'static [&'static str],
        scope: Scope,
    ) -> Self {
        Pair { causes, severity: Severity::Warning, effects: Effects::Named(effects), scope }
    }

    /// Returns the scope in which this cause explains this effect; `None` if it does not.
    fn scope(&self, cause: (&str, Severity), effect: (&str, Severity)) -> Option<Scope> {
        let is_effect = match self.effects {
            Effects::Named(names) => names.contains(&effect.0),
            Effects::FromTier(tier) => {
                TIERS[tier..].iter().any(|tier| tier.alerts.contains(&effect.0))
            }
            // No alert explains itself.
            Effects::AllAboutRedis => effect.0.starts_with("Redis") && effect.0 != cause.0,
        };
        let applies = cause.1 == self.severity
            && self.causes.contains(&cause.0)
            && is_effect
            && (cause.1 == Severity::Critical || effect.1 != Severity::Critical);
        applies.then_some(self.scope)
    }
}

/// Returns all pairs of causes and effects: those of the tiers, and the others.
fn pairs() -> impl Iterator<Item = Pair> {
    let of_tiers = TIERS.iter().enumerate().flat_map(|(number, tier)| {
        let pair = |causes, severity| Pair {
            causes,
            severity,
            effects: Effects::FromTier(number + 1),
            scope: Scope::Deployment,
        };
        [pair(tier.alerts, Severity::Critical), pair(tier.as_warning, Severity::Warning)]
    });
    of_tiers.chain(PAIRS)
}

/// Returns the scopes in which an alert of one severity explains another. Alerts are given by name
/// and severity.
pub fn explained_in(cause: (&str, Severity), effect: (&str, Severity)) -> Vec<Scope> {
    let mut scopes: Vec<_> = pairs().filter_map(|pair| pair.scope(cause, effect)).collect();
    scopes.sort_unstable();
    scopes.dedup();
    scopes
}

/// Findings by the effects that they can explain. Many nodes may have the same finding, so each
/// kind is compared with each kind once, not each finding with each finding.
#[derive(Default)]
struct Causes<'a> {
    /// Position of the first finding of each kind and severity.
    kinds: BTreeMap<(FindingKind, Severity), usize>,
    by_shard: BTreeMap<(FindingKind, Severity, Option<&'a str>), usize>,
    by_node: BTreeMap<(FindingKind, Severity, &'a str), usize>,
}

impl<'a> Causes<'a> {
    fn new(findings: &'a [Finding]) -> Self {
        let mut causes = Causes::default();
        for (position, finding) in findings.iter().enumerate() {
            let (kind, severity) = (finding.kind, finding.severity);
            causes.kinds.entry((kind, severity)).or_insert(position);
            let shard = finding.shard.as_deref();
            causes.by_shard.entry((kind, severity, shard)).or_insert(position);
            if let Some(node) = &finding.node {
                causes.by_node.entry((kind, severity, node)).or_insert(position);
            }
        }
        causes
    }

    /// Returns the position of the first finding of this kind and severity that has the scope in
    /// common with an effect.
    fn position(
        &self,
        (kind, severity): (FindingKind, Severity),
        effect: &'a Finding,
        scope: Scope,
    ) -> Option<usize> {
        match scope {
            Scope::Deployment => self.kinds.get(&(kind, severity)),
            Scope::Shard => self.by_shard.get(&(kind, severity, effect.shard.as_deref())),
            Scope::Node => self.by_node.get(&(kind, severity, effect.node.as_deref()?)),
        }
        .copied()
    }
}

/// Returns the position of the first cause of each finding of a deployment; `None` for a finding
/// that no other explains.
pub fn first_causes(findings: &[Finding]) -> Vec<Option<usize>> {
    let causes = Causes::new(findings);
    let mut explained: BTreeMap<(FindingKind, Severity), Vec<_>> = BTreeMap::new();
    for effect in causes.kinds.keys() {
        let scopes = causes.kinds.keys().flat_map(|cause| {
            let named = |(kind, severity): (FindingKind, Severity)| (kind.label(), severity);
            let scopes = explained_in(named(*cause), named(*effect));
            scopes.into_iter().map(|scope| (*cause, scope))
        });
        explained.insert(*effect, scopes.collect());
    }
    let direct: Vec<_> = findings
        .iter()
        .map(|effect| {
            let scopes = explained[&(effect.kind, effect.severity)].iter();
            scopes.filter_map(|(cause, scope)| causes.position(*cause, effect, *scope)).min()
        })
        .collect();
    let first = |mut cause: usize| {
        // No chain is longer than the list, even if the table had a loop.
        for _ in 0..findings.len() {
            let Some(next) = direct[cause] else { break };
            cause = next;
        }
        cause
    };
    direct.iter().map(|cause| cause.map(first)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Returns the names of all alerts in the table.
    fn named() -> BTreeSet<&'static str> {
        let of_tiers = TIERS.iter().flat_map(|tier| tier.alerts.iter().copied());
        let effects = |pair: &Pair| match pair.effects {
            Effects::Named(names) => names,
            Effects::FromTier(_) | Effects::AllAboutRedis => &[],
        };
        let others = PAIRS.iter().flat_map(|pair| pair.causes.iter().chain(effects(pair)).copied());
        of_tiers.chain(others).collect()
    }

    #[test]
    fn no_alert_explains_its_own_cause() {
        let explains = |cause, effect| {
            [Severity::Critical, Severity::Warning]
                .iter()
                .any(|severity| !explained_in((cause, *severity), (effect, *severity)).is_empty())
        };
        // The alerts that can be reached from an alert never include itself.
        for start in named() {
            let mut reached = BTreeSet::new();
            let mut next = vec![start];
            while let Some(cause) = next.pop() {
                for effect in named() {
                    if explains(cause, effect) && reached.insert(effect) {
                        next.push(effect);
                    }
                }
            }
            assert!(!reached.contains(start), "{start} is an effect of itself");
        }
    }

    #[test]
    fn kinds_are_ordered_by_tier() {
        let tier =
            |kind: &FindingKind| TIERS.iter().position(|tier| tier.alerts.contains(&kind.label()));
        let tiers: Vec<_> = FindingKind::ALL.iter().filter_map(tier).collect();
        assert!(tiers.is_sorted(), "{tiers:?}");
    }

    #[test]
    fn a_warning_never_explains_a_critical_alert() {
        let explains = |cause, effect| {
            !explained_in(("RedisDown", cause), ("RedisNoPrimary", effect)).is_empty()
        };
        assert!(explains(Severity::Critical, Severity::Critical));
        assert!(explains(Severity::Critical, Severity::Warning));
        assert!(explains(Severity::Warning, Severity::Warning));
        assert!(!explains(Severity::Warning, Severity::Critical));
        assert!(!explains(Severity::Info, Severity::Info));
    }
}
