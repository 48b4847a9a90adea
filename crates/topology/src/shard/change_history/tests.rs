//! Tests of the history of one node.

use snapshot::Replication;

use super::*;
use crate::shard::branches::Branches;

#[derive(Clone, Copy)]
struct Reply {
    run_id: &'static str,
    history: char,
    offset: u64,
    changes: u64,
    more: &'static str,
}

const FIRST: Reply = Reply { run_id: "x", history: 'a', offset: 0, changes: 0, more: "" };

fn snapshot(reply: &Reply) -> NodeSnapshot {
    let Reply { run_id, history, offset, changes, more } = reply;
    let history = history.to_string().repeat(40);
    let info = format!(
        "{more}\nrun_id:{run_id}\nloading:0\naof_enabled:0\nrole:master\n\
         master_replid:{history}\nmaster_repl_offset:{offset}\nrdb_last_save_time:1\n\
         rdb_bgsave_in_progress:0\nrdb_changes_since_last_save:{changes}\n"
    );
    NodeSnapshot::from_info(&info).expect("an INFO reply")
}

fn history(replies: &[Reply]) -> ChangeHistory {
    let mut history = ChangeHistory::default();
    for reply in replies {
        assert!(history.record(&snapshot(reply), Monotonic::START));
    }
    history
}

/// Returns the baseline at an offset of the history `a`.
fn at(history: &ChangeHistory, end: u64) -> BaselineSearch {
    // The other node took over from `a`.
    let mut branches = Branches::default();
    branches.observe(&Replication {
        replid: Some("z".into()),
        replid2: Some("a".repeat(40).into()),
        second_offset: Some(end + 1),
        ..Replication::default()
    });
    history.baseline(&branches.common_with("z"))
}

fn total_and_resets(history: &ChangeHistory) -> (u64, u32) {
    history.last().map(|last| (last.total, last.resets)).expect("a sample")
}

#[test]
fn a_baseline_lies_between_two_samples() {
    let samples = [
        Reply { offset: 1000, changes: 100, ..FIRST },
        Reply { offset: 2000, changes: 200, ..FIRST },
        Reply { offset: 4000, changes: 240, ..FIRST },
    ];
    let history = history(&samples);
    let known = |low, about, high| {
        BaselineSearch::Known(Baseline { low, about, high, resets: 0, at_least: false })
    };
    assert_eq!(at(&history, 1250), known(100, 125, 200));
    assert_eq!(at(&history, 2000), known(200, 200, 200));
    assert_eq!(at(&history, 3000), known(200, 220, 240));
    assert_eq!(at(&history, 4001), BaselineSearch::Pending);
    assert_eq!(at(&history, 999), BaselineSearch::Unknown);
    assert_eq!(history.baseline(&Branches::default().common_with("z")), BaselineSearch::Unknown);
}

#[test]
fn a_promotion_continues_the_offsets() {
    let samples = [
        Reply { offset: 1000, changes: 100, ..FIRST },
        Reply { offset: 1500, changes: 150, history: 'b', ..FIRST },
    ];
    let expected = Baseline { low: 100, about: 120, high: 150, resets: 0, at_least: false };
    assert_eq!(at(&history(&samples), 1200), BaselineSearch::Known(expected));
}

#[test]
fn a_save_leaves_a_lower_bound() {
    let first = Reply { changes: 1000, ..FIRST };
    // It began and ended between the samples.
    let saved = Reply { changes: 7, more: "rdb_last_save_time:9", ..FIRST };
    assert_eq!(total_and_resets(&history(&[first, saved])), (1007, 1));
    // It runs at the second sample, and began between the first two.
    let replies = [
        Reply { changes: 1000, ..FIRST },
        Reply { changes: 1100, more: "rdb_bgsave_in_progress:1", ..FIRST },
        Reply { changes: 130, more: "rdb_last_save_time:9", ..FIRST },
    ];
    assert_eq!(total_and_resets(&history(&replies)), (1130, 1));
    // FLUSHALL saves, and keeps the count.
    let flushed = Reply { changes: 1005, more: "rdb_last_save_time:9", ..FIRST };
    assert_eq!(total_and_resets(&history(&[Reply { changes: 1000, ..FIRST }, flushed])), (1005, 1));
}

#[test]
fn a_second_save_within_one_second_is_possible() {
    let saved = |changes| Reply { changes, more: "rdb_last_save_time:9", ..FIRST };
    let replies = [Reply { changes: 100, ..FIRST }, saved(6), saved(9), saved(12)];
    // The second save may be between the readings 6 and 9. A third one is in another second.
    assert_eq!(total_and_resets(&history(&replies)), (112, 2));
}

#[test]
fn a_restart_ends_a_history() {
    let replies = [
        Reply { offset: 1000, changes: 100, ..FIRST },
        Reply { run_id: "x2", history: 'c', offset: 50, changes: 5, ..FIRST },
    ];
    let history = history(&replies);
    assert_eq!((total_and_resets(&history), history.own_since()), ((105, 1), 100));
    let expected = Baseline { low: 100, about: 100, high: 100, resets: 0, at_least: false };
    assert_eq!(at(&history, 1200), BaselineSearch::Known(expected));
}

#[test]
fn changes_that_a_third_node_replaced_do_not_count() {
    let id = |id: char| id.to_string().repeat(40);
    let mut branches = Branches::default();
    for (new, before, end) in [('z', 'a', 500), ('b', 'a', 1200), ('c', 'b', 1400)] {
        branches.observe(&Replication {
            replid: Some(id(new).into()),
            replid2: Some(id(before).into()),
            second_offset: Some(end + 1),
            ..Replication::default()
        });
    }
    let count = |replies: &[Reply]| {
        let history = history(replies);
        let search = history.baseline(&branches.common_with(&id('z')));
        let BaselineSearch::Known(baseline) = search else { panic!("a baseline") };
        let total = history.last().expect("a sample").total;
        (total - baseline.high, total - baseline.low, baseline.at_least)
    };
    let at = |offset: u64| Reply { offset, changes: offset / 10, ..FIRST };
    let own = [at(500), at(1000), at(2000)];
    assert_eq!(count(&own), (150, 150, false));
    // A replica of `b` keeps the changes up to 1200, and the counter those that it discards.
    let more = "master_replid2:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    let promoted = Reply { history: 'c', offset: 1500, changes: 220, more, ..FIRST };
    assert_eq!(count(&[&own[..], &[promoted]].concat()), (50, 50, true));
    let later = Reply { offset: 1600, changes: 230, ..promoted };
    assert_eq!(count(&[&own[..], &[promoted, later]].concat()), (60, 60, true));
    // Nothing is known about the history that it continues.
    let more = "master_replid2:dddddddddddddddddddddddddddddddddddddddd";
    let unseen = Reply { history: 'e', offset: 1500, changes: 220, more, ..FIRST };
    assert_eq!(count(&[at(500), unseen]), (0, 170, true));
    assert_eq!(count(&[&own[..], &[unseen]].concat()), (0, 0, true));
}

#[test]
fn replicated_changes_of_a_process_are_not_its_own() {
    let own_since = |replies: &[Reply]| history(replies).own_since();
    let replica = Reply { changes: 20, more: "role:slave\nmaster_host:h", ..FIRST };
    let promoted = Reply { changes: 25, history: 'b', ..FIRST };
    assert_eq!(own_since(&[promoted]), 0);
    assert_eq!(own_since(&[replica, promoted]), 25);
    // A new process that continues another history may have been a replica.
    let continues = "master_replid2:dddddddddddddddddddddddddddddddddddddddd";
    let restarted = Reply { run_id: "x2", changes: 7, history: 'c', ..FIRST };
    assert_eq!(own_since(&[promoted, restarted]), 25);
    assert_eq!(own_since(&[promoted, Reply { more: continues, ..restarted }]), 32);
}

#[test]
fn the_number_of_samples_is_bounded() {
    let mut history = ChangeHistory::default();
    for second in 0..10_000 {
        let reply = Reply { offset: second * 100, changes: second, ..FIRST };
        history.record(&snapshot(&reply), Monotonic::START);
        assert!(history.samples.len() <= MAX_SAMPLES);
    }
    // The last minute is complete, and older samples are sparse.
    let BaselineSearch::Known(recent) = at(&history, 994_050) else { panic!("a baseline") };
    assert_eq!((recent.low, recent.high), (9940, 9941));
    assert!(matches!(at(&history, 900_050), BaselineSearch::Known(_)));
}
