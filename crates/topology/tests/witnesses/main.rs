//! Witnesses: nodes that reply and observe one that does not, and the states that they decide.

mod fixture;
#[path = "../recorded/mod.rs"]
mod recorded;

use std::time::Duration;

use recorded::RecordedTracker;

use snapshot::{ClusterMap, DownState, Fields, Reason, Role, SentinelEntry};
use topology::{
    Availability, DeploymentKind, EndpointCheckResult, EndpointKind, EndpointServer, FindingKind,
    PrimaryEvidence, SavedNode, SavedState, WitnessKind,
};

use Availability::{Down, Unknown, Unreachable, Up};
use fixture::{SECOND, TestDeployment, capture, found, info, node, replication, sentinel_master};

/// Returns the recorded reply of a replica with this age of its link.
fn link_age(text: &str, seconds: u64) -> String {
    text.replace("last_io_seconds_ago:0", &format!("last_io_seconds_ago:{seconds}"))
}

#[test]
fn an_active_link_vouches_for_its_primary() {
    let mut test = TestDeployment::replication();
    test.fail(0, Reason::Timeout);
    let states: Vec<_> = (0..5).map(|_| node(&test.round(), 0).availability()).collect();
    assert_eq!(states, [Up, Up, Unreachable, Unreachable, Unreachable]);
    let view = test.round();
    let (unreachable, shard) = (node(&view, 0), &view.shards[0]);
    let kinds: Vec<_> = unreachable.vouching().map(|witness| witness.kind).collect();
    assert_eq!(kinds, [WitnessKind::Replica, WitnessKind::Replica]);
    assert_eq!(
        (unreachable.readable(), unreachable.failure()),
        (Some(false), Some(Reason::Timeout))
    );
    // It still is the primary. If it accepts writes is unknown.
    let primary = shard.primary.map(|primary| (view.name(primary.node), primary.evidence));
    assert_eq!(primary, Some(("n17200", PrimaryEvidence::Sole)));
    assert_eq!((shard.writable, shard.no_primary.why, shard.replicas), (None, None, 2));
    assert!(view.nodes.values().all(|node| node.orphan.is_none()));
    assert_eq!(found(&view), [FindingKind::RedisUnreachable]);
    assert_eq!(test.lost_contacts(), [Unreachable]);
}

#[test]
fn an_idle_link_decides_after_twelve_seconds() {
    let mut test = TestDeployment::replication();
    test.nodes.pop();
    let replica = replication()[1].clone();
    test.fail(0, Reason::Timeout);
    for second in 1..12 {
        test.reply(1, &link_age(&replica, second));
        let view = test.round();
        let unread = second >= 3;
        assert_eq!(node(&view, 0).readable(), Some(!unread), "second {second}");
        assert_eq!(node(&view, 0).availability(), if unread { Unknown } else { Up });
        assert_eq!((found(&view), test.events.len()), (vec![], 0));
    }
    test.reply(1, &link_age(&replica, 12));
    let view = test.round();
    assert_eq!(node(&view, 0).availability(), Down);
    assert!(found(&view).contains(&FindingKind::RedisDown), "{:?}", found(&view));
    // A ping of the primary after ten seconds.
    let mut test = TestDeployment::replication();
    test.nodes.pop();
    test.fail(0, Reason::Timeout);
    for second in 1..40 {
        test.reply(1, &link_age(&replica, second % 10));
        test.round();
    }
    assert_eq!(test.lost_contacts(), [Unreachable]);
}

#[test]
fn link_of_another_history_vouches_for_nothing() {
    let mut test = TestDeployment::replication();
    test.nodes.pop();
    let other = replication()[1].replace("df9338166428d7f7", "0000000000000001");
    test.reply(1, &other);
    test.fail(0, Reason::Timeout);
    assert_eq!(test.decide(0), (Down, 12));
}

#[test]
fn a_lost_link_withdraws_what_it_said() {
    let mut test = TestDeployment::replication();
    test.fail(0, Reason::Timeout);
    assert_eq!(test.decide(0), (Unreachable, 3));
    let down = |text: &str| {
        text.replace("link_status:up", "link_status:down\r\nmaster_link_down_since_seconds:0")
            .replace("last_io_seconds_ago:0", "last_io_seconds_ago:-1")
    };
    for (index, text) in replication().iter().enumerate().skip(1) {
        test.reply(index, &down(text));
    }
    let view = test.round();
    assert_eq!(node(&view, 0).availability(), Down);
    assert_eq!(test.lost_contacts(), [Unreachable, Down]);
    assert_eq!(node(&view, 0).vouching().count(), 0);
}

/// Lets both replicas report that they have just lost the link to their primary.
fn lose_links(test: &mut TestDeployment) {
    for (index, text) in replication().iter().enumerate().skip(1) {
        let down = "link_status:down\r\nmaster_link_down_since_seconds:0";
        test.reply(index, &text.replace("link_status:up", down));
    }
}

#[test]
fn refused_connections_are_death_if_no_link_lives() {
    // A killed process: each link is lost at once.
    let mut test = TestDeployment::replication();
    lose_links(&mut test);
    test.fail(0, Reason::Refused);
    assert_eq!(test.decide(0), (Down, 1));
    // A firewall that rejects the connections of the exporter. The links carry no data.
    let mut test = TestDeployment::replication();
    test.fail(0, Reason::Refused);
    for second in 1..30 {
        for (index, text) in replication().iter().enumerate().skip(1) {
            test.reply(index, &link_age(text, second % 10));
        }
        let view = test.round();
        assert_eq!(node(&view, 0).readable(), Some(false));
        assert!(!found(&view).contains(&FindingKind::RedisDown), "second {second}");
    }
    assert_eq!(test.lost_contacts(), [Unreachable]);
}

#[test]
fn a_node_that_returns_is_not_unreachable_meanwhile() {
    let mut test = TestDeployment::replication();
    lose_links(&mut test);
    test.fail(0, Reason::Refused);
    assert_eq!(test.decide(0), (Down, 1));
    for (index, text) in replication().iter().enumerate().skip(1) {
        test.reply(index, text);
    }
    // Rolecall tries to connect at once. It succeeds, or the node is unreachable.
    let states: Vec<_> = (0..7).map(|_| node(&test.round(), 0).availability()).collect();
    assert_eq!(states, [Down, Down, Down, Down, Down, Down, Unreachable]);
    assert_eq!(test.lost_contacts(), [Down, Unreachable]);
}

#[test]
fn closed_connections_are_neither_silence_nor_death() {
    for reason in [Reason::Reset, Reason::Closed] {
        let mut test = TestDeployment::replication();
        test.fail(0, reason);
        assert_eq!(test.decide(0), (Unreachable, 3), "{reason}");
    }
}

#[test]
fn a_primary_vouches_for_its_replica() {
    let lagging = |seconds: usize| {
        replication()[0].replace("offset=0,lag=0", &format!("offset=0,lag={seconds}"))
    };
    let mut test = TestDeployment::replication();
    test.fail(1, Reason::Timeout);
    assert_eq!(test.decide(1), (Unreachable, 3));
    let view = test.round();
    assert_eq!((found(&view), view.shards[0].replicas), (vec![FindingKind::RedisUnreachable], 2));
    // A frozen replica: the primary lists it as online until `repl-timeout`.
    let mut test = TestDeployment::replication();
    test.fail(1, Reason::Timeout);
    for second in 1..=3 {
        test.reply(0, &lagging(second));
        test.round();
    }
    assert_eq!(test.lost_contacts(), [Down]);
}

/// Creates three Sentinels with these reports and the primary that they monitor.
fn watched(transcript: &str) -> TestDeployment {
    let mut test = TestDeployment::new(DeploymentKind::Sentinel, |deployment| {
        for port in 1..4 {
            deployment.add_sentinel(format!("s{port}"), format!("127.0.0.1:{port}"), true);
        }
    });
    test.nodes = vec![Err(Reason::Timeout); 3];
    for sentinel in 0..3 {
        test.report(sentinel, sentinel_master(transcript));
    }
    test.round();
    assert_eq!(test.tracker.view().nodes.len(), 4, "the master is discovered");
    test
}

const BEFORE: &str = "30-demote-before.sentinel1.sentinel-commands";
const AFTER: &str = "30-demote-after.sentinel1.sentinel-commands";

fn monitored() -> String {
    let run_id = sentinel_master(BEFORE).run_id;
    format!("run_id:{run_id}\nuptime_in_seconds:9\nrole:master\n")
}

#[test]
fn a_sentinel_vouches_for_the_process_that_rolecall_read() {
    let mut test = watched(BEFORE);
    test.nodes.push(Ok(info(&monitored())));
    test.round();
    test.fail(3, Reason::Timeout);
    assert_eq!(test.decide(3), (Unreachable, 3));
    let view = test.round();
    let primary = view.shards[0].primary.map(|primary| (primary.node.get(), primary.evidence));
    assert_eq!(primary, Some((3, PrimaryEvidence::Sentinel)));
    assert_eq!(found(&view), [FindingKind::RedisUnreachable]);
    // Another process at the address.
    let mut test = watched(BEFORE);
    test.nodes.push(Ok(info(&monitored().replace("run_id:1", "run_id:2"))));
    test.round();
    test.fail(3, Reason::Timeout);
    assert_eq!(test.decide(3), (Down, 3));
}

/// Returns the record of a node that a Sentinel considers down, with these ages of the last reply
/// and of the last valid one, milliseconds.
fn considered_down(replied: u64, valid: u64) -> SentinelEntry {
    let mut entry = sentinel_master(BEFORE);
    entry.down_state = DownState::ObjectivelyDown;
    entry.last_ping_reply = Some(Duration::from_millis(replied));
    entry.last_ok_ping = Some(Duration::from_millis(valid));
    entry
}

/// Lets all Sentinels report a record.
fn report(test: &mut TestDeployment, entry: &SentinelEntry) {
    for sentinel in 0..3 {
        test.report(sentinel, entry.clone());
    }
}

/// Creates a master that all Sentinels report with a record, and that replies to Rolecall once.
fn watched_with(entry: &SentinelEntry) -> TestDeployment {
    let mut test = watched(BEFORE);
    test.nodes.push(Ok(info(&monitored())));
    report(&mut test, entry);
    test.round();
    test
}

#[test]
fn a_sentinel_vouches_for_a_flagged_node_that_replies() {
    // A master that reports to be a replica.
    let mut demoted = considered_down(500, 500);
    demoted.role_reported = Some(Role::Replica);
    demoted.down_for = Some(SECOND * 60);
    // Errors, as of a process that cannot write to its disk.
    let misconf = considered_down(1100, 60_000);
    // Errors because the password of the Sentinel is wrong.
    let refused = SentinelEntry { disconnected: true, ..considered_down(700, 9000) };
    for entry in [demoted, misconf, refused] {
        for reason in [Reason::Timeout, Reason::Refused] {
            let mut test = watched_with(&entry);
            test.fail(3, reason);
            for _ in 0..20 {
                let view = test.round();
                assert!(!found(&view).contains(&FindingKind::RedisDown), "{entry:?}");
                assert!(view.reported_down.is_empty(), "{entry:?}");
            }
            assert_eq!(test.lost_contacts(), [Unreachable], "{entry:?}");
        }
    }
}

#[test]
fn a_node_that_a_sentinel_considered_down_before_dies() {
    let mut demoted = considered_down(500, 500);
    demoted.role_reported = Some(Role::Replica);
    demoted.down_for = Some(SECOND * 60);
    // It freezes: no new replies arrive.
    let mut test = watched_with(&demoted);
    test.fail(3, Reason::Timeout);
    let view = (1..=3).map(|second| {
        let mut frozen = considered_down(500 + second * 1000, 500 + second * 1000);
        (frozen.role_reported, frozen.down_for) = (demoted.role_reported, demoted.down_for);
        report(&mut test, &frozen);
        test.round()
    });
    let view = view.last().expect("a round");
    assert_eq!(node(&view, 3).availability(), Down);
    // It was lost when it replied last, and not a minute before.
    assert_eq!(view.reported_down.len(), 1);
    // It is killed: the Sentinel loses its connection.
    let mut test = watched_with(&demoted);
    report(&mut test, &SentinelEntry { disconnected: true, ..demoted });
    test.fail(3, Reason::Refused);
    assert_eq!(test.decide(3), (Down, 1));
}

#[test]
fn a_hasty_sentinel_loses_a_node_before_three_seconds() {
    let lost = |replied| {
        let mut entry = considered_down(replied, replied);
        entry.settings.as_mut().expect("a master").down_after = SECOND;
        let mut test = watched_with(&entry);
        test.fail(3, Reason::Timeout);
        test.round().reported_down.len()
    };
    assert_eq!((lost(1100), lost(2100)), (0, 1));
}

#[test]
fn a_sentinel_that_lost_the_node_withdraws() {
    let mut test = watched(BEFORE);
    test.nodes.push(Ok(info(&monitored())));
    test.round();
    test.fail(3, Reason::Timeout);
    assert_eq!(test.decide(3), (Unreachable, 3));
    report(&mut test, &considered_down(4100, 4100));
    let view = test.round();
    assert_eq!(node(&view, 3).availability(), Down);
    assert_eq!(view.reported_down.len(), 1);
    // A connection that is lost makes no statement, but is no observer either.
    let mut test = watched(BEFORE);
    test.nodes.push(Ok(info(&monitored())));
    test.round();
    for sentinel in 0..3 {
        let mut entry = sentinel_master(BEFORE);
        entry.disconnected = true;
        test.report(sentinel, entry);
    }
    test.fail(3, Reason::Refused);
    assert_eq!(test.decide(3), (Down, 1));
}

#[test]
fn a_record_without_run_id_says_nothing() {
    // After +switch-master the time of the last ping starts at zero without a reply.
    assert_eq!(&*sentinel_master(AFTER).run_id, "");
    let mut test = watched(AFTER);
    test.nodes.push(Err(Reason::Timeout));
    test.fail(3, Reason::Timeout);
    let view = (0..5).map(|_| test.round()).last().expect("a round");
    assert!(node(&view, 3).was_never_reached() && node(&view, 3).witnesses.is_empty());
    assert_eq!(found(&view), [FindingKind::RolecallNeverReached]);
    assert_eq!(view.shards[0].no_primary.why, None);
    // With one it vouches for a node that Rolecall never read.
    let mut test = watched(BEFORE);
    test.nodes.push(Err(Reason::Dns));
    test.fail(3, Reason::Dns);
    assert_eq!(test.decide(3), (Unreachable, 3));
    let view = test.round();
    let primary = view.shards[0].primary.map(|primary| primary.node.get());
    assert_eq!((primary, view.shards[0].no_primary.why), (Some(3), None));
    let finding = view.findings.iter().find(|found| found.kind == FindingKind::RedisUnreachable);
    let values = finding.expect("the finding").evidence.values();
    assert!(values.iter().any(|(name, _)| *name == "unmapped"), "{values:?}");
}

/// A cluster of two recorded nodes; the second one is not polled.
struct TestCluster {
    test: TestDeployment,
    map: String,
    /// Uptime of the second node, seconds.
    uptime: u64,
}

/// Time of the recorded server, milliseconds.
const SERVER_TIME: u64 = 1_795_226_238_600;

impl TestCluster {
    fn new() -> Self {
        let mut test = TestDeployment::new(DeploymentKind::Cluster, |deployment| {
            for port in [17260, 17261] {
                deployment.add(format!("n{port}"), format!("127.0.0.1:{port}"), None);
            }
        });
        let transcript = capture("32-cluster-failover-done-old-master-dead.c2.cluster-commands");
        let map = transcript.split(">>> CLUSTER NODES").nth(1).expect("the map").to_owned();
        let lines: Vec<_> = map
            .lines()
            .filter(|line| line.contains(":17260@") || line.contains(":17261@"))
            .map(str::trim_end)
            .collect();
        let map = lines.join("\n") + "\n";
        test.nodes = vec![Err(Reason::Timeout), Err(Reason::Timeout)];
        let mut cluster = TestCluster { test, map, uptime: 900 };
        cluster.pong(0);
        let first = "run_id:c1\nrole:master\ncluster_enabled:1\n";
        cluster.test.nodes[0] = Ok(info(first));
        cluster
    }

    /// Lets the second node report a pong of the first one of this age.
    fn pong(&mut self, millis: u64) {
        self.reply(
            &self.map.replace(" 1795226238578 1 ", &format!(" {} 1 ", SERVER_TIME - millis)),
        );
    }

    fn reply(&mut self, map: &str) {
        let uptime = self.uptime;
        let mut reply = info(&format!(
            "run_id:c2\nuptime_in_seconds:{uptime}\nserver_time_usec:{}\ncluster_enabled:1\n\
             role:master\nmaster_replid:{}\n",
            SERVER_TIME * 1000,
            "a".repeat(40)
        ));
        reply.map = Some(ClusterMap::parse(map).into());
        reply.cluster = Some(Fields::parse("cluster_state:ok\ncluster_my_epoch:2\n").into());
        self.test.nodes[1] = Ok(reply);
    }
}

#[test]
fn a_cluster_node_vouches_by_its_own_clock() {
    let mut cluster = TestCluster::new();
    cluster.test.round();
    cluster.test.fail(0, Reason::Timeout);
    cluster.pong(200);
    assert_eq!(cluster.test.decide(0), (Unreachable, 3));
    // The map withdraws this at once.
    let map =
        cluster.map.replace("master - 0 1795226238578 1 ", "master,fail? - 0 1795226238578 1 ");
    cluster.reply(&map);
    let view = cluster.test.round();
    assert_eq!(node(&view, 0).availability(), Down);
}

#[test]
fn old_pongs_of_a_cluster_vouch_for_nothing() {
    // All pongs stop together if most nodes freeze.
    let mut cluster = TestCluster::new();
    cluster.test.round();
    cluster.test.fail(0, Reason::Timeout);
    for second in 1..=12 {
        cluster.pong(second * 1000 + 200);
        cluster.test.round();
    }
    assert_eq!(cluster.test.lost_contacts(), [Down]);
}

#[test]
fn pongs_of_a_node_that_just_started_vouch_for_nothing() {
    let mut cluster = TestCluster::new();
    cluster.test.round();
    cluster.test.fail(0, Reason::Timeout);
    for second in 1..=12_u64 {
        cluster.uptime = second - 1;
        cluster.pong(second * 1000 - 900);
        cluster.test.round();
    }
    assert_eq!(cluster.test.lost_contacts(), [Down]);
}

#[test]
fn an_endpoint_check_vouches_for_the_process_it_reached() {
    let mut test = TestDeployment::replication();
    test.nodes.truncate(1);
    test.nodes.extend([Err(Reason::Refused), Err(Reason::Refused)]);
    test.fail(0, Reason::Timeout);
    let run_id = "ff950f68a4ae07c20bcebf890aaa67eb0521fdbb";
    for second in 1..=4 {
        if second % 2 == 0 {
            let started = test.now + SECOND / 2;
            test.checks.push(EndpointCheckResult {
                endpoint: EndpointKind::Primary,
                started,
                ended: started,
                interval: SECOND * 10,
                outcome: Ok(EndpointServer { run_id: Some(run_id.into()), ..Default::default() }),
            });
        }
        test.round();
    }
    assert_eq!(node(&test.tracker.view(), 0).availability(), Unreachable);
}

#[test]
fn nodes_that_never_replied_are_down_if_they_ran_before() {
    // A replica that lost its link to a node shows that the node ran.
    let mut test = TestDeployment::new(DeploymentKind::Static, |deployment| {
        for port in 17200..17202 {
            deployment.add(format!("n{port}"), format!("127.0.0.1:{port}"), None);
        }
    });
    let lost = capture("04-replica-link-down-master-killed.replica1.info-everything");
    test.nodes = vec![Err(Reason::Refused), Ok(info(&lost))];
    test.fail(0, Reason::Refused);
    assert_eq!(test.decide(0), (Down, 1));
    let view = (0..4).map(|_| test.round()).last().expect("a round");
    assert!(found(&view).contains(&FindingKind::RedisNoPrimary), "{:?}", found(&view));
    // So does the saved state.
    let mut test = TestDeployment::new(DeploymentKind::Static, |deployment| {
        deployment.add("n1", "10.0.0.1:1", None);
    });
    let saved = SavedNode { run_id: Some("x".to_owned()), ..SavedNode::default() };
    let nodes = [("n1".to_owned(), saved)].into();
    test.tracker = RecordedTracker::new(
        test.tracker.view().deployment.clone(),
        Some((SavedState { nodes, ..SavedState::default() }, SECOND)),
    );
    test.nodes = vec![Err(Reason::Timeout)];
    test.fail(0, Reason::Timeout);
    assert_eq!(test.decide(0), (Down, 3));
    // Without both, nobody knows if there is such a node.
    let mut test = TestDeployment::new(DeploymentKind::Static, |deployment| {
        deployment.add("n1", "10.0.0.1:1", None);
    });
    test.nodes = vec![Err(Reason::Refused)];
    test.fail(0, Reason::Refused);
    let view = (0..20).map(|_| test.round()).last().expect("a round");
    assert_eq!(found(&view), [FindingKind::RolecallNeverReached]);
    assert_eq!((node(&view, 0).readable(), test.events.len()), (Some(false), 0));
    test.nodes = vec![Ok(info(&replication()[0]))];
    assert_eq!((found(&test.round()), test.events.len()), (vec![], 0));
}

#[test]
fn problems_of_the_exporter_are_no_evidence() {
    let mut test = TestDeployment::replication();
    test.nodes.truncate(1);
    test.nodes.extend([Err(Reason::Local), Err(Reason::Local)]);
    test.fail(0, Reason::Local);
    let view = (0..20).map(|_| test.round()).last().expect("a round");
    for index in 0..3 {
        assert_eq!(node(&view, index).availability(), Unknown);
        assert_eq!(node(&view, index).readable(), None);
        assert_eq!(node(&view, index).failure(), Some(Reason::Local));
    }
    assert_eq!(found(&view), [FindingKind::RolecallCannotRead; 3]);
    assert_eq!(test.lost_contacts(), [Unknown; 3]);
}

#[test]
fn unreachable_nodes_are_unknown_while_the_exporter_is_cut_off() {
    let mut test = TestDeployment::replication();
    test.fail(0, Reason::Timeout);
    assert_eq!(test.decide(0), (Unreachable, 3));
    for index in 1..3 {
        test.fail(index, Reason::Timeout);
    }
    // The witnesses fall silent before the exporter notices that it is cut off.
    let view = test.round();
    assert_eq!(node(&view, 0).availability(), Unreachable);
    for second in 0..30 {
        let view = test.round_with(|round| {
            (round.blind, round.cut_off_for) = (true, Some(SECOND * second));
        });
        let states = [0, 1, 2].map(|index| node(&view, index).availability());
        assert_eq!(states, [Unknown; 3], "second {second}");
        assert!(!found(&view).contains(&FindingKind::RedisDown));
    }
    assert_eq!(test.lost_contacts(), [Unreachable]);
}

#[test]
fn a_follower_names_a_primary_that_was_never_read() {
    let mut test = TestDeployment::replication();
    let view = {
        let nodes = std::mem::take(&mut test.nodes);
        test = TestDeployment::new(DeploymentKind::Static, |deployment| {
            for port in 17200..17203 {
                deployment.add(format!("n{port}"), format!("127.0.0.1:{port}"), None);
            }
        });
        test.nodes = nodes;
        test.fail(0, Reason::Timeout);
        (0..5).map(|_| test.round()).last().expect("a round")
    };
    assert_eq!(node(&view, 0).availability(), Unreachable);
    let primary = view.shards[0].primary.map(|primary| primary.node.get());
    assert_eq!((primary, view.shards[0].no_primary.why), (Some(0), None));
    assert_eq!(found(&view), [FindingKind::RedisUnreachable]);
}
