//! The exporter itself, and what it is configured to watch.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use tests::{Daemon, Peer, Proxy, Redis, Server, Side, Sides, Signal, deployment, eventually};

use crate::story::{SOON, Scenario, Story, Told};

pub(crate) const ALL: &[Scenario] = &[
    Scenario { row: 37, name: "an_exporter_killed", quick: true, run: killed },
    Scenario { row: 37, name: "an_exporter_frozen", quick: false, run: frozen },
    Scenario { row: 37, name: "an_exporter_behind_a_cache", quick: false, run: stale },
    Scenario {
        row: 37,
        name: "a_configuration_that_cannot_be_read",
        quick: false,
        run: reload_failed,
    },
    Scenario {
        row: 37,
        name: "an_exporter_cut_off_from_all_that_it_watches",
        quick: false,
        run: blind,
    },
    Scenario { row: 17, name: "servers_that_know_no_config", quick: false, run: without_config },
    Scenario {
        row: 45,
        name: "a_stranger_among_the_configured_nodes",
        quick: false,
        run: unrelated_masters,
    },
];

fn killed() -> Told {
    let server = Redis::start(&[]);
    let text = deployment("orders", &[&server]);
    let mut daemon = Daemon::configured(&text);
    // Another one is to answer at the same address.
    let address = Proxy::start(daemon.port);
    daemon.port = address.peer.port;
    let story = Story::of(daemon);
    let faulty =
        story.fault(|story| story.daemon.signal(Signal::Kill), &[("RolecallDown", "critical")]);
    let mut another = None;
    let mend = |_: &Story| {
        let daemon = another.insert(Daemon::configured(&text));
        address.lead_to(daemon.port);
    };
    faulty.mend(mend, &[])
}

fn frozen() -> Told {
    let server = Redis::start(&[]);
    let story = Story::begin(&deployment("orders", &[&server]));
    let faulty =
        story.fault(|story| story.daemon.signal(Signal::Stop), &[("RolecallDown", "critical")]);
    faulty.mend(|story| story.daemon.signal(Signal::Cont), &[])
}

/// Something between Prometheus and the exporter gives the same page again and again: to Prometheus that is an exporter that makes no rounds.
fn stale() -> Told {
    let server = Redis::start(&[]);
    let mut daemon = Daemon::configured(&deployment("orders", &[&server]));
    let exporter = daemon.port;
    let address = Proxy::start(exporter);
    daemon.port = address.peer.port;
    let story = Story::of(daemon);
    let mut cache = None;
    let put = |story: &Story| {
        let page = story.daemon.get("/metrics", "text/plain").text;
        let cache = cache.insert(Peer::start(move |stream| repeat(stream, &page)));
        address.lead_to(cache.port);
    };
    let faulty = story.fault(put, &[("RolecallStale", "critical")]);
    faulty.mend(|_| address.lead_to(exporter), &[])
}

/// Answers every request with this page.
fn repeat(stream: TcpStream, page: &str) {
    let mut answers = stream.try_clone().expect("a stream");
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        // The end of a request.
        if line.is_empty() {
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n",
                page.len()
            );
            if answers.write_all((head + page).as_bytes()).is_err() {
                return;
            }
        }
    }
}

fn reload_failed() -> Told {
    let server = Redis::start(&[]);
    let text = deployment("orders", &[&server]);
    let story = Story::begin(&text);
    let faulty = story.fault(
        |story| story.daemon.reload("[[deployment]]\nnom = 'orders'\n"),
        &[("RolecallReloadFailed", "warning")],
    );
    faulty.mend(|story| story.daemon.reload(&text), &[])
}

/// Four deployments of three nodes fall silent together: that is no outage of twelve servers.
fn blind() -> Told {
    let mut sides = Sides::new();
    let away = sides.place(Side::Right);
    let servers: Vec<_> =
        (0..12).map(|_| Server::start("redis-7.0.15", false, &away, "", None)).collect();
    let configuration =
        servers.chunks(3).zip(["orders", "sessions", "carts", "scratch"]).map(|(servers, name)| {
            let nodes: Vec<_> =
                servers.iter().map(|server| format!("{{ url = '{}' }}", server.url())).collect();
            format!(
                "[[deployment]]\nname = '{name}'\nnodes = [{}]\nexpect = {{ masters = 3 }}\n",
                nodes.join(", ")
            )
        });
    let story = Story::begin(&configuration.collect::<String>());
    let faulty = story.fault(|_| sides.unplug(&away), &[("RolecallBlind", "warning")]);
    faulty.mend(|_| sides.plug(&away), &[])
}

/// As managed services have it.
fn without_config() -> Told {
    let options = ["--rename-command", "CONFIG", "", "--appendonly", "yes"];
    let primary = Redis::start(&options);
    let replica = primary.replica_with(&options);
    let story = Story::begin(&deployment("orders", &[&primary, &replica]));
    let work = |story: &Story| {
        assert_eq!(
            story.daemon.samples().count("redis_config_maxmemory_policy", &[]),
            0,
            "nobody knows it"
        );
        primary.cli(&["BGREWRITEAOF"]);
        replica.cli(&["BGSAVE"]);
    };
    story.quiet(work, Duration::from_secs(30))
}

fn unrelated_masters() -> Told {
    let (a, stranger) = (Redis::start(&[]), Redis::start(&[]));
    let b = a.replica();
    a.fill(&b);
    stranger.cli(&["SET", "key", "1"]);
    let text = deployment("orders", &[&a, &b]);
    let story = Story::begin(&text);
    let mistake = |story: &Story| {
        story.daemon.reload(&deployment("orders", &[&a, &b, &stranger]));
        eventually(SOON, "it is watched", || {
            (story.daemon.samples().count("redis_up", &[]) == 3).then_some(())
        });
    };
    let faulty = story.fault(mistake, &[("RolecallUnrelatedMasters", "warning")]);
    faulty.mend(|story| story.daemon.reload(&text), &[])
}
