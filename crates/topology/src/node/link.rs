//! Fact: the state of a replica's link to its master.

use std::collections::VecDeque;
use std::time::Duration;

use snapshot::{Link, LinkStatus, NodeSnapshot};

use crate::limits::{LINK_STALLED_AFTER, SYNC_LOOP_COUNT, SYNC_LOOP_WINDOW};
use crate::model::view::NodeView;
use crate::shard::upstream::Upstream;

/// The state of a replica's link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// Connected, and the master is heard.
    Up,
    /// Connected, but the master has been silent for longer than its pings allow.
    Stalled,
    /// Down while a synchronisation runs.
    Syncing,
    /// One synchronisation after the other begins, and none reaches a standing link.
    SyncLooping,
    /// Down, and was up before.
    Lost,
    /// Down, and was never up.
    NeverUp,
}

/// The link of one replica.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkView {
    /// `None` on a node that is no replica, or whose link says nothing we know.
    pub state: Option<LinkState>,
    /// How often the link was seen to go from standing to down.
    pub drops: u64,
    /// Monotonic time at which it went down, while it is.
    pub down_since: Option<Duration>,
}

/// What the fact remembers of one node.
#[derive(Debug, Default)]
pub(crate) struct LinkTracker {
    view: LinkView,
    run_id: Option<Box<str>>,
    syncing: bool,
    /// When synchronisations began that reached nothing; at most [`SYNC_LOOP_COUNT`]. Only where the master tells us nothing.
    begun: VecDeque<Duration>,
    /// What the master counted since the link stood, whenever that changed; at most [`MAX_COUNTS`].
    counted: VecDeque<(Duration, u64)>,
    master: Option<Box<str>>,
    /// The most replicas that waited for the master at a time meanwhile.
    waiting: usize,
}

/// The most counts of a master that are kept.
const MAX_COUNTS: usize = 256;

/// What the master of a replica says of synchronisations.
#[derive(Debug, Clone)]
pub(crate) struct UpstreamSyncs {
    /// The process of the master.
    run_id: Option<Box<str>>,
    /// Full synchronisations that it began. INFO stats: `sync_full`.
    full: u64,
    /// How many of its replicas have no standing link: any of them may be the one that it synchronises.
    waiting: usize,
}

/// For each node, what the one that it follows says of synchronisations.
pub(crate) fn syncs(nodes: &[NodeView]) -> Vec<Option<UpstreamSyncs>> {
    let mut waiting = vec![0; nodes.len()];
    for node in nodes {
        if let (Upstream::Node(master), Some(false)) =
            (&node.upstream, node.link.state.map(LinkState::stands))
        {
            waiting[*master] += 1;
        }
    }
    let of = |node: &NodeView| {
        let Upstream::Node(master) = &node.upstream else { return None };
        let snapshot = nodes[*master].snapshot()?;
        let full = snapshot.fields.count("sync_full")?;
        Some(UpstreamSyncs {
            run_id: snapshot.identity.run_id.clone(),
            full,
            waiting: waiting[*master],
        })
    };
    nodes.iter().map(of).collect()
}

impl LinkTracker {
    pub(crate) fn observe(
        &mut self,
        snapshot: &NodeSnapshot,
        syncs: Option<UpstreamSyncs>,
        elapsed: Duration,
    ) {
        if self.run_id != snapshot.identity.run_id || snapshot.replication.link.is_none() {
            self.begun.clear();
            self.counted.clear();
            self.syncing = false;
            self.run_id.clone_from(&snapshot.identity.run_id);
        }
        let looping = self.looping(snapshot, syncs, elapsed);
        let before = self.view.state;
        let stalled_after = stalled_after(snapshot);
        self.view.state = snapshot
            .replication
            .link
            .as_ref()
            .and_then(|link| self.state(link, looping, elapsed, stalled_after));
        let (stood, stands) =
            (before.is_some_and(LinkState::stands), self.view.state.is_some_and(LinkState::stands));
        if stood && self.view.state.is_some() && !stands {
            self.view.drops += 1;
            self.view.down_since = Some(elapsed);
        }
        if stands || self.view.state.is_none() {
            self.view.down_since = None;
        }
    }

    pub(crate) fn view(&self) -> LinkView {
        self.view
    }

    /// Whether the master begins synchronisation after synchronisation while this link does not stand; `None` where it does not tell.
    fn looping(
        &mut self,
        snapshot: &NodeSnapshot,
        syncs: Option<UpstreamSyncs>,
        elapsed: Duration,
    ) -> Option<bool> {
        let syncs = syncs?;
        let stands = snapshot
            .replication
            .link
            .as_ref()
            .is_none_or(|link| link.status == Some(LinkStatus::Up));
        if stands || self.master != syncs.run_id {
            self.counted.clear();
            self.waiting = 1;
            self.master = syncs.run_id;
        }
        self.waiting = self.waiting.max(syncs.waiting);
        if self.counted.back().is_none_or(|(_, last)| *last != syncs.full) {
            self.counted.push_back((elapsed, syncs.full));
        }
        while self.counted.len() > MAX_COUNTS
            || (self.counted.len() > 1
                && self
                    .counted
                    .front()
                    .is_some_and(|(at, _)| elapsed.saturating_sub(*at) > SYNC_LOOP_WINDOW))
        {
            self.counted.pop_front();
        }
        let grown = self.counted.back()?.1.saturating_sub(self.counted.front()?.1);
        Some(grown >= (SYNC_LOOP_COUNT * self.waiting) as u64)
    }

    fn state(
        &mut self,
        link: &Link,
        looping: Option<bool>,
        elapsed: Duration,
        stalled_after: Duration,
    ) -> Option<LinkState> {
        let status = link.status?;
        if status == LinkStatus::Up {
            self.begun.clear();
            self.syncing = false;
            let stalled = link.last_io.is_some_and(|silence| silence > stalled_after);
            return Some(if stalled { LinkState::Stalled } else { LinkState::Up });
        }
        let syncing = link.syncing == Some(true);
        if syncing && !self.syncing {
            self.begun.push_back(elapsed);
        }
        self.syncing = syncing;
        while self.begun.len() > SYNC_LOOP_COUNT
            || self
                .begun
                .front()
                .is_some_and(|begun| elapsed.saturating_sub(*begun) > SYNC_LOOP_WINDOW)
        {
            self.begun.pop_front();
        }
        Some(match status {
            _ if looping.unwrap_or(self.begun.len() == SYNC_LOOP_COUNT) => LinkState::SyncLooping,
            _ if syncing => LinkState::Syncing,
            LinkStatus::Down(None) => LinkState::NeverUp,
            LinkStatus::Down(Some(_)) | LinkStatus::Up => LinkState::Lost,
        })
    }
}

/// A healthy link is silent for up to the time between two pings of the master.
fn stalled_after(snapshot: &NodeSnapshot) -> Duration {
    let period =
        snapshot.config.as_ref().and_then(|config| config.number("repl-ping-replica-period"));
    let pings = period.and_then(|seconds| Duration::try_from_secs_f64(seconds * 2.0).ok());
    pings.unwrap_or_default().max(LINK_STALLED_AFTER)
}

impl LinkState {
    /// The labels of every state, in the order of the reference.
    pub const LABELS: [&str; 6] = [
        LinkState::Up.label(),
        LinkState::Stalled.label(),
        LinkState::Syncing.label(),
        LinkState::SyncLooping.label(),
        LinkState::Lost.label(),
        LinkState::NeverUp.label(),
    ];

    /// The value of the label `state`.
    pub const fn label(self) -> &'static str {
        match self {
            LinkState::Up => "up",
            LinkState::Stalled => "stalled",
            LinkState::Syncing => "syncing",
            LinkState::SyncLooping => "sync_looping",
            LinkState::Lost => "lost",
            LinkState::NeverUp => "never_up",
        }
    }

    /// The link is connected and synchronised.
    pub const fn stands(self) -> bool {
        matches!(self, LinkState::Up | LinkState::Stalled)
    }
}
