//! Properties of all sequences of rounds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use snapshot::{NodeSnapshot, Reason};
use topology::{
    Deployment, DeploymentKind, DeploymentTracker, DeploymentView, Event, Monotonic, NodeIndex,
    NodeReply, NodeState, PollOutcome, Round,
};

const SECOND: Duration = Duration::from_secs(1);
const NODES: usize = 3;

/// Behavior of one node in one round.
#[derive(Debug, Clone)]
enum Act {
    /// Claims to be master of the history `id`, which continues another one.
    Master { id: u8, continued: Option<u8>, offset: u64, changes: u64 },
    /// Claims to be a replica of another node.
    Replica { id: u8, of: usize, up: bool, offset: u64 },
    /// Does not reply.
    Silent,
    /// Refuses connections.
    Refused,
}

fn act(silence: bool) -> impl Strategy<Value = Act> {
    let ids = 0..4_u8;
    let master = (ids.clone(), prop::option::of(ids.clone()), 0..1000_u64, 0..50_u64);
    let master = master.prop_map(|(id, continued, offset, changes)| Act::Master {
        id,
        continued,
        offset,
        changes,
    });
    let replica = (ids, 0..NODES, any::<bool>(), 0..1000_u64)
        .prop_map(|(id, of, up, offset)| Act::Replica { id, of, up, offset });
    let lost = if silence {
        prop_oneof![Just(Act::Silent), Just(Act::Refused)].boxed()
    } else {
        Just(Act::Refused).boxed()
    };
    let weight = u32::from(silence) * 2;
    prop_oneof![4 => master, 4 => replica, weight.max(1) => lost]
        .prop_filter("no loss", move |act| silence || !matches!(act, Act::Refused))
}

/// Generates rounds of three nodes.
fn acts(silence: bool) -> impl Strategy<Value = Vec<[Act; NODES]>> {
    prop::collection::vec([act(silence), act(silence), act(silence)], 1..40)
}

fn info(node: usize, act: &Act) -> String {
    let id = |id: u8| id.to_string().repeat(40).replace('0', "a");
    let common = format!("run_id:{node}\nuptime_in_seconds:100\nloading:0\nrdb_last_save_time:1\n");
    match act {
        Act::Master { id: of, continued, offset, changes } => {
            let continued = continued
                .map(|of| format!("master_replid2:{}\nsecond_repl_offset:{}\n", id(of), offset / 2))
                .unwrap_or_default();
            let replid = id(*of);
            format!(
                "{common}role:master\nmaster_replid:{replid}\n\
                 {continued}master_repl_offset:{offset}\nrdb_changes_since_last_save:{changes}\n"
            )
        }
        Act::Replica { id: of, of: upstream, up, offset } => {
            let status = if *up { "up" } else { "down" };
            format!(
                "{common}role:slave\nmaster_host:n\nmaster_port:{upstream}\n\
                 master_link_status:{status}\nmaster_replid:{}\nmaster_repl_offset:{offset}\n",
                id(*of)
            )
        }
        Act::Silent | Act::Refused => String::new(),
    }
}

fn outcome(node: usize, act: &Act) -> PollOutcome {
    match act {
        Act::Silent => PollOutcome::Missed(Reason::Timeout),
        Act::Refused => PollOutcome::Failed(Reason::Refused),
        _ => PollOutcome::Answered(NodeReply::new(
            NodeSnapshot::from_info(&info(node, act)).expect("an INFO reply"),
            Duration::from_millis(1),
            SystemTime::UNIX_EPOCH,
        )),
    }
}

fn round(number: usize, outcomes: Vec<PollOutcome>) -> Round {
    let now = Monotonic::START + SECOND * u32::try_from(number).expect("few rounds");
    Round::new(SystemTime::UNIX_EPOCH + now.since_start(), now, outcomes)
}

/// Creates a tracker of the nodes in this order.
fn tracker(order: [usize; NODES]) -> DeploymentTracker {
    let mut deployment = Deployment::new("orders", DeploymentKind::Static, &[], SECOND, SECOND * 3);
    for node in order {
        deployment.add(format!("node{node}"), format!("n:{node}"), None);
    }
    DeploymentTracker::new(Arc::new(deployment))
}

/// Runs rounds and returns the view and the events of each.
fn play(acts: &[[Act; NODES]], order: [usize; NODES]) -> Vec<(Arc<DeploymentView>, Vec<Event>)> {
    let mut tracker = tracker(order);
    let rounds = acts
        .iter()
        .enumerate()
        .map(|(number, acts)| round(number, order.map(|node| outcome(node, &acts[node])).into()));
    rounds.map(|round| tracker.observe(&round)).map(|result| (result.view, result.events)).collect()
}

/// Returns all values that never fall.
fn counters(view: &DeploymentView) -> Vec<u64> {
    let shard = &view.shards[0];
    let mut counters: Vec<u64> =
        [shard.split_brain.total, shard.no_primary.total].map(|total| total.as_secs()).into();
    counters.extend([shard.lost_writes.total, shard.emptied.total]);
    counters.extend(shard.primary_change_counts);
    counters.extend(view.history.counts().map(|(_, count)| count));
    for node in view.nodes.values() {
        counters.extend([
            node.process.restarts,
            node.process.role_changes,
            node.link.drops,
            node.resyncs,
            node.polling.polls,
        ]);
        counters.extend(node.polling.failures);
    }
    counters
}

/// Returns the state by names, so that it does not depend on the order of the nodes.
fn state(view: &DeploymentView) -> BTreeMap<String, String> {
    let shard = &view.shards[0];
    let names = |indices: &[NodeIndex]| {
        let mut names: Vec<_> = indices.iter().map(|index| view.name(*index)).collect();
        names.sort_unstable();
        names.join(",")
    };
    let mut state = BTreeMap::from([
        ("masters".to_owned(), names(&shard.masters)),
        (
            "primary".to_owned(),
            shard
                .primary
                .map(|primary| format!("{} {:?}", view.name(primary.node), primary.evidence))
                .unwrap_or_default(),
        ),
        ("stale".to_owned(), names(&shard.stale_masters)),
        ("unrelated".to_owned(), names(&shard.unrelated_masters)),
        (
            "split".to_owned(),
            format!("{} {:?}", names(&shard.split_brain.masters), shard.split_brain.total),
        ),
        ("lost".to_owned(), {
            let lost = &shard.lost_writes;
            let newest = lost
                .loss
                .as_ref()
                .map(|loss| (loss.changes, names(&loss.stale_masters), loss.last));
            format!("{} {} {newest:?} {:?}", lost.total, lost.in_split_brain, lost.bytes)
        }),
        ("none".to_owned(), format!("{:?}", shard.no_primary)),
        ("looped".to_owned(), names(&shard.replication_loop)),
        ("changes".to_owned(), format!("{:?}", shard.primary_change_counts)),
        (
            "serving".to_owned(),
            format!("{:?} {:?} {}", shard.writable, shard.readable, shard.replicas),
        ),
    ]);
    for node in view.nodes.values() {
        let text = format!(
            "{:?} {:?} {:?} {:?} {:?} {}",
            node.presence,
            node.role(),
            node.depth,
            node.orphan,
            node.lag,
            node.diverged
        );
        state.insert(node.node.name.clone(), text);
    }
    let mut findings: Vec<_> = view
        .findings
        .iter()
        .map(|finding| format!("{:?} {:?}", finding.kind, finding.node))
        .collect();
    findings.sort();
    state.insert("findings".to_owned(), findings.join(","));
    state
}

proptest! {
    #[test]
    fn counters_never_fall(acts in acts(true)) {
        let played = play(&acts, [0, 1, 2]);
        for pair in played.windows(2) {
            for (before, after) in counters(&pair[0].0).into_iter().zip(counters(&pair[1].0)) {
                prop_assert!(before <= after);
            }
        }
    }

    #[test]
    fn split_brain_time_is_that_with_two_related_masters(acts in acts(false)) {
        // Independent reference: the IDs that each node ever had.
        let mut had: [Vec<u8>; NODES] = Default::default();
        let mut seconds = 0;
        for acts in &acts {
            for (node, act) in acts.iter().enumerate() {
                match act {
                    Act::Master { id, continued, .. } => {
                        had[node].extend([Some(*id), *continued].into_iter().flatten());
                    }
                    Act::Replica { id, .. } => had[node].push(*id),
                    Act::Silent | Act::Refused => {}
                }
            }
            let is_master = |node: &usize| matches!(acts[*node], Act::Master { .. });
            let masters: Vec<_> = (0..NODES).filter(is_master).collect();
            let shared = |a: usize, b: usize| had[a].iter().any(|id| had[b].contains(id));
            let is_split = |a: &usize| masters.iter().any(|b| a < b && shared(*a, *b));
            seconds += u64::from(masters.iter().any(is_split));
        }
        let played = play(&acts, [0, 1, 2]);
        let total = played.last().expect("a round").0.shards[0].split_brain.total;
        let difference = total.abs_diff(Duration::from_secs(seconds));
        prop_assert!(difference <= SECOND, "{total:?} for {seconds} s");
    }

    #[test]
    fn begin_and_end_events_alternate(acts in acts(true)) {
        let mut open: BTreeMap<(&str, Option<String>), bool> = BTreeMap::new();
        for (_, events) in play(&acts, [0, 1, 2]) {
            for event in events {
                let (pair, begins) = match event.kind.label() {
                    // The link of a promoted replica ends without being restored.
                    "role_changed" => {
                        open.insert(("link", event.node), false);
                        continue;
                    }
                    "split_brain_began" => ("split_brain", true),
                    "split_brain_ended" => ("split_brain", false),
                    "primary_lost" => ("primary", true),
                    "primary_regained" => ("primary", false),
                    "link_dropped" => ("link", true),
                    "link_restored" => ("link", false),
                    "node_unreachable" => ("node", true),
                    "node_back" => ("node", false),
                    _ => continue,
                };
                let before = open.insert((pair, event.node), begins).unwrap_or(false);
                prop_assert_ne!(before, begins, "{} {}", pair, event.kind.label());
            }
        }
    }

    #[test]
    fn the_order_of_nodes_does_not_matter(acts in acts(true)) {
        let orders = [[0, 1, 2], [0, 1, 2], [2, 0, 1], [1, 0, 2]].map(|order| play(&acts, order));
        for other in &orders[1..] {
            for (first, second) in orders[0].iter().zip(other) {
                prop_assert_eq!(state(&first.0), state(&second.0));
            }
        }
    }

    #[test]
    fn one_or_two_missed_polls_change_nothing(acts in acts(false), missed in 1..3_usize) {
        let mut tracker = tracker([0, 1, 2]);
        for (number, acts) in acts.iter().enumerate() {
            let outcomes = (0..NODES).map(|node| outcome(node, &acts[node])).collect();
            tracker.observe(&round(number, outcomes));
        }
        let known = |view: &DeploymentView| {
            let mut state = state(view);
            // The lag of a replica depends on the time that passes.
            state.retain(|name, _| !name.starts_with("node") && name != "findings");
            state
        };
        let before = tracker.view();
        for gap in 0..missed {
            let missed = vec![PollOutcome::Missed(Reason::Timeout); NODES];
            let result = tracker.observe(&round(acts.len() + gap, missed));
            // The cause of a change of the primary may still be decided.
            let changes = |kind: &str| kind == "primary_changed";
            let only_changes = result.events.iter().all(|event| changes(event.kind.label()));
            prop_assert!(only_changes, "{:?}", result.events);
            let (mut then, mut now) = (known(&before), known(&result.view));
            then.remove("changes");
            now.remove("changes");
            prop_assert_eq!(then, now);
            prop_assert!(result.view.nodes.values().all(|node| node.presence == NodeState::Up));
        }
    }
}

#[test]
fn the_event_history_is_bounded() {
    let mut tracker = tracker([0, 1, 2]);
    for number in 0..2000 {
        let act = if number % 2 == 0 {
            Act::Master { id: 1, continued: None, offset: 0, changes: 0 }
        } else {
            Act::Replica { id: 1, of: 1, up: true, offset: 0 }
        };
        tracker.observe(&round(number, (0..NODES).map(|node| outcome(node, &act)).collect()));
    }
    assert_eq!(tracker.view().history.events().count(), 1000);
}
