//! The HTML pages, in a real browser and with real servers.

use serde_json::json;
use tests::{
    Browser, Connection, Daemon, Redis, SECOND, SentinelDeployment, SentinelSetup, Signal,
    deployment, pause, primary_with_replica,
};

use crate::monitor::{LIMIT, Monitor, SOON};

/// The expected Content-Security-Policy.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'self'; \
                      frame-ancestors 'none'";

/// JavaScript expression that returns the number of visible texts and those with a poor contrast.
const CONTRAST: &str = include_str!("contrast.js");

/// JavaScript expression that returns the tag and text of all focusable elements, in page order.
const FOCUSABLE: &str = "[...document.querySelectorAll('a[href], input, button, summary, .scroll')]\
                         .map((at) => `${at.tagName} ${at.textContent.trim()}`)";

/// JavaScript expression that returns the tag and text of the focused element, and true if it has a
/// visible outline.
const FOCUSED: &str = "[`${document.activeElement.tagName} \
                       ${document.activeElement.textContent.trim()}`, \
                       getComputedStyle(document.activeElement).outlineStyle !== 'none']";

/// Returns the URL of a page.
fn url(daemon: &Daemon, path: &str) -> String {
    format!("http://127.0.0.1:{}{path}", daemon.port)
}

/// Returns a JavaScript expression that is true if the row of a node contains this text.
fn row_has(deployment: &str, node: &str, text: &str) -> String {
    let id = json!(format!("node-{deployment}-{node}"));
    format!("document.getElementById({id}).innerText.includes({})", json!(text))
}

/// Returns a JavaScript expression that is true if the topology diagram contains this text.
fn diagram_has(text: &str) -> String {
    format!(
        "[...document.querySelectorAll('svg text')].some((at) => at.textContent === {})",
        json!(text)
    )
}

/// Checks that the browser sent all requests to the daemon and logged no errors.
#[track_caller]
fn check_requests(browser: &mut Browser, daemon: &Daemon) {
    let (requests, origin) = (browser.requests(), url(daemon, "/"));
    assert!(
        !requests.is_empty() && requests.iter().all(|url| url.starts_with(&origin)),
        "{requests:?}"
    );
    assert_eq!(browser.errors(), Vec::<String>::new());
}

/// Returns a JavaScript expression that is true if the page shows the failover: the stale master
/// and the primary in the table and in the diagram, the event and the finding.
fn failed_over(deployment: &str, before: &str, after: &str) -> String {
    let main_has =
        |text: &str| format!("document.querySelector('main').innerText.includes({})", json!(text));
    let conditions = [
        row_has(deployment, before, "stale master, accepts writes"),
        row_has(deployment, after, "primary, accepts writes"),
        diagram_has("stale master, accepts writes"),
        diagram_has("primary, accepts writes"),
        main_has(&format!("primary changed from {before} to {after}")),
        main_has("Two nodes of one deployment accept writes as master"),
    ];
    conditions.join(" && ")
}

#[test]
fn page_shows_a_manual_failover_live_and_without_scripts() {
    let (old, new, daemon) = primary_with_replica(Redis::start(&[]));
    let (mut live, mut plain) = (Browser::start(), Browser::start());
    plain.allow_scripts(false);
    live.open(&url(&daemon, "/"));
    live.evaluate("window.stayed = true");
    live.until(SOON, &row_has("default", &old.address(), "primary, accepts writes"));

    new.promote();
    // A client of the new master decides between the two.
    daemon.until(SOON, "redis_deployment_split_brain", &[], 1.0);
    new.cli(&["SET", "kept", "1"]);
    let expected = failed_over("default", &old.address(), &new.address());
    live.until(SOON, &expected);
    plain.open(&url(&daemon, "/"));
    assert_eq!(plain.evaluate(&expected), true, "{}", plain.text("main"));

    old.replicate_from(&new);
    live.until(SOON, &row_has("default", &old.address(), "replica"));
    assert_eq!(live.evaluate("window.stayed"), true, "the page was not reloaded");
    check_requests(&mut live, &daemon);
    check_requests(&mut plain, &daemon);
}

#[test]
fn live_update_during_a_failover_keeps_focus_and_scroll() {
    let group = SentinelDeployment::start(&SentinelSetup::default());
    let monitor = Monitor::start_settled(&group, "");
    let mut live = Browser::start();
    live.open(&url(&monitor.daemon, "/"));
    assert_eq!(live.text("h1"), "No findings");
    let before = group.failover();
    let others = group.nodes.iter().map(tests::Server::address).filter(|node| *node != before);
    // Either replica can be promoted. The old primary is demoted after ten seconds.
    let expected: Vec<_> =
        others.map(|after| format!("({})", failed_over("sessions", &before, &after))).collect();
    live.until(LIMIT, &expected.join(" || "));
    let after = group.until_failed_over(LIMIT, &before);
    live.until(LIMIT, &row_has("sessions", &before, "replica"));
    live.until(LIMIT, "document.querySelector('h1').innerText === 'No findings'");
    check_requests(&mut live, &monitor.daemon);

    live.open(&url(&monitor.daemon, "/deployment/sessions"));
    let node = json!(format!("node-sessions-{after}"));
    live.resize(800, 400);
    live.evaluate(&format!(
        "document.querySelector('details').open = true; \
         document.getElementById({node}).querySelector('a').focus(); \
         window.scrollTo(0, 200); \
         window.kept = [document.activeElement, document.getElementById('updated').innerText]"
    ));
    live.until(SOON, "document.getElementById('updated').innerText !== window.kept[1]");
    let kept = "document.activeElement === window.kept[0] && \
                document.querySelector('details').open && window.scrollY === 200";
    assert_eq!(live.evaluate(kept), true);
}

#[test]
fn node_page_shows_its_last_rounds_live_and_without_scripts() {
    let (_primary, mut replica, daemon) = primary_with_replica(Redis::start(&[]));
    let (mut live, mut plain) = (Browser::start(), Browser::start());
    plain.allow_scripts(false);
    let node = url(&daemon, &format!("/deployment/default/node/{}", replica.address()));
    let newest = |text: &str| {
        format!("document.querySelector('.last tbody tr').textContent.includes({})", json!(text))
    };
    live.open(&node);
    live.until(SOON, &newest("replied in "));
    replica.kill();
    let refused = newest("refused: Connection refused");
    // Earlier rounds are still listed.
    let expected = format!(
        "{refused} && [...document.querySelectorAll('.last td')]\
         .some((at) => at.textContent.startsWith('replied in '))"
    );
    live.until(SOON, &expected);
    plain.open(&node);
    assert_eq!(plain.evaluate(&expected), true, "{}", plain.text("main"));
    assert_eq!(
        plain.evaluate("document.getElementById('rounds').open"),
        true,
        "the list of rounds is open after a failed poll"
    );
    live.until(LIMIT, "document.querySelectorAll('.last tbody tr').length === 20");
    check_requests(&mut live, &daemon);
}

#[test]
fn page_reports_a_silent_daemon_and_pauses_while_hidden() {
    let (_primary, _replica, daemon) = primary_with_replica(Redis::start(&[]));
    let mut browser = Browser::start();
    browser.open(&url(&daemon, "/"));
    assert_eq!(browser.text("#silent"), "");
    daemon.signal(Signal::Stop);
    browser.until(
        SOON,
        "document.getElementById('silent').innerText.startsWith('Rolecall does not answer')",
    );
    daemon.signal(Signal::Cont);
    browser.until(SOON, "document.getElementById('silent').hidden");

    let hide = |hidden: bool| {
        format!(
            "Object.defineProperty(document, 'hidden', {{ value: {hidden}, configurable: true }}); \
             document.dispatchEvent(new Event('visibilitychange'))"
        )
    };
    browser.evaluate(&hide(true));
    // Wait for requests in flight.
    pause(SECOND);
    let before = browser.requests().len();
    pause(SECOND * 5);
    assert_eq!(browser.requests().len(), before);
    browser.evaluate(&hide(false));
    tests::eventually(SECOND, "the page sends a request at once", || {
        (browser.requests().len() > before).then_some(())
    });
}

#[test]
fn untrusted_names_are_rendered_as_text() {
    const CODE: &str = "window.taken=1";
    let (primary, replica) = (Redis::start(&[]), Redis::start(&[]));
    replica.replicate_from(&primary);
    let name = |node: &str| format!("{node}<script>{CODE}</script>\"><img/src=x/onerror={CODE}>");
    let node = |server: &Redis, label: &str| {
        format!("{{ url = '{}', name = '{}' }}", server.url(), name(label))
    };
    let nodes = [node(&primary, "a"), node(&replica, "b")].join(", ");
    let daemon = Daemon::configured(&format!(
        "[[deployment]]\nname = '{}'\nnodes = [{nodes}]\n",
        name("orders")
    ));
    daemon.until(SOON, "redis_link_state", &[("state", "up")], 1.0);

    let mut client = Connection::connect(&replica.address(), None).expect("a connection");
    let client_name = format!("<script>{CODE}</script>");
    client.execute(&["CLIENT", "SETNAME", &client_name]).expect("a reply");
    replica.cli(&[
        "EVAL",
        &format!("return redis.error_reply('<img/src=x/onerror={CODE}> boom')"),
        "0",
    ]);
    let mut browser = Browser::start();
    browser.open(&url(&daemon, "/"));
    let link = browser.evaluate("document.querySelectorAll('tbody a')[1].href");
    browser.open(link.as_str().expect("a link"));
    for text in [client_name, format!("<img/src=x/onerror={CODE}>")] {
        tests::eventually(LIMIT, &text, || {
            client.execute(&["SET", "key", "1"]).expect("a refusal");
            browser.text("main").contains(&text).then_some(())
        });
    }
    for path in [
        "/",
        &browser.evaluate("location.pathname").to_string().replace('"', ""),
        "/runbooks/RedisDown?deployment=<script>",
    ] {
        browser.open(&url(&daemon, path));
        pause(SECOND / 2);
        let counts = browser
            .evaluate("[document.scripts.length, document.images.length, window.taken ?? null]");
        assert_eq!(counts, json!([1, 0, null]), "{path}");
    }
    check_requests(&mut browser, &daemon);

    // The policy blocks an injected script, and the browser logs that.
    browser.evaluate(&format!(
        "document.body.append(\
         Object.assign(document.createElement('script'), {{ text: '{CODE}' }}))"
    ));
    tests::eventually(SOON, "a policy violation is logged", || {
        browser.errors().iter().any(|text| text.contains("script-src 'self'")).then_some(())
    });
    assert_eq!(browser.evaluate("window.taken ?? null"), json!(null));
}

#[test]
fn pages_are_readable_in_both_schemes_and_keyboard_usable() {
    let (orders, replica) = (Redis::start(&[]), Redis::start(&[]));
    replica.replicate_from(&orders);
    let mut cart = Redis::start(&[]);
    let daemon = Daemon::configured(
        &[deployment("orders", &[&orders, &replica]), deployment("cart", &[&cart])].concat(),
    );
    daemon.until_link(SOON, &replica, "up");
    replica.promote();
    cart.kill();
    daemon.until_found(SOON, "RedisSplitBrain");
    daemon.until_found(SOON, "RedisDown");
    let node = format!("/deployment/orders/node/{}", orders.address());
    let paths = [
        "/",
        "/deployment/orders",
        "/deployment/cart",
        &node,
        "/runbooks",
        "/runbooks/RedisSplitBrain?deployment=orders",
        "/runbooks/No",
    ];
    let mut browser = Browser::start();
    // Live updates would change the page during the comparison.
    browser.allow_scripts(false);
    for path in paths {
        browser.open(&url(&daemon, path));
        for scheme in ["light", "dark"] {
            browser.prefer_color_scheme(scheme);
            let contrast = browser.evaluate(CONTRAST);
            assert!(contrast["count"].as_u64() > Some(5), "{contrast}");
            assert_eq!(contrast["lowContrast"], json!([]), "{path} {scheme}");
        }
        let focusable = browser.evaluate(FOCUSABLE);
        let focusable = focusable.as_array().expect("a list");
        assert_eq!(focusable[0], "A Skip to content");
        for expected in focusable.iter().take(40) {
            browser.tab();
            assert_eq!(browser.evaluate(FOCUSED), json!([expected, true]), "{path}");
        }
    }
    for width in [390, 1280] {
        browser.resize(width, 800);
        browser.open(&url(&daemon, "/"));
        assert_eq!(
            browser.evaluate("document.documentElement.scrollWidth"),
            width,
            "no horizontal scrolling"
        );
    }
}

#[test]
fn responses_have_the_policy_and_static_files_are_cacheable() {
    let server = Redis::start(&[]);
    let daemon = Daemon::watch(&[&server]);
    let page = daemon.get("/", "text/html").text;
    let link = |attribute: &str| {
        page.split(&format!("{attribute}=\"./static/"))
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .expect("a link")
    };
    let files = [format!("/static/{}", link("src")), format!("/static/{}", link("href"))];
    for path in ["/", "/runbooks", "/nosuch", "/metrics", "/api/v1/topology", &files[0], &files[1]]
    {
        let headers = daemon.get(path, "").headers;
        assert_eq!(
            headers.get("content-security-policy").map(String::as_str),
            Some(POLICY),
            "{path}"
        );
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
        let cacheable =
            headers.get("cache-control").is_some_and(|value| value.contains("immutable"));
        assert_eq!(cacheable, files.iter().any(|file| file == path), "{path}");
    }
    assert_eq!(daemon.get("/static/page-0.js", "").status, 404);
    for path in ["/runbooks/NoSuch", "/deployment/nosuch", "/deployment/default/node/nosuch"] {
        let response = daemon.get(path, "text/html");
        assert_eq!(
            (response.status, response.content_type.as_str()),
            (404, "text/html; charset=utf-8"),
            "{path}"
        );
    }
    assert!(
        daemon.get("/runbooks/NoSuch", "").text.contains("../runbooks/RedisDown"),
        "the page lists all runbooks"
    );
}
