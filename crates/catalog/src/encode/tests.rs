//! Comparison with the encoding of prometheus-client, byte by byte.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use recording::{Recording, Replay};
use snapshot::{CommandStats, Config, Fields, NodeSnapshot, SlowLog};
use topology::{
    Deployment, DeploymentKind, DeploymentTracker, Monotonic, NodeReply, PollOutcome, Round,
};

use super::*;
use crate::histogram::Histogram;
use crate::http_requests::{HttpRequests, RefusedConnections};
use crate::row::{EmitHistogram, EmitSample, Entry, RedisExporterName};
use crate::{Build, NeverReached, ProcessFigures, Reload};

const SECOND: Duration = Duration::from_secs(1);

/// Label values that need escapes, or look like something else.
const ODD_LABELS: [&str; 8] =
    ["", "\"", "a\\b\\", "two\nlines\r\t", "λ\u{7f}", "} 0\n", "{x=\"1\"}", "# EOF"];

/// Values whose text is special. Those that are not finite have no sample.
const ODD_VALUES: [f64; 18] = [
    0.0,
    -0.0,
    1.0,
    -5.0,
    0.1,
    -0.25,
    1.5e-9,
    5e-324,
    f64::MIN_POSITIVE,
    9_007_199_254_740_992.0,
    9_007_199_254_740_994.0,
    -9_007_199_254_740_994.0,
    123_456_789.123,
    1e21,
    f64::MAX,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
];

/// Metric family that prometheus-client encodes completely.
#[derive(Debug)]
struct ClientFamily {
    name: &'static str,
    kind: MetricKind,
    help: String,
    samples: Vec<ClientSample>,
}

/// Sample with all its labels.
#[derive(Debug)]
struct ClientSample {
    labels: Vec<(String, String)>,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Number(f64),
    Histogram(Histogram),
}

impl ClientFamily {
    fn new(entry: &Entry, name: &'static str, kind: MetricKind) -> Self {
        let help = format!("{} Source: {}.", entry.help, entry.source);
        ClientFamily { name, kind, help, samples: Vec::new() }
    }

    /// Reads the samples of a row.
    fn of_row<T: Subject>(row: &Row<T>, subjects: &[T]) -> Self {
        let mut family = Self::new(&row.entry, row.entry.name, row.entry.kind());
        for subject in subjects {
            row.read(subject, &mut |values, value| {
                family.add(&row.entry, subject.labels(), values, Value::Number(value));
            });
            row.read_histograms(subject, &mut |values, histogram| {
                let value = Value::Histogram(histogram.clone());
                family.add(&row.entry, subject.labels(), values, value);
            });
        }
        family
    }

    fn add(&mut self, entry: &Entry, base: &[(String, String)], values: &[&str], value: Value) {
        let own = entry.labels.iter().zip(values);
        let own = own.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let labels = base.iter().cloned().chain(own).collect();
        if !matches!(value, Value::Number(number) if !number.is_finite()) {
            self.samples.push(ClientSample { labels, value });
        }
    }

    /// Returns the whole family in both formats.
    fn encode(self) -> [String; 2] {
        // Text format 0.0.4 has fewer types, and the name of the samples in all lines.
        let kind = if self.kind == MetricKind::Info { MetricKind::Gauge } else { self.kind };
        let descriptor =
            format!("# HELP {0} {1}\n# TYPE {0} {2}\n", self.name, self.help, kind.label());
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut open_metrics = String::new();
        encode_registry(&mut open_metrics, &registry).expect("to a string");
        let mut parts = open_metrics.splitn(3, '\n').skip(2);
        let plain = parts.next().map(|samples| descriptor + samples).unwrap_or_default();
        [open_metrics, plain]
    }
}

impl Collector for ClientFamily {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if self.samples.is_empty() {
            return Ok(());
        }
        // The encoder adds the suffix. It has no counter without one.
        let (suffix, kind) = match self.kind {
            MetricKind::Counter if self.name.ends_with("_total") => ("_total", MetricType::Counter),
            // The encoder has no summaries either, but no row with one is encoded here.
            MetricKind::Counter | MetricKind::Summary => ("", MetricType::Unknown),
            MetricKind::Info => ("_info", MetricType::Info),
            MetricKind::Gauge => ("", MetricType::Gauge),
            MetricKind::Histogram => ("", MetricType::Histogram),
        };
        let name = self.name.strip_suffix(suffix).expect("the name ends with the suffix");
        let mut metric = encoder.encode_descriptor(name, &self.help, None, kind)?;
        for ClientSample { labels, value } in &self.samples {
            match value {
                Value::Histogram(histogram) => {
                    metric.encode_family(labels)?.encode_histogram::<NoLabelSet>(
                        histogram.sum(),
                        histogram.count(),
                        &histogram.buckets(),
                        None,
                    )?;
                }
                Value::Number(_) if self.kind == MetricKind::Info => metric.encode_info(labels)?,
                Value::Number(value) if labels.is_empty() => {
                    encode_number(&mut metric, !suffix.is_empty(), *value)?;
                }
                Value::Number(value) => {
                    encode_number(&mut metric.encode_family(labels)?, !suffix.is_empty(), *value)?;
                }
            }
        }
        Ok(())
    }
}

/// Encodes a number, as an integer if `f64` represents it exactly.
fn encode_number(metric: &mut MetricEncoder<'_>, is_counter: bool, value: f64) -> fmt::Result {
    let is_integer = value.trunc().to_bits() == value.to_bits() || value == 0.0;
    #[expect(clippy::cast_possible_truncation, reason = "only exact integers are used")]
    let integer = (is_integer && value.abs() <= 2_f64.powi(53)).then_some(value as i64);
    match integer {
        Some(integer) if is_counter => {
            metric.encode_counter::<NoLabelSet, _, u64>(&integer.unsigned_abs(), None)
        }
        None if is_counter => metric.encode_counter::<NoLabelSet, _, u64>(&value, None),
        Some(integer) => metric.encode_gauge(&integer),
        None => metric.encode_gauge(&value),
    }
}

/// Compares the encodings of a row. Returns true if it has samples.
fn check<T: Subject>(row: &Row<T>, subjects: &[T]) -> bool {
    let expected = ClientFamily::of_row(row, subjects).encode();
    for (format, expected) in [Format::OpenMetrics, Format::Text].into_iter().zip(&expected) {
        let mut text = String::new();
        encode_row(row, &labeled(subjects.iter()), format, &mut text).expect("to a string");
        assert_eq!(text, *expected, "{} in {format:?}", row.entry.name);
    }
    !expected[0].is_empty()
}

/// Compares the encodings of some rows: with the samples of the subjects, and with odd ones.
/// Returns the names of the rows without samples of the subjects.
fn check_rows<T: Subject>(rows: &[Row<T>], subjects: &[T]) -> Vec<&'static str> {
    assert!(!subjects.is_empty());
    let mut empty = Vec::new();
    for row in rows {
        if !check(row, subjects) {
            empty.push(row.entry.name);
        }
        assert!(check(&with_odd_samples(row), &subjects[..subjects.len().min(3)]));
    }
    empty
}

/// Returns a row with the same description, and with odd labels and values.
fn with_odd_samples<T: 'static>(row: &Row<T>) -> Row<T> {
    let absent = RedisExporterName::Absent;
    let mut odd = match row.entry.kind() {
        MetricKind::Histogram => Row::histograms("", absent, &[], "", "", emit_odd_histograms),
        _ if row.entry.labels.is_empty() => Row::samples("", absent, &[], "", "", emit_odd_values),
        _ => Row::samples("", absent, &[], "", "", emit_odd_samples),
    };
    odd.entry = row.entry;
    odd
}

fn emit_odd_values<T>(_: &T, emit: EmitSample<'_>) {
    for value in ODD_VALUES {
        emit(&[], value);
    }
}

/// Emits more labels than any row has: those beyond are not used.
fn emit_odd_samples<T>(_: &T, emit: EmitSample<'_>) {
    for (number, value) in ODD_VALUES.into_iter().enumerate() {
        let labels: Vec<_> = ODD_LABELS.into_iter().cycle().skip(number).take(16).collect();
        emit(&labels, value);
    }
}

fn emit_odd_histograms<T>(_: &T, emit: EmitHistogram<'_>) {
    let mut histogram = Histogram::default();
    for (number, label) in (0..).zip(ODD_LABELS) {
        emit(&[label], &histogram);
        histogram.add(Duration::from_millis(7_u64.pow(number)));
    }
}

/// Returns the folders of the captures, one for each version of a server.
fn capture_folders() -> Vec<PathBuf> {
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshot/captures");
    let entries = std::fs::read_dir(captures).expect("captures");
    entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_dir()).collect()
}

/// Returns a deployment of servers that reply with the captures of a folder, and one that does not
/// reply.
fn captured(folder: &Path) -> Arc<DeploymentView> {
    let labels = [("team".to_owned(), ODD_LABELS.concat())];
    let name = format!("{}{}", ODD_LABELS.concat(), folder.display());
    let mut deployment = Deployment::new(name, DeploymentKind::Static, &labels, SECOND, SECOND * 3);
    let at = |second: u32| SystemTime::UNIX_EPOCH + SECOND * (1_795_225_920 + second);
    let config = Arc::new(Config::assumed(&parameters()));
    let cluster = Arc::new(Fields::parse(&cluster_info()));
    let mut snapshots = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a server's captures") {
        let path = entry.expect("an entry").path();
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let Some(mut snapshot) = NodeSnapshot::from_info(&text) else { continue };
        snapshot.commands = Some(Arc::new(CommandStats::parse(&text)));
        snapshot.config = Some(Arc::clone(&config));
        snapshot.cluster = Some(Arc::clone(&cluster));
        snapshot.slowlog = Some(SlowLog { length: Some(3), last: Some((2, SECOND / 3)) });
        let name = path.file_name().expect("a name").to_string_lossy();
        deployment.add(format!("{name}{}", ODD_LABELS.concat()), name, None);
        snapshots.push(Arc::new(snapshot));
    }
    deployment.add("silent", "silent", None);
    let mut tracker = DeploymentTracker::new(Arc::new(deployment));
    for second in 1..=10 {
        let replies = snapshots.iter().map(|snapshot| {
            PollOutcome::Answered(NodeReply::new(Arc::clone(snapshot), SECOND / 7, at(second)))
        });
        let outcomes = replies.chain([PollOutcome::Failed(snapshot::Reason::Refused)]).collect();
        let now = Monotonic::from_start(SECOND * second);
        tracker.observe(&Round::new(at(second), now, outcomes));
    }
    tracker.view()
}

/// Returns a value for each parameter that a row reads.
fn parameters() -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::from(
        [
            ("appendfsync", "everysec"),
            ("save", "3600 1 300 100"),
            ("client-output-buffer-limit", "normal 0 0 0 slave 268435456 67108864 60"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    for (_, _, entry) in crate::entries() {
        if let crate::Source::Config(parameter) = entry.source {
            parameters.insert(parameter.to_owned(), "1000".to_owned());
        }
    }
    parameters
}

/// Returns a reply to CLUSTER INFO with each field that a row reads.
fn cluster_info() -> String {
    let fields = crate::entries().filter_map(|(_, _, entry)| match entry.source {
        crate::Source::Cluster(field) => Some(format!("{field}:16384\n")),
        _ => None,
    });
    "cluster_state:ok\n".to_owned() + &fields.collect::<String>()
}

/// Returns the deployments of the recordings after each round, with odd names.
fn recorded() -> Vec<Arc<DeploymentView>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recording/tests/recordings");
    let mut views = Vec::new();
    for entry in std::fs::read_dir(folder).expect("recordings") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a recording");
        let text = text.replacen("\"name\":\"", r#""name":"\"\\\nλ"#, 1);
        let recording = Recording::read(text.as_bytes()).expect("a recording");
        views.extend(Replay::new(&recording).map(|round| round.result.view));
    }
    views
}

fn exporter() -> ExporterView {
    let mut requests = HttpRequests::new(&["/metrics"]);
    requests.add("/metrics", 200, Duration::from_millis(2));
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_225_920_123);
    ExporterView {
        build: Build { version: "0.1.0", revision: ODD_LABELS[3], rustc: "1.95.0" },
        reload: Reload { successful: true, succeeded_at: time },
        commands: vec![("INFO", 12)],
        deployments: 1,
        cut_off: false,
        never_reached: NeverReached {
            nodes: BTreeMap::from([(snapshot::Reason::Refused, 1)]),
            deployments: 0,
        },
        external_url: Some(ODD_LABELS.concat()),
        requests,
        refused_connections: RefusedConnections { by_address: 2, by_total: 0 },
        tasks: 9,
        process: Some(ProcessFigures {
            cpu: Duration::from_millis(1234),
            open_fds: 11,
            max_fds: Some(1024),
            virtual_memory: 1 << 30,
            virtual_memory_max: Some(1 << 40),
            resident_memory: 9 << 20,
            started: Duration::from_millis(1_795_225_919_250),
            threads: 3,
        }),
    }
}

#[test]
fn every_row_has_the_bytes_of_prometheus_client() {
    let mut views = recorded();
    views.extend(capture_folders().iter().map(|folder| captured(folder)));
    let deployments: Vec<_> = views.iter().map(|view| DeploymentView::clone(view)).collect();
    let nodes: Vec<_> = views.iter().flat_map(|view| view.shown()).cloned().collect();
    let shards: Vec<_> = views.iter().flat_map(ShardSubject::all).collect();
    let sentinels: Vec<_> = views.iter().flat_map(SentinelSubject::all).collect();
    let mut empty = check_rows(tables::EXPORTER.1, &[exporter()]);
    for (_, rows) in tables::DEPLOYMENT {
        empty.extend(check_rows(rows, &deployments));
    }
    empty.extend(check_rows(tables::SENTINEL.1, &sentinels));
    empty.extend(check_rows(tables::SHARD.1, &shards));
    for (_, rows) in tables::NODE {
        empty.extend(check_rows(rows, &nodes));
    }
    // All of them are compared with odd samples, too.
    assert!(empty.len() < crate::entries().count() / 8, "rows without a sample: {empty:?}");
}

#[test]
fn scrape_has_the_bytes_of_prometheus_client() {
    let views: Vec<_> = capture_folders().iter().map(|folder| captured(folder)).collect();
    for node in views.iter().flat_map(|view| view.shown()) {
        let mut expected = String::new();
        for row in tables::redis_exporter_rows() {
            let Some((name, kind)) = row.entry.on_scrape() else { continue };
            if kind == MetricKind::Summary {
                continue;
            }
            let mut family = ClientFamily::new(&row.entry, name, kind);
            row.read_for_redis_exporter(node, &mut |values, value| {
                family.add(&row.entry, &[], values, Value::Number(value));
            });
            let [_, plain] = family.encode();
            expected.push_str(&plain);
        }
        let mut text = String::new();
        for row in tables::redis_exporter_rows() {
            // prometheus-client has no summaries.
            if row.entry.on_scrape().is_some_and(|(_, kind)| kind != MetricKind::Summary) {
                let nodes = [Labeled { subject: node, labels: String::new() }];
                let style = LegacyStyle::default();
                encode_redis_exporter_row(row, &nodes, &style, &mut text).expect("to a string");
            }
        }
        assert_eq!(text, expected, "{}", node.node.name);
    }
}

#[test]
fn a_summary_has_quantiles_a_sum_and_a_count() {
    let view = captured(&capture_folders()[0]);
    let row = NodeRow::summaries("redis_x_usec", &["cmd"], "INFO", "Times.", |_, emit| {
        let quantiles = vec![("50".into(), 1.5), ("99.9".into(), 20.0)];
        emit(&["a\"b"], &crate::row::Summary { quantiles, sum: 7.5, count: 3 });
    });
    let node =
        Labeled { subject: &view.nodes[topology::NodeIndex::new(0)], labels: "n=\"1\"".into() };
    let mut text = String::new();
    encode_redis_exporter_row(&row, &[node], &LegacyStyle::default(), &mut text)
        .expect("to a string");
    let expected = [
        "# HELP redis_x_usec Times. Source: INFO.",
        "# TYPE redis_x_usec summary",
        r#"redis_x_usec{quantile="50",n="1",cmd="a\"b"} 1.5"#,
        r#"redis_x_usec{quantile="99.9",n="1",cmd="a\"b"} 20.0"#,
        r#"redis_x_usec_sum{n="1",cmd="a\"b"} 7.5"#,
        r#"redis_x_usec_count{n="1",cmd="a\"b"} 3"#,
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}
