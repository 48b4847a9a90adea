//! What is read of one process of a server.

use std::sync::Arc;
use std::time::Duration;

use crate::poll_plan::source::Source;
use config::Cadences;
use snapshot::{CommandLatency, CommandStats, Config, Fields, NodeSnapshot, Reply, SlowLog};
use topology::OwnErrors;
use topology::limits::CLIENT_LIST_CADENCE;

/// The cadence of what is asked once of a process. CLIENT ID is asked only to learn whether it is refused: each connection begins with it.
const ONCE: Duration = Duration::from_secs(u32::MAX as u64);

/// What was learned of the process that answers; another process starts anew.
pub(super) struct Process {
    pub(super) run_id: Option<Box<str>>,
    /// It is a cluster node, and not loading: then it answers CLUSTER INFO.
    pub(super) in_cluster: bool,
    pub(super) error_replies: Option<u64>,
    pub(super) client_id: Source<()>,
    pub(super) commands: Source<Arc<CommandStats>>,
    pub(super) latencies: Source<Arc<Vec<CommandLatency>>>,
    pub(super) cluster: Source<Arc<Fields>>,
    pub(super) map: Source<()>,
    pub(super) slowlog: Source<SlowLog>,
    pub(super) config: Source<Arc<Config>>,
    pub(super) clients: Source<()>,
    /// Errors that our own commands met since the last INFO.
    pub(super) own_errors: OwnErrors,
}

impl Process {
    pub(super) fn new(run_id: Option<Box<str>>, cadences: &Cadences) -> Self {
        Process {
            run_id,
            in_cluster: false,
            error_replies: None,
            client_id: Source::new("CLIENT ID", ONCE),
            commands: Source::new("INFO commandstats", cadences.commands),
            latencies: Source::new("INFO latencystats", cadences.latencystats.unwrap_or_default()),
            cluster: Source::new("CLUSTER INFO", Duration::ZERO),
            map: Source::new("CLUSTER NODES", ONCE),
            slowlog: Source::of_several("SLOWLOG", cadences.slowlog),
            config: Source::of_several("CONFIG GET", cadences.config),
            clients: Source::new("CLIENT LIST", CLIENT_LIST_CADENCE),
            own_errors: OwnErrors::new(),
        }
    }

    /// Puts what was read last into a snapshot.
    pub(super) fn show(&self, snapshot: &mut NodeSnapshot) {
        snapshot.commands.clone_from(&self.commands.last);
        snapshot.latencies.clone_from(&self.latencies.last);
        snapshot.cluster.clone_from(&self.cluster.last);
        snapshot.slowlog = self.slowlog.last;
        snapshot.config.clone_from(&self.config.last);
    }

    pub(super) fn note_errors(&mut self, replies: &[Reply]) {
        replies.iter().filter_map(Reply::error).for_each(|error| self.note(&error.code, 1));
    }

    pub(super) fn note(&mut self, code: &str, count: u64) {
        *self.own_errors.entry(code.into()).or_default() += count;
    }
}
