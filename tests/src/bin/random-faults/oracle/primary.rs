//! Comparison of the primary, of split brains, and of missing primaries.

use std::time::Duration;

use super::{Comparison, Rule};
use crate::observed::ShardDocument;
use crate::operation::Act;
use crate::plan::Kind;
use crate::server::{Fields, ProcessState};
use crate::truth::DeploymentTruth;

/// Time from an act to the change of the primary that it causes: FAILOVER waits for a replica, and
/// an exporter that was cut off sees the change late.
const CAUSE_WITHIN: Duration = Duration::from_secs(90);

/// Replication ID of a node without a history.
const NO_HISTORY: &str = "0000000000000000000000000000000000000000";

impl Comparison<'_> {
    pub(super) fn compare_primaries(&mut self) {
        let (truth, observed) = (self.truth, self.observed);
        for (index, deployment) in truth.deployments.iter().enumerate() {
            self.compare_causes(index, deployment);
            if deployment.kind == Kind::Cluster {
                continue;
            }
            let stated = observed.deployment(deployment.name);
            let Some(shard) = stated.and_then(|stated| stated.shards.first()) else { continue };
            self.compare_primary(index, deployment, shard);
            self.compare_masters(index, deployment, shard);
            self.compare_outage(index, deployment, shard);
            self.compare_writable(index, deployment, shard);
        }
    }

    /// Returns the node that Rolecall states to be the primary; `None` while the verdict is
    /// disputed or unconfirmed.
    pub(super) fn certain_primary(
        &self,
        deployment: &DeploymentTruth,
        shard: &ShardDocument,
    ) -> Option<usize> {
        let is_certain = !shard.disputed && !shard.unconfirmed;
        self.stated_primary(deployment, shard).filter(|_| is_certain)
    }

    fn stated_primary(&self, deployment: &DeploymentTruth, shard: &ShardDocument) -> Option<usize> {
        let name = shard.primary.as_ref()?;
        let document = self.observed.deployment(deployment.name)?.named(name)?;
        deployment.node_at(&document.address)
    }

    fn compare_primary(
        &mut self,
        index: usize,
        deployment: &DeploymentTruth,
        shard: &ShardDocument,
    ) {
        self.compare_with_sentinels(index, deployment, shard);
        let Some(primary) = self.certain_primary(deployment, shard) else { return };
        let subject = (index, primary);
        let evidence = shard.evidence.as_deref().unwrap_or_default();
        let verdict = format!("n{primary} is the undisputed primary ({evidence})");
        if deployment.is_readable(primary) {
            let is_master = deployment.info(primary).is_some_and(Fields::is_master);
            self.check(Rule::PrimaryIsMaster, subject, is_master, || {
                format!("{verdict}, but it replies as a replica")
            });
        }
        if deployment.kind != Kind::Sentinel
            && let Some(used) = in_use(deployment)
        {
            self.check(Rule::PrimaryInUse, subject, used == primary, || {
                format!("{verdict}, but clients and replicas use n{used}")
            });
        }
    }

    /// Checks that the primary is the one that the Sentinels name, also in a dispute.
    fn compare_with_sentinels(
        &mut self,
        index: usize,
        deployment: &DeploymentTruth,
        shard: &ShardDocument,
    ) {
        let stated = self.stated_primary(deployment, shard).filter(|_| !shard.unconfirmed);
        if let (Some(stated), Some(named)) = (stated, self.named_by_sentinels(deployment)) {
            self.check(Rule::PrimaryOfSentinels, (index, stated), named == stated, || {
                format!("n{stated} is the primary, but most Sentinels name n{named}")
            });
        }
    }

    /// Checks that the causes of the latest changes of the primary are possible.
    fn compare_causes(&mut self, index: usize, deployment: &DeploymentTruth) {
        let stated = self.observed.deployment(deployment.name);
        let shards = stated.map(|stated| &stated.shards[..]).unwrap_or_default();
        for shard in shards {
            for (cause, total) in &shard.primary_changes_total {
                let key = (index, shard.shard.clone(), cause.clone());
                let before = self.oracle.changes.insert(key, *total).unwrap_or_default();
                if *total > before {
                    let is_possible = is_possible(cause, deployment, self.truth.at);
                    self.check(Rule::Cause, (index, 0), is_possible, || {
                        format!("the primary of {} changed by {cause:?}", deployment.name)
                    });
                }
            }
        }
    }

    /// Returns the readable master that a majority of the Sentinels names, if Rolecall can read
    /// that majority and none of it has doubts.
    fn named_by_sentinels(&self, deployment: &DeploymentTruth) -> Option<usize> {
        let all = self.truth.sentinels.iter().filter(|_| deployment.kind == Kind::Sentinel);
        let all: Vec<_> = all.collect();
        let readable = all
            .iter()
            .filter(|sentinel| sentinel.state == ProcessState::Running && sentinel.loss == 0);
        let named: Vec<_> =
            readable.filter_map(|sentinel| sentinel.masters.get(deployment.name)).collect();
        let node = deployment.node_at(&named.first()?.address)?;
        let agrees = named.iter().all(|watched| {
            deployment.node_at(&watched.address) == Some(node) && !watched.is_in_doubt
        });
        let is_master =
            deployment.is_readable(node) && deployment.info(node).is_some_and(Fields::is_master);
        (agrees && is_master && named.len() * 2 > all.len()).then_some(node)
    }

    fn compare_masters(
        &mut self,
        index: usize,
        deployment: &DeploymentTruth,
        shard: &ShardDocument,
    ) {
        let masters = deployment.masters();
        let readable: Vec<_> =
            masters.iter().copied().filter(|node| deployment.is_readable(*node)).collect();
        let are_related = readable.iter().enumerate().any(|(position, one)| {
            readable[position + 1..].iter().any(|other| is_related(deployment, *one, *other))
        });
        if are_related {
            self.check(Rule::SplitBrain, (index, 0), shard.split_brain, || {
                format!("{readable:?} are masters of one history, but there is no split brain")
            });
        }
        if deployment.all_reply() && masters.len() <= 1 {
            self.check(Rule::FalseSplitBrain, (index, 0), !shard.split_brain, || {
                format!(
                    "the only masters are {masters:?}, but there is a split brain of {:?}",
                    shard.masters
                )
            });
        }
    }

    fn compare_outage(
        &mut self,
        index: usize,
        deployment: &DeploymentTruth,
        shard: &ShardDocument,
    ) {
        let masters = deployment.masters();
        let readable = masters.iter().any(|node| deployment.is_readable(*node));
        if readable {
            self.check(Rule::HasPrimary, (index, 0), !shard.no_primary, || {
                format!("{masters:?} are masters, but there is no primary")
            });
        }
        // What Rolecall cannot reach may be a master.
        let is_known = |node: usize| {
            deployment.is_readable(node) || deployment.nodes[node].state == ProcessState::Dead
        };
        let any_replies = (0..deployment.nodes.len()).any(|node| deployment.is_readable(node));
        if masters.is_empty() && any_replies && (0..deployment.nodes.len()).all(is_known) {
            self.check(Rule::HasNoPrimary, (index, 0), shard.no_primary, || {
                format!("no node is a master, but {:?} is the primary", shard.primary)
            });
        }
    }

    fn compare_writable(
        &mut self,
        index: usize,
        deployment: &DeploymentTruth,
        shard: &ShardDocument,
    ) {
        let Some(primary) = self.certain_primary(deployment, shard) else { return };
        let subject = (index, primary);
        let is_only_master = deployment.masters() == [primary];
        let acknowledged: usize = deployment.clients.iter().map(|client| client.acknowledged).sum();
        let refused: usize = deployment.clients.iter().map(|client| client.refused).sum();
        if is_only_master && deployment.all_reply() && acknowledged > 0 && refused == 0 {
            self.check(Rule::Writable, subject, shard.writable != Some(false), || {
                format!("n{primary} acknowledged {acknowledged} writes, but is not writable")
            });
        }
        if is_only_master && deployment.is_readable(primary) && refused > 0 && acknowledged == 0 {
            self.check(Rule::NotWritable, subject, shard.writable != Some(true), || {
                format!("n{primary} refused {refused} writes, but is writable")
            });
        }
        let info = deployment.info(primary).filter(|_| deployment.is_readable(primary));
        if is_only_master && info.is_some_and(pauses_writes) && acknowledged == 0 {
            self.check(Rule::NotWritable, subject, shard.writable != Some(true), || {
                format!("n{primary} pauses all writes, but is writable")
            });
        }
        if deployment.nodes[primary].state == ProcessState::Dead {
            self.check(Rule::NotWritable, subject, shard.writable != Some(true), || {
                format!("n{primary} is dead, but writable")
            });
        }
    }
}

/// Returns true if a master reports that it pauses all writes: during FAILOVER, and Valkey also
/// during CLIENT PAUSE.
fn pauses_writes(info: &Fields) -> bool {
    info.get("master_failover_state").is_some_and(|state| state != "no-failover")
        || info.get("paused_actions").is_some_and(|actions| ["all", "write"].contains(&actions))
}

/// Returns true if a change of the primary may have this cause.
fn is_possible(cause: &str, deployment: &DeploymentTruth, now: Duration) -> bool {
    let is_recent = |act: Act| {
        deployment.acts.get(&act).is_some_and(|at| now.saturating_sub(*at) < CAUSE_WITHIN)
    };
    match cause {
        "sentinel" => deployment.kind == Kind::Sentinel,
        "cluster" => deployment.kind == Kind::Cluster,
        "operator" => is_recent(Act::Replicaof),
        "failover_command" => is_recent(Act::Failover),
        "restart" => is_recent(Act::Start),
        _ => true,
    }
}

/// Returns the only readable master, if a readable replica is linked to it, no readable replica
/// follows another node, and clients write to it.
fn in_use(deployment: &DeploymentTruth) -> Option<usize> {
    let mut used = None;
    for node in (0..deployment.nodes.len()).filter(|node| deployment.is_readable(*node)) {
        let info = deployment.info(node)?;
        if info.is_master() {
            continue;
        }
        let upstream = deployment.upstream(node)?;
        let follows_master = deployment.info(upstream).is_some_and(Fields::is_master);
        if follows_master {
            if !info.is_linked() || used.is_some_and(|used| used != upstream) {
                return None;
            }
            used = Some(upstream);
        }
    }
    let writes = deployment.clients.iter().any(|client| client.acknowledged > 0);
    // A write to any other master would contradict the replicas.
    let is_only = deployment.masters().len() == 1 && deployment.all_reply();
    used.filter(|used| writes && is_only && deployment.is_readable(*used))
}

/// Returns true if one master continues the history of the other.
fn is_related(deployment: &DeploymentTruth, one: usize, other: usize) -> bool {
    let id = |node: usize, field: &str| {
        let info = deployment.info(node)?;
        info.get(field).filter(|id| *id != NO_HISTORY).map(str::to_owned)
    };
    let continues = |new: usize, old: usize| {
        let present = id(old, "master_replid");
        present.is_some()
            && (id(new, "master_replid") == present || id(new, "master_replid2") == present)
    };
    continues(one, other) || continues(other, one)
}
