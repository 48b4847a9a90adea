//! Fact: which process answers as this node; restarts and replacements.

use std::collections::HashMap;
use std::time::Duration;

use snapshot::{Identity, NodeSnapshot, Role};

use crate::limits::{STRANGER_ACCEPTED_AFTER, UPTIME_SLACK};
use crate::model::view::NodeView;

/// What became of the processes that answered as this node, since the exporter started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessView {
    /// New processes of the same node.
    pub restarts: u64,
    /// Other, older processes that began to answer in its place.
    pub replacements: u64,
    /// Changes of the claimed role.
    pub role_changes: u64,
}

/// How the process that answers follows on the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProcessChange {
    /// It is the same, or there was none.
    Same,
    /// It is a new process of the same server: its counters began at zero since.
    Restarted,
    /// It is another, older process: its counters say nothing about what happened here.
    Replaced,
}

/// What the fact remembers of one node.
#[derive(Debug, Default)]
pub(crate) struct ProcessTracker {
    run_id: Option<Box<str>>,
    role: Option<Role>,
    replids: Vec<Box<str>>,
    seen: Duration,
    /// Time that passed between what was kept from before and the start of the exporter.
    away: Duration,
    /// The run id of a server that shares nothing with this node, and when it first answered in its place.
    stranger: Option<(Box<str>, Duration)>,
    view: ProcessView,
}

impl ProcessTracker {
    /// Another server answers in place of this node: an older process, with none of its history. For a while that is a mistake in the
    /// network, and what it says is not said of the node.
    pub(crate) fn is_stranger(&mut self, snapshot: &NodeSnapshot, elapsed: Duration) -> bool {
        let (Some(known), Some(now)) = (&self.run_id, &snapshot.identity.run_id) else {
            return false;
        };
        let related = self.replids.is_empty()
            || replids(snapshot).any(|id| self.replids.iter().any(|known| **known == *id));
        if known == now || related || started_since(&snapshot.identity, self.gap(elapsed)) {
            self.stranger = None;
            return false;
        }
        let since = match &self.stranger {
            Some((stranger, since)) if stranger == now => *since,
            _ => elapsed,
        };
        self.stranger = Some((now.clone(), since));
        elapsed.saturating_sub(since) < STRANGER_ACCEPTED_AFTER
    }

    pub(crate) fn observe(&mut self, snapshot: &NodeSnapshot, elapsed: Duration) -> ProcessChange {
        let succession = match (&self.run_id, &snapshot.identity.run_id) {
            (Some(before), Some(now)) if before == now => ProcessChange::Same,
            (Some(_), Some(_)) if started_since(&snapshot.identity, self.gap(elapsed)) => {
                ProcessChange::Restarted
            }
            (Some(_), Some(_)) => ProcessChange::Replaced,
            _ => ProcessChange::Same,
        };
        self.view.restarts += u64::from(succession == ProcessChange::Restarted);
        self.view.replacements += u64::from(succession == ProcessChange::Replaced);
        if let (Some(before), Some(now)) = (self.role, snapshot.replication.role)
            && before != now
        {
            self.view.role_changes += 1;
        }
        self.run_id = snapshot.identity.run_id.clone().or_else(|| self.run_id.take());
        self.role = snapshot.replication.role.or(self.role);
        self.replids = replids(snapshot).map(Into::into).collect();
        self.stranger = None;
        (self.seen, self.away) = (elapsed, Duration::ZERO);
        succession
    }

    /// The process that answered last. INFO server: `run_id`.
    pub(crate) fn run_id(&self) -> Option<&str> {
        self.run_id.as_deref()
    }

    /// Takes up what was kept, that long ago.
    pub(crate) fn remember(&mut self, run_id: Option<&str>, replids: &[String], away: Duration) {
        self.run_id = run_id.map(Into::into);
        self.replids = replids.iter().map(|id| id.as_str().into()).collect();
        self.away = away;
    }

    /// Time since the node last answered.
    fn gap(&self, elapsed: Duration) -> Duration {
        elapsed.saturating_sub(self.seen) + self.away
    }

    pub(crate) fn view(&self) -> ProcessView {
        self.view
    }
}

/// The histories that a node's data belongs to.
fn replids(snapshot: &NodeSnapshot) -> impl Iterator<Item = &str> {
    [&snapshot.replication.replid, &snapshot.replication.replid2]
        .into_iter()
        .filter_map(|id| id.as_deref())
}

/// The process started after we last heard of the node. Unknown uptime says so too: a new name with no age is a new process.
fn started_since(identity: &Identity, gap: Duration) -> bool {
    identity.uptime.is_none_or(|uptime| uptime <= gap + UPTIME_SLACK)
}

/// Of these places, pairs at which one process answers, that is behind two addresses, one of each family for example: the first, and another.
pub(crate) fn duplicate_processes(
    nodes: &[NodeView],
    indices: impl Iterator<Item = usize>,
) -> Vec<(usize, usize)> {
    let mut first: HashMap<&str, usize> = HashMap::new();
    let mut duplicate_processes = Vec::new();
    for index in indices {
        let Some(run_id) = nodes[index].run_id() else { continue };
        match first.get(run_id) {
            Some(first) => duplicate_processes.push((*first, index)),
            None => drop(first.insert(run_id, index)),
        }
    }
    duplicate_processes
}
