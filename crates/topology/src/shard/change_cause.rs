//! Fact: changes of the primary, and what caused each. What tells may come a round or two later than the change.

use std::time::{Duration, SystemTime};

use crate::discovery::sentinels::SentinelStatement;
use crate::limits::CAUSE_WITHIN_ROUNDS;
use crate::model::view::NodeView;

/// What made another node the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A failover by Sentinels.
    Sentinel,
    /// `REPLICAOF` or `SLAVEOF` by hand.
    Operator,
    /// The command `FAILOVER`.
    FailoverCommand,
    /// A failover within a cluster.
    Cluster,
    /// The node was started as a master.
    Restart,
    /// Nothing that can be seen.
    Unknown,
}

impl Cause {
    /// Every cause, in the order of the reference.
    pub const ALL: [Cause; 6] = [
        Cause::Sentinel,
        Cause::Operator,
        Cause::FailoverCommand,
        Cause::Cluster,
        Cause::Restart,
        Cause::Unknown,
    ];

    /// The value of the label `cause`.
    pub const fn label(self) -> &'static str {
        match self {
            Cause::Sentinel => "sentinel",
            Cause::Operator => "operator",
            Cause::FailoverCommand => "failover_command",
            Cause::Cluster => "cluster",
            Cause::Restart => "restart",
            Cause::Unknown => "unknown",
        }
    }
}

/// A change of the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrimaryChange {
    /// Wall time of the round that showed it.
    pub at: SystemTime,
    /// The place of the primary before.
    pub from: usize,
    /// The place of the primary now.
    pub to: usize,
    /// What caused it.
    pub cause: Cause,
}

/// What the fact remembers.
#[derive(Debug, Default)]
pub(crate) struct ChangeCauseTracker {
    waiting: Vec<PendingChange>,
    /// What was counted on each node when there was a primary last.
    before: Vec<CounterSample>,
    /// For each node, the highest epoch at which a Sentinel named it.
    epochs: Vec<Option<u64>>,
}

/// A change whose cause is not known yet.
#[derive(Debug)]
struct PendingChange {
    change: PrimaryChange,
    rounds: u32,
    /// Monotonic time of the first of them.
    since: Option<Duration>,
    /// What was counted on each of the two nodes before.
    from: CounterSample,
    to: CounterSample,
    /// The highest epoch at which a Sentinel named the primary before.
    epoch: Option<u64>,
}

/// What a change leaves in a node's counters.
#[derive(Debug, Clone, Copy, Default)]
struct CounterSample {
    replicaof: u64,
    slaveof: u64,
    failover: u64,
    /// What Sentinels run beside `SLAVEOF`; servers before 7.0 do not tell these apart.
    beside: u64,
    cluster: u64,
    /// The epoch of the slots that it serves, or that its master does. CLUSTER INFO: `cluster_my_epoch`.
    epoch: u64,
    restarts: u64,
}

impl ChangeCauseTracker {
    /// Notes a change.
    pub(crate) fn note(&mut self, change: PrimaryChange) {
        let trace = |index: usize| self.before.get(index).copied().unwrap_or_default();
        let epoch = self.epochs.get(change.from).copied().flatten();
        self.waiting.push(PendingChange {
            change,
            rounds: 0,
            since: None,
            from: trace(change.from),
            to: trace(change.to),
            epoch,
        });
    }

    /// Takes up one round, and gives the changes whose cause is known now, or will not be.
    ///
    /// A change waits for a number of rounds, and at least as long as these take at their usual pace.
    pub(crate) fn settle(
        &mut self,
        nodes: &[NodeView],
        said: &[SentinelStatement],
        elapsed: Duration,
        interval: Duration,
    ) -> Vec<PrimaryChange> {
        self.epochs.resize(nodes.len(), None);
        for (said, node) in said.iter().filter_map(|said| Some((said, said.node?))) {
            self.epochs[node] = self.epochs[node].max(Some(said.epoch));
        }
        let mut settled = Vec::new();
        self.waiting.retain_mut(|waiting| {
            waiting.rounds += 1;
            let since = *waiting.since.get_or_insert(elapsed);
            let cause = waiting.cause(nodes, said);
            let patient = waiting.rounds <= CAUSE_WITHIN_ROUNDS
                || elapsed.saturating_sub(since) < interval * CAUSE_WITHIN_ROUNDS;
            if cause.is_none() && patient {
                return true;
            }
            settled
                .push(PrimaryChange { cause: cause.unwrap_or(Cause::Unknown), ..waiting.change });
            false
        });
        settled
    }

    /// Remembers what was counted in a round with a primary.
    pub(crate) fn remember(&mut self, nodes: &[NodeView]) {
        self.before.clear();
        self.before.extend(nodes.iter().map(CounterSample::of));
    }

    /// The highest epoch at which a Sentinel named the node at a place.
    pub(crate) fn epoch(&self, index: usize) -> Option<u64> {
        self.epochs.get(index).copied().flatten()
    }

    /// Takes up the epoch that was kept of the node at a place.
    pub(crate) fn remember_epoch(&mut self, index: usize, epoch: Option<u64>) {
        self.epochs.resize(self.epochs.len().max(index + 1), None);
        self.epochs[index] = epoch;
    }

    /// Forgets the node at a place.
    pub(crate) fn clear(&mut self, index: usize) {
        self.waiting.retain(|waiting| waiting.change.from != index && waiting.change.to != index);
        self.before.get_mut(index).map(std::mem::take);
        self.epochs.get_mut(index).map(Option::take);
    }

    /// The nodes whose counters would tell: they are worth reading at once.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = usize> {
        self.waiting.iter().flat_map(|waiting| [waiting.change.from, waiting.change.to])
    }
}

impl PendingChange {
    fn cause(&self, nodes: &[NodeView], said: &[SentinelStatement]) -> Option<Cause> {
        let (from, to) = (&nodes[self.change.from], &nodes[self.change.to]);
        let (old, new) =
            (CounterSample::of(from).since(self.from), CounterSample::of(to).since(self.to));
        let tells_apart = to
            .snapshot()
            .and_then(|snapshot| snapshot.commands.as_ref())
            .is_some_and(|commands| commands.has_subcommands());
        let elected = said.iter().any(|said| {
            self.epoch.is_some_and(|epoch| said.epoch > epoch) && said.node == Some(self.change.to)
        });
        let electing =
            said.iter().any(|said| said.failing_over && said.node == Some(self.change.from));
        if elected || electing || (new.slaveof > 0 && (new.beside > 0 || !tells_apart)) {
            return Some(Cause::Sentinel);
        }
        if old.failover > 0 {
            return Some(Cause::FailoverCommand);
        }
        // The primary before may be the one that was told to follow: then a promotion was taken back.
        if old.slaveof > 0 && (old.beside > 0 || !tells_apart) {
            return Some(Cause::Sentinel);
        }
        if new.replicaof + new.slaveof + old.replicaof + old.slaveof > 0 {
            return Some(Cause::Operator);
        }
        // The others voted for it.
        if old.cluster + new.cluster + new.epoch > 0 {
            return Some(Cause::Cluster);
        }
        // A restarted node that was promoted since is none that was started as a master: wait for what its counters say.
        (new.restarts > 0 && self.rounds > 1).then_some(Cause::Restart)
    }
}

impl CounterSample {
    fn of(node: &NodeView) -> Self {
        let epoch = node
            .snapshot()
            .and_then(|snapshot| snapshot.cluster.as_ref()?.count("cluster_my_epoch"));
        let mut trace = CounterSample {
            restarts: node.process.restarts,
            epoch: epoch.unwrap_or_default(),
            ..CounterSample::default()
        };
        for (command, total) in node.counters.topology() {
            match command {
                "replicaof" => trace.replicaof = total,
                "slaveof" => trace.slaveof = total,
                "failover" => trace.failover = total,
                "config_rewrite" | "client_kill" => trace.beside += total,
                "cluster_failover" | "cluster_replicate" => trace.cluster += total,
                _ => {}
            }
        }
        trace
    }

    fn since(self, before: CounterSample) -> CounterSample {
        CounterSample {
            replicaof: self.replicaof.saturating_sub(before.replicaof),
            slaveof: self.slaveof.saturating_sub(before.slaveof),
            failover: self.failover.saturating_sub(before.failover),
            beside: self.beside.saturating_sub(before.beside),
            cluster: self.cluster.saturating_sub(before.cluster),
            epoch: self.epoch.saturating_sub(before.epoch),
            restarts: self.restarts.saturating_sub(before.restarts),
        }
    }
}
