//! Tracker of paused clients of one node.
//!
//! Valkey 8.1 and later report a pause, and Redis 6.2 and later a FAILOVER. Redis does not report
//! CLIENT PAUSE. From 7.0 on, the number of these commands shows one, but not its end. Any change
//! that the node accepts later, and any CLIENT UNPAUSE, shows that it is over.

use std::time::Duration;

use snapshot::{NodeSnapshot, Role};

use crate::limits::{CLIENT_PAUSE_ASSUMED_FOR, WRITES_PAUSED_AFTER};
use crate::model::counters::{CLIENT_PAUSE, Counters, succeeded};
use crate::model::monotonic::Monotonic;
use crate::model::pause::{PauseCause, PauseView};
use crate::node::process::ProcessChange;

/// Tracks the paused clients of one node.
#[derive(Debug, Default)]
pub(crate) struct PauseTracker {
    /// Monotonic time of the first reply with the reported pause.
    reported_since: Option<Monotonic>,
    view: PauseView,
    /// CLIENT PAUSE and CLIENT UNPAUSE commands so far.
    pauses: u64,
    unpauses: u64,
    /// Changes and the time of the last save, in the last reply since the CLIENT PAUSE was seen.
    writes: Option<Writes>,
}

/// Number of changes since a save.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Writes {
    changes: u64,
    saved_at: Option<Duration>,
}

impl PauseTracker {
    /// Processes one reply.
    pub(crate) fn observe(
        &mut self,
        snapshot: &NodeSnapshot,
        counters: &Counters,
        process_change: ProcessChange,
        now: Monotonic,
    ) {
        if process_change != ProcessChange::Same {
            *self = PauseTracker { pauses: self.pauses, ..PauseTracker::default() };
        }
        let reported = reported(snapshot);
        self.reported_since = reported.and(self.reported_since.or(Some(now)));
        self.view.reported = reported;
        self.view.lasting =
            self.reported_since.is_some_and(|since| now.since(since) > WRITES_PAUSED_AFTER);
        self.observe_commands(snapshot, counters, now);
    }

    /// Returns the paused writes.
    pub(crate) fn view(&self) -> PauseView {
        self.view
    }

    fn observe_commands(&mut self, snapshot: &NodeSnapshot, counters: &Counters, now: Monotonic) {
        let commands = snapshot.commands.as_ref();
        let unpauses =
            commands.map_or(self.unpauses, |commands| succeeded(commands, "client|unpause"));
        let was_unpaused = unpauses > self.unpauses;
        self.unpauses = unpauses;
        let pauses = counters.topology_commands(CLIENT_PAUSE);
        let was_paused = pauses > self.pauses;
        self.pauses = pauses;
        let writes = Writes::read(snapshot);
        let is_old = self.view.commanded.is_some_and(|at| now.since(at) > CLIENT_PAUSE_ASSUMED_FOR);
        // If both commands ran since the last reading, the pause came first and is over.
        if was_unpaused || reports_pauses(snapshot) {
            (self.view.commanded, self.writes) = (None, None);
        } else if was_paused {
            (self.view.commanded, self.writes) = (Some(now), None);
        } else if is_old || self.has_written(snapshot, writes) {
            (self.view.commanded, self.writes) = (None, None);
        } else if self.view.commanded.is_some() {
            self.writes = writes;
        }
    }

    /// Returns true if a master accepted a change after the CLIENT PAUSE. The changes of a replica
    /// come from its upstream, also while its clients are paused.
    fn has_written(&self, snapshot: &NodeSnapshot, now: Option<Writes>) -> bool {
        let is_master = snapshot.replication.role == Some(Role::Master);
        let Some((before, now)) = self.writes.zip(now).filter(|_| is_master) else { return false };
        before.saved_at == now.saved_at && now.changes > before.changes
    }
}

impl Writes {
    fn read(snapshot: &NodeSnapshot) -> Option<Self> {
        Some(Writes {
            changes: snapshot.persistence.rdb.changes?,
            saved_at: snapshot.persistence.rdb.last_save,
        })
    }
}

/// Returns true if writes of clients wait, or if this cannot be excluded; `None` if the server does
/// not show a CLIENT PAUSE.
pub(crate) fn writes_wait(snapshot: &NodeSnapshot, pause: PauseView) -> Option<bool> {
    if pause.lasting {
        return Some(true);
    }
    let counts_pauses =
        || snapshot.commands.as_ref().is_some_and(|commands| commands.has_subcommands());
    let is_known = reports_pauses(snapshot) || (pause.commanded.is_none() && counts_pauses());
    is_known.then_some(false)
}

/// Returns true if the server reports pauses: Valkey 8.1 and later.
fn reports_pauses(snapshot: &NodeSnapshot) -> bool {
    snapshot.fields.get("paused_actions").is_some()
}

/// Returns the operation for which writes wait; `None` if the server reports none.
fn reported(snapshot: &NodeSnapshot) -> Option<PauseCause> {
    let field = |name| snapshot.fields.get(name);
    if field("master_failover_state").is_some_and(|state| state != "no-failover") {
        return Some(PauseCause::Failover);
    }
    if !matches!(field("paused_actions"), Some("write" | "all")) {
        return None;
    }
    Some(match field("paused_reason") {
        Some("failover_in_progress") => PauseCause::Failover,
        Some("shutdown_in_progress") => PauseCause::Shutdown,
        Some("slot_migration_in_progress") => PauseCause::SlotMigration,
        Some("client_pause") => PauseCause::ClientPause,
        _ => PauseCause::Other,
    })
}
