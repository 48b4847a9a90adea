//! Golden files: the exposition of a deployment of two captured nodes, and the reference.
//! `UPDATE_EXPECT=1 cargo test -p catalog` rewrites them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use catalog::{
    Build, ExporterView, Exposition, Format, HttpRequests, LegacyStyle, MetricKind, ProcessFigures,
    Reload, Selection, encode, encode_legacy, redis_exporter_entries, reference,
};
use expect_test::expect_file;
use snapshot::{CommandStats, Config, NodeSnapshot, Reason, Reply, Role};
use topology::{
    Deployment, DeploymentKind, DeploymentTracker, EndpointCheckResult, EndpointKind,
    EndpointServer, NodeReply, OwnErrors, PollOutcome, Round, ServiceEndpoint,
};

const SECOND: Duration = Duration::from_secs(1);

fn exposition() -> Exposition {
    let labels = [("team".to_owned(), "check\"out\\\n".to_owned())];
    let mut deployment =
        Deployment::new("orders", DeploymentKind::Static, &labels, SECOND, SECOND * 3);
    deployment.add("orders-0", "orders-0", Some(Role::Master));
    deployment.add("[::1]:6379", "[::1]:6379", None);
    deployment.add("gone:6379", "gone:6379", None);
    deployment.add("pending:6379", "pending:6379", None);
    let endpoint = |kind, address: &str| ServiceEndpoint { kind, address: address.to_owned() };
    deployment.endpoints = vec![
        endpoint(EndpointKind::Primary, "orders-rw:6379"),
        endpoint(EndpointKind::Reader, "orders-ro:6379"),
    ];
    let mut tracker = DeploymentTracker::new(Arc::new(deployment));
    let outcomes = vec![
        reply("03-replication-healthy.master.info-everything"),
        reply("20-aof-write-failing-disk-full.a.info-everything"),
        PollOutcome::Failed(Reason::Refused),
        PollOutcome::Pending,
    ];
    let round = Round {
        duration: Duration::from_micros(1500),
        checks: endpoint_checks(),
        ..Round::new(at(5), topology::Monotonic::from_start(SECOND), outcomes)
    };
    Exposition {
        exporter: Some(exporter()),
        deployments: vec![tracker.observe(&round).view],
        selection: Selection::Full,
    }
}

/// Returns one successful and one failed check of an endpoint.
fn endpoint_checks() -> Vec<EndpointCheckResult> {
    let server = EndpointServer { role: Some(Role::Replica), ..EndpointServer::default() };
    let check = |endpoint, outcome| EndpointCheckResult {
        endpoint,
        started: topology::Monotonic::from_start(SECOND / 4),
        ended: topology::Monotonic::from_start(SECOND / 2),
        interval: SECOND * 10,
        outcome,
    };
    vec![
        check(EndpointKind::Primary, Ok(server)),
        check(EndpointKind::Reader, Err(Reason::Refused)),
    ]
}

fn reply(capture: &str) -> PollOutcome {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../snapshot/captures/redis-7.0.15")
        .join(format!("{capture}.txt"));
    let text = std::fs::read_to_string(path).expect("a capture");
    let mut snapshot = NodeSnapshot::from_info(&text).expect("an INFO reply");
    snapshot.commands = Some(Arc::new(CommandStats::parse(&text)));
    let mut config = Config::default();
    config.add(&Reply::Array(["repl-timeout", "60"].map(|text| Reply::Text(text.into())).to_vec()));
    snapshot.config = Some(Arc::new(config));
    let took = Duration::from_micros(700);
    PollOutcome::Answered(NodeReply {
        snapshot: Arc::new(snapshot),
        requested: None,
        duration: took,
        at: at(5),
        certificate_expiry: None,
        peer: None,
        own_errors: OwnErrors::new(),
        commands_read: true,
        clients: None,
    })
}

fn exporter() -> ExporterView {
    ExporterView {
        build: Build { version: "0.1.0", revision: "abc", rustc: "1.95.0" },
        reload: Reload { successful: true, succeeded_at: at(1) },
        commands: vec![("INFO", 12)],
        deployments: 1,
        cut_off: false,
        never_reached: catalog::NeverReached::default(),
        external_url: Some("https://rolecall.example.com".to_owned()),
        requests: requests(),
        refused_connections: catalog::RefusedConnections { by_address: 2, by_total: 0 },
        tasks: 9,
        process: Some(ProcessFigures {
            cpu: Duration::from_millis(1234),
            open_fds: 11,
            max_fds: Some(1024),
            virtual_memory: 1 << 30,
            virtual_memory_max: None,
            resident_memory: 9 << 20,
            started: Duration::from_millis(1_795_225_919_250),
            threads: 3,
        }),
    }
}

fn requests() -> HttpRequests {
    let mut requests = HttpRequests::new(&["/metrics", "/deployment/{name}"]);
    for (path, code, millis) in
        [("/metrics", 200, 2), ("/metrics", 200, 20), ("/deployment/{name}", 404, 1)]
    {
        requests.add(path, code, Duration::from_millis(millis));
    }
    requests
}

fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_225_920 + second)
}

fn text(format: Format) -> String {
    let mut text = String::new();
    encode(&exposition(), format, &mut text).expect("to a string");
    text
}

#[test]
fn open_metrics_exposition() {
    expect_file!["golden/openmetrics.txt"].assert_eq(&text(Format::OpenMetrics));
}

#[test]
fn redis_exporter_exposition() {
    let exposition = exposition();
    let node = &exposition.deployments[0].nodes[topology::NodeIndex::new(0)];
    let encoded = |style: &LegacyStyle| {
        let mut text = String::new();
        encode_legacy(Some(node), &exporter(), style, &mut text).expect("to a string");
        text
    };
    expect_file!["golden/legacy.txt"].assert_eq(&encoded(&LegacyStyle::default()));
    let style = |namespace: &str| {
        encoded(&LegacyStyle { namespace: Some(namespace.to_owned()), role_label: true })
    };
    let (named, bare) = (style("cache"), style(""));
    assert!(named.contains("# TYPE cache_up gauge\ncache_up{instance_role=\"master\"} 1\n"));
    assert!(bare.contains("\nup{instance_role=\"master\"} 1\n") && !bare.contains("redis_up"));
}

#[test]
fn exposition_with_both_kinds_of_names() {
    let mut exposition = exposition();
    exposition.selection = exposition.selection.with_redis_exporter();
    let mut text = String::new();
    encode(&exposition, Format::Text, &mut text).expect("to a string");
    expect_file!["golden/both.txt"].assert_eq(&text);
}

#[test]
fn reference_is_up_to_date() {
    expect_file!["../REFERENCE.md"].assert_eq(&reference());
}

#[test]
fn both_formats_have_the_same_samples() {
    let samples = |text: &str| {
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    let (open_metrics, plain) = (text(Format::OpenMetrics), text(Format::Text));
    assert_eq!(samples(&open_metrics), samples(&plain));
    assert!(open_metrics.ends_with("# EOF\n") && !plain.contains("# EOF"));
    assert!(
        plain.contains("# TYPE redis_restarts_total counter\n")
            && plain.contains("# TYPE rolecall_build_info gauge\n")
    );
    for line in plain.lines().filter(|line| line.starts_with("# TYPE ")) {
        let kind = line.rsplit(' ').next().expect("a type");
        assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
    }
}

#[test]
fn every_series_is_unique() {
    let text = text(Format::OpenMetrics);
    let series: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .collect();
    let unique: BTreeSet<_> = series.iter().map(|(series, _)| series).collect();
    assert_eq!(unique.len(), series.len());
}

/// Counters that redis_exporter exposes as gauges. Their name ends in `_total`, so they are
/// counters with both kinds of names.
const COUNTERS: [&str; 3] = [
    "redis_cluster_messages_received_total",
    "redis_cluster_messages_sent_total",
    "redis_rdb_saves_total",
];

/// Returns name, labels and value of each sample.
fn samples(text: &str) -> Vec<(&str, BTreeSet<&str>, &str)> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a sample");
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels.strip_suffix('}').unwrap_or(labels);
            // The value of a label may contain a comma, but not before a quote.
            let labels = labels.split_inclusive("\",").map(|label| label.trim_end_matches(','));
            (name, labels.filter(|label| !label.is_empty()).collect(), value)
        })
        .collect()
}

#[test]
fn each_name_has_one_meaning_with_both_kinds_of_names() {
    let mut exposition = exposition();
    exposition.selection = exposition.selection.with_redis_exporter();
    let mut both = String::new();
    encode(&exposition, Format::Text, &mut both).expect("to a string");
    let mut types = BTreeMap::new();
    for line in both.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').expect("a type");
        assert_eq!(types.insert(name, kind), None, "{name} has two types");
    }
    for entry in redis_exporter_entries() {
        let (name, kind) = entry.on_scrape().expect("a name");
        let kind = match kind {
            _ if COUNTERS.contains(&name) => "counter",
            MetricKind::Info => "gauge",
            kind => kind.label(),
        };
        assert!(types.get(name).is_none_or(|own| *own == kind), "{name}: {:?}", types.get(name));
    }
    let both = samples(&both);
    let series: BTreeSet<_> = both.iter().map(|(name, labels, _)| (name, labels)).collect();
    assert_eq!(series.len(), both.len(), "every series is unique");
    // Each sample of redis_exporter is there, with its labels and its value.
    for (_, node) in exposition.deployments[0].nodes.iter() {
        let mut scrape = String::new();
        encode_legacy(Some(node), &exporter(), &LegacyStyle::default(), &mut scrape)
            .expect("to a string");
        let label = format!("node=\"{}\"", node.node.name);
        for (name, labels, value) in samples(&scrape) {
            let is_of_exporter =
                name == "redis_exporter_build_info" || name.starts_with("redis_target_");
            // Numbers that mean unknown are missing in Rolecall, whatever the names are.
            if name == "redis_errors_total" || is_of_exporter || value == "-1" {
                continue;
            }
            let found = both.iter().find(|(other, all, _)| {
                *other == name && all.contains(&*label) && labels.is_subset(all)
            });
            assert_eq!(found.map(|(.., value)| *value), Some(value), "{label} {name} {labels:?}");
        }
    }
}
