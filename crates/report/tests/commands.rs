//! Commands contain what the access to a deployment needs, and placeholders that remain are
//! explained.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use report::{SearchQuery, Site, diagnose, runbooks};
use snapshot::{NodeSnapshot, Reason};
use topology::{
    Deployment, DeploymentKind, DeploymentTracker, DeploymentView, Discovery, NodeAccess,
    NodeIndex, NodeNameTemplate, NodeReply, PollOutcome, Round, TlsAccess,
};

const SECOND: Duration = Duration::from_secs(1);

/// Returns the outcome of a poll with this INFO reply.
fn replied(info: &str) -> PollOutcome {
    PollOutcome::Answered(NodeReply::new(
        NodeSnapshot::from_info(info).expect("an INFO reply"),
        Duration::from_millis(1),
        SystemTime::UNIX_EPOCH,
    ))
}

/// Returns a deployment of a primary, a replica and a Sentinel, after rounds with these outcomes.
/// All need credentials.
fn deployment(outcomes: [PollOutcome; 2]) -> Arc<DeploymentView> {
    let mut deployment =
        Deployment::new("orders", DeploymentKind::Sentinel, &[], SECOND, SECOND * 3);
    for (number, port) in (0..2).zip(6379..) {
        deployment.add(format!("orders-{number}"), format!("10.0.0.5:{port}"), None);
    }
    deployment.add_sentinel("sentinel-0", "10.0.0.6:26379", true);
    deployment.discovery = Some(Discovery {
        master: "mymaster".to_owned(),
        names: NodeNameTemplate::default(),
        address_map: std::collections::BTreeMap::new(),
        ghost_after: SECOND * 600,
        forget_after: SECOND * 600,
    });
    let tls = TlsAccess { ca_file: Some("/etc/rolecall/ca.pem".into()), ..TlsAccess::default() };
    let data = NodeAccess { user: Some("rolecall".to_owned()), has_password: true, tls: Some(tls) };
    let sentinel = NodeAccess { user: None, has_password: true, tls: None };
    for index in [0, 1] {
        deployment.set_access(NodeIndex::new(index), Arc::new(data.clone()));
    }
    deployment.set_access(NodeIndex::new(2), Arc::new(sentinel));
    let mut tracker = DeploymentTracker::new(Arc::new(deployment));
    let [primary, replica] = outcomes;
    let sentinel = replied("run_id:s\nredis_mode:sentinel\nrole:sentinel\n");
    for number in 1..6 {
        tracker.observe(&Round::new(
            SystemTime::UNIX_EPOCH + SECOND * number,
            topology::Monotonic::from_start(SECOND * number),
            vec![primary.clone(), replica.clone(), sentinel.clone()],
        ));
    }
    tracker.view()
}

fn primary() -> PollOutcome {
    replied(&format!("run_id:0\nrole:master\nmaster_replid:{}\n", "a".repeat(40)))
}

fn cut_replica() -> PollOutcome {
    replied(&format!(
        "run_id:1\nrole:slave\nmaster_host:10.0.0.5\nmaster_port:6379\nmaster_link_status:down\n\
         master_link_down_since_seconds:9\nmaster_replid:{}\n",
        "a".repeat(40)
    ))
}

fn site(views: &[Arc<DeploymentView>]) -> Site<'_> {
    Site { version: "0.1.0", now: SystemTime::UNIX_EPOCH + SECOND * 60, views }
}

fn text_of(views: &[Arc<DeploymentView>]) -> String {
    anstream::adapter::strip_str(&diagnose(views)).to_string()
}

/// The command with the options for the user of Rolecall, as HTML.
const READ: &str = "REDISCLI_AUTH=\"$REDIS_PASSWORD\" redis-cli --tls \
                    --cacert /etc/rolecall/ca.pem \
                    --user rolecall -h 10.0.0.5";

#[test]
fn commands_have_tls_user_and_password() {
    let views = [deployment([primary(), cut_replica()])];
    let text = text_of(&views);
    assert!(text.contains(&format!("First command  {READ} -p 6380 info replication")), "{text}");
    let page = site(&views).runbook("RedisReplicaLinkDown", Some("orders"), Some("orders-1"));
    let page = page.expect("a page").replace("&quot;", "\"");
    assert!(page.contains(&format!("{READ} -p 6380 info replication")), "{page}");
    // The user of Rolecall may run neither ROLE nor REPLICAOF.
    let write = READ.replace("rolecall -h", "$ADMIN_USER -h");
    assert!(page.contains(&format!("{write} -p 6380 role")), "{page}");
    let withheld = write.replace("-h 10.0.0.5", "-h $HOST -p $PORT replicaof");
    assert!(page.contains(&withheld), "{page}");
    let page = site(&views)
        .deployment("orders", &SearchQuery::default())
        .expect("a page")
        .replace("&quot;", "\"");
    assert!(page.contains(&format!("{READ} -p 6380 info replication")), "{page}");
}

#[test]
fn sentinels_have_their_own_access() {
    let views = [deployment([primary(), cut_replica()])];
    let page = site(&views).runbook("RedisNoPrimary", Some("orders"), None).expect("a page");
    let page = page.replace("&quot;", "\"");
    let command = "REDISCLI_AUTH=\"$REDIS_PASSWORD\" redis-cli -h 10.0.0.6 -p 26379 sentinel \
                   failover mymaster";
    assert!(page.contains(command), "{page}");
}

#[test]
fn remaining_placeholders_are_explained() {
    let views = [deployment([primary(), cut_replica()])];
    let text = text_of(&views);
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(joined.contains("Placeholders $REDIS_PASSWORD: the password of the user;"), "{text}");
    assert!(!joined.contains("$HOST"), "{text}");
    let page = site(&views).deployment("orders", &SearchQuery::default()).expect("a page");
    assert!(page.contains("<code>$REDIS_PASSWORD</code>: the password of the user;"), "{page}");
    let page = site(&views).runbook("RedisReplicaLinkDown", Some("orders"), Some("orders-1"));
    let page = page.expect("a page");
    assert!(page.contains("<code>$ADMIN_USER</code>: an ACL user"), "{page}");
    // Without a deployment, all placeholders remain.
    for (alert, runbook) in runbooks() {
        let page = site(&views).runbook(alert, None, None).expect("a page");
        let has_host = runbook.text.contains("$HOST");
        let explained = page.contains("the node that the finding or the alert is about");
        assert_eq!(explained, has_host, "{alert}");
        // Active findings are those of a deployment.
        let article = page.split("<article class=\"runbook\">").nth(1).expect("a runbook");
        assert!(!article.contains("REDISCLI_AUTH"), "{alert}");
    }
}

#[test]
fn the_cause_follows_from_the_reason() {
    for (reason, name, cause) in [
        (Reason::Auth, "Likely cause", "Rolecall's password or user is not valid"),
        (Reason::Protocol, "Likely cause", "A proxy answers that does not forward INFO"),
        (Reason::Tls, "Likely cause", "TLS does not match"),
    ] {
        let text = text_of(&[deployment([PollOutcome::Failed(reason), cut_replica()])]);
        let section = text.split("RolecallCannotRead").nth(1).expect("a finding");
        let joined = section.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(joined.contains(&format!("{name} {cause}")), "{section}");
    }
}

#[test]
fn a_link_is_down_because_of_its_master() {
    let of = |outcome: PollOutcome| {
        let text = text_of(&[deployment([outcome, cut_replica()])]);
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let text = of(primary());
    assert!(text.contains("Likely cause The master replies to Rolecall (master_up)"), "{text}");
    let text = of(PollOutcome::Failed(Reason::Refused));
    assert!(!text.contains("master_up"), "{text}");
}
