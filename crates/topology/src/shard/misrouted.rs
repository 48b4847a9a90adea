//! Tracker of clients that write to a replica, which refuses the writes: the probable reason, the
//! commands and the clients.
//!
//! Refusals are detected by the error table (6.2 and later). If the server disabled that table,
//! they are detected by the rejected write commands. Only CLIENT LIST shows the clients. It is
//! read rarely, and only while refusals rise.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use snapshot::{Client, ClientKind, CommandStats, NodeSnapshot, Role};

use crate::limits::{
    CLIENT_LIST_CADENCE, CLIENTS_RECONNECT_WITHIN, DEMOTED_RECENTLY, MAX_LISTED_CLIENTS,
    MISROUTED_AFTER, MISROUTED_UNTIL,
};
use crate::model::counters::{Counters, increase, saturating_sum};
use crate::model::misrouted::{MisrouteReason, MisroutedClients, MisroutedView};
use crate::model::monotonic::Monotonic;
use crate::model::round::NodeReply;
use crate::node::process::ProcessChange;
use crate::shard::write_refusals;

/// The largest number of libraries that are counted separately.
const MAX_LIBRARIES: usize = 16;

/// The largest number of clients that are named.
const MAX_CLIENTS: usize = 5;

/// The largest number of commands that are named.
const MAX_COMMANDS: usize = 8;

/// The largest number of counts for the rate: one minute of the shortest interval.
const MAX_COUNTS: usize = 256;

/// Resolution of the times in CLIENT LIST.
const SECOND: Duration = Duration::from_secs(1);

/// Tracks the clients that write to one node while it is a replica.
#[derive(Debug, Default)]
pub(crate) struct MisroutedTracker {
    commands: Option<Arc<CommandStats>>,
    /// Rejected write commands since the exporter started.
    rejected: u64,
    count: Option<RefusalCount>,
    /// Monotonic time at which the node last claimed to be master, while it claims so.
    last_master: Option<Monotonic>,
    demotion: Option<Demotion>,
    /// The last reading of the command statistics, which may precede that of the error table.
    last_refused: RefusedCommands,
    period: Option<RefusalPeriod>,
    /// Monotonic time of the last CLIENT LIST.
    last_list: Option<Monotonic>,
    too_many_clients: Option<u64>,
    needs_list: bool,
}

/// Number of refused writes at one point in time.
#[derive(Debug, Clone, Copy)]
struct RefusalCount {
    /// The number comes from the error table, otherwise from the command statistics.
    by_table: bool,
    total: u64,
    at: Monotonic,
}

/// Commands refused between two readings of the command statistics.
#[derive(Debug, Default)]
struct RefusedCommands {
    /// Monotonic time of the second reading.
    at: Monotonic,
    by_command: BTreeMap<Box<str>, u64>,
}

/// A change of the role of a node from master to replica.
#[derive(Debug, Clone, Copy)]
struct Demotion {
    /// Monotonic time at which the node last claimed to be master.
    after: Monotonic,
    /// Monotonic time at which it first claimed to be a replica.
    seen: Monotonic,
}

/// A period in which refusals rise repeatedly.
#[derive(Debug)]
struct RefusalPeriod {
    began: Monotonic,
    last_rise: Monotonic,
    /// Refusals in the first minute.
    in_first_minute: u64,
    /// Counts of the last minute.
    recent: VecDeque<RefusalCount>,
    commands: BTreeMap<Box<str>, u64>,
    /// IDs of clients that sent a refused command.
    writer_ids: BTreeSet<u64>,
    writers: Option<Arc<MisroutedClients>>,
    stale: Option<Arc<MisroutedClients>>,
}

/// Growth of the number of refusals over a span of time.
#[derive(Debug, Clone, Copy)]
struct Growth {
    time: Duration,
    refusals: u64,
}

/// One round of a shard.
pub(crate) struct MisrouteContext {
    pub(crate) now: Monotonic,
    pub(crate) interval: Duration,
    /// Number of nodes that claim the role of master.
    pub(crate) masters: usize,
    /// Monotonic time of the last change of the primary.
    pub(crate) last_change: Option<Monotonic>,
}

impl MisroutedTracker {
    /// Processes one reply.
    pub(crate) fn observe(
        &mut self,
        reply: &NodeReply,
        counters: &Counters,
        process_change: ProcessChange,
        round: &MisrouteContext,
    ) {
        let snapshot = &*reply.snapshot;
        match process_change {
            ProcessChange::Same => {}
            ProcessChange::Restarted => self.restart(),
            ProcessChange::Replaced => *self = MisroutedTracker::default(),
        }
        self.observe_role(snapshot.replication.role, round.now);
        if reply.commands_read {
            self.count_commands(snapshot, round.now);
        }
        self.count_refusals(counters, snapshot.replication.role == Some(Role::Replica), round);
        if let Some(clients) = &reply.clients {
            self.last_list = Some(round.now);
            self.observe_clients(clients, round);
        }
        let connected = snapshot.fields.count("connected_clients");
        self.too_many_clients = connected.filter(|clients| *clients > MAX_LISTED_CLIENTS);
        let rises = self
            .period
            .as_ref()
            .is_some_and(|period| round.since(period.last_rise) <= round.interval * 2);
        let is_due = self.last_list.is_none_or(|last| round.since(last) >= CLIENT_LIST_CADENCE);
        self.needs_list = rises && is_due && connected.is_some() && self.too_many_clients.is_none();
    }

    /// Returns the clients that write to the node; `None` if refusals have not risen for
    /// [`MISROUTED_UNTIL`].
    pub(crate) fn view(&mut self, round: &MisrouteContext) -> Option<MisroutedView> {
        let is_current = |period: &RefusalPeriod| round.since(period.last_rise) <= MISROUTED_UNTIL;
        self.period = self.period.take().filter(is_current);
        let period = self.period.as_ref()?;
        let is_recent = |at: Monotonic| round.since(at) <= CLIENTS_RECONNECT_WITHIN;
        Some(MisroutedView {
            why: self.reason(period, round),
            first_refusal: period.began,
            last_refusal: period.last_rise,
            per_second: period.per_second(),
            commands: period.most_refused(),
            demoted: self.demotion.map(|demotion| round.since(demotion.seen)),
            writers: period.writers.clone(),
            stale_clients: period.stale.clone(),
            too_many_clients: self.too_many_clients,
            unexplained: !round.last_change.is_some_and(is_recent)
                && !self.demotion.is_some_and(|demotion| is_recent(demotion.seen)),
        })
    }

    /// Returns true if CLIENT LIST should be read in the next round.
    pub(crate) fn needs_client_list(&self) -> bool {
        self.needs_list && self.period.is_some()
    }

    /// A new process counts from zero and has other clients.
    fn restart(&mut self) {
        self.commands = Some(Arc::default());
        if let Some(period) = &mut self.period {
            (period.writers, period.stale) = (None, None);
            period.writer_ids.clear();
        }
    }

    fn observe_role(&mut self, role: Option<Role>, now: Monotonic) {
        match role {
            Some(Role::Master) => {
                (self.last_master, self.demotion, self.period) = (Some(now), None, None);
            }
            Some(Role::Replica) => {
                let demotion = self.last_master.take().map(|after| Demotion { after, seen: now });
                self.demotion = demotion.or(self.demotion);
            }
            _ => {}
        }
    }

    fn count_commands(&mut self, snapshot: &NodeSnapshot, now: Monotonic) {
        let Some(stats) = &snapshot.commands else { return };
        let mut by_command = BTreeMap::new();
        // Most polls do not read the statistics again.
        if let Some(previous) = self.commands.replace(Arc::clone(stats))
            && !Arc::ptr_eq(&previous, stats)
        {
            for command in stats.iter() {
                let refused = write_refusals::refused(command);
                if refused == 0 {
                    continue;
                }
                let before = previous.get(command.name).map_or(0, write_refusals::refused);
                let grown = increase(before, refused);
                if grown > 0 {
                    by_command.insert(Box::from(command.name), grown);
                }
            }
        }
        let writes = by_command.iter().filter(|(name, _)| write_refusals::is_write(name));
        let grown = saturating_sum(writes.map(|(_, grown)| *grown));
        self.rejected = self.rejected.saturating_add(grown);
        if let Some(period) = &mut self.period {
            period.add_commands(&by_command);
        }
        self.last_refused = RefusedCommands { at: now, by_command };
    }

    fn count_refusals(&mut self, counters: &Counters, is_replica: bool, round: &MisrouteContext) {
        let table = counters.errors_with(&["READONLY"]);
        let count = RefusalCount {
            by_table: table.is_some(),
            total: table.unwrap_or(self.rejected),
            at: round.now,
        };
        let previous =
            self.count.replace(count).filter(|previous| previous.by_table == count.by_table);
        let Some(previous) = previous.filter(|_| is_replica) else { return };
        let grown = count.total.saturating_sub(previous.total);
        if grown > 0 && self.period.is_none() {
            let mut period = RefusalPeriod::begin(previous, round.now);
            if round.since(self.last_refused.at) <= round.interval * 2 {
                period.add_commands(&self.last_refused.by_command);
            }
            self.period = Some(period);
        }
        if let Some(period) = &mut self.period {
            period.add_count(grown, count);
        }
    }

    /// Finds the clients that write, and those that connected before the node was demoted.
    fn observe_clients(&mut self, clients: &[Client], round: &MisrouteContext) {
        let Some(period) = &mut self.period else { return };
        let normal = || clients.iter().filter(|client| client.kind == ClientKind::Normal);
        // The last command of the client was sent since the refusals began: it was refused.
        let idle_limit = round.since(period.began) + round.interval + SECOND;
        let since_demotion = |client: &Client| {
            self.demotion.is_none_or(|demotion| client.idle < round.since(demotion.after))
        };
        let wrote = |client: &Client| {
            period.commands.contains_key(&client.command)
                && client.idle <= idle_limit
                && since_demotion(client)
        };
        let writers: Vec<_> = normal()
            .filter(|client| period.writer_ids.contains(&client.id) || wrote(client))
            .collect();
        let commands_known = !period.commands.is_empty();
        period.writer_ids = writers.iter().map(|client| client.id).collect();
        period.writers = commands_known.then(|| Arc::new(summarize(writers)));
        period.stale = self.demotion.map(|demotion| {
            let is_older = |client: &&Client| {
                client.age > round.since(demotion.after) + SECOND && !is_monitoring(client)
            };
            Arc::new(summarize(normal().filter(is_older).collect()))
        });
    }

    fn reason(&self, period: &RefusalPeriod, round: &MisrouteContext) -> MisrouteReason {
        let demoted_recently =
            self.demotion.is_some_and(|demotion| round.since(demotion.seen) <= DEMOTED_RECENTLY);
        let has_stale_clients = period.stale.as_ref().is_some_and(|stale| stale.total > 0);
        let began_with_change = round
            .last_change
            .is_some_and(|change| period.began.abs_diff(change) <= CLIENTS_RECONNECT_WITHIN);
        if demoted_recently || has_stale_clients {
            MisrouteReason::Demotion
        } else if began_with_change && period.decays(round) {
            MisrouteReason::StaleTopology
        } else if round.masters == 1 {
            MisrouteReason::WrongEndpoint
        } else {
            MisrouteReason::Unknown
        }
    }
}

impl RefusalPeriod {
    fn begin(previous: RefusalCount, now: Monotonic) -> Self {
        RefusalPeriod {
            began: now,
            last_rise: now,
            in_first_minute: 0,
            recent: VecDeque::from([previous]),
            commands: BTreeMap::new(),
            writer_ids: BTreeSet::new(),
            writers: None,
            stale: None,
        }
    }

    fn add_count(&mut self, grown: u64, count: RefusalCount) {
        if grown > 0 {
            self.last_rise = count.at;
        }
        if count.at.since(self.began) < MISROUTED_AFTER {
            self.in_first_minute = self.in_first_minute.saturating_add(grown);
        }
        self.recent.push_back(count);
        let is_old = |other: &RefusalCount| count.at.since(other.at) > MISROUTED_AFTER;
        while self.recent.len() > MAX_COUNTS
            || (self.recent.len() > 2 && self.recent.front().is_some_and(is_old))
        {
            self.recent.pop_front();
        }
    }

    fn add_commands(&mut self, commands: &BTreeMap<Box<str>, u64>) {
        for (name, refused) in commands {
            let total = self.commands.entry(name.clone()).or_default();
            *total = total.saturating_add(*refused);
        }
    }

    /// Returns true if the recent refusals are less than half of those in the first minute, or if
    /// the period is too short to compare.
    fn decays(&self, round: &MisrouteContext) -> bool {
        let recent = self.recent_growth().map_or(0, |growth| growth.refusals);
        round.since(self.began) < MISROUTED_AFTER * 2 || recent < self.in_first_minute.div_ceil(2)
    }

    fn recent_growth(&self) -> Option<Growth> {
        let (first, last) = (self.recent.front()?, self.recent.back()?);
        Some(Growth {
            time: last.at.since(first.at),
            refusals: last.total.saturating_sub(first.total),
        })
    }

    fn per_second(&self) -> f64 {
        let growth = self.recent_growth().filter(|growth| !growth.time.is_zero());
        growth.map_or(0.0, |growth| growth.refusals as f64 / growth.time.as_secs_f64())
    }

    fn most_refused(&self) -> Vec<Box<str>> {
        let mut commands: Vec<_> = self.commands.iter().collect();
        commands.sort_by_key(|(_, refused)| Reverse(**refused));
        commands.into_iter().take(MAX_COMMANDS).map(|(name, _)| name.clone()).collect()
    }
}

impl MisrouteContext {
    fn since(&self, at: Monotonic) -> Duration {
        self.now.since(at)
    }
}

fn summarize(mut clients: Vec<&Client>) -> MisroutedClients {
    let mut versions: BTreeMap<String, usize> = BTreeMap::new();
    for client in &clients {
        let (name, version) = library(client);
        *versions.entry(format!("{name} {version}").trim_end().to_owned()).or_default() += 1;
    }
    let mut versions: Vec<_> = versions.into_iter().collect();
    versions.sort_by_key(|(_, count)| Reverse(*count));
    let libraries = count_libraries(&clients);
    clients.sort_by_key(|client| (Reverse(commands_per_second(client)), client.idle, client.id));
    MisroutedClients {
        total: clients.len(),
        libraries,
        versions: versions.into_iter().take(MAX_LIBRARIES).map(|(name, _)| name.into()).collect(),
        busiest: clients.into_iter().take(MAX_CLIENTS).map(display_name).collect(),
    }
}

fn count_libraries(clients: &[&Client]) -> Vec<(Box<str>, usize)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for client in clients {
        *counts.entry(library(client).0).or_default() += 1;
    }
    let mut libraries: Vec<_> =
        counts.into_iter().map(|(name, count)| (Box::from(name), count)).collect();
    libraries.sort_by_key(|(_, count)| Reverse(*count));
    let others = libraries.split_off(libraries.len().min(MAX_LIBRARIES));
    if !others.is_empty() {
        let more = others.iter().map(|(_, count)| count).sum();
        // A library may call itself "other".
        let is_other = |(name, _): &&mut (Box<str>, usize)| **name == *"other";
        match libraries.iter_mut().find(is_other) {
            Some((_, count)) => *count += more,
            None => libraries.push(("other".into(), more)),
        }
    }
    libraries
}

/// Returns the name and the version of the library of a client.
fn library(client: &Client) -> (&str, &str) {
    client.library.as_ref().map_or(("unknown", ""), |(name, version)| (name, version))
}

/// Returns the commands per second of a client, if the server counts them.
fn commands_per_second(client: &Client) -> u64 {
    client.commands.unwrap_or_default() / client.age.as_secs().max(1)
}

fn display_name(client: &Client) -> Box<str> {
    match &*client.name {
        "" => client.address.clone(),
        name => format!("{name} {}", client.address).into(),
    }
}

/// Returns true if the client only monitors the server: a Sentinel, or a client whose last command
/// is one that exporters send, including Rolecall.
fn is_monitoring(client: &Client) -> bool {
    client.is_sentinel() || snapshot::is_polling_command(&client.command)
}
