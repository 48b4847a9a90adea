//! Permissions of this exporter at one address, and the last data of each source.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use config::Cadences;
use snapshot::{
    CONFIG_PARAMETERS, Client, ClusterMap, CommandLatency, CommandStats, Config, ExpectedLayout,
    Fields, NodeSnapshot, Reply, SlowLog,
};
use tokio::time::Instant;
use topology::OwnErrors;
use topology::limits::CLIENT_LIST_CADENCE;

use super::CommonData;
use super::command::PollCommand;
use super::replies::{Batch, ParsedReplies};
use super::source::Source;
use crate::own_errors;

/// Cadence of commands that are sent only on request.
const ON_REQUEST: Duration = Duration::from_secs(u32::MAX as u64);

/// State of one address. The permissions outlive the server process, the data do not.
pub(super) struct AddressState {
    common: Arc<CommonData>,
    /// True for a cluster node that is not loading. Only then does it answer CLUSTER INFO.
    pub(super) in_cluster: bool,
    /// The `total_error_replies` field of the last INFO.
    pub(super) error_replies: Option<u64>,
    pub(super) command_stats: Source<Arc<CommandStats>>,
    pub(super) latency_stats: Source<Arc<Vec<CommandLatency>>>,
    pub(super) cluster_info: Source<Arc<Fields>>,
    cluster_info_layout: ExpectedLayout,
    pub(super) cluster_nodes: Source<()>,
    pub(super) slowlog: Source<SlowLog>,
    pub(super) config: Source<Arc<Config>>,
    /// CONFIG parameters whose last reply was an error.
    parameters: BTreeMap<&'static str, Source<()>>,
    pub(super) client_list: Source<()>,
    /// Errors that this exporter caused since the last INFO: on the present connection, in attempts
    /// to open it, and in attempts of other tasks.
    own_errors: OwnErrors,
    /// Errors that commands on earlier connections caused since the last INFO. Another process did
    /// not count them.
    earlier_errors: OwnErrors,
}

impl AddressState {
    pub(super) fn new(cadences: &Cadences, common: &Arc<CommonData>) -> Self {
        let latency_cadence = cadences.latencystats.unwrap_or_default();
        AddressState {
            common: Arc::clone(common),
            in_cluster: false,
            error_replies: None,
            command_stats: Source::new("INFO commandstats", cadences.commands),
            latency_stats: Source::new("INFO latencystats", latency_cadence),
            cluster_info: Source::new("CLUSTER INFO", Duration::ZERO),
            cluster_info_layout: ExpectedLayout::new(&common.layouts),
            cluster_nodes: Source::new("CLUSTER NODES", ON_REQUEST),
            slowlog: Source::of_multiple_commands("SLOWLOG", cadences.slowlog),
            config: Source::of_multiple_commands("CONFIG GET", cadences.config),
            parameters: BTreeMap::new(),
            client_list: Source::new("CLIENT LIST", CLIENT_LIST_CADENCE),
            own_errors: OwnErrors::new(),
            earlier_errors: OwnErrors::new(),
        }
    }

    /// Forgets the data of the previous process. The counters of the new one start at zero, and the
    /// command statistics are read at once.
    pub(super) fn forget_data(&mut self) {
        self.in_cluster = false;
        self.error_replies = None;
        self.command_stats.last = None;
        self.command_stats.next_at = None;
        self.latency_stats.last = None;
        self.cluster_info.last = None;
        self.slowlog.last = None;
        self.config.last = None;
        self.earlier_errors.clear();
    }

    /// Tries all commands again, also those that the server refused.
    pub(super) fn allow_again(&mut self) {
        self.command_stats.allow_again();
        self.latency_stats.allow_again();
        self.cluster_info.allow_again();
        self.cluster_nodes.allow_again();
        self.slowlog.allow_again();
        self.config.allow_again();
        self.parameters.clear();
        self.client_list.allow_again();
    }

    /// Returns the CONFIG parameters to read: only the first one until the server has granted it,
    /// and none that it refuses.
    pub(super) fn due_parameters(&self, now: Instant) -> impl Iterator<Item = &'static str> {
        let read =
            if self.config.is_granted() { &CONFIG_PARAMETERS[..] } else { &CONFIG_PARAMETERS[..1] };
        let is_granted = move |parameter: &&'static str| {
            self.parameters.get(parameter).is_none_or(|source| !source.is_refused(now))
        };
        read.iter().copied().filter(is_granted)
    }

    /// Updates the sources from a batch, and adds their last data to `parsed`.
    pub(super) fn update(&mut self, batch: Batch<'_>, parsed: &mut ParsedReplies, now: Instant) {
        self.count_errors(batch.replies);
        self.update_stats(batch, parsed, now);
        self.update_cluster(batch, parsed, now);
        self.update_slowlog(batch, parsed, now);
        self.update_config(batch, parsed, now);
        if let Some(reply) = batch.reply(&PollCommand::ClientList) {
            parsed.refused.extend(self.client_list.update(reply, now));
            parsed.clients = reply.text().map(|text| Client::parse_list(text).into());
        }
        let snapshot: &mut NodeSnapshot = &mut parsed.snapshot;
        snapshot.commands.clone_from(&self.command_stats.last);
        snapshot.latencies.clone_from(&self.latency_stats.last);
        snapshot.cluster.clone_from(&self.cluster_info.last);
        snapshot.slowlog = self.slowlog.last;
        snapshot.config.clone_from(&self.config.last);
    }

    fn update_stats(&mut self, batch: Batch<'_>, parsed: &mut ParsedReplies, now: Instant) {
        if let Some(reply) = batch.reply(&PollCommand::CommandStats) {
            let stats = &mut self.command_stats;
            let before = stats.last.take();
            parsed.refused.extend(stats.update(reply, now));
            let parse = |text| CommandStats::parse_shared(text, &self.common.command_names);
            stats.last = reply.text().map(|text| Arc::new(parse(text)));
            parsed.commands_read = stats.last.is_some();
            // After a topology command, read them again with the next poll.
            if let (Some(before), Some(after)) = (&before, &stats.last)
                && topology::topology_changed(before, after)
            {
                stats.next_at = Some(now);
            }
        }
        if let Some(reply) = batch.reply(&PollCommand::LatencyStats) {
            parsed.refused.extend(self.latency_stats.update(reply, now));
            self.latency_stats.last =
                reply.text().map(|text| Arc::new(CommandLatency::parse(text)));
        }
    }

    fn update_cluster(&mut self, batch: Batch<'_>, parsed: &mut ParsedReplies, now: Instant) {
        if let Some(reply) = batch.reply(&PollCommand::ClusterInfo) {
            parsed.refused.extend(self.cluster_info.update(reply, now));
            let parse = |text| Arc::new(self.cluster_info_layout.parse(text));
            self.cluster_info.last = reply.text().map(parse);
        }
        if let Some(reply) = batch.reply(&PollCommand::ClusterNodes) {
            parsed.refused.extend(self.cluster_nodes.update(reply, now));
            // Its size grows with the cluster, so it is not kept.
            parsed.snapshot.map = reply.text().map(|text| Arc::new(ClusterMap::parse(text)));
        }
    }

    fn update_slowlog(&mut self, batch: Batch<'_>, parsed: &mut ParsedReplies, now: Instant) {
        let Some(length) = batch.reply(&PollCommand::SlowLogLength) else { return };
        let entry = batch.reply(&PollCommand::SlowLogEntry);
        let decisive = entry.filter(|_| length.error().is_none()).unwrap_or(length);
        parsed.refused.extend(self.slowlog.update(decisive, now));
        let is_granted = self.slowlog.is_granted();
        self.slowlog.last = entry.filter(|_| is_granted).map(|entry| SlowLog::parse(length, entry));
    }

    fn update_config(&mut self, batch: Batch<'_>, parsed: &mut ParsedReplies, now: Instant) {
        let replies = batch.config_replies();
        let Some(((_, first), others)) = replies.split_first() else { return };
        parsed.refused.extend(self.config.update(first, now));
        let parse = || self.common.configs.share(parse_config(&replies));
        self.config.last = first.error().is_none().then(parse);
        for (parameter, reply) in others {
            if reply.error().is_none() {
                self.parameters.remove(parameter);
                continue;
            }
            let source = Source::new("CONFIG GET", Duration::ZERO);
            let source = self.parameters.entry(parameter).or_insert(source);
            parsed.refused.extend(source.update(reply, now));
        }
    }

    /// Counts the error replies to commands of this exporter.
    pub(super) fn count_errors(&mut self, replies: &[Reply<'_>]) {
        for error in replies.iter().filter_map(Reply::error) {
            self.count_error(&error.code, 1);
        }
    }

    /// Counts errors that this exporter caused.
    pub(super) fn count_error(&mut self, code: &str, count: u64) {
        own_errors::add(&mut self.own_errors, code, count);
    }

    /// Records the end of a connection. The process at its other end may have ended, too.
    pub(super) fn disconnected(&mut self) {
        for (code, count) in std::mem::take(&mut self.own_errors) {
            own_errors::add(&mut self.earlier_errors, &code, count);
        }
    }

    /// Returns the number of errors that this exporter caused since the last INFO.
    pub(super) fn own_error_count(&self) -> u64 {
        let counts = self.own_errors.values().chain(self.earlier_errors.values());
        counts.copied().fold(0, u64::saturating_add)
    }

    /// Removes the errors that this exporter caused since the last INFO, and returns them.
    pub(super) fn take_own_errors(&mut self) -> OwnErrors {
        self.disconnected();
        std::mem::take(&mut self.earlier_errors)
    }
}

fn parse_config(replies: &[(&'static str, &Reply<'_>)]) -> Config {
    let mut config = Config::default();
    for (_, reply) in replies {
        config.add(reply);
    }
    config
}
