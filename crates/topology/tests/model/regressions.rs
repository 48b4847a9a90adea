//! Histories that once had a fault.

use crate::history::History;
use crate::operations::Operation::{
    CutOneWay, Failover, Follow, Freeze, Hide, Kill, MoveClient, Promote, Restart, RestartExporter,
    Start, Thaw,
};
use crate::operations::{Step, at};

/// Runs a history. The view must agree with the truth.
#[track_caller]
fn agree(seed: u64, steps: &[Step]) {
    if let Some(fault) = History::of(seed, steps).run() {
        panic!("{fault:?}");
    }
}

#[test]
fn no_lag_begins_while_the_primary_is_a_replica() {
    agree(43, &[at(13, Freeze(2)), at(21, Follow { server: 0, master: 2 })]);
}

#[test]
fn an_unreachable_third_master_hides_no_split_brain() {
    agree(15, &[at(14, Kill(0)), at(22, Hide(4)), at(22, Failover), at(30, Promote(1))]);
}

#[test]
fn writes_replicated_from_a_rival_do_not_diverge() {
    agree(240, &[at(19, Freeze(3)), at(19, Hide(2)), at(19, Freeze(0)), at(54, Failover)]);
}

#[test]
fn replicated_changes_of_a_new_process_do_not_diverge() {
    agree(
        963,
        &[
            at(15, Freeze(1)),
            at(21, Failover),
            at(35, Failover),
            at(37, RestartExporter { with_state: false, downtime: 0 }),
            at(40, RestartExporter { with_state: false, downtime: 4 }),
            at(45, Kill(1)),
            at(46, Failover),
            at(48, Hide(0)),
            at(48, Start { server: 1, with_data: false }),
            at(50, Failover),
            at(51, Kill(0)),
            at(52, Failover),
            at(53, Start { server: 0, with_data: true }),
        ],
    );
}

#[test]
fn changes_replicated_in_a_gap_do_not_diverge() {
    agree(535, &[at(10, Freeze(0)), at(24, Failover), at(30, Hide(4)), at(60, Promote(4))]);
}

#[test]
fn a_demotion_between_two_polls_begins_a_new_reign() {
    agree(1720, &[at(15, Failover), at(40, Failover), at(49, Failover)]);
}

#[test]
fn a_rival_that_followed_the_master_has_its_writes() {
    agree(
        111_703,
        &[at(19, Failover), at(23, Promote(2)), at(30, CutOneWay(50378)), at(40, Failover)],
    );
}

#[test]
fn an_unreachable_replica_of_the_primary_is_no_master() {
    agree(
        190_056,
        &[
            at(10, Failover),
            at(17, Failover),
            at(25, Hide(4)),
            at(44, Follow { server: 0, master: 1 }),
        ],
    );
}

#[test]
fn two_saves_within_one_second_leave_a_lower_bound() {
    agree(
        128_208,
        &[
            at(14, Follow { server: 2, master: 4 }),
            at(14, Freeze(4)),
            at(18, Thaw(4)),
            at(22, Promote(2)),
            at(34, Restart { server: 4, with_data: true }),
            at(35, Failover),
        ],
    );
}

#[test]
fn a_save_in_the_second_of_the_start_leaves_a_lower_bound() {
    agree(
        325_978,
        &[
            at(13, Promote(1)),
            at(14, MoveClient { client: 0, server: 2 }),
            at(14, Kill(2)),
            at(15, RestartExporter { with_state: true, downtime: 1 }),
            at(17, Failover),
            at(18, Start { server: 2, with_data: true }),
        ],
    );
}
