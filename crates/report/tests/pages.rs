//! The pages: content, escaping, links and size.

mod split_brain;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use report::{SearchQuery, Site, assets};
use snapshot::{OptionalCommand, Reason};
use split_brain::{SECOND, replied, split_brain, split_brain_named};
use topology::{Deployment, DeploymentKind, DeploymentTracker, DeploymentView, PollOutcome, Round};

/// Maximum size of an uncompressed page, bytes. Compressed, a page has less than a tenth of that.
const MAX_SIZE: usize = 300_000;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

/// Returns every kind of page for these deployments. Pages of a deployment or node are about the
/// first deployment.
fn pages(views: &[Arc<DeploymentView>]) -> Vec<String> {
    let site = Site { version: "0.1.0", now: NOW + SECOND * 60, views };
    let (first, query) = (&views[0], SearchQuery::default());
    let name = &first.deployment.name;
    let found = |page: Result<String, String>| page.expect("a page");
    let mut pages =
        vec![site.status(&query), site.runbooks(), found(site.deployment(name, &query))];
    pages.extend(first.members().take(3).map(|(_, node)| found(site.node(name, &node.node.name))));
    pages.push(found(site.runbook("RedisSplitBrain", Some(name), None)));
    pages.push(found(site.runbook("RedisDown", None, None)));
    pages.push(site.runbook("NoSuch", Some(name), Some("nobody")).expect_err("no page"));
    pages.push(site.deployment("<b>", &query).expect_err("no page"));
    pages.push(site.node(name, "<b>").expect_err("no page"));
    pages
}

/// Returns the values of an attribute, in order.
fn values<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
    let begin = format!(" {attribute}=\"");
    page.split(&begin).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

/// Returns a primary with `count - 1` replicas, of which the last `failing` are down.
fn large(name: &str, count: usize, failing: usize) -> Arc<DeploymentView> {
    let mut deployment = Deployment::new(name, DeploymentKind::Static, &[], SECOND, SECOND * 3);
    for node in 0..count {
        deployment.add(
            format!("{name}-{node:04}.redis.svc.cluster.local:6379"),
            format!("10.0.{}.{}:6379", node / 250, node % 250),
            None,
        );
    }
    let mut tracker = DeploymentTracker::new(Arc::new(deployment));
    let id = "a".repeat(40);
    for round in 1..=2 {
        let outcome = |node: usize| match node {
            0 => replied(&format!(
                "run_id:0\nrole:master\nmaster_replid:{id}\nmaster_repl_offset:100\nloading:0\n"
            )),
            _ if round == 2 && node >= count - failing => PollOutcome::Failed(Reason::Refused),
            _ => replied(&format!(
                "run_id:{node}\nrole:slave\nmaster_host:10.0.0.0\nmaster_port:6379\n\
                 master_link_status:up\nmaster_replid:{id}\nmaster_repl_offset:100\n"
            )),
        };
        tracker.observe(&Round::new(
            NOW + SECOND * round,
            topology::Monotonic::from_start(SECOND * round),
            (0..count).map(outcome).collect(),
        ));
    }
    tracker.view()
}

#[test]
fn the_status_page_lists_problems_first() {
    let page = &pages(&[split_brain()])[0];
    let index = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} in {page}"));
    let order = [
        "2 critical, 1 warning, 1 info",
        "RedisDown",
        "RedisSplitBrain",
        "SPLIT BRAIN of 2 masters",
        "<svg",
        "<table",
    ]
    .map(index);
    assert!(order.is_sorted(), "{order:?}");
    for text in [
        "stale master, accepts writes",
        "primary, accepts writes",
        "down: refused",
        "split brain began: orders-0, orders-1",
    ] {
        index(text);
    }
    index("redis-cli -h 10.0.0.5 -p 6379 info replication");
    index("runbooks/RedisDown?deployment=orders&amp;node=orders-2");
}

#[test]
fn loops_and_unknown_upstreams_are_drawn() {
    let mut deployment = Deployment::new("orders", DeploymentKind::Static, &[], SECOND, SECOND * 3);
    for port in 1..=4 {
        deployment.add(format!("orders-{port}"), format!("10.0.0.5:{port}"), None);
    }
    let mut tracker = DeploymentTracker::new(Arc::new(deployment));
    let replica_of = |port: u16, status: &str| {
        replied(&format!(
            "run_id:{port}{status}\nrole:slave\nmaster_host:10.0.0.5\nmaster_port:{port}\n\
             master_link_status:{status}\n"
        ))
    };
    let outcomes =
        vec![replica_of(2, "up"), replica_of(1, "up"), replica_of(1, "up"), replica_of(9, "down")];
    for round in 1..=3 {
        let now = topology::Monotonic::from_start(SECOND * round);
        tracker.observe(&Round::new(NOW + SECOND * round, now, outcomes.clone()));
    }
    let views = [tracker.view()];
    let page = Site { version: "0.1.0", now: NOW, views: &views }
        .deployment("orders", &SearchQuery::default())
        .expect("a page");
    for text in [
        "In a replication loop: 3 nodes",
        "orders-1: in a replication loop, replicates from orders-2, link up. ",
        "orders-3: replica, replicates from orders-1",
        "Upstream outside the deployment: 2 nodes",
        "10.0.0.5:9: not part of this deployment. \
         orders-4: replica, replicates from 10.0.0.5:9, link never up",
    ] {
        assert!(page.contains(text), "{text} in {page}");
    }
}

#[test]
fn a_runbook_has_current_values_and_the_node_address() {
    let views = [split_brain()];
    let site = Site { version: "0.1.0", now: NOW, views: &views };
    let page = site.runbook("RedisSplitBrain", Some("orders"), None).expect("a page");
    let fence = "redis-cli -h 10.0.0.5 -p 6379 config set min-replicas-to-write 100";
    for text in [
        "replicaof 10.0.0.5 6380",
        fence,
        "lost changes",
        "orders-0 (at least 2)",
        "$SENTINEL_HOST",
        "href=\"RedisWritesLost?deployment=orders\"",
    ] {
        assert!(page.contains(text), "{text} in {page}");
    }
    let asked = site.runbook("RedisSplitBrain", Some("orders"), Some("orders-2")).expect("a page");
    assert!(asked.contains("redis-cli -h 10.0.0.5 -p 6381 info replication"), "{asked}");
    let alone = site.runbook("RedisSplitBrain", None, None).expect("a page");
    assert!(alone.contains("$HOST") && alone.contains("Active findings"), "{alone}");
}

#[test]
fn the_runbook_of_a_disputed_primary_names_no_node_to_demote() {
    let mut deployment = Deployment::new("orders", DeploymentKind::Static, &[], SECOND, SECOND * 3);
    deployment.add("a", "10.0.0.5:6379", Some(snapshot::Role::Master));
    deployment.add("b", "10.0.0.5:6380", None);
    let mut tracker = DeploymentTracker::new(Arc::new(deployment));
    let (old, new) = ("a".repeat(40), "b".repeat(40));
    let master = format!("run_id:0\nrole:master\nmaster_replid:{old}\n");
    let replica = format!("run_id:1\nrole:slave\nmaster_replid:{old}\n");
    let promoted = format!("run_id:1\nrole:master\nmaster_replid:{new}\nmaster_replid2:{old}\n");
    for (number, second) in (1..).zip([&replica, &promoted, &promoted]) {
        let elapsed = SECOND * number;
        tracker.observe(&Round::new(
            SystemTime::UNIX_EPOCH + elapsed,
            topology::Monotonic::from_start(elapsed),
            vec![replied(&master), replied(second)],
        ));
    }
    let views = [tracker.view()];
    let site = Site { version: "0.1.0", now: NOW, views: &views };
    for runbook in ["RedisSplitBrain", "RedisWritesLost"] {
        let page = site.runbook(runbook, Some("orders"), None).expect("a page");
        for command in ["config set min-replicas-to-write", "replicaof"] {
            assert!(!page.contains(&format!("-p 6379 {command}")), "{page}");
            assert!(!page.contains(&format!("-p 6380 {command}")), "{page}");
        }
    }
    let page = site.runbook("RedisSplitBrain", Some("orders"), None).expect("a page");
    assert!(page.contains("a (declared, previous), b (lineage)"), "{page}");
}

#[test]
fn a_node_page_lists_the_last_polls_with_their_errors() {
    let mut deployment = Deployment::new("orders", DeploymentKind::Static, &[], SECOND, SECOND * 3);
    deployment.add("a", "10.0.0.5:6379", None);
    let mut tracker = DeploymentTracker::new(Arc::new(deployment));
    let detail = "<b>nobody</b> said NOAUTH";
    for (number, outcome) in (1..).zip([
        replied("run_id:1\nrole:master\n"),
        PollOutcome::Missed(Reason::Timeout),
        PollOutcome::Failed(Reason::Auth),
    ]) {
        let details = vec![(number == 3).then(|| detail.into())];
        tracker.observe(&Round {
            details: details.into(),
            blind: number == 2,
            ..Round::new(
                NOW + SECOND * number,
                topology::Monotonic::from_start(SECOND * number),
                vec![outcome],
            )
        });
    }
    let views = [tracker.view()];
    let page = Site { version: "0.1.0", now: NOW + SECOND * 60, views: &views }
        .node("orders", "a")
        .expect("a page");
    let index = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} in {page}"));
    let escaped = "&lt;b&gt;nobody&lt;/b&gt; said NOAUTH";
    let error = format!("Error: <code>{escaped}</code>");
    let failed =
        format!("00:00:03.0</th><td><span>failed</span>, auth: <code>{escaped}</code></td>");
    let missed = "00:00:02.0</th><td><span>missed</span>, timeout: No reply in time. \
                  Blind round: Rolecall itself was cut off or overloaded.</td>";
    let replied = "00:00:00.0</th><td><span>replied in 1.0 ms</span></td>";
    let order = [
        error.as_str(),
        "<summary>Last 3 polls, 2 without a reply</summary>",
        failed.as_str(),
        missed,
        replied,
    ]
    .map(index);
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn hostile_names_are_escaped_on_every_page() {
    let hostile = ["<script>alert(1)</script>", "\"><img src=x onerror=alert(2)>", "'; DROP"];
    for page in pages(&[split_brain_named("</title><script>alert(0)</script>", hostile)]) {
        assert_eq!(page.matches("<script").count(), 1, "the only script is page.js: {page}");
        assert!(!page.contains("<img") && !page.contains("<b>nobody"), "{page}");
    }
}

#[test]
fn pages_have_no_inline_styles_and_only_relative_links() {
    for page in pages(&[split_brain()]) {
        assert!(!page.contains("<style") && values(&page, "style").is_empty(), "{page}");
        for attribute in ["href", "src", "action"] {
            for link in values(&page, attribute) {
                let relative = ["./", "../", "#", "?"].iter().any(|begin| link.starts_with(begin));
                assert!(
                    relative
                        || report::runbook(link.split('?').next().unwrap_or_default()).is_some(),
                    "{link}"
                );
            }
        }
    }
}

#[test]
fn references_between_elements_are_valid() {
    for page in pages(&[split_brain(), large("cache", 30, 3)]) {
        let ids = values(&page, "id");
        let unique: BTreeSet<_> = ids.iter().collect();
        assert_eq!(unique.len(), ids.len(), "{ids:?}");
        for attribute in ["aria-labelledby", "for"] {
            for id in values(&page, attribute).into_iter().flat_map(|ids| ids.split(' ')) {
                assert!(ids.contains(&id), "{id}");
            }
        }
        let levels: Vec<_> =
            page.split("<h").skip(1).filter_map(|rest| rest.chars().next()?.to_digit(10)).collect();
        assert_eq!(levels.first(), Some(&1), "{levels:?}");
        assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{levels:?}");
        assert_eq!(page.matches("<svg").count(), page.matches("<desc").count());
    }
}

#[test]
fn pages_of_a_thousand_nodes_stay_small() {
    let many: Vec<_> = (0..334).map(|number| large(&format!("d{number}"), 3, number % 2)).collect();
    for views in [vec![large("cache", 1000, 0)], vec![large("cache", 1000, 900)], many] {
        for page in pages(&views) {
            assert!(page.len() < MAX_SIZE, "{} bytes", page.len());
        }
    }
}

#[test]
fn a_thousand_nodes_can_be_searched_and_paged() {
    let views = [large("cache", 1000, 1)];
    let site = Site { version: "0.1.0", now: NOW, views: &views };
    let query = |words: &str, page| SearchQuery { words: words.to_owned(), page };
    let row = |node: &str| format!("id=\"node-cache-{node}.redis.svc.cluster.local:6379\"");
    let page = |query: &SearchQuery| site.deployment("cache", query).expect("a page");
    let first = page(&query("", 1));
    assert!(
        first.contains(&row("cache-0999")) && first.contains(&row("cache-0000")),
        "the worst node, then the primary"
    );
    assert!(first.contains("Page 1 of 20, 1000 nodes") && !first.contains(&row("cache-0700")));
    assert!(page(&query("", 15)).contains(&row("cache-0700")));
    for found in [page(&query("CACHE-0700", 0)), site.status(&query("10.0.2.200:", 0))] {
        assert!(found.contains(&row("cache-0700")) && !found.contains(&row("cache-0701")));
    }
    assert!(site.status(&query("nosuch", 0)).contains("No deployment or node matches the search."));
}

#[test]
fn names_of_assets_contain_a_hash() {
    for asset in assets() {
        assert!(asset.name.len() > 20 && !asset.text.is_empty(), "{asset:?}");
        assert!(
            asset.text.len() < 20_000 && !asset.text.contains("http://www.w3.org/1999"),
            "{}",
            asset.name
        );
    }
}

#[test]
fn the_status_page_works_before_the_first_round() {
    let mut deployment =
        Deployment::new("orders", DeploymentKind::Static, &[], SECOND, Duration::ZERO);
    deployment.add("a", "10.0.0.5:6379", None);
    let page = &pages(&[Arc::new(DeploymentView::empty(Arc::new(deployment)))])[0];
    assert!(page.contains("Waiting for the first round") && page.contains("connecting"), "{page}");
}

#[test]
fn silent_nodes_are_grey_while_the_exporter_is_cut_off() {
    let mut deployment = Deployment::new("orders", DeploymentKind::Static, &[], SECOND, SECOND * 3);
    deployment.add("a", "10.0.0.5:6379", None);
    let mut tracker = DeploymentTracker::new(Arc::new(deployment));
    let round = |second: u32, cut_off_for: Option<Duration>, outcome| Round {
        blind: cut_off_for.is_some(),
        cut_off_for,
        ..Round::new(
            NOW + SECOND * second,
            topology::Monotonic::from_start(SECOND * second),
            vec![outcome],
        )
    };
    tracker.observe(&round(1, None, replied("run_id:1\nrole:master\n")));
    for second in [0, 5, 70] {
        let outcome = PollOutcome::Missed(Reason::Timeout);
        let view = tracker.observe(&round(2 + second, Some(SECOND * second), outcome)).view;
        let views = [view];
        let site = Site { version: "0.1.0", now: NOW + SECOND * (3 + second), views: &views };
        let status = site.status(&SearchQuery::default());
        assert!(status.contains("verdict idle") && !status.contains("verdict good"), "{status}");
        assert!(status.contains("state unknown: Rolecall is cut off from nodes"), "{status}");
        for page in [&status, &site.node("orders", "a").expect("a page")] {
            assert!(page.contains("unknown (Rolecall is cut off)"), "{page}");
        }
        assert!(status.contains("last seen"), "{status}");
    }
}

#[test]
fn the_page_names_the_commands_that_are_left_out() {
    let page = |change: &dyn Fn(&mut Deployment)| {
        let mut deployment = Deployment::new("a", DeploymentKind::Static, &[], SECOND, SECOND * 3);
        deployment.add("n", "10.0.0.1:6379", None);
        change(&mut deployment);
        let views = [Arc::new(DeploymentView::empty(Arc::new(deployment)))];
        let site = Site { version: "0.1.0", now: NOW, views: &views };
        site.deployment("a", &SearchQuery::default()).expect("a page")
    };
    let plain = page(&|_| {});
    assert!(!plain.contains("Preset") && !plain.contains("Not sent"), "{plain}");
    let managed = page(&|deployment| {
        deployment.preset = Some("azure".to_owned());
        deployment.skipped = [OptionalCommand::ConfigGet, OptionalCommand::ClientList].into();
        deployment.expect.unknown_role = true;
    });
    let text = "Preset azure. Not sent: CONFIG GET, CLIENT LIST. Metrics that need these commands \
                are absent. The servers may report no known role. The primary is then unknown, and \
                no finding reports it.";
    assert!(managed.contains(text), "{managed}");
}
