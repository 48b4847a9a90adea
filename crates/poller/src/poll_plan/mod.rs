//! What to read from one node, and when: the cadences, and what was learned of its capabilities.
//!
//! INFO comes first in every batch, so that what our own later commands add to the error counters shows in the next INFO, not in this.

mod data_node;
mod sentinel;
mod source;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use self::sentinel::SentinelPlan;
pub(crate) use self::sentinel::WatchedMasters;
use crate::poll_plan::data_node::Process;
use crate::poll_plan::source::Access;
use client::{Command, Failure};
use config::Cadences;
use snapshot::CONFIG_PARAMETERS;
use snapshot::{
    Client, ClusterMap, CommandLatency, CommandStats, Config, Fields, NodeSnapshot, Reason, Reply,
    Role, SentCommand, SlowLog,
};
use tokio::time::Instant;
use topology::OwnErrors;
use topology::limits::MAX_LISTED_CLIENTS;

/// One command to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PollCommand {
    Info,
    ClientId,
    Commands,
    Latencies,
    Cluster,
    Map,
    SlowLogLength,
    SlowLogLast,
    Config(&'static str),
    Clients,
    Masters,
    Replicas(Arc<str>),
    Sentinels(Arc<str>),
    Quorum(Arc<str>),
}

/// What was read from one node, and what is due.
pub(super) struct PollPlan {
    cadences: Cadences,
    /// What the configuration says of CONFIG, where the server does not.
    assumed: Option<Arc<Config>>,
    process: Process,
    role: Option<Role>,
    /// INFO answers, on this connection: only then is anything else asked.
    answers: bool,
    /// The map of the cluster is wanted.
    map: bool,
    /// A fact waits for the list of clients.
    clients_wanted: bool,
    /// Of a Sentinel that is asked for what it watches.
    watching: Option<SentinelPlan>,
}

/// What one INFO came to.
pub(super) struct ParsedReplies {
    pub(super) snapshot: NodeSnapshot,
    pub(super) own_errors: OwnErrors,
    pub(super) commands_read: bool,
    pub(super) clients: Option<Arc<[Client]>>,
    /// What was refused for the first time: the command, and the server's text.
    pub(super) refused: Vec<(&'static str, String)>,
}

impl PollPlan {
    pub(super) fn new(cadences: Cadences, assumed: &BTreeMap<String, String>) -> Self {
        let assumed = (!assumed.is_empty()).then(|| Arc::new(Config::assumed(assumed)));
        let process = Process::new(None, &cadences);
        PollPlan {
            process,
            cadences,
            assumed,
            role: None,
            answers: false,
            map: false,
            clients_wanted: false,
            watching: None,
        }
    }

    /// What to read now.
    pub(super) fn due(&self, now: Instant) -> Vec<PollCommand> {
        let mut readings = vec![PollCommand::Info];
        // What else a server may be asked depends on what it is; a Sentinel knows none of the others.
        if let Some(watching) =
            self.watching.as_ref().filter(|_| self.answers && self.role == Some(Role::Sentinel))
        {
            readings.extend(watching.due(now));
        }
        if !self.answers || self.role.is_none_or(|role| role == Role::Sentinel) {
            return readings;
        }
        let process = &self.process;
        let mut add =
            |due: bool, more: &[PollCommand]| readings.extend(more.iter().filter(|_| due).cloned());
        add(process.client_id.is_due(now), &[PollCommand::ClientId]);
        add(process.commands.is_due(now), &[PollCommand::Commands]);
        add(process.cluster.is_due(now) && process.in_cluster, &[PollCommand::Cluster]);
        add(
            self.map && process.map.access != Access::Refused && process.in_cluster,
            &[PollCommand::Map],
        );
        add(process.slowlog.is_due(now), &[PollCommand::SlowLogLength]);
        add(
            process.slowlog.is_due(now) && process.slowlog.access == Access::Granted,
            &[PollCommand::SlowLogLast],
        );
        add(
            process.latencies.is_due(now) && self.cadences.latencystats.is_some(),
            &[PollCommand::Latencies],
        );
        if process.config.is_due(now) {
            let parameters = if process.config.access == Access::Granted {
                &CONFIG_PARAMETERS[..]
            } else {
                &CONFIG_PARAMETERS[..1]
            };
            readings.extend(parameters.iter().map(|parameter| PollCommand::Config(parameter)));
        }
        readings
    }

    /// What a Sentinel watches is wanted, of these masters in full.
    pub(super) fn want_masters(&mut self, interest: &WatchedMasters, urgent: &[Arc<str>]) {
        self.watching.get_or_insert_with(SentinelPlan::new).want(interest, urgent);
    }

    /// The map of the cluster is wanted, or not any more.
    pub(super) fn want_map(&mut self, wanted: bool) {
        self.map = wanted;
    }

    /// The statistics by command are wanted at once.
    pub(super) fn want_commands(&mut self) {
        self.process.commands.due = None;
    }

    /// The list of clients is wanted with the next answer, or not.
    pub(super) fn want_clients(&mut self, wanted: bool) {
        self.clients_wanted = wanted;
    }

    /// Takes up the replies to a batch that [`PollPlan::due`] asked for.
    ///
    /// # Errors
    /// INFO was refused, or its reply is none.
    pub(super) fn take(
        &mut self,
        readings: &[PollCommand],
        replies: &[Reply],
        now: Instant,
    ) -> Result<ParsedReplies, Failure> {
        let info =
            replies.first().ok_or_else(|| Failure::new(Reason::Protocol, "no reply to INFO"))?;
        let before = std::mem::replace(&mut self.answers, false);
        if let Some(error) = info.error() {
            self.process.note_errors(replies);
            if !before && matches!(error.reason(), Some(Reason::Auth | Reason::Noperm)) {
                // CLIENT ID and INFO, while connecting, were refused too.
                self.process.note(&error.code, 2);
            }
            return Err(Failure::refusal(error));
        }
        let snapshot = info.text().and_then(NodeSnapshot::from_info);
        let snapshot =
            snapshot.ok_or_else(|| Failure::new(Reason::Protocol, "the reply to INFO is none"))?;
        self.answers = true;
        self.meet(&snapshot);
        if let Some(watching) = &self.watching {
            if self.role != Some(Role::Sentinel) {
                return Err(Failure::new(Reason::Unsupported, "this is no Sentinel"));
            }
            if watching.refused() {
                return Err(Failure::new(Reason::Noperm, "SENTINEL MASTERS was refused"));
            }
        }
        let own_errors = std::mem::take(&mut self.process.own_errors);
        let mut taken = ParsedReplies {
            snapshot,
            own_errors,
            commands_read: false,
            clients: None,
            refused: Vec::new(),
        };
        self.take_others(&readings[1..], &replies[1..], &mut taken, now);
        self.process.error_replies = taken.snapshot.fields.count("total_error_replies");
        Ok(taken)
    }

    /// There is a new connection. Where CLIENT ID is refused, opening it left an error.
    pub(super) fn connected(&mut self) {
        self.answers = false;
        if let Some(watching) = &mut self.watching {
            watching.connected();
        }
        if self.process.client_id.access == Access::Refused {
            self.process.note("NOPERM", 1);
        }
    }

    /// An attempt to connect failed. Where the server refused the password, that left an error.
    pub(super) fn turned_away(&mut self, failure: &Failure) {
        if failure.reason == Reason::Auth {
            let code = failure.detail.split(' ').next().unwrap_or_default();
            self.process.note(code, 1);
        }
    }

    /// What is worth reading at once, and was not in the batch before: the statistics by command, when the process or its role changed; the
    /// list of clients, when it is wanted and INFO says that it is short; and what a Sentinel watches, when it was connected just now.
    pub(super) fn overdue(&self, taken: &ParsedReplies, now: Instant) -> Vec<PollCommand> {
        if self.role == Some(Role::Sentinel) {
            let of = |watching: &SentinelPlan| match taken.snapshot.sentinel {
                None if !watching.refused() => vec![PollCommand::Masters],
                _ => watching.details_due(now).collect(),
            };
            return self.watching.as_ref().map(of).unwrap_or_default();
        }
        let never_read =
            self.process.commands.due.is_none() && self.process.commands.access != Access::Refused;
        let connected = taken.snapshot.fields.count("connected_clients");
        let few = connected.is_some_and(|connected| connected <= MAX_LISTED_CLIENTS);
        let due = [
            (never_read && !taken.commands_read, PollCommand::Commands),
            (self.clients_wanted && few && self.process.clients.is_due(now), PollCommand::Clients),
        ];
        due.into_iter().filter(|(due, _)| *due).map(|(_, reading)| reading).collect()
    }

    /// Takes up the replies to a batch without INFO.
    pub(super) fn take_others(
        &mut self,
        readings: &[PollCommand],
        replies: &[Reply],
        taken: &mut ParsedReplies,
        now: Instant,
    ) {
        let process = &mut self.process;
        process.note_errors(replies);
        let reply = |wanted: PollCommand| {
            Some(&replies[readings.iter().position(|reading| *reading == wanted)?])
        };
        let mut refused = |refusal: Option<_>| taken.refused.extend(refusal);
        if let Some(reply) = reply(PollCommand::ClientId) {
            refused(process.client_id.meet(reply, now));
        }
        if let Some(reply) = reply(PollCommand::Commands) {
            let before = process.commands.last.take();
            refused(process.commands.meet(reply, now));
            process.commands.last = reply.text().map(|text| Arc::new(CommandStats::parse(text)));
            taken.commands_read = process.commands.last.is_some();
            let moved = matches!((&before, &process.commands.last), (Some(before), Some(now)) if topology::topology_changed(before, now));
            process.commands.due = process.commands.due.filter(|_| !moved).or(Some(now));
        }
        if let Some(reply) = reply(PollCommand::Latencies) {
            refused(process.latencies.meet(reply, now));
            process.latencies.last = reply.text().map(|text| Arc::new(CommandLatency::parse(text)));
        }
        if let Some(reply) = reply(PollCommand::Cluster) {
            refused(process.cluster.meet(reply, now));
            process.cluster.last = reply.text().map(|text| Arc::new(Fields::parse(text)));
        }
        if let Some(reply) = reply(PollCommand::Map) {
            refused(process.map.meet(reply, now));
            // It is as large as the cluster, so it is handed on and not kept.
            taken.snapshot.map = reply.text().map(|text| Arc::new(ClusterMap::parse(text)));
        }
        if let Some(length) = reply(PollCommand::SlowLogLength) {
            let last = reply(PollCommand::SlowLogLast);
            refused(
                process
                    .slowlog
                    .meet(last.filter(|_| length.error().is_none()).unwrap_or(length), now),
            );
            let is_read = process.slowlog.access == Access::Granted;
            process.slowlog.last =
                last.filter(|_| is_read).map(|last| SlowLog::parse(length, last));
        }
        let is_config =
            |(reading, _): &(&PollCommand, &Reply)| matches!(reading, PollCommand::Config(_));
        let parameters: Vec<_> =
            readings.iter().zip(replies).filter(is_config).map(|(_, reply)| reply).collect();
        if let Some(first) = parameters.first() {
            refused(process.config.meet(first, now));
            process.config.last = first.error().is_none().then(|| Arc::new(config(&parameters)));
        }
        if let Some(reply) = reply(PollCommand::Clients) {
            refused(process.clients.meet(reply, now));
            taken.clients = reply.text().map(|text| Client::parse_list(text).into());
        }
        process.show(&mut taken.snapshot);
        if let Some(watching) = &mut self.watching {
            taken.refused.extend(watching.take(readings, replies, now));
            taken.snapshot.sentinel = watching.report();
        }
        if process.config.access == Access::Refused {
            taken.snapshot.config.clone_from(&self.assumed);
        }
    }

    /// A new process may grant what the old one refused, and counts from zero; a new role or new errors ask for the reason.
    fn meet(&mut self, snapshot: &NodeSnapshot) {
        if self.process.run_id != snapshot.identity.run_id {
            let refused_id = self.process.client_id.access == Access::Refused;
            self.process = Process::new(snapshot.identity.run_id.clone(), &self.cadences);
            if let Some(watching) = &mut self.watching {
                watching.restarted();
            }
            if refused_id {
                // The connection to the new process began with CLIENT ID, and what the old one refused the new one will have refused.
                self.process.note("NOPERM", 1);
            }
        }
        let process = &mut self.process;
        let errors = snapshot.fields.count("total_error_replies");
        let errors_moved = process.error_replies.is_some() && process.error_replies != errors;
        if errors_moved || self.role != snapshot.replication.role {
            process.commands.due = None;
        }
        self.role = snapshot.replication.role;
        process.in_cluster = snapshot.fields.flag("cluster_enabled") == Some(true)
            && snapshot.persistence.loading != Some(true);
        if !process.in_cluster {
            process.cluster.last = None;
        }
    }
}

fn config(replies: &[&Reply]) -> Config {
    let mut config = Config::default();
    for reply in replies {
        config.add(reply);
    }
    config
}

impl PollCommand {
    /// Returns the row of the table of sent commands.
    fn row(&self) -> &'static SentCommand {
        match self {
            PollCommand::Info => &snapshot::INFO,
            PollCommand::ClientId => &snapshot::CLIENT_ID,
            PollCommand::Commands => &snapshot::INFO_COMMANDSTATS,
            PollCommand::Latencies => &snapshot::INFO_LATENCYSTATS,
            PollCommand::Cluster => &snapshot::CLUSTER_INFO,
            PollCommand::Map => &snapshot::CLUSTER_NODES,
            PollCommand::SlowLogLength => &snapshot::SLOWLOG_LEN,
            PollCommand::SlowLogLast => &snapshot::SLOWLOG_GET,
            PollCommand::Config(_) => &snapshot::CONFIG_GET,
            PollCommand::Clients => &snapshot::CLIENT_LIST,
            PollCommand::Masters => &snapshot::SENTINEL_MASTERS,
            PollCommand::Replicas(_) => &snapshot::SENTINEL_REPLICAS,
            PollCommand::Sentinels(_) => &snapshot::SENTINEL_SENTINELS,
            PollCommand::Quorum(_) => &snapshot::SENTINEL_CKQUORUM,
        }
    }

    /// Returns the argument that follows the fixed ones.
    fn operand(&self) -> Option<Cow<'static, str>> {
        match self {
            PollCommand::Config(parameter) => Some(Cow::Borrowed(parameter)),
            PollCommand::Replicas(master)
            | PollCommand::Sentinels(master)
            | PollCommand::Quorum(master) => Some(Cow::Owned(master.to_string())),
            _ => None,
        }
    }

    /// Returns the command to send.
    pub(super) fn command(&self) -> Command {
        Command::new(self.row(), self.operand())
    }
}
