//! Tracker of the replication link of a replica.

use std::collections::VecDeque;
use std::time::Duration;

use snapshot::{Link, LinkStatus, NodeSnapshot};

use crate::limits::{LINK_STALLED_AFTER, SYNC_LOOP_COUNT, SYNC_LOOP_WINDOW};
use crate::model::copying::copy_changed;
use crate::model::monotonic::Monotonic;
use crate::model::node::{LinkState, LinkView, NodeView, Upstream};
use crate::model::node_index::NodeVec;
use crate::node::process::ProcessChange;

/// Tracks the replication link of one node.
#[derive(Debug, Default)]
pub(crate) struct LinkTracker {
    view: LinkView,
    run_id: Option<Box<str>>,
    syncing: bool,
    /// Starts of synchronizations since the link was last connected, at most
    /// [`SYNC_LOOP_COUNT`]. They decide only if the upstream does not report `sync_full`.
    sync_starts: VecDeque<Monotonic>,
    /// Values of `sync_full` of the upstream since the link was last connected, at most
    /// [`MAX_SYNC_COUNTS`].
    sync_counts: VecDeque<SyncCount>,
    upstream_run_id: Option<Box<str>>,
    /// The largest number of replicas that waited for the upstream at the same time since then.
    max_waiting: usize,
    gap: ReplyGap,
}

/// Last gap in the replies of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum ReplyGap {
    /// None: the node has replied to every poll.
    #[default]
    Never,
    /// The node did not reply to the last poll.
    Now,
    /// The node has replied to every poll since this monotonic time.
    Until(Monotonic),
}

/// Value of `sync_full` at one point in time.
#[derive(Debug, Clone, Copy)]
struct SyncCount {
    at: Monotonic,
    full: u64,
}

/// Default of CONFIG `repl-ping-replica-period`.
pub(crate) const PING_PERIOD: Duration = Duration::from_secs(10);

/// The largest number of stored counts of one upstream.
const MAX_SYNC_COUNTS: usize = 256;

/// Synchronizations that the upstream of a replica reports.
#[derive(Debug, Clone)]
pub(crate) struct UpstreamSyncs {
    /// The `run_id` of the upstream.
    run_id: Option<Box<str>>,
    /// Full synchronizations that the upstream started. The `sync_full` field of INFO.
    full: u64,
    /// Replicas of the upstream without a connected link. It may be synchronizing any of them.
    waiting: usize,
}

/// Returns for each node the synchronizations that its upstream reports.
pub(crate) fn upstream_syncs(nodes: &NodeVec<NodeView>) -> Vec<Option<UpstreamSyncs>> {
    let mut waiting: NodeVec<usize> = nodes.values().map(|_| 0).collect();
    for node in nodes.values() {
        if let (Upstream::Node(upstream), Some(false)) =
            (&node.upstream, node.link.state.map(LinkState::is_connected))
        {
            waiting[*upstream] += 1;
        }
    }
    let syncs = |node: &NodeView| {
        let Upstream::Node(upstream) = &node.upstream else { return None };
        let snapshot = nodes[*upstream].snapshot()?;
        let full = snapshot.fields.count("sync_full")?;
        Some(UpstreamSyncs {
            run_id: snapshot.identity.run_id.clone(),
            full,
            waiting: waiting[*upstream],
        })
    };
    nodes.values().map(syncs).collect()
}

impl LinkTracker {
    /// Processes one reply. `upstream` is the state of the upstream after the previous round.
    pub(crate) fn observe(
        &mut self,
        snapshot: &NodeSnapshot,
        upstream: Option<UpstreamSyncs>,
        process_change: ProcessChange,
        now: Monotonic,
    ) {
        if self.run_id != snapshot.identity.run_id
            || process_change != ProcessChange::Same
            || snapshot.replication.any_link().is_none()
        {
            self.sync_starts.clear();
            self.sync_counts.clear();
            self.syncing = false;
            copy_changed(&mut self.run_id, &snapshot.identity.run_id);
        }
        let looping = self.is_looping(snapshot, upstream, now);
        let previous = self.view.state;
        if self.gap == ReplyGap::Now {
            self.gap = ReplyGap::Until(now);
        }
        let is_confirmed = match self.gap {
            ReplyGap::Never | ReplyGap::Now => true,
            ReplyGap::Until(end) => now.since(end) >= ping_period(snapshot),
        };
        let is_stalled =
            is_silent(snapshot) && (is_confirmed || previous == Some(LinkState::Stalled));
        self.view.state = snapshot
            .replication
            .any_link()
            .and_then(|link| self.state(link, looping, now, is_stalled));
        let was_connected = previous.is_some_and(LinkState::is_connected);
        let is_connected = self.view.state.is_some_and(LinkState::is_connected);
        if was_connected && self.view.state.is_some() && !is_connected {
            self.view.drops += 1;
            self.view.down_since = Some(now);
        }
        if is_connected || self.view.state.is_none() {
            self.view.down_since = None;
        }
    }

    /// Records that the node did not reply to a poll. After a freeze, a replica reports the silence
    /// of the freeze until the next ping of its upstream.
    pub(crate) fn observe_missed_poll(&mut self) {
        self.gap = ReplyGap::Now;
    }

    /// Returns the link as of the last reply.
    pub(crate) fn view(&self) -> LinkView {
        self.view
    }

    /// Returns true if the upstream starts synchronizations again and again while this link is
    /// down; `None` if the upstream does not report them.
    fn is_looping(
        &mut self,
        snapshot: &NodeSnapshot,
        upstream: Option<UpstreamSyncs>,
        now: Monotonic,
    ) -> Option<bool> {
        let upstream = upstream?;
        let is_connected =
            snapshot.replication.any_link().is_none_or(|link| link.status == Some(LinkStatus::Up));
        if is_connected || self.upstream_run_id != upstream.run_id {
            self.sync_counts.clear();
            self.max_waiting = 1;
            self.upstream_run_id = upstream.run_id;
        }
        self.max_waiting = self.max_waiting.max(upstream.waiting);
        if self.sync_counts.back().is_none_or(|last| last.full != upstream.full) {
            self.sync_counts.push_back(SyncCount { at: now, full: upstream.full });
        }
        let is_old = |count: &SyncCount| now.since(count.at) > SYNC_LOOP_WINDOW;
        while self.sync_counts.len() > MAX_SYNC_COUNTS
            || (self.sync_counts.len() > 1 && self.sync_counts.front().is_some_and(is_old))
        {
            self.sync_counts.pop_front();
        }
        let (first, last) = (self.sync_counts.front()?, self.sync_counts.back()?);
        let started = last.full.saturating_sub(first.full);
        Some(started >= (SYNC_LOOP_COUNT * self.max_waiting) as u64)
    }

    fn state(
        &mut self,
        link: &Link,
        looping: Option<bool>,
        now: Monotonic,
        is_stalled: bool,
    ) -> Option<LinkState> {
        let status = link.status?;
        if status == LinkStatus::Up {
            self.sync_starts.clear();
            self.syncing = false;
            return Some(if is_stalled { LinkState::Stalled } else { LinkState::Up });
        }
        let syncing = link.syncing == Some(true);
        if syncing && !self.syncing {
            self.sync_starts.push_back(now);
        }
        self.syncing = syncing;
        let is_old = |start: &Monotonic| now.since(*start) > SYNC_LOOP_WINDOW;
        while self.sync_starts.len() > SYNC_LOOP_COUNT
            || self.sync_starts.front().is_some_and(is_old)
        {
            self.sync_starts.pop_front();
        }
        Some(match status {
            _ if looping.unwrap_or(self.sync_starts.len() == SYNC_LOOP_COUNT) => {
                LinkState::SyncLooping
            }
            _ if syncing => LinkState::Syncing,
            LinkStatus::Down(None) => LinkState::NeverUp,
            LinkStatus::Down(Some(_)) | LinkStatus::Up => LinkState::Lost,
        })
    }
}

/// Returns true if the upstream has been silent for longer than its pings allow.
fn is_silent(snapshot: &NodeSnapshot) -> bool {
    let silence = snapshot.replication.any_link().and_then(|link| link.last_io);
    let limit = (ping_period(snapshot) * 2).max(LINK_STALLED_AFTER);
    silence.is_some_and(|silence| silence > limit)
}

/// Returns the time between two pings of a server to its replicas, as it is configured on a server
/// of the deployment.
pub(crate) fn ping_period(snapshot: &NodeSnapshot) -> Duration {
    let config = snapshot.config.as_ref();
    let seconds = config.and_then(|config| config.number("repl-ping-replica-period"));
    let period = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    // Twice the period must not overflow.
    period.unwrap_or(PING_PERIOD).min(Duration::MAX / 2)
}
