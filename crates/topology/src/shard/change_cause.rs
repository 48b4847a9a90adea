//! Tracker of changes of the primary and their causes. The evidence for a cause may arrive a round
//! or two after the change.

use std::time::Duration;

use snapshot::Role;

use crate::limits::CAUSE_WITHIN_ROUNDS;
use crate::model::monotonic::Monotonic;
use crate::model::node::NodeView;
use crate::model::node_index::{NodeIndex, NodeMap};
use crate::model::sentinels::SentinelStatement;
use crate::model::shard::{Cause, PrimaryChange};
use crate::shard::nodes::ShardNodes;

/// Tracks the causes of changes of the primary.
#[derive(Debug, Default)]
pub(crate) struct ChangeCauseTracker {
    pending: Vec<PendingChange>,
    /// Counters of each node in the last round with an undisputed primary.
    samples: NodeMap<CounterSample>,
    /// The highest epoch at which a Sentinel named each node.
    epochs: NodeMap<u64>,
}

/// A change whose cause is not known yet.
#[derive(Debug)]
struct PendingChange {
    change: PrimaryChange,
    /// Rounds since the change.
    rounds: u32,
    /// Monotonic time of the first of these rounds.
    since: Option<Monotonic>,
    /// Counters of the two nodes before the change.
    from: CounterSample,
    to: CounterSample,
    /// The highest epoch at which a Sentinel named the previous primary.
    epoch: Option<u64>,
}

/// Counters of a node that a change of the primary increases.
#[derive(Debug, Clone, Copy, Default)]
struct CounterSample {
    replicaof: u64,
    slaveof: u64,
    failover: u64,
    /// Commands that Sentinels send together with `SLAVEOF`. Servers before 7.0 do not count
    /// subcommands separately.
    sentinel_commands: u64,
    cluster: u64,
    /// Epoch of the slots that the node or its master serves. The `cluster_my_epoch` field of
    /// CLUSTER INFO.
    epoch: u64,
    restarts: u64,
}

impl ChangeCauseTracker {
    /// Adds a change with an unknown cause.
    pub(crate) fn add(&mut self, change: PrimaryChange) {
        let sample = |index: NodeIndex| self.samples.get(&index).copied().unwrap_or_default();
        let pending = PendingChange {
            change,
            rounds: 0,
            since: None,
            from: sample(change.from),
            to: sample(change.to),
            epoch: self.epoch(change.from),
        };
        self.pending.push(pending);
    }

    /// Processes one round and returns the changes whose causes are decided: known, or unknown
    /// after [`CAUSE_WITHIN_ROUNDS`] rounds and the time that they take at the usual interval.
    pub(crate) fn resolve(
        &mut self,
        nodes: ShardNodes<'_>,
        statements: &[SentinelStatement],
        now: Monotonic,
        interval: Duration,
    ) -> Vec<PrimaryChange> {
        for statement in statements {
            if let Some(node) = statement.node {
                let epoch = self.epochs.entry(node).or_default();
                *epoch = statement.epoch.max(*epoch);
            }
        }
        let mut resolved = Vec::new();
        self.pending.retain_mut(|pending| {
            pending.rounds += 1;
            let since = *pending.since.get_or_insert(now);
            let cause = pending.cause(nodes, statements);
            let waits = pending.rounds <= CAUSE_WITHIN_ROUNDS
                || now.since(since) < interval * CAUSE_WITHIN_ROUNDS;
            if cause.is_none() && waits {
                return true;
            }
            let cause = cause.unwrap_or(Cause::Unknown);
            resolved.push(PrimaryChange { cause, ..pending.change });
            false
        });
        resolved
    }

    /// Records the counters of a round with an undisputed primary. Those of other masters stay: the
    /// command that promoted them is the cause if the verdict changes later.
    pub(crate) fn record_counters(&mut self, nodes: ShardNodes<'_>, primary: NodeIndex) {
        for (index, node) in nodes.iter() {
            if index == primary || node.role() != Some(Role::Master) {
                self.samples.insert(index, CounterSample::read(node));
            }
        }
    }

    /// Returns the highest epoch at which a Sentinel named the node.
    pub(crate) fn epoch(&self, index: NodeIndex) -> Option<u64> {
        self.epochs.get(&index).copied()
    }

    /// Restores the saved epoch of a node.
    pub(crate) fn restore_epoch(&mut self, index: NodeIndex, epoch: Option<u64>) {
        match epoch {
            Some(epoch) => drop(self.epochs.insert(index, epoch)),
            None => drop(self.epochs.remove(&index)),
        }
    }

    /// Forgets a node that left.
    pub(crate) fn clear(&mut self, index: NodeIndex) {
        self.pending.retain(|pending| pending.change.from != index && pending.change.to != index);
        self.samples.remove(&index);
        self.epochs.remove(&index);
    }

    /// Returns the nodes whose command statistics may show the cause of a pending change.
    pub(crate) fn pending_nodes(&self) -> impl Iterator<Item = NodeIndex> {
        self.pending.iter().flat_map(|pending| [pending.change.from, pending.change.to])
    }
}

impl PendingChange {
    fn cause(&self, nodes: ShardNodes<'_>, statements: &[SentinelStatement]) -> Option<Cause> {
        let (from, to) = (&nodes[self.change.from], &nodes[self.change.to]);
        let old = CounterSample::read(from).since(self.from);
        let new = CounterSample::read(to).since(self.to);
        let counts_subcommands = to
            .snapshot()
            .and_then(|snapshot| snapshot.commands.as_ref())
            .is_some_and(|commands| commands.has_subcommands());
        let by_sentinel = |sample: CounterSample| {
            sample.slaveof > 0 && (sample.sentinel_commands > 0 || !counts_subcommands)
        };
        let elected = statements.iter().any(|statement| {
            self.epoch.is_some_and(|epoch| statement.epoch > epoch)
                && statement.node == Some(self.change.to)
        });
        let failing_over = statements
            .iter()
            .any(|statement| statement.failing_over && statement.node == Some(self.change.from));
        if elected || failing_over || by_sentinel(new) {
            return Some(Cause::Sentinel);
        }
        if old.failover > 0 {
            return Some(Cause::FailoverCommand);
        }
        // Sentinels may also demote the previous primary, which reverts its promotion.
        if by_sentinel(old) {
            return Some(Cause::Sentinel);
        }
        if [new.replicaof, new.slaveof, old.replicaof, old.slaveof].iter().any(|more| *more > 0) {
            return Some(Cause::Operator);
        }
        // A higher epoch means that the masters of the cluster elected the node.
        if [old.cluster, new.cluster, new.epoch].iter().any(|more| *more > 0) {
            return Some(Cause::Cluster);
        }
        // A node that restarted may have been promoted since: wait one round for its command
        // statistics.
        (new.restarts > 0 && self.rounds > 1).then_some(Cause::Restart)
    }
}

impl CounterSample {
    fn read(node: &NodeView) -> Self {
        let epoch = node
            .snapshot()
            .and_then(|snapshot| snapshot.cluster.as_ref()?.count("cluster_my_epoch"));
        let mut sample = CounterSample {
            restarts: node.process.restarts,
            epoch: epoch.unwrap_or_default(),
            ..CounterSample::default()
        };
        for (command, total) in node.counters.topology() {
            match command {
                "replicaof" => sample.replicaof = total,
                "slaveof" => sample.slaveof = total,
                "failover" => sample.failover = total,
                "config_rewrite" | "client_kill" => {
                    sample.sentinel_commands = sample.sentinel_commands.saturating_add(total);
                }
                "cluster_failover" | "cluster_replicate" => {
                    sample.cluster = sample.cluster.saturating_add(total);
                }
                _ => {}
            }
        }
        sample
    }

    fn since(self, earlier: CounterSample) -> CounterSample {
        CounterSample {
            replicaof: self.replicaof.saturating_sub(earlier.replicaof),
            slaveof: self.slaveof.saturating_sub(earlier.slaveof),
            failover: self.failover.saturating_sub(earlier.failover),
            sentinel_commands: self.sentinel_commands.saturating_sub(earlier.sentinel_commands),
            cluster: self.cluster.saturating_sub(earlier.cluster),
            epoch: self.epoch.saturating_sub(earlier.epoch),
            restarts: self.restarts.saturating_sub(earlier.restarts),
        }
    }
}
