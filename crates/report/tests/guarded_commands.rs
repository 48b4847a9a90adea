//! Destructive commands of runbooks are never filled with the primary.

mod split_brain;

use std::sync::Arc;
use std::time::SystemTime;

use report::{Site, diagnose, runbooks};
use snapshot::Reason;
use split_brain::{SECOND, replied, split_brain};
use topology::{
    Deployment, DeploymentKind, DeploymentTracker, DeploymentView, FindingKind, PollOutcome, Round,
};

/// Words of destructive commands.
const DESTRUCTIVE: [&str; 15] = [
    "replicaof",
    "slaveof",
    "min-replicas-to-write 100",
    "min-slaves-to-write 100",
    "sentinel reset",
    "client pause",
    "flushall",
    "flushdb",
    "shutdown",
    "debug ",
    "unlink ",
    "systemctl stop redis-server",
    "cluster fix",
    "bumpepoch",
    "addslotsrange",
];

const FENCE: &str = "config set min-replicas-to-write 100";

/// Returns the INFO reply of a master with a replication history, given as a letter.
fn master(run_id: &str, history: &str, continues: &str, changes: u64) -> PollOutcome {
    let (history, continues) = (history.repeat(40), continues.repeat(40));
    replied(&format!(
        "run_id:{run_id}\nrole:master\nmaster_replid:{history}\nmaster_replid2:{continues}\n\
         second_repl_offset:91\nmaster_repl_offset:120\nrdb_last_save_time:1\n\
         rdb_changes_since_last_save:{changes}\nloading:0\n"
    ))
}

/// Returns the INFO reply of a replica of the node at this port.
fn replica(run_id: &str, history: &str, port: u16) -> PollOutcome {
    let history = history.repeat(40);
    replied(&format!(
        "run_id:{run_id}\nrole:slave\nmaster_host:10.0.0.5\nmaster_port:{port}\n\
         master_link_status:up\nmaster_replid:{history}\nmaster_repl_offset:100\n"
    ))
}

/// Returns a deployment of nodes at the ports 6379, 6380 and so on after these rounds. Each round
/// lasts for three polls.
fn after(rounds: &[&[PollOutcome]]) -> Arc<DeploymentView> {
    let mut deployment = Deployment::new("orders", DeploymentKind::Static, &[], SECOND, SECOND * 3);
    for (number, port) in (0..rounds[0].len()).zip(6379..) {
        deployment.add(format!("orders-{number}"), format!("10.0.0.5:{port}"), None);
    }
    let mut tracker = DeploymentTracker::new(Arc::new(deployment));
    let polls = rounds.iter().flat_map(|round| [round; 3]);
    for (outcomes, number) in polls.zip(1..) {
        tracker.observe(&Round::new(
            SystemTime::UNIX_EPOCH + SECOND * number,
            topology::Monotonic::from_start(SECOND * number),
            outcomes.to_vec(),
        ));
    }
    tracker.view()
}

/// Returns a deployment whose stale master accepted writes and became primary again.
fn primary_again() -> Arc<DeploymentView> {
    after(&[
        &[master("0", "a", "0", 5), replica("1", "a", 6379)],
        &[master("0", "a", "0", 5), master("1", "b", "a", 0)],
        &[master("0", "a", "0", 7), master("1", "b", "a", 0)],
        &[replica("0", "b", 6380), master("1", "b", "a", 0)],
        &[master("0", "c", "b", 0), replica("1", "c", 6379)],
    ])
}

/// Returns a deployment whose stale master accepted writes and was demoted.
fn demoted() -> Arc<DeploymentView> {
    after(&[
        &[master("0", "a", "0", 5), replica("1", "a", 6379)],
        &[master("0", "a", "0", 5), master("1", "b", "a", 0)],
        &[master("0", "a", "0", 7), master("1", "b", "a", 0)],
        &[replica("0", "b", 6380), master("1", "b", "a", 0)],
    ])
}

/// Returns views in which different nodes are primary, or none.
fn views() -> Vec<Arc<DeploymentView>> {
    let down = || PollOutcome::Failed(Reason::Refused);
    let healthy = [master("0", "a", "0", 5), replica("1", "a", 6379)];
    vec![
        split_brain(),
        primary_again(),
        demoted(),
        after(&[&healthy]),
        after(&[&healthy, &[master("0", "a", "0", 5), down()]]),
        after(&[&healthy, &[down(), replica("1", "a", 6379)]]),
        after(&[&healthy, &[down(), down()]]),
        after(&[&healthy, &[replica("0", "a", 6380), replica("1", "a", 6379)]]),
        after(&[&[master("0", "a", "0", 5), master("1", "b", "0", 5)]]),
        after(&[&[master("0", "a", "0", 5), master("1", "a", "0", 5)]]),
    ]
}

fn site(views: &[Arc<DeploymentView>]) -> Site<'_> {
    Site { version: "0.1.0", now: SystemTime::UNIX_EPOCH + SECOND * 60, views }
}

/// Checks that no destructive command of a text is sent to the primary of a view, or to any node
/// while the primary is unknown. The former primary may be promoted.
fn check_commands(view: &DeploymentView, text: &str, context: &str) {
    let primary = view.shards[0].primary.map(|primary| primary.node);
    let forbidden: Vec<_> = view
        .members()
        .filter(|(index, _)| primary.is_none_or(|primary| primary == *index))
        .flat_map(|(_, node)| {
            let (host, port) = node.node.address.split_once(':').expect("an address");
            [format!("-h {host} -p {port}"), format!("{host}:{port}")]
        })
        .collect();
    for line in text.lines().filter(|line| !line.contains("grep ")) {
        let lower = line.to_lowercase();
        // Commands follow the address of the node that they are sent to.
        let sent_to = DESTRUCTIVE.iter().filter_map(|word| lower.find(word)).max();
        let Some(end) = sent_to else { continue };
        let former = view.shards[0].former_primary.map(|former| &view.nodes[former].node.address);
        let port = former.and_then(|former| former.split(':').nth(1)).unwrap_or_default();
        if former.is_some() && lower.contains(&format!("-p {port} replicaof no one")) {
            continue;
        }
        for target in &forbidden {
            assert!(!lower[..end].contains(target.as_str()), "{context}: {target} in {line}");
        }
    }
}

#[test]
fn no_destructive_command_is_filled_with_the_primary() {
    for view in views() {
        let views = [Arc::clone(&view)];
        let site = site(&views);
        let mut nodes = vec![None];
        nodes.extend(view.members().map(|(_, node)| Some(node.node.name.as_str())));
        for (alert, _) in runbooks() {
            for node in &nodes {
                let page = site.runbook(alert, Some("orders"), *node).expect("a page");
                check_commands(&view, &page, &format!("{alert} of {node:?}"));
            }
        }
        check_commands(&view, &diagnose(&views), "diagnose");
    }
}

#[test]
fn the_fix_of_a_loop_names_the_former_primary() {
    let healthy = [master("0", "a", "0", 5), replica("1", "a", 6379)];
    let looped = [replica("0", "a", 6380), replica("1", "a", 6379)];
    let views = [after(&[&healthy, &looped])];
    let command = "redis-cli -h 10.0.0.5 -p 6379 replicaof no one";
    for alert in ["RedisReplicationLoop", "RedisNoPrimary"] {
        let page = site(&views).runbook(alert, Some("orders"), None).expect("a page");
        assert!(page.contains(command), "{page}");
        assert!(!page.contains("It is not certain which node was primary last"), "{page}");
    }
    let text = anstream::adapter::strip_str(&diagnose(&views)).to_string();
    assert!(text.contains(command), "{text}");
    assert!(text.contains("REPLICAOF NO ONE on the former primary, 10.0.0.5 port 6379;"), "{text}");
}

#[test]
fn an_uncertain_former_primary_is_not_promoted() {
    // Rolecall started when the loop existed already, or another node was promoted in between.
    let looped = [replica("0", "a", 6380), replica("1", "a", 6379)];
    let healthy = [master("0", "a", "0", 5), replica("1", "a", 6379)];
    let succeeded = [replica("0", "b", 6380), replica("1", "b", 6379)];
    for (view, is_known) in [(after(&[&looped]), false), (after(&[&healthy, &succeeded]), true)] {
        let views = [view];
        let page = site(&views).runbook("RedisReplicationLoop", Some("orders"), None);
        let page = page.expect("a page");
        let command = "-h $FORMER_PRIMARY_HOST -p $FORMER_PRIMARY_PORT replicaof no one";
        assert!(page.contains(command), "{page}");
        assert_eq!(page.contains("It is not certain which node was primary last"), is_known);
        assert!(
            page.contains("<code>$FORMER_PRIMARY_HOST, $FORMER_PRIMARY_PORT</code>: "),
            "{page}"
        );
        // Commands that only read are filled.
        assert!(page.contains("redis-cli -h 10.0.0.5 -p 6379 info replication"), "{page}");
    }
}

#[test]
fn stale_masters_and_replicas_are_filled_in() {
    for (alert, view) in [("RedisSplitBrain", split_brain()), ("RedisWritesLost", demoted())] {
        let views = [view];
        assert!(views[0].findings.iter().any(|finding| finding.kind.label() == alert));
        let page = site(&views).runbook(alert, Some("orders"), None).expect("a page");
        assert!(page.contains(&format!("-h 10.0.0.5 -p 6379 {FENCE}")), "{page}");
        assert!(!page.contains("keep their placeholders"), "{page}");
    }
    let views = [after(&[&[master("0", "a", "0", 5), replica("1", "a", 6379)]])];
    let page = site(&views).runbook("RedisReplicaLinkDown", Some("orders"), Some("orders-1"));
    let page = page.expect("a page");
    assert!(page.contains("-h 10.0.0.5 -p 6380 replicaof 10.0.0.5 6379"), "{page}");
}

#[test]
fn primary_and_unknown_primary_keep_the_placeholders() {
    let down = || PollOutcome::Failed(Reason::Refused);
    let healthy = [master("0", "a", "0", 5), replica("1", "a", 6379)];
    let cut_replica = || {
        let PollOutcome::Answered(mut reply) = replica("1", "a", 6379) else { unreachable!() };
        let snapshot = Arc::make_mut(&mut reply.snapshot);
        if let Some(link) = &mut snapshot.replication.link {
            link.status = Some(snapshot::LinkStatus::Down(Some(std::time::Duration::ZERO)));
        }
        PollOutcome::Answered(reply)
    };
    for (view, node, reason) in [
        (after(&[&healthy]), "orders-0", "because orders-0 is the primary."),
        (
            after(&[&healthy, &[down(), cut_replica()]]),
            "orders-1",
            "because the primary is not known.",
        ),
    ] {
        let views = [view];
        let page = site(&views).runbook("RedisSplitBrain", Some("orders"), Some(node));
        let page = page.expect("a page");
        assert!(page.contains(reason), "{page}");
        assert!(page.contains(&format!("-h $HOST -p $PORT {FENCE}")), "{page}");
        let port = if node == "orders-0" { 6379 } else { 6380 };
        let harmless = format!("redis-cli -h 10.0.0.5 -p {port} info replication");
        assert!(page.contains(&harmless), "{page}");
    }
}

#[test]
fn stale_master_that_is_primary_again_ends_the_incident() {
    let views = [primary_again()];
    let view = &views[0];
    assert_eq!(view.shards[0].primary.map(|primary| view.name(primary.node)), Some("orders-0"));
    assert!(view.findings.iter().any(|finding| finding.kind == FindingKind::RedisWritesLost));
    let page = site(&views).runbook("RedisWritesLost", Some("orders"), None).expect("a page");
    let over = "This incident is over: orders-0 accepted the writes as stale master, and became \
                primary again.";
    assert!(page.contains(over), "{page}");
    assert!(page.contains(&format!("-h $HOST -p $PORT {FENCE}")), "{page}");
    assert!(!page.contains("The commands below are for"), "{page}");
    let text = diagnose(&views);
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(joined.contains(over), "{text}");
    assert!(joined.contains("primary again: orders-0"), "{text}");
    assert!(text.contains("redis-cli -h $HOST -p $PORT info replication"), "{text}");
}
