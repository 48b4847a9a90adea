//! Histories that once had a fault.

use crate::history::History;
use crate::operations::Operation::{
    Cut, CutOneWay, Failover, Follow, Freeze, Heal, Hide, Kill, MoveClient, Promote, Restart,
    RestartExporter, Show, Start, Thaw,
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

#[test]
fn changes_that_a_resync_discarded_do_not_diverge() {
    agree(128_904, &[at(14, Freeze(0)), at(43, Failover), at(53, Failover)]);
}

#[test]
fn changes_before_a_restart_and_a_resync_do_not_diverge() {
    agree(
        137_260,
        &[
            at(16, Failover),
            at(18, MoveClient { client: 1, server: 2 }),
            at(19, Failover),
            at(20, Hide(2)),
            at(26, Failover),
            at(31, CutOneWay(44106)),
            at(31, Restart { server: 2, with_data: false }),
            at(36, Promote(2)),
        ],
    );
}

#[test]
fn changes_discarded_in_a_gap_do_not_diverge() {
    agree(
        146_417,
        &[
            at(10, Hide(1)),
            at(10, Kill(2)),
            at(11, Start { server: 2, with_data: true }),
            at(11, Cut(31454)),
            at(12, Hide(0)),
            at(13, Promote(2)),
            at(13, Follow { server: 0, master: 1 }),
            at(14, Follow { server: 1, master: 2 }),
            at(20, Promote(1)),
            at(20, Heal),
            at(21, Promote(0)),
            at(23, Show(0)),
        ],
    );
}

#[test]
fn changes_of_a_reign_that_ended_in_a_gap_do_not_diverge() {
    agree(
        165_630,
        &[at(23, Kill(0)), at(36, Freeze(3)), at(40, Thaw(3)), at(49, Hide(3)), at(53, Failover)],
    );
}

#[test]
fn changes_replicated_from_an_unseen_node_do_not_diverge() {
    agree(
        304_027,
        &[
            at(15, Kill(1)),
            at(16, Kill(0)),
            at(16, Kill(2)),
            at(21, Start { server: 2, with_data: true }),
            at(24, Hide(2)),
            at(25, Freeze(4)),
            at(34, Start { server: 0, with_data: true }),
            at(34, Promote(2)),
            at(37, Follow { server: 0, master: 2 }),
            at(45, Follow { server: 2, master: 0 }),
            at(51, Failover),
            at(51, Thaw(4)),
        ],
    );
}

#[test]
fn a_rival_that_resynced_has_writes_of_a_restarted_master() {
    agree(
        312_479,
        &[
            at(17, Failover),
            at(32, Freeze(1)),
            at(38, Thaw(1)),
            at(47, Failover),
            at(48, Kill(0)),
            at(48, Start { server: 0, with_data: false }),
        ],
    );
}

#[test]
fn a_stale_master_that_returns_loses_its_writes_once() {
    agree(
        133_861,
        &[
            at(11, Freeze(1)),
            at(16, Failover),
            at(17, Cut(15363)),
            at(20, Freeze(3)),
            at(31, Freeze(0)),
        ],
    );
}

#[test]
fn a_stale_master_that_restarts_loses_its_writes_once() {
    agree(
        197_613,
        &[
            at(13, Kill(2)),
            at(16, Failover),
            at(26, Cut(43378)),
            at(33, Start { server: 2, with_data: false }),
            at(39, Follow { server: 2, master: 1 }),
            at(42, Heal),
            at(47, Kill(0)),
            at(48, Failover),
            at(55, Start { server: 0, with_data: false }),
            at(61, Follow { server: 2, master: 1 }),
        ],
    );
}

#[test]
fn a_restart_without_data_loses_replicated_writes() {
    agree(
        155_453,
        &[
            at(13, Failover),
            at(14, Kill(3)),
            at(17, Freeze(0)),
            at(19, Start { server: 3, with_data: true }),
            at(19, Kill(1)),
            at(22, Kill(2)),
            at(32, Start { server: 2, with_data: false }),
        ],
    );
}

#[test]
fn lost_replicated_writes_remain_when_the_rival_changes() {
    agree(
        156_223,
        &[
            at(13, Freeze(0)),
            at(17, Failover),
            at(19, Kill(4)),
            at(20, Failover),
            at(25, Kill(3)),
            at(26, Failover),
            at(27, Start { server: 3, with_data: false }),
            at(28, Follow { server: 1, master: 0 }),
        ],
    );
}

#[test]
fn writes_may_come_back_after_they_were_lost() {
    agree(
        162_329,
        &[
            at(10, Cut(32778)),
            at(23, Hide(0)),
            at(25, Follow { server: 0, master: 2 }),
            at(35, Promote(1)),
        ],
    );
}

#[test]
fn changes_before_an_unseen_resync_are_lost_in_a_restart() {
    agree(
        165_630,
        &[
            at(23, Kill(0)),
            at(36, Freeze(3)),
            at(40, Thaw(3)),
            at(49, Hide(3)),
            at(53, Failover),
            at(57, Kill(3)),
            at(67, Start { server: 3, with_data: false }),
        ],
    );
}

#[test]
fn the_lag_of_a_new_primary_begins_with_its_history() {
    agree(
        526_769,
        &[
            at(12, Freeze(4)),
            at(18, Follow { server: 0, master: 3 }),
            at(32, Follow { server: 3, master: 4 }),
            at(33, Thaw(4)),
        ],
    );
}

#[test]
fn the_lag_of_a_synchronized_primary_begins_with_its_history() {
    agree(
        512_048,
        &[
            at(13, Kill(1)),
            at(17, RestartExporter { with_state: false, downtime: 0 }),
            at(28, Failover),
            at(31, Follow { server: 2, master: 1 }),
            at(33, MoveClient { client: 0, server: 2 }),
            at(35, RestartExporter { with_state: false, downtime: 4 }),
            at(42, Start { server: 1, with_data: false }),
            at(43, Hide(0)),
            at(46, Freeze(2)),
            at(47, Restart { server: 0, with_data: true }),
            at(49, Follow { server: 0, master: 2 }),
        ],
    );
}
