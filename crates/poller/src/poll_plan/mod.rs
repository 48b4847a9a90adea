//! Commands to read from one node, their schedule, and the permissions of this exporter.
//!
//! INFO is the first command of every poll. Errors that the later commands cause therefore show up
//! in the error counters of the next INFO, not in those of this one.

mod address;
mod command;
mod process_state;
mod replies;
mod sentinel;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use client::{Failure, PasswordVersion};
use config::Cadences;
use snapshot::{
    CommandNames, Config, ExpectedLayout, Layouts, NodeSnapshot, OptionalCommand, Pool, Reason,
    Reply, Role, ServerError,
};
use tokio::time::Instant;
use topology::OwnErrors;
use topology::limits::{MAX_LISTED_CLIENTS, servers_seen_within};

use self::address::{AddressHistory, ObservedServer};
use self::process_state::AddressState;
use self::replies::Batch;
use self::sentinel::SentinelPlan;

pub(crate) use self::command::PollCommand;
pub(crate) use self::replies::ParsedReplies;
pub(crate) use self::sentinel::MasterNames;

/// Data that the replies of many nodes have in common, stored once.
#[derive(Debug, Default)]
pub(crate) struct CommonData {
    /// Layouts of INFO and CLUSTER INFO.
    layouts: Layouts,
    command_names: CommandNames,
    configs: Pool<Config>,
}

/// Schedule and last data of one node.
pub(crate) struct PollPlan {
    cadences: Cadences,
    /// Commands that are never sent.
    skipped: BTreeSet<OptionalCommand>,
    /// CONFIG parameters to use if CONFIG GET is not sent or the server refuses it.
    assumed_config: Option<Arc<Config>>,
    process: AddressState,
    history: AddressHistory,
    role: Option<Role>,
    info_layout: ExpectedLayout,
    /// True after a successful INFO on this connection. Before that, only INFO is sent.
    info_succeeded: bool,
    cluster_map_requested: bool,
    client_list_requested: bool,
    /// Plan for the masters of a Sentinel; `None` for a data node.
    sentinel: Option<SentinelPlan>,
}

impl PollPlan {
    pub(crate) fn new(
        cadences: Cadences,
        interval: Duration,
        skipped: BTreeSet<OptionalCommand>,
        assumed_config: &BTreeMap<String, String>,
        common: &Arc<CommonData>,
    ) -> Self {
        let process = AddressState::new(&cadences, common);
        let assumed_config =
            (!assumed_config.is_empty()).then(|| Arc::new(Config::assumed(assumed_config)));
        PollPlan {
            process,
            history: AddressHistory::new(servers_seen_within(interval)),
            cadences,
            skipped,
            assumed_config,
            role: None,
            info_layout: ExpectedLayout::new(&common.layouts),
            info_succeeded: false,
            cluster_map_requested: false,
            client_list_requested: false,
            sentinel: None,
        }
    }

    /// Requests the details of these masters from a Sentinel. The next poll reads the urgent ones.
    pub(crate) fn request_masters(&mut self, masters: &MasterNames, urgent: &[Arc<str>]) {
        self.sentinel.get_or_insert_with(SentinelPlan::new).request(masters, urgent);
    }

    /// Enables or disables reading the cluster map with the next poll.
    pub(crate) fn set_cluster_map_requested(&mut self, requested: bool) {
        self.cluster_map_requested = requested;
    }

    /// Requests the command statistics with the next poll, regardless of their cadence.
    pub(crate) fn request_command_stats(&mut self) {
        self.process.command_stats.next_at = None;
    }

    /// Enables or disables reading the client list with the next poll.
    pub(crate) fn set_client_list_requested(&mut self, requested: bool) {
        self.client_list_requested = requested;
    }

    /// Records a new connection to this address, for which this password was read. `refusal` is the
    /// error that opening it caused.
    pub(crate) fn connected(
        &mut self,
        peer: Option<SocketAddr>,
        password: Option<PasswordVersion>,
        refusal: Option<&ServerError>,
    ) {
        self.info_succeeded = false;
        if let Some(sentinel) = &mut self.sentinel {
            sentinel.connected();
        }
        if let Some(refusal) = refusal {
            self.process.count_error(&refusal.code, 1);
        }
        if self.history.observe_connection(peer, password) {
            self.allow_again();
        }
    }

    /// Records the end of a connection.
    pub(crate) fn disconnected(&mut self) {
        self.process.disconnected();
    }

    /// Tries all commands again, also those that the server refused.
    fn allow_again(&mut self) {
        self.process.allow_again();
        if let Some(sentinel) = &mut self.sentinel {
            sentinel.reset();
        }
    }

    /// Records a failed connection attempt. If the server refused its first command, it counted
    /// that as an error.
    pub(crate) fn connection_failed(&mut self, failure: &Failure) {
        if let Some(error) = &failure.counted_error {
            self.process.count_error(&error.code, 1);
        }
    }

    /// Records attempts of other tasks to connect, which the server denied.
    pub(crate) fn attempts_denied(&mut self, errors: &OwnErrors) {
        for (code, count) in errors {
            self.process.count_error(code, *count);
        }
    }

    /// Returns the first batch of a poll: INFO and the commands that are due.
    pub(crate) fn first_batch(&self, now: Instant) -> Vec<PollCommand> {
        let mut commands = vec![PollCommand::Info];
        // Sentinels support none of the commands for a data node.
        if self.info_succeeded && self.role == Some(Role::Sentinel) {
            commands.extend(self.sentinel.iter().flat_map(|sentinel| sentinel.due(now)));
        } else if self.info_succeeded && !self.history.is_alternating() {
            // A node whose role is not known is no Sentinel: that would report its mode.
            self.add_due_commands(&mut commands, now);
        }
        commands.retain(|command| !self.is_skipped(command));
        commands
    }

    /// Returns true if the configuration leaves out the command.
    fn is_skipped(&self, command: &PollCommand) -> bool {
        command.optional().is_some_and(|command| self.skipped.contains(&command))
    }

    /// Adds the commands for a data node that are due.
    fn add_due_commands(&self, commands: &mut Vec<PollCommand>, now: Instant) {
        let process = &self.process;
        let mut add = |due: bool, command: PollCommand| commands.extend(due.then_some(command));
        add(process.command_stats.is_due(now), PollCommand::CommandStats);
        add(process.cluster_info.is_due(now) && process.in_cluster, PollCommand::ClusterInfo);
        let map_granted = !process.cluster_nodes.is_refused(now);
        add(
            self.cluster_map_requested && map_granted && process.in_cluster,
            PollCommand::ClusterNodes,
        );
        let slowlog_granted = process.slowlog.is_granted();
        add(process.slowlog.is_due(now), PollCommand::SlowLogLength);
        add(process.slowlog.is_due(now) && slowlog_granted, PollCommand::SlowLogEntry);
        add(
            process.latency_stats.is_due(now) && self.cadences.latencystats.is_some(),
            PollCommand::LatencyStats,
        );
        if process.config.is_due(now) {
            commands.extend(process.due_parameters(now).map(PollCommand::ConfigGet));
        }
    }

    /// Returns the next batch of a poll, from the replies to the previous batches; empty if there
    /// is nothing more to read.
    ///
    /// It contains the command statistics if the process or its role changed; the client list if it
    /// is requested and not too long; and the masters of a Sentinel after a new connection.
    pub(crate) fn follow_up_batch(&self, parsed: &ParsedReplies, now: Instant) -> Vec<PollCommand> {
        if self.role == Some(Role::Sentinel) {
            let batch = |sentinel: &SentinelPlan| match parsed.snapshot.sentinel {
                None if !sentinel.is_refused(now) => vec![PollCommand::SentinelMasters],
                _ => sentinel.due_later(now),
            };
            return self.sentinel.as_ref().map(batch).unwrap_or_default();
        }
        if self.history.is_alternating() {
            return Vec::new();
        }
        let process = &self.process;
        let stats_due = process.command_stats.next_at.is_none()
            && !process.command_stats.is_refused(now)
            && !parsed.commands_read;
        let connected = parsed.snapshot.fields.count("connected_clients");
        let few_clients = connected.is_some_and(|connected| connected <= MAX_LISTED_CLIENTS);
        let clients_due =
            self.client_list_requested && few_clients && process.client_list.is_due(now);
        let stats = stats_due.then_some(PollCommand::CommandStats);
        let clients = clients_due.then_some(PollCommand::ClientList);
        stats.into_iter().chain(clients).filter(|command| !self.is_skipped(command)).collect()
    }

    /// Records the time at which a batch is sent.
    pub(crate) fn record_sending(&mut self, now: Instant) {
        if let Some(sentinel) = &mut self.sentinel {
            sentinel.record_sending(now);
        }
    }

    /// Parses the replies to the batch that [`PollPlan::first_batch`] returned.
    ///
    /// # Errors
    /// Fails if the server refused INFO, if the reply to INFO is invalid, or if a Sentinel is
    /// expected and the server is not one or refuses SENTINEL MASTERS.
    pub(crate) fn parse_first_batch(
        &mut self,
        commands: &[PollCommand],
        replies: &[Reply<'_>],
        now: Instant,
    ) -> Result<ParsedReplies, Failure> {
        let info =
            replies.first().ok_or_else(|| Failure::new(Reason::Protocol, "no reply to INFO"))?;
        self.info_succeeded = false;
        if let Some(error) = info.error() {
            self.process.count_errors(replies);
            return Err(Failure::refusal(error));
        }
        let parse = |text| NodeSnapshot::from_expected_info(text, &mut self.info_layout);
        let snapshot = info.text().and_then(parse);
        let snapshot =
            snapshot.ok_or_else(|| Failure::new(Reason::Protocol, "invalid INFO reply"))?;
        self.info_succeeded = true;
        self.observe_info(&snapshot, now);
        if let Some(sentinel) = &mut self.sentinel {
            sentinel.begin_poll();
            if self.role != Some(Role::Sentinel) {
                return Err(Failure::new(Reason::Unsupported, "not a Sentinel"));
            }
            if sentinel.is_refused(now) {
                return Err(Failure::new(Reason::Noperm, "SENTINEL MASTERS was refused"));
            }
        }
        let own_errors = self.process.take_own_errors();
        let mut parsed = ParsedReplies {
            snapshot,
            own_errors,
            commands_read: false,
            clients: None,
            refused: Vec::new(),
        };
        self.parse_follow_up_batch(&commands[1..], &replies[1..], &mut parsed, now);
        self.process.error_replies = parsed.snapshot.fields.count("total_error_replies");
        Ok(parsed)
    }

    /// Parses the replies to a batch without INFO, and adds them to `parsed`.
    pub(crate) fn parse_follow_up_batch(
        &mut self,
        commands: &[PollCommand],
        replies: &[Reply<'_>],
        parsed: &mut ParsedReplies,
        now: Instant,
    ) {
        let batch = Batch { commands, replies };
        self.process.update(batch, parsed, now);
        if let Some(sentinel) = &mut self.sentinel {
            parsed.refused.extend(sentinel.update(batch, now));
            parsed.snapshot.sentinel = sentinel.report();
        }
        let is_skipped = self.skipped.contains(&OptionalCommand::ConfigGet);
        if is_skipped || self.process.config.refusal().is_some() {
            parsed.snapshot.config.clone_from(&self.assumed_config);
        }
    }

    /// Detects a new process, a new role and new errors in a reply to INFO.
    ///
    /// A new process may grant commands that the previous one refused, and its counters start at
    /// zero. A new role or new errors require the command statistics, to find the reason. Errors
    /// that commands of this exporter caused require nothing.
    fn observe_info(&mut self, snapshot: &NodeSnapshot, now: Instant) {
        let observed = self.history.observe_reply(&snapshot.identity, now);
        if observed != ObservedServer::Same {
            self.process.forget_data();
        }
        if observed == ObservedServer::Untried {
            self.allow_again();
        }
        let process = &mut self.process;
        let errors = snapshot.fields.count("total_error_replies");
        let own_errors = process.own_error_count();
        let has_new_errors = process
            .error_replies
            .zip(errors)
            .is_some_and(|(before, now)| now > before.saturating_add(own_errors) || now < before);
        if has_new_errors || self.role != snapshot.replication.role {
            process.command_stats.next_at = None;
        }
        self.role = snapshot.replication.role;
        process.in_cluster = snapshot.fields.flag("cluster_enabled") == Some(true)
            && snapshot.persistence.loading != Some(true);
        if !process.in_cluster {
            process.cluster_info.last = None;
        }
    }
}

#[cfg(test)]
mod tests;
