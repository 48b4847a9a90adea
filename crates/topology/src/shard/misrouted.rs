//! Fact: clients write to a replica, which refuses it: why, with which commands, and who they are. Probable, never proof.
//!
//! That it happens is told by the error table (6.2 and later), and where that is gone by the refusals of write commands. Who it is only the
//! list of clients tells; it is asked for only while refusals rise, and seldom.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use snapshot::{Client, ClientKind, CommandStats, NodeSnapshot, Role};

use crate::limits::{
    CLIENTS_LISTED_AT_MOST, CLIENTS_LISTED_EVERY, CLIENTS_SETTLE_WITHIN, DEMOTED_LATELY,
    MISROUTED_AFTER, MISROUTED_UNTIL,
};
use crate::model::round::NodeReply;
use crate::node::counters::{Counters, increase};
use crate::node::process::ProcessChange;
use crate::shard::write_refusals;

/// The most libraries that are told apart.
const MAX_LIBRARIES: usize = 16;

/// The most clients that are named.
const MAX_NAMED: usize = 5;

/// The most commands that are named.
const MAX_COMMANDS: usize = 8;

/// The most counts that a rate is taken from: a minute of the shortest interval.
const MAX_COUNTS: usize = 256;

/// Times in a list of clients are whole seconds.
const SECOND: Duration = Duration::from_secs(1);

/// Why clients write to a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MisrouteReason {
    /// They were told of the wrong node: its role has not changed of late, and there is exactly one master.
    WrongEndpoint,
    /// The node was master until lately.
    Demotion,
    /// Another node became the primary when it began, and it becomes less: they look for the primary with what they knew before.
    StaleTopology,
    /// Nothing that can be seen.
    Unknown,
}

/// Clients that write to a replica.
#[derive(Debug, Clone, PartialEq)]
pub struct MisroutedView {
    /// Why they do.
    pub why: MisrouteReason,
    /// Monotonic time of the round that first saw a refusal, with no minute without one since.
    pub began: Duration,
    /// Monotonic time of the round that last saw one.
    pub risen: Duration,
    /// Refusals per second, over the last minute or since it began.
    pub per_second: f64,
    /// The commands that were refused since, the most refused first; at most 8. Among them what runs others: scripts, transactions.
    pub commands: Vec<Box<str>>,
    /// Time since the node was found demoted; `None` when it was not seen to be.
    pub demoted: Option<Duration>,
    /// Who writes; `None` before a list was read, and where the commands are unknown.
    pub writers: Option<Arc<MisroutedClients>>,
    /// Who is connected since before the node was demoted; `None` before a list was read, and where that is unknown.
    pub stale: Option<Arc<MisroutedClients>>,
    /// So many clients are connected that they are not listed.
    pub too_many: Option<u64>,
    /// No change of the primary, and none of this node's role, is recent enough to explain it.
    pub settled: bool,
}

/// Some of the clients of a node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MisroutedClients {
    /// How many there are.
    pub total: usize,
    /// How many there are of each library, the most used first: at most 16, then `other`. `unknown` where they or the server do not say.
    pub libraries: Vec<(Box<str>, usize)>,
    /// The libraries with their versions; at most 16.
    pub versions: Vec<Box<str>>,
    /// Names, if they have any, and addresses of the busiest; at most 5. Text of the clients themselves: never a label.
    pub busiest: Vec<Box<str>>,
}

/// What the fact remembers of one node.
#[derive(Debug, Default)]
pub(crate) struct MisroutedTracker {
    commands: Option<Arc<CommandStats>>,
    /// Refusals so far, by write commands.
    rejected: u64,
    count: Option<Count>,
    /// When the node last said that it is master, if it does not say otherwise now.
    master: Option<Duration>,
    demoted: Option<Demotion>,
    /// Commands that were refused between the last two readings, and when the latter was: they may be read before the error table.
    latest: (Duration, BTreeMap<Box<str>, u64>),
    spell: Option<RefusalPeriod>,
    /// When a list was last read.
    listed: Option<Duration>,
    too_many: Option<u64>,
    wanted: bool,
}

/// Refusals so far.
#[derive(Debug, Clone, Copy)]
struct Count {
    /// By the error table, else by commands.
    by_table: bool,
    total: u64,
    at: Duration,
}

/// A node became a replica.
#[derive(Debug, Clone, Copy)]
struct Demotion {
    /// When it last said that it is master.
    after: Duration,
    /// When it first said that it is none.
    seen: Duration,
}

/// A time in which refusals rise again and again.
#[derive(Debug)]
struct RefusalPeriod {
    began: Duration,
    risen: Duration,
    /// Refusals in its first minute.
    first: u64,
    /// Refusals so far, at the rounds of the last minute.
    recent: VecDeque<(Duration, u64)>,
    commands: BTreeMap<Box<str>, u64>,
    /// Ids of clients that were found to write.
    writing: BTreeSet<u64>,
    writers: Option<Arc<MisroutedClients>>,
    stale: Option<Arc<MisroutedClients>>,
}

/// One round, as the fact sees it.
pub(crate) struct MisrouteContext {
    pub(crate) elapsed: Duration,
    pub(crate) interval: Duration,
    /// How many nodes claim to be master.
    pub(crate) masters: usize,
    /// When the primary last changed.
    pub(crate) changed: Option<Duration>,
}

impl MisrouteReason {
    /// The value of `why` in the evidence.
    pub const fn label(self) -> &'static str {
        match self {
            MisrouteReason::WrongEndpoint => "wrong_endpoint",
            MisrouteReason::Demotion => "demotion",
            MisrouteReason::StaleTopology => "stale_topology",
            MisrouteReason::Unknown => "unknown",
        }
    }
}

impl MisroutedView {
    /// It lasts, and no failover explains it.
    pub fn persists(&self) -> bool {
        self.settled && self.risen.saturating_sub(self.began) > MISROUTED_AFTER
    }
}

// === impl Memory ===

impl MisroutedTracker {
    /// Takes up one answer.
    pub(crate) fn observe(
        &mut self,
        answer: &NodeReply,
        counters: &Counters,
        succession: ProcessChange,
        now: &MisrouteContext,
    ) {
        let snapshot = &*answer.snapshot;
        match succession {
            ProcessChange::Same => {}
            ProcessChange::Restarted => self.restart(),
            ProcessChange::Replaced => *self = MisroutedTracker::default(),
        }
        self.follow(snapshot.replication.role, now.elapsed);
        if answer.commands_read {
            self.count_commands(snapshot, now.elapsed);
        }
        self.count(counters, snapshot.replication.role == Some(Role::Replica), now);
        if let Some(clients) = &answer.clients {
            self.listed = Some(now.elapsed);
            self.tell(clients, now);
        }
        let connected = snapshot.fields.count("connected_clients");
        self.too_many = connected.filter(|connected| *connected > CLIENTS_LISTED_AT_MOST);
        let rises =
            self.spell.as_ref().is_some_and(|spell| now.since(spell.risen) <= now.interval * 2);
        let rested = self.listed.is_none_or(|listed| now.since(listed) >= CLIENTS_LISTED_EVERY);
        self.wanted = rises && rested && connected.is_some() && self.too_many.is_none();
    }

    /// What is known now; `None` while nobody writes here. Where refusals do not rise for a while, that is over.
    pub(crate) fn view(&mut self, now: &MisrouteContext) -> Option<MisroutedView> {
        self.spell = self.spell.take().filter(|spell| now.since(spell.risen) <= MISROUTED_UNTIL);
        let spell = self.spell.as_ref()?;
        let lately = |at: Duration| now.since(at) <= CLIENTS_SETTLE_WITHIN;
        let demoted = self.demoted.map(|demotion| now.since(demotion.seen));
        Some(MisroutedView {
            why: self.why(spell, now),
            began: spell.began,
            risen: spell.risen,
            per_second: spell.per_second(),
            commands: spell.most_refused(),
            demoted,
            writers: spell.writers.clone(),
            stale: spell.stale.clone(),
            too_many: self.too_many,
            settled: !now.changed.is_some_and(lately)
                && !self.demoted.is_some_and(|demotion| lately(demotion.seen)),
        })
    }

    /// The list of clients is worth reading.
    pub(crate) fn wanted(&self) -> bool {
        self.wanted && self.spell.is_some()
    }

    /// A new process counts from zero, and knows other clients.
    fn restart(&mut self) {
        self.commands = Some(Arc::default());
        if let Some(spell) = &mut self.spell {
            (spell.writers, spell.stale) = (None, None);
            spell.writing.clear();
        }
    }

    fn follow(&mut self, role: Option<Role>, elapsed: Duration) {
        match role {
            Some(Role::Master) => {
                (self.master, self.demoted, self.spell) = (Some(elapsed), None, None);
            }
            Some(Role::Replica) => {
                let demoted = self.master.take().map(|after| Demotion { after, seen: elapsed });
                self.demoted = demoted.or(self.demoted);
            }
            _ => {}
        }
    }

    fn count_commands(&mut self, snapshot: &NodeSnapshot, elapsed: Duration) {
        let Some(now) = &snapshot.commands else { return };
        let mut grown = BTreeMap::new();
        if let Some(before) = self.commands.replace(Arc::clone(now)) {
            for command in now.iter() {
                let Some(refused) = write_refusals::refused(command) else { continue };
                let more = increase(
                    before.get(&command.name).and_then(write_refusals::refused).unwrap_or_default(),
                    refused,
                );
                if more > 0 {
                    grown.insert(command.name.clone(), more);
                }
            }
        }
        self.rejected += grown
            .iter()
            .filter(|(name, _)| write_refusals::is_write(name))
            .map(|(_, more)| more)
            .sum::<u64>();
        if let Some(spell) = &mut self.spell {
            spell.add(&grown);
        }
        self.latest = (elapsed, grown);
    }

    fn count(&mut self, counters: &Counters, replica: bool, now: &MisrouteContext) {
        let table = counters.errors().map(|mut errors| {
            errors.find(|(code, _)| *code == "READONLY").map_or(0, |(_, total)| total)
        });
        let count = Count {
            by_table: table.is_some(),
            total: table.unwrap_or(self.rejected),
            at: now.elapsed,
        };
        let before = self.count.replace(count).filter(|before| before.by_table == count.by_table);
        let Some(before) = before.filter(|_| replica) else { return };
        let grown = count.total.saturating_sub(before.total);
        if grown > 0 && self.spell.is_none() {
            let mut spell = RefusalPeriod::begin(before, now.elapsed);
            if now.since(self.latest.0) <= now.interval * 2 {
                spell.add(&self.latest.1);
            }
            self.spell = Some(spell);
        }
        if let Some(spell) = &mut self.spell {
            spell.grow(grown, count);
        }
    }

    /// Who of these clients writes here, and who is here since before the node was demoted.
    fn tell(&mut self, clients: &[Client], now: &MisrouteContext) {
        let Some(spell) = &mut self.spell else { return };
        let normal = || clients.iter().filter(|client| client.kind == ClientKind::Normal);
        // What it did last, it did since refusals began: then that was refused.
        let latest = now.since(spell.began) + now.interval + SECOND;
        let as_replica = |client: &Client| {
            self.demoted.is_none_or(|demotion| client.idle < now.since(demotion.after))
        };
        let refused = |client: &Client| spell.commands.contains_key(&client.command);
        let wrote =
            |client: &&Client| refused(client) && client.idle <= latest && as_replica(client);
        let known = |client: &&Client| spell.writing.contains(&client.id);
        let writers: Vec<_> = normal().filter(|client| known(client) || wrote(client)).collect();
        let told = !spell.commands.is_empty();
        spell.writing = writers.iter().map(|client| client.id).collect();
        spell.writers = told.then(|| Arc::new(MisroutedClients::of(writers)));
        spell.stale = self.demoted.map(|demotion| {
            let older = |client: &&Client| {
                client.age > now.since(demotion.after) + SECOND && !watches(client)
            };
            Arc::new(MisroutedClients::of(normal().filter(older).collect()))
        });
    }

    fn why(&self, spell: &RefusalPeriod, now: &MisrouteContext) -> MisrouteReason {
        let lately =
            self.demoted.is_some_and(|demotion| now.since(demotion.seen) <= DEMOTED_LATELY);
        let left_behind = spell.stale.as_ref().is_some_and(|stale| stale.total > 0);
        let after_change = now
            .changed
            .is_some_and(|changed| spell.began.abs_diff(changed) <= CLIENTS_SETTLE_WITHIN);
        if lately || left_behind {
            MisrouteReason::Demotion
        } else if after_change && spell.decays(now) {
            MisrouteReason::StaleTopology
        } else if now.masters == 1 {
            MisrouteReason::WrongEndpoint
        } else {
            MisrouteReason::Unknown
        }
    }
}

// === impl Spell ===

impl RefusalPeriod {
    fn begin(before: Count, elapsed: Duration) -> Self {
        RefusalPeriod {
            began: elapsed,
            risen: elapsed,
            first: 0,
            recent: VecDeque::from([(before.at, before.total)]),
            commands: BTreeMap::new(),
            writing: BTreeSet::new(),
            writers: None,
            stale: None,
        }
    }

    fn grow(&mut self, grown: u64, count: Count) {
        if grown > 0 {
            self.risen = count.at;
        }
        if count.at.saturating_sub(self.began) < MISROUTED_AFTER {
            self.first += grown;
        }
        self.recent.push_back((count.at, count.total));
        let old = |(at, _): &(Duration, u64)| count.at.saturating_sub(*at) > MISROUTED_AFTER;
        while self.recent.len() > MAX_COUNTS
            || (self.recent.len() > 2 && self.recent.front().is_some_and(old))
        {
            self.recent.pop_front();
        }
    }

    fn add(&mut self, commands: &BTreeMap<Box<str>, u64>) {
        for (name, more) in commands {
            *self.commands.entry(name.clone()).or_default() += more;
        }
    }

    /// What is left of it is less than half of what it began with; or it is too young to tell.
    fn decays(&self, now: &MisrouteContext) -> bool {
        let of_late = self.lately().map_or(0, |(_, grown)| grown);
        now.since(self.began) < MISROUTED_AFTER * 2 || of_late * 2 < self.first
    }

    /// The time that the last counts span, and what they grew by.
    fn lately(&self) -> Option<(Duration, u64)> {
        let ((began, first), (ended, last)) = (self.recent.front()?, self.recent.back()?);
        Some((ended.saturating_sub(*began), last.saturating_sub(*first)))
    }

    fn per_second(&self) -> f64 {
        let rate = |(time, grown): (Duration, u64)| {
            (!time.is_zero()).then(|| grown as f64 / time.as_secs_f64())
        };
        self.lately().and_then(rate).unwrap_or_default()
    }

    fn most_refused(&self) -> Vec<Box<str>> {
        let mut commands: Vec<_> = self.commands.iter().collect();
        commands.sort_by_key(|(_, refused)| Reverse(**refused));
        commands.into_iter().take(MAX_COMMANDS).map(|(name, _)| name.clone()).collect()
    }
}

impl MisrouteContext {
    fn since(&self, at: Duration) -> Duration {
        self.elapsed.saturating_sub(at)
    }
}

// === impl Clients ===

impl MisroutedClients {
    fn of(mut clients: Vec<&Client>) -> Self {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut versions: BTreeMap<String, usize> = BTreeMap::new();
        for client in &clients {
            let (name, version) =
                client.library.as_ref().map_or(("unknown", ""), |(name, version)| (name, version));
            *counts.entry(name).or_default() += 1;
            *versions.entry(format!("{name} {version}").trim_end().to_owned()).or_default() += 1;
        }
        let mut libraries: Vec<_> =
            counts.into_iter().map(|(name, count)| (Box::from(name), count)).collect();
        libraries.sort_by_key(|(_, count)| Reverse(*count));
        let others = libraries.split_off(libraries.len().min(MAX_LIBRARIES));
        if !others.is_empty() {
            let more = others.iter().map(|(_, count)| count).sum();
            // A library may call itself so.
            match libraries.iter_mut().find(|(name, _): &&mut (Box<str>, usize)| **name == *"other")
            {
                Some((_, count)) => *count += more,
                None => libraries.push(("other".into(), more)),
            }
        }
        let mut versions: Vec<_> = versions.into_iter().collect();
        versions.sort_by_key(|(_, count)| Reverse(*count));
        clients.sort_by_key(|client| (Reverse(pace(client)), client.idle, client.id));
        MisroutedClients {
            total: clients.len(),
            libraries,
            versions: versions
                .into_iter()
                .take(MAX_LIBRARIES)
                .map(|(name, _)| name.into())
                .collect(),
            busiest: clients.into_iter().take(MAX_NAMED).map(named).collect(),
        }
    }
}

/// Commands per second, where the server counts them.
fn pace(client: &Client) -> u64 {
    client.commands.unwrap_or_default() / client.age.as_secs().max(1)
}

fn named(client: &Client) -> Box<str> {
    match &*client.name {
        "" => client.address.clone(),
        name => format!("{name} {}", client.address).into(),
    }
}

/// It only watches the server: a Sentinel, or somebody whose last command is one of those that exporters send, as we are.
fn watches(client: &Client) -> bool {
    (client.name.starts_with("sentinel-") && client.name.ends_with("-cmd"))
        || snapshot::is_polling_command(&client.command)
}
