//! Recorded failovers of real servers, sampled once a second at several phases. All phases must
//! give the same events.

mod recorded;
#[path = "../examples/replay/timeline.rs"]
mod timeline;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use recorded::RecordedTracker;
use timeline::Timeline;
use topology::{Cause, DeploymentView, Event, EventKind, NoPrimaryReason, PrimaryEvidence};

const SECOND: Duration = Duration::from_secs(1);

struct Replayed {
    events: Vec<Event>,
    view: Arc<DeploymentView>,
    /// The largest number of lost bytes in any round.
    bytes: Option<u64>,
}

/// Replays a recording at ten phases.
fn each_phase(recording: &str, check: impl Fn(&Replayed, &str)) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../snapshot/captures/redis-7.0.15")
        .join(format!("{recording}.timeline-100ms.jsonl"));
    let timeline = Timeline::read(&path).expect("a recording");
    for phase in (0..10).map(|tenths| Duration::from_millis(100 * tenths + 20)) {
        let mut tracker = RecordedTracker::new(Arc::new(timeline.deployment(SECOND)), None);
        let (mut events, mut bytes) = (Vec::new(), None);
        for round in timeline.rounds(SECOND, phase) {
            let result = tracker.observe(&round);
            bytes = result.view.shards[0].lost_writes.bytes.max(bytes);
            events.extend(
                result
                    .events
                    .into_iter()
                    .filter(|event| !matches!(event.kind, EventKind::SentinelEvent { .. })),
            );
        }
        check(
            &Replayed { events, view: tracker.view(), bytes },
            &format!("{recording} at {phase:?}"),
        );
    }
}

impl Replayed {
    /// Returns the kinds of the events without a node, in order of time.
    fn of_deployment(&self) -> Vec<&'static str> {
        let mut events: Vec<_> = self.events.iter().filter(|event| event.node.is_none()).collect();
        events.sort_by_key(|event| event.at);
        events.into_iter().map(|event| event.kind.label()).collect()
    }

    fn of_node(&self, node: &str) -> Vec<&'static str> {
        self.events
            .iter()
            .filter(|event| event.node.as_deref() == Some(node))
            .map(|event| event.kind.label())
            .collect()
    }

    fn change(&self) -> (&str, &str, Cause) {
        let change = |event: &'_ Event| matches!(event.kind, EventKind::PrimaryChanged { .. });
        match self.events.iter().filter(|event| change(event)).collect::<Vec<_>>()[..] {
            [Event { kind: EventKind::PrimaryChanged { from, to, cause }, .. }] => {
                (from, to, *cause)
            }
            ref other => panic!("one change of the primary, not {other:?}"),
        }
    }

    fn split(&self) -> (Duration, Option<u64>) {
        let ended = self.events.iter().find_map(|event| match event.kind {
            EventKind::SplitBrainEnded { lasted, unreplicated_bytes, .. } => {
                Some((lasted, unreplicated_bytes))
            }
            _ => None,
        });
        ended.expect("a split brain that ended")
    }
}

fn near(found: Duration, truth: f64, slack: f64, at: &str) {
    assert!((found.as_secs_f64() - truth).abs() <= slack, "{at}: {found:?}, recorded {truth} s");
}

/// Tolerance: samples are up to a second late, and one may fall into a reconnect.
const SLACK: f64 = 2.0;

#[test]
fn a_planned_failover() {
    each_phase("30-manual", |replayed, at| {
        assert_eq!(replayed.change(), ("node1", "node3", Cause::Sentinel), "{at}");
        let mut of_deployment = replayed.of_deployment();
        of_deployment.sort_unstable();
        assert_eq!(
            of_deployment,
            [
                "primary_changed",
                "primary_disputed",
                "primary_undisputed",
                "split_brain_began",
                "split_brain_ended"
            ],
            "{at}"
        );
        let (lasted, bytes) = replayed.split();
        near(lasted, 11.1, 1.0, at);
        near(replayed.view.shards[0].split_brain.total, 11.1, 1.0, at);
        assert!(bytes.is_some_and(|bytes| (1000..9000).contains(&bytes)), "{at}: {bytes:?}");
        assert_eq!(replayed.of_node("node3"), ["role_changed"], "{at}");
        assert_eq!(replayed.of_node("node2"), ["full_resync"], "{at}");
        assert_eq!(replayed.of_node("node1"), ["role_changed", "full_resync"], "{at}");
    });
}

#[test]
fn a_killed_primary_that_returns() {
    each_phase("30-kill", |replayed, at| {
        assert_eq!(replayed.change(), ("node1", "node2", Cause::Sentinel), "{at}");
        let of_deployment = replayed.of_deployment();
        assert_eq!(
            of_deployment.iter().filter(|kind| kind.starts_with("split_brain")).count(),
            2,
            "{at}: {of_deployment:?}"
        );
        let (lost, regained) = ["primary_lost", "primary_regained"]
            .map(|kind| of_deployment.iter().filter(|other| **other == kind).count())
            .into();
        assert!(lost == regained && lost <= 1, "{at}: {of_deployment:?}");
        let (lasted, bytes) = replayed.split();
        near(lasted, 10.1, SLACK, at);
        assert_eq!(
            (bytes, replayed.bytes),
            (None, None),
            "{at}: a restarted master has another history"
        );
        assert_eq!(
            replayed.of_node("node1"),
            ["node_unreachable", "node_back", "role_changed", "full_resync"],
            "{at}"
        );
        assert_eq!(replayed.of_node("node2"), ["link_dropped", "role_changed"], "{at}");
        assert_eq!(replayed.of_node("node3"), ["link_dropped", "link_restored"], "{at}");
    });
}

#[test]
fn an_operator_makes_the_primary_follow_its_replica() {
    each_phase("30-demote", |replayed, at| {
        assert_eq!(replayed.change(), ("node1", "node2", Cause::Sentinel), "{at}");
        let mut of_deployment = replayed.of_deployment();
        of_deployment.sort_unstable();
        assert_eq!(of_deployment, ["primary_changed", "primary_lost", "primary_regained"], "{at}");
        let lost = replayed
            .events
            .iter()
            .find(|event| event.kind.label() == "primary_lost")
            .expect("lost");
        assert_eq!(lost.kind, EventKind::PrimaryLost { why: NoPrimaryReason::Loop }, "{at}");
        near(replayed.view.shards[0].no_primary.total, 28.4, SLACK, at);
        assert!(
            !replayed.events.iter().any(|event| event.kind.label().starts_with("link_")),
            "{at}: all links are up"
        );
        assert_eq!(replayed.view.shards[0].split_brain.total, Duration::ZERO, "{at}");
    });
}

#[test]
fn a_partition_with_writers_on_both_sides() {
    each_phase("31-partition-splitbrain", |replayed, at| {
        assert_eq!(replayed.change(), ("a", "c", Cause::Sentinel), "{at}");
        near(replayed.split().0, 36.8, SLACK, at);
        // In the recording the stale master wrote 28,979 bytes beyond the takeover.
        assert!(
            replayed.bytes.is_some_and(|bytes| (25_000..32_000).contains(&bytes)),
            "{at}: {:?}",
            replayed.bytes
        );
        assert_eq!(replayed.split().1, replayed.bytes, "{at}: offsets only grow");
        let promoted = replayed.of_node("c");
        assert!(promoted.contains(&"lagging_promotion"), "{at}: {promoted:?}");
        assert_eq!(replayed.of_node("a").last(), Some(&"full_resync"), "{at}");
        let primary = replayed.view.shards[0]
            .primary
            .map(|primary| (replayed.view.name(primary.node).to_owned(), primary.evidence));
        assert_eq!(primary, Some(("c".to_owned(), PrimaryEvidence::Sentinel)), "{at}");
    });
}
