//! The pages: what they say, that nothing in them is code or leads away, and how large they get.

mod trouble;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use report::{SearchQuery, Site, assets};
use snapshot::Reason;
use topology::{Deployment, DeploymentKind, DeploymentTracker, DeploymentView, PollOutcome, Round};
use trouble::{SECOND, answered, in_trouble, in_trouble_as};

/// What a page may come to before it is compressed, bytes; a tenth of that or less then.
const MOST: usize = 300_000;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

/// Every page about these deployments; of the first each deployment's and node's.
fn pages(views: &[Arc<DeploymentView>]) -> Vec<String> {
    let site = Site { version: "0.1.0", now: NOW + SECOND * 60, views };
    let (first, asked) = (&views[0], SearchQuery::default());
    let name = &first.deployment.name;
    let found = |page: Result<String, String>| page.expect("a page");
    let mut pages =
        vec![site.status(&asked), site.runbooks(), found(site.deployment(name, &asked))];
    pages.extend(first.members().take(3).map(|(_, node)| found(site.node(name, &node.node.name))));
    pages.push(found(site.runbook("RedisSplitBrain", Some(name), None)));
    pages.push(found(site.runbook("RedisDown", None, None)));
    pages.push(site.runbook("NoSuch", Some(name), Some("nobody")).expect_err("no page"));
    pages.push(site.deployment("<b>", &asked).expect_err("no page"));
    pages.push(site.node(name, "<b>").expect_err("no page"));
    pages
}

/// The values of an attribute, in order.
fn values<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
    let begin = format!(" {attribute}=\"");
    page.split(&begin).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

/// `count` nodes that follow the first, of which the last ones fail.
fn large(name: &str, count: usize, failing: usize) -> Arc<DeploymentView> {
    let mut deployment = Deployment::new(name, DeploymentKind::Static, &[], SECOND, SECOND * 3);
    for node in 0..count {
        deployment.add(
            format!("{name}-{node:04}.redis.svc.cluster.local:6379"),
            format!("10.0.{}.{}:6379", node / 250, node % 250),
            None,
        );
    }
    let mut fold = DeploymentTracker::new(Arc::new(deployment));
    let id = "a".repeat(40);
    for round in 1..=2 {
        let outcome = |node: usize| match node {
            0 => answered(&format!(
                "run_id:0\nrole:master\nmaster_replid:{id}\nmaster_repl_offset:100\nloading:0\n"
            )),
            _ if round == 2 && node >= count - failing => PollOutcome::Failed(Reason::Refused),
            _ => answered(&format!(
                "run_id:{node}\nrole:slave\nmaster_host:10.0.0.0\nmaster_port:6379\nmaster_link_status:up\nmaster_replid:{id}\nmaster_repl_offset:100\n"
            )),
        };
        fold.observe(&Round::new(
            NOW + SECOND * round,
            topology::Monotonic::from_start(SECOND * round),
            (0..count).map(outcome).collect(),
        ));
    }
    fold.view()
}

#[test]
fn the_status_page_says_first_what_is_wrong() {
    let page = &pages(&[in_trouble()])[0];
    let index = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} in {page}"));
    let order = [
        "4 critical, 1 info",
        "RedisDown",
        "RedisSplitBrain",
        "SPLIT BRAIN of 2 masters",
        "<svg",
        "<table",
    ]
    .map(index);
    assert!(order.is_sorted(), "{order:?}");
    for text in [
        "stale master, takes writes",
        "primary, takes writes",
        "down: refused",
        "split brain began: orders-0, orders-1",
    ] {
        index(text);
    }
    index("redis-cli -h 10.0.0.5 -p 6379 info replication");
    index("runbooks/RedisDown?deployment=orders&amp;node=orders-2");
}

#[test]
fn what_turns_in_a_circle_and_what_follows_a_stranger_is_drawn_as_such() {
    let mut deployment = Deployment::new("orders", DeploymentKind::Static, &[], SECOND, SECOND * 3);
    for port in 1..=4 {
        deployment.add(format!("orders-{port}"), format!("10.0.0.5:{port}"), None);
    }
    let mut fold = DeploymentTracker::new(Arc::new(deployment));
    let follows = |port: u16, status: &str| {
        answered(&format!(
            "run_id:{port}{status}\nrole:slave\nmaster_host:10.0.0.5\nmaster_port:{port}\nmaster_link_status:{status}\n"
        ))
    };
    let outcomes = vec![follows(2, "up"), follows(1, "up"), follows(1, "up"), follows(9, "down")];
    for round in 1..=3 {
        let now = topology::Monotonic::from_start(SECOND * round);
        fold.observe(&Round::new(NOW + SECOND * round, now, outcomes.clone()));
    }
    let views = [fold.view()];
    let page = Site { version: "0.1.0", now: NOW, views: &views }
        .deployment("orders", &SearchQuery::default())
        .expect("a page");
    for text in [
        "In a circle: 3 nodes",
        "orders-1: in a circle, follows orders-2, link up. ",
        "orders-3: replica, follows orders-1",
        "No node of this deployment: 2 nodes",
        "10.0.0.5:9: not one of this deployment. orders-4: replica, follows 10.0.0.5:9, link never up",
    ] {
        assert!(page.contains(text), "{text} in {page}");
    }
}

#[test]
fn a_runbook_has_the_live_values_and_the_address_of_the_node() {
    let views = [in_trouble()];
    let site = Site { version: "0.1.0", now: NOW, views: &views };
    let page = site.runbook("RedisSplitBrain", Some("orders"), None).expect("a page");
    let fence = "redis-cli -h 10.0.0.5 -p 6379 config set min-replicas-to-write 100";
    for text in [
        "replicaof 10.0.0.5 6380",
        fence,
        "unreplicated writes",
        "$SENTINEL_HOST",
        "href=\"RedisWritesLost?deployment=orders\"",
    ] {
        assert!(page.contains(text), "{text} in {page}");
    }
    let asked = site.runbook("RedisSplitBrain", Some("orders"), Some("orders-2")).expect("a page");
    assert!(asked.contains("redis-cli -h 10.0.0.5 -p 6381 info replication"), "{asked}");
    let alone = site.runbook("RedisSplitBrain", None, None).expect("a page");
    assert!(alone.contains("$HOST") && alone.contains("Found now"), "{alone}");
}

#[test]
fn a_node_has_its_last_rounds_one_by_one_with_the_text_of_what_failed() {
    let mut deployment = Deployment::new("orders", DeploymentKind::Static, &[], SECOND, SECOND * 3);
    deployment.add("a", "10.0.0.5:6379", None);
    let mut fold = DeploymentTracker::new(Arc::new(deployment));
    let detail = "<b>nobody</b> said NOAUTH";
    for (number, outcome) in (1..).zip([
        answered("run_id:1\nrole:master\n"),
        PollOutcome::Missed(Reason::Timeout),
        PollOutcome::Failed(Reason::Auth),
    ]) {
        let details = vec![(number == 3).then(|| detail.into())];
        fold.observe(&Round {
            details: details.into(),
            blind: number == 2,
            ..Round::new(
                NOW + SECOND * number,
                topology::Monotonic::from_start(SECOND * number),
                vec![outcome],
            )
        });
    }
    let views = [fold.view()];
    let page = Site { version: "0.1.0", now: NOW + SECOND * 60, views: &views }
        .node("orders", "a")
        .expect("a page");
    let index = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} in {page}"));
    let escaped = "&lt;b&gt;nobody&lt;/b&gt; said NOAUTH";
    let told = format!("It was told: <code>{escaped}</code>");
    let failed =
        format!("00:00:03.0</th><td><span>failed</span>, auth: <code>{escaped}</code></td>");
    let missed = "00:00:02.0</th><td><span>no answer</span>, timeout: It does not answer in time. Rolecall itself was held up.</td>";
    let answered = "00:00:00.0</th><td><span>answered in 1.0 ms</span></td>";
    let order = [
        told.as_str(),
        "<summary>The last 3 rounds, 2 without an answer</summary>",
        failed.as_str(),
        missed,
        answered,
    ]
    .map(index);
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn what_others_call_themselves_is_text_on_every_page() {
    let hostile = ["<script>alert(1)</script>", "\"><img src=x onerror=alert(2)>", "'; DROP"];
    for page in pages(&[in_trouble_as("</title><script>alert(0)</script>", hostile)]) {
        assert_eq!(page.matches("<script").count(), 1, "ours: {page}");
        assert!(!page.contains("<img") && !page.contains("<b>nobody"), "{page}");
    }
}

#[test]
fn pages_have_no_code_or_style_within_and_lead_nowhere_else() {
    for page in pages(&[in_trouble()]) {
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
fn what_names_another_element_names_one_that_is_there() {
    for page in pages(&[in_trouble(), large("cache", 30, 3)]) {
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
fn the_pages_of_a_thousand_nodes_stay_small() {
    let many: Vec<_> = (0..334).map(|number| large(&format!("d{number}"), 3, number % 2)).collect();
    for views in [vec![large("cache", 1000, 0)], vec![large("cache", 1000, 900)], many] {
        for page in pages(&views) {
            assert!(page.len() < MOST, "{} bytes", page.len());
        }
    }
}

#[test]
fn a_node_among_a_thousand_is_found_by_words_and_by_turning_pages() {
    let views = [large("cache", 1000, 1)];
    let site = Site { version: "0.1.0", now: NOW, views: &views };
    let asked = |words: &str, page| SearchQuery { words: words.to_owned(), page };
    let row = |node: &str| format!("id=\"node-cache-{node}.redis.svc.cluster.local:6379\"");
    let page = |asked: &SearchQuery| site.deployment("cache", asked).expect("a page");
    let first = page(&asked("", 1));
    assert!(
        first.contains(&row("cache-0999")) && first.contains(&row("cache-0000")),
        "what is wrong, then the primary"
    );
    assert!(first.contains("Page 1 of 20, 1000 nodes") && !first.contains(&row("cache-0700")));
    assert!(page(&asked("", 15)).contains(&row("cache-0700")));
    for found in [page(&asked("CACHE-0700", 0)), site.status(&asked("10.0.2.200:", 0))] {
        assert!(found.contains(&row("cache-0700")) && !found.contains(&row("cache-0701")));
    }
    assert!(site.status(&asked("nosuch", 0)).contains("No deployment and no node is called that."));
}

#[test]
fn files_are_known_by_their_text() {
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
fn before_the_first_round_there_is_a_page_too() {
    let mut deployment =
        Deployment::new("orders", DeploymentKind::Static, &[], SECOND, Duration::ZERO);
    deployment.add("a", "10.0.0.5:6379", None);
    let page = &pages(&[Arc::new(DeploymentView::empty(Arc::new(deployment)))])[0];
    assert!(page.contains("Waiting for the first round") && page.contains("connecting"), "{page}");
}
