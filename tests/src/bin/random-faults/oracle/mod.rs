//! Oracle: compares what Rolecall states with the truth, second by second.
//!
//! Each rule compares one kind of statement. A contradiction is a fault if it lasts longer than the
//! tolerance of its rule.

mod alerts;
mod cluster;
mod expectation;
mod failover;
mod foreign;
mod links;
mod nodes;
mod primary;
mod writes;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use recording::Expectation;

pub(crate) use writes::{WritesOfHistory, compare_losses};

use crate::observed::Observed;
use crate::truth::Truth;

/// Statement of Rolecall that contradicts the truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Time since the start of the history.
    pub(crate) at: Duration,
    pub(crate) rule: Rule,
    pub(crate) subject: Subject,
    pub(crate) text: String,
    /// Verdict that the last round should have given; `None` if the fault is not about
    /// the state of one deployment after a round.
    pub(crate) expectation: Option<Expectation>,
    /// End of that round.
    pub(crate) round_at: Option<SystemTime>,
}

/// Subject of a statement: the index of the deployment, and that of the node or 0.
pub(crate) type Subject = (usize, usize);

/// Rule that relates the statements of Rolecall to the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// The exporter runs, and its documents can be read.
    Responds,
    /// A node that replies to Rolecall is `up`.
    RepliesUp,
    /// A node without a running process is `down`.
    GoneDown,
    /// A node that only Rolecall cannot reach does not become `down`.
    AliveNotDown,
    /// The primary replies as master.
    PrimaryIsMaster,
    /// The primary is the master that a majority of the Sentinels names, also in a dispute.
    PrimaryOfSentinels,
    /// The undisputed primary is the only master that clients and replicas use.
    PrimaryInUse,
    /// The primary of a shard owns slots.
    PrimaryOfCluster,
    /// The cause of a change of the primary is possible.
    Cause,
    /// Two masters of one history are a split brain.
    SplitBrain,
    /// A split brain is reported only while there are two masters.
    FalseSplitBrain,
    /// A deployment with a master has a primary.
    HasPrimary,
    /// A deployment without a master has no primary.
    HasNoPrimary,
    /// A primary that acknowledges writes is writable.
    Writable,
    /// A primary that refuses writes is not writable.
    NotWritable,
    /// The state of a replication link is right.
    Link,
    /// The lag of a replica is right.
    Lag,
    /// Replication loops are reported while they exist.
    Loop,
    /// A replica with a link to the primary is no orphan.
    NoOrphan,
    /// Slots without an owner are reported, and only those.
    Slots,
    /// A failover is ready only with a replica that Sentinels would promote, and then it is.
    Readiness,
    /// After the death of the primary, the stated readiness for a failover proves right.
    Failover,
    /// Sentinels that consider a primary down which replies are reported, and only those.
    CannotReach,
    /// A replaced data set is reported after clusters were merged, and only after a connection with
    /// foreign masters.
    ReplacedData,
    /// The alert `RedisClientAuthFailing` fires only if clients use wrong passwords.
    ClientBlamed,
    /// The alert `RedisDown` fires only for nodes that are down.
    DownAlert,
    /// The alert `RedisNoPrimary` fires only while writes fail.
    NoPrimaryAlert,
    /// The critical alert `RedisSplitBrain` fires only with two masters.
    SplitBrainAlert,
    /// No critical alert fires while everything works.
    HarmlessAlert,
    /// An alert fires when all writes fail.
    SilentOutage,
    /// Lost writes are counted, and only those.
    LostWrites,
    /// A repaired deployment has no critical finding.
    Recovered,
}

/// Interval of the rounds, the time until their state is read, and the delay of a busy machine.
const SLACK: u64 = 4;

/// Time for which a contradiction may last, in seconds, by rule.
const TOLERANCES: [(Rule, u64); 32] = [
    (Rule::Responds, 2),
    // The longest delay between two connection attempts is 10 s, plus jitter of as much.
    (Rule::RepliesUp, 20 + SLACK),
    // Idle links ping every 10 s, up to 5 s late, and their times are up to 2 s late.
    (Rule::GoneDown, 17 + SLACK),
    (Rule::AliveNotDown, 0),
    (Rule::PrimaryIsMaster, SLACK),
    // The lists of Sentinels are valid for 10 s.
    (Rule::PrimaryOfSentinels, 12 + SLACK),
    // Writes count as recent for 30 s.
    (Rule::PrimaryInUse, 32 + SLACK),
    // Cluster maps are read every 10 s, and after changes.
    (Rule::PrimaryOfCluster, 12 + SLACK),
    (Rule::Cause, 0),
    (Rule::SplitBrain, 2 + SLACK),
    (Rule::FalseSplitBrain, 17 + SLACK),
    (Rule::HasPrimary, 2 + SLACK),
    // As long as it may take until the dead primary is down.
    (Rule::HasNoPrimary, 17 + SLACK),
    (Rule::Writable, 2 + SLACK),
    (Rule::NotWritable, 17 + SLACK),
    (Rule::Link, 2 + SLACK),
    (Rule::Lag, 6 + SLACK),
    (Rule::Loop, 2 + SLACK),
    (Rule::NoOrphan, 2 + SLACK),
    // As long as it may take until the dead owner is down.
    (Rule::Slots, 17 + SLACK),
    // Sentinels and Rolecall read the replicas every 10 s.
    (Rule::Readiness, 22 + SLACK),
    (Rule::Failover, 0),
    // A Sentinel that was frozen reports nothing new for 30 s.
    (Rule::CannotReach, 32 + SLACK),
    // Cluster maps are read every 10 s, and after changes.
    (Rule::ReplacedData, 12 + SLACK),
    (Rule::ClientBlamed, 0),
    // The expression looks back 30 s.
    (Rule::DownAlert, 30 + SLACK),
    // The expression looks back 20 s.
    (Rule::NoPrimaryAlert, 20 + SLACK),
    // The expression looks back 30 s.
    (Rule::SplitBrainAlert, 30 + SLACK),
    (Rule::HarmlessAlert, 0),
    // The slowest of the alerts fires after a minute.
    (Rule::SilentOutage, 60 + SLACK),
    (Rule::LostWrites, 0),
    (Rule::Recovered, 0),
];

/// Interruption of the comparisons after which contradictions count from the beginning: the
/// machine was too busy.
const LONGEST_GAP: Duration = Duration::from_secs(4);

/// Oracle of one history.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    /// Times since which contradictions last.
    since: BTreeMap<(Rule, Subject), Duration>,
    /// Times since which facts hold without interruption.
    facts: BTreeMap<(Fact, Subject), Duration>,
    /// Last run ID and replication ID of each node that Rolecall could read.
    read_processes: BTreeMap<Subject, (String, String)>,
    /// Start of the last exporter that saw a node up, by node.
    seen_up: BTreeMap<Subject, Duration>,
    /// Changes of the primary so far, by deployment, shard and cause.
    changes: BTreeMap<(usize, Option<String>, String), u64>,
    /// Outages of primaries of deployments with Sentinels, by deployment.
    outages: BTreeMap<usize, failover::Outage>,
    last_at: Duration,
    /// Comparisons by rule.
    pub(crate) comparisons: BTreeMap<Rule, u64>,
}

/// Fact whose duration matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fact {
    /// The node is readable.
    Readable,
    /// The node runs, and a witness that Rolecall can read reaches it.
    Witnessed,
    /// Rolecall states that the node is down.
    StatedDown,
    /// All nodes work, and all writes of all clients succeed.
    Works,
    /// All writes of all clients fail.
    WritesFail,
    /// Rolecall states that a failover would succeed.
    StatedReady,
    /// Rolecall states that no replica can be promoted, and nothing else prevents a failover.
    StatedWithoutCandidate,
}

/// Comparison of one moment.
pub(crate) struct Comparison<'a> {
    pub(crate) truth: &'a Truth,
    pub(crate) observed: &'a Observed,
    oracle: &'a mut Oracle,
    /// Contradictions of this moment.
    found: Vec<(Rule, Subject, String)>,
}

impl Oracle {
    /// Compares the statements of a moment with the truth. Returns the faults.
    pub(crate) fn compare(&mut self, truth: &Truth, observed: &Observed) -> Vec<Fault> {
        if truth.at.saturating_sub(self.last_at) > LONGEST_GAP {
            self.since.clear();
        }
        self.last_at = truth.at;
        let mut comparison = Comparison { truth, observed, oracle: self, found: Vec::new() };
        comparison.compare_nodes();
        comparison.compare_primaries();
        comparison.compare_links();
        comparison.compare_clusters();
        comparison.compare_failovers();
        comparison.compare_foreign();
        comparison.compare_alerts();
        let found = comparison.found;
        let mut faults = self.faults(truth.at, found);
        for fault in &mut faults {
            let name = truth.deployments[fault.subject.0].name;
            let at = observed.deployment(name).and_then(|deployment| deployment.at.as_deref());
            fault.round_at = at.and_then(|at| humantime::parse_rfc3339(at).ok());
            fault.expectation = expectation::expected(fault, truth, observed);
        }
        faults
    }

    /// Returns the contradictions that last too long.
    pub(crate) fn faults(
        &mut self,
        at: Duration,
        found: Vec<(Rule, Subject, String)>,
    ) -> Vec<Fault> {
        let mut since = BTreeMap::new();
        let mut faults = Vec::new();
        for (rule, subject, text) in found {
            let begun = self.since.get(&(rule, subject)).copied().unwrap_or(at);
            since.insert((rule, subject), begun);
            if at.saturating_sub(begun) >= tolerance(rule) {
                faults.push(Fault { at, rule, subject, text, expectation: None, round_at: None });
            }
        }
        self.since = since;
        faults
    }
}

fn tolerance(rule: Rule) -> Duration {
    let found = TOLERANCES.iter().find(|(other, _)| *other == rule);
    Duration::from_secs(found.map_or(0, |(_, seconds)| *seconds))
}

impl Comparison<'_> {
    /// Checks a rule: `holds` must be true.
    fn check(&mut self, rule: Rule, subject: Subject, holds: bool, text: impl FnOnce() -> String) {
        *self.oracle.comparisons.entry(rule).or_default() += 1;
        if !holds {
            self.found.push((rule, subject, text()));
        }
    }

    /// Notes if a fact holds now, and returns the time for which it has held without interruption;
    /// `None` if it does not hold.
    fn lasts(&mut self, fact: Fact, subject: Subject, holds: bool) -> Option<Duration> {
        if !holds {
            self.oracle.facts.remove(&(fact, subject));
            return None;
        }
        let since = *self.oracle.facts.entry((fact, subject)).or_insert(self.truth.at);
        Some(self.truth.at.saturating_sub(since))
    }
}
