//! Pages, documents and the text of `diagnose` for a node that only Rolecall cannot reach.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use report::{SearchQuery, Site};
use snapshot::{NodeSnapshot, Reason};
use topology::{
    Deployment, DeploymentKind, DeploymentTracker, DeploymentView, Monotonic, NodeReply,
    PollOutcome, Round,
};

const SECOND: Duration = Duration::from_secs(1);

const START: SystemTime = SystemTime::UNIX_EPOCH;

/// Returns the outcome of a poll with this INFO reply.
fn replied(info: &str) -> PollOutcome {
    PollOutcome::Answered(NodeReply::new(
        NodeSnapshot::from_info(info).expect("an INFO reply"),
        Duration::from_millis(1),
        START,
    ))
}

/// Returns a primary that does not reply to Rolecall, with two replicas. The link of the first one
/// is up. The other one lost its link if `lost` is true.
fn cut_off_from_primary(lost: bool) -> Arc<DeploymentView> {
    let mut deployment = Deployment::new("orders", DeploymentKind::Static, &[], SECOND, SECOND * 3);
    for (name, port) in ["a", "b", "c"].into_iter().zip(6379..) {
        deployment.add(name, format!("10.0.0.5:{port}"), None);
    }
    let mut tracker = DeploymentTracker::new(Arc::new(deployment));
    let id = "a".repeat(40);
    let history = format!("master_replid:{id}\nmaster_repl_offset:100\n");
    let link = "role:slave\nmaster_host:10.0.0.5\nmaster_port:6379\n";
    for round in 1..=14 {
        let is_cut = round > 3;
        let primary = if is_cut {
            PollOutcome::Missed(Reason::Timeout)
        } else {
            replied(&format!("run_id:a\nrole:master\nloading:0\n{history}"))
        };
        let up = format!("{link}master_link_status:up\nmaster_last_io_seconds_ago:0\n{history}");
        let down = format!(
            "{link}master_link_status:down\nmaster_link_down_since_seconds:{}\n{history}",
            round.max(4) - 3
        );
        let other = if is_cut && lost { &down } else { &up };
        tracker.observe(&Round::new(
            START + SECOND * round,
            Monotonic::from_start(SECOND * round),
            vec![
                primary,
                replied(&format!("run_id:b\n{up}")),
                replied(&format!("run_id:c\n{other}")),
            ],
        ));
    }
    tracker.view()
}

fn node_page(view: &Arc<DeploymentView>, node: &str) -> String {
    let views = [Arc::clone(view)];
    let site = Site { version: "0.1.0", now: START + SECOND * 15, views: &views };
    site.node("orders", node).expect("a page")
}

/// Returns the row of the table of peers that begins with this name.
fn row<'a>(page: &'a str, peer: &str) -> &'a str {
    let (_, section) = page.split_once("Peers that observe this node").expect("the section");
    let (_, row) = section.split_once(&format!("<th scope=\"row\">{peer}</th>")).expect("the row");
    row.split_once("</tr>").expect("the end of the row").0
}

#[test]
fn page_of_an_unreachable_node_lists_its_witnesses() {
    let page = node_page(&cut_off_from_primary(true), "a");
    assert!(page.contains("1 report it alive, 1 report it down."), "{page}");
    let alive = row(&page, "b");
    assert!(alive.contains("replica") && alive.contains("link up"), "{alive}");
    assert!(alive.contains("1.0 s ago") || alive.contains("1 s ago"), "{alive}");
    let lost = row(&page, "c");
    assert!(lost.contains("link down") && !lost.contains("ago"), "{lost}");
    assert!(page.contains("Unreachable, but alive: <code>timeout</code>"), "{page}");
    assert!(page.contains("alive according to 1 peer"), "{page}");
    // A node that replies has no such section.
    let page = node_page(&cut_off_from_primary(true), "b");
    assert!(!page.contains("Peers that observe this node"), "{page}");
}

#[test]
fn deployment_page_draws_unreachable_primary_as_warning() {
    let views = [cut_off_from_primary(false)];
    let site = Site { version: "0.1.0", now: START + SECOND * 15, views: &views };
    let page = site.deployment("orders", &SearchQuery::default()).expect("a page");
    assert!(page.contains("primary, unreachable: timeout"), "{page}");
    assert!(page.contains("alive according to 2 peers"), "{page}");
    let (_, drawing) = page.split_once("<svg").expect("a drawing");
    let drawing = drawing.split_once("</svg>").expect("the end of the drawing").0;
    assert!(drawing.contains("<g class=\"warn\"><rect class=\"box\""), "{drawing}");
    assert!(!drawing.contains("class=\"bad\""), "{drawing}");
    assert!(page.contains("primary a (evidence: "), "{page}");
}

#[test]
fn topology_document_has_the_state_and_the_witnesses() {
    let document = report::api::topology(&[cut_off_from_primary(true)]);
    let document = serde_json::to_value(document).expect("a document");
    let nodes = &document["deployments"][0]["nodes"];
    assert_eq!(nodes[0]["state"], "unreachable");
    assert_eq!((&nodes[0]["up"], &nodes[0]["down_reason"]), (&false.into(), &"timeout".into()));
    assert_eq!(
        nodes[0]["witnesses"],
        serde_json::json!([
            {"peer": "b", "kind": "replica", "state": "alive", "seconds": 1.001, "vouches": true},
            {"peer": "c", "kind": "replica", "state": "down", "vouches": false}
        ])
    );
    assert_eq!((&nodes[1]["state"], nodes[1].get("witnesses")), (&"up".into(), None));
}

#[test]
fn diagnose_reports_an_unreachable_node_as_a_warning() {
    let text = report::diagnose(&[cut_off_from_primary(false)]);
    let text = anstream::adapter::strip_str(&text).to_string();
    assert!(text.contains("WARNING  RedisUnreachable  a  since "), "{text}");
    // The line is wrapped behind this.
    assert!(text.contains("witnesses: replica b, 1 s"), "{text}");
    assert!(text.contains("unreachable: timeout"), "{text}");
    // The cause is that of the reason.
    assert!(text.contains("NetworkPolicy"), "{text}");
    for kind in ["CRITICAL", "RedisDown", "RedisNoPrimary", "RedisReplicaOrphaned"] {
        assert!(!text.contains(kind), "{kind}: {text}");
    }
}
