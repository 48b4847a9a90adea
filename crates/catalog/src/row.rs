//! Rows of the metric tables: the description of a metric, and the reader of its values.

use std::fmt;
use std::sync::Arc;

use topology::{DeploymentView, NodeView, SentinelStatement, ShardView, UnreachedReason};

use crate::ExporterView;
use crate::histogram::Histogram;

/// One metric of subjects of type `T`.
pub(crate) struct Row<T: 'static> {
    /// Description of the metric.
    pub(crate) entry: Entry,
    /// Reader of its values.
    reader: ValueReader<T>,
}

/// A metric of a node.
pub(crate) type NodeRow = Row<NodeView>;

/// A metric of a deployment.
pub(crate) type DeploymentRow = Row<DeploymentView>;

/// A metric of a shard; a deployment that is not a cluster has one shard.
pub(crate) type ShardRow = Row<ShardSubject>;

/// A metric of a deployment's master as seen by one Sentinel.
pub(crate) type SentinelRow = Row<SentinelSubject>;

/// A metric of the exporter itself.
pub(crate) type ExporterRow = Row<ExporterView>;

/// Description of a metric, as the reference prints it.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Full exposed name: a counter ends in `_total`, an info metric in `_info`.
    pub name: &'static str,
    /// Name of the metric in `redis_exporter`.
    pub redis_exporter: RedisExporterName,
    /// Labels of the metric itself, without those of the node or deployment.
    pub labels: &'static [&'static str],
    /// Source of the value.
    pub source: Source,
    /// One sentence that describes the value and its unit.
    pub help: &'static str,
    /// The metric belongs to the core set, because a rule in `alerts/` or the dashboard Fleet or
    /// Deployment uses it.
    pub is_core: bool,
    /// The metric is a histogram. Other types follow from the name.
    is_histogram: bool,
}

/// Name of a metric in `redis_exporter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisExporterName {
    /// The same name, type and labels.
    Same,
    /// A gauge of this name. Its value is the server's number without conversion.
    AsGauge(&'static str),
    /// A counter of this name. Its value is the server's number without conversion.
    AsCounter(&'static str),
    /// A summary of this name.
    AsSummary(&'static str),
    /// A metric of this name with other labels or another meaning. It has a separate row in
    /// `tables/redis_exporter.rs`.
    SeparateRow(&'static str),
    /// `redis_exporter` has no such metric.
    Absent,
}

/// Source of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A field of INFO.
    Info {
        /// Section, in lower case.
        section: &'static str,
        /// Name of the field.
        field: &'static str,
    },
    /// A field of CLUSTER INFO.
    Cluster(&'static str),
    /// A CONFIG parameter.
    Config(&'static str),
    /// Several fields, or a source other than a reply, in words.
    Words(&'static str),
}

/// Reader of the values of a metric.
enum ValueReader<T> {
    /// The number in a field, times a factor. A negative number, and one from [`NO_NUMBER`] on,
    /// means unknown and has no sample.
    Number(f64),
    /// The number in a field, which may be negative.
    SignedNumber,
    /// A field that is `ok`, `err` or `fail`, as 1 or 0.
    Status,
    /// One computed value.
    Value(fn(&T) -> Option<f64>),
    /// A state set: 1 for the current state, 0 for the others.
    StateSet(&'static [&'static str], fn(&T) -> Option<&'static str>),
    /// Any number of samples, each with values of the row's labels.
    Samples(fn(&T, EmitSample<'_>)),
    /// Any number of histograms, each with values of the row's labels.
    Histograms(fn(&T, EmitHistogram<'_>)),
    /// Any number of summaries, each with values of the row's labels.
    Summaries(fn(&T, EmitSummary<'_>)),
}

/// The smallest number that is none. Servers state such numbers where they mean that there is no
/// limit (the remaining time of a pause during a failover), and for negative numbers without a sign
/// (`used_memory_dataset`). No real amount comes near: 2^62 bytes are four exbibytes.
const NO_NUMBER: f64 = (1_u64 << 62) as f64;

/// Takes one sample: the values of the row's labels, and the value.
pub(crate) type EmitSample<'a> = &'a mut dyn FnMut(&[&str], f64);

/// Takes one histogram: the values of the row's labels, and the histogram.
pub(crate) type EmitHistogram<'a> = &'a mut dyn FnMut(&[&str], &Histogram);

/// Takes one summary: the values of the row's labels, and the summary.
pub(crate) type EmitSummary<'a> = &'a mut dyn FnMut(&[&str], &Summary);

/// Summary of observed values. Only `redis_exporter` has such metrics.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Summary {
    /// Values of the label `quantile`, each with its value.
    pub(crate) quantiles: Vec<(Box<str>, f64)>,
    /// Sum of the observed values.
    pub(crate) sum: f64,
    /// Number of observed values.
    pub(crate) count: u64,
}

/// One shard of a deployment, with the nodes of the deployment.
#[derive(Debug, Clone)]
pub(crate) struct ShardSubject {
    view: Arc<DeploymentView>,
    index: usize,
}

impl ShardSubject {
    /// Returns all shards of a deployment.
    pub(crate) fn all(view: &Arc<DeploymentView>) -> impl Iterator<Item = ShardSubject> {
        let view = Arc::clone(view);
        (0..view.shards.len()).map(move |index| ShardSubject { view: Arc::clone(&view), index })
    }

    pub(crate) fn shard(&self) -> &ShardView {
        &self.view.shards[self.index]
    }

    /// Returns the label `node` of a node.
    pub(crate) fn name(&self, index: topology::NodeIndex) -> &str {
        self.view.name(index)
    }

    /// Returns the number of stale masters that accept writes.
    pub(crate) fn writable_stale_masters(&self) -> usize {
        self.view.writable_stale_masters(self.shard()).len()
    }

    /// Returns the severity of the split brain; `None` if there is none.
    pub(crate) fn split_brain_severity(&self) -> Option<topology::Severity> {
        self.view.split_brain_severity(self.shard())
    }

    /// Returns `true` if the state of the shard is outdated, because the exporter is cut off. Only
    /// the counters are written then.
    pub(crate) fn is_outdated(&self) -> bool {
        self.view.is_outdated()
    }

    /// Returns `true` after the first round.
    pub(crate) fn known(&self) -> bool {
        self.view.at.is_some()
    }
}

/// The master of a deployment as seen by one Sentinel.
#[derive(Debug, Clone)]
pub(crate) struct SentinelSubject {
    view: Arc<DeploymentView>,
    said: SentinelStatement,
}

impl SentinelSubject {
    /// Returns the subjects of all Sentinels of a deployment that monitor its master.
    pub(crate) fn all(view: &Arc<DeploymentView>) -> impl Iterator<Item = SentinelSubject> {
        let said = view.sentinels.iter().flat_map(|sentinels| &sentinels.statements);
        said.map(|said| SentinelSubject { view: Arc::clone(view), said: said.clone() })
    }

    /// Returns the parsed replies of the Sentinel.
    pub(crate) fn statement(&self) -> &SentinelStatement {
        &self.said
    }

    /// Returns the reason for which the Sentinel considers a primary down that replies to Rolecall;
    /// `None` if it does not.
    pub(crate) fn unreached(&self) -> Option<UnreachedReason> {
        self.view.sentinels.as_ref()?.cannot_reach.reason(self.said.sentinel)
    }

    /// Returns the name under which Sentinels monitor the master.
    pub(crate) fn master_name(&self) -> &str {
        self.view.deployment.discovery.as_ref().map_or("", |discovery| &discovery.master)
    }
}

/// Subject of metrics: a node, a deployment, a shard, a Sentinel's view, or the exporter.
pub(crate) trait Subject {
    /// Returns the labels of all series of the subject.
    fn labels(&self) -> &[(String, String)];

    /// Returns the text of a field or parameter. Only nodes have fields.
    fn text(&self, _source: Source) -> Option<&str> {
        None
    }
}

/// Type of a metric. It follows from the name, except for histograms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Increases, and restarts at 0 with its source. The name ends in `_total`.
    Counter,
    /// Increases and decreases.
    Gauge,
    /// Has the value 1; the information is in the labels. The name ends in `_info`.
    Info,
    /// Counts observed values in buckets: the series `_bucket`, `_count` and `_sum`.
    Histogram,
    /// Has quantiles of observed values, and the series `_count` and `_sum`. Only `redis_exporter`
    /// has such metrics.
    Summary,
}

// The constructors have no default for `redis_exporter`: each row states its name there, and
// `tests/compatibility.rs` compares it with series that redis_exporter exposed.
impl Row<NodeView> {
    /// Creates a row for a number in an INFO field.
    pub(crate) const fn field(
        name: &'static str,
        redis_exporter: RedisExporterName,
        section: &'static str,
        field: &'static str,
        help: &'static str,
    ) -> Self {
        let source = Source::Info { section, field };
        Self::new(name, redis_exporter, &[], source, help, ValueReader::Number(1.0))
    }

    /// Creates a row for an INFO field that is `ok` or `err`.
    pub(crate) const fn status(
        name: &'static str,
        redis_exporter: RedisExporterName,
        section: &'static str,
        field: &'static str,
        help: &'static str,
    ) -> Self {
        let source = Source::Info { section, field };
        Self::new(name, redis_exporter, &[], source, help, ValueReader::Status)
    }

    /// Creates a row for a number in a field of CLUSTER INFO.
    pub(crate) const fn cluster_field(
        name: &'static str,
        redis_exporter: RedisExporterName,
        field: &'static str,
        help: &'static str,
    ) -> Self {
        let reader = ValueReader::Number(1.0);
        Self::new(name, redis_exporter, &[], Source::Cluster(field), help, reader)
    }

    /// Creates a row for a field of CLUSTER INFO that is `ok` or `fail`.
    pub(crate) const fn cluster_status(
        name: &'static str,
        redis_exporter: RedisExporterName,
        field: &'static str,
        help: &'static str,
    ) -> Self {
        let reader = ValueReader::Status;
        Self::new(name, redis_exporter, &[], Source::Cluster(field), help, reader)
    }

    /// Creates a row for a CONFIG parameter that is a number, `yes` or `no`.
    pub(crate) const fn config(
        name: &'static str,
        redis_exporter: RedisExporterName,
        parameter: &'static str,
        help: &'static str,
    ) -> Self {
        let reader = ValueReader::Number(1.0);
        Self::new(name, redis_exporter, &[], Source::Config(parameter), help, reader)
    }

    /// Multiplies the number by a factor, because the field has another unit than the metric.
    pub(crate) const fn scaled(mut self, factor: f64) -> Self {
        self.reader = ValueReader::Number(factor);
        self
    }

    /// Keeps negative numbers, which otherwise mean unknown.
    pub(crate) const fn signed(mut self) -> Self {
        self.reader = ValueReader::SignedNumber;
        self
    }
}

impl<T: 'static> Row<T> {
    /// Adds the metric to the core set.
    pub(crate) const fn core(mut self) -> Self {
        self.entry.is_core = true;
        self
    }

    /// Creates a row for one computed value.
    pub(crate) const fn value(
        name: &'static str,
        redis_exporter: RedisExporterName,
        source: &'static str,
        help: &'static str,
        read: fn(&T) -> Option<f64>,
    ) -> Self {
        let reader = ValueReader::Value(read);
        Self::new(name, redis_exporter, &[], Source::Words(source), help, reader)
    }

    /// Creates a row for a state set. `labels` has the name of one label, which carries the state.
    pub(crate) const fn state_set(
        name: &'static str,
        redis_exporter: RedisExporterName,
        labels: &'static [&'static str],
        states: &'static [&'static str],
        source: &'static str,
        help: &'static str,
        read: fn(&T) -> Option<&'static str>,
    ) -> Self {
        let reader = ValueReader::StateSet(states, read);
        Self::new(name, redis_exporter, labels, Source::Words(source), help, reader)
    }

    /// Creates a row for any number of samples that differ in their labels.
    pub(crate) const fn samples(
        name: &'static str,
        redis_exporter: RedisExporterName,
        labels: &'static [&'static str],
        source: &'static str,
        help: &'static str,
        read: fn(&T, EmitSample<'_>),
    ) -> Self {
        let reader = ValueReader::Samples(read);
        Self::new(name, redis_exporter, labels, Source::Words(source), help, reader)
    }

    /// Creates a row for any number of histograms that differ in their labels.
    pub(crate) const fn histograms(
        name: &'static str,
        redis_exporter: RedisExporterName,
        labels: &'static [&'static str],
        source: &'static str,
        help: &'static str,
        read: fn(&T, EmitHistogram<'_>),
    ) -> Self {
        let reader = ValueReader::Histograms(read);
        Self::new(name, redis_exporter, labels, Source::Words(source), help, reader)
    }

    /// Creates a row for any number of summaries that differ in their labels.
    pub(crate) const fn summaries(
        name: &'static str,
        labels: &'static [&'static str],
        source: &'static str,
        help: &'static str,
        read: fn(&T, EmitSummary<'_>),
    ) -> Self {
        let reader = ValueReader::Summaries(read);
        let redis_exporter = RedisExporterName::AsSummary(name);
        Self::new(name, redis_exporter, labels, Source::Words(source), help, reader)
    }

    const fn new(
        name: &'static str,
        redis_exporter: RedisExporterName,
        labels: &'static [&'static str],
        source: Source,
        help: &'static str,
        reader: ValueReader<T>,
    ) -> Self {
        let is_histogram = matches!(reader, ValueReader::Histograms(_));
        let is_core = false;
        let entry = Entry { name, redis_exporter, labels, source, help, is_core, is_histogram };
        Row { entry, reader }
    }
}

impl<T: Subject> Row<T> {
    /// Reads all samples of one subject. A histogram and a summary have none.
    pub(crate) fn read(&self, subject: &T, emit: EmitSample<'_>) {
        match self.reader {
            ValueReader::Number(factor) => {
                emit_value(
                    number(subject, self.entry.source)
                        .filter(|number| (0.0..NO_NUMBER).contains(number))
                        .map(|number| number * factor),
                    emit,
                );
            }
            ValueReader::SignedNumber => emit_value(number(subject, self.entry.source), emit),
            ValueReader::Status => {
                emit_value(subject.text(self.entry.source).and_then(status), emit);
            }
            ValueReader::Value(read) => emit_value(read(subject), emit),
            ValueReader::StateSet(states, read) => {
                if let Some(current) = read(subject) {
                    for state in states {
                        emit(&[state], f64::from(*state == current));
                    }
                }
            }
            ValueReader::Samples(read) => read(subject, emit),
            ValueReader::Histograms(_) | ValueReader::Summaries(_) => {}
        }
    }

    /// Reads all histograms of one subject.
    pub(crate) fn read_histograms(&self, subject: &T, emit: EmitHistogram<'_>) {
        if let ValueReader::Histograms(read) = self.reader {
            read(subject, emit);
        }
    }

    /// Reads all summaries of one subject.
    pub(crate) fn read_summaries(&self, subject: &T, emit: EmitSummary<'_>) {
        if let ValueReader::Summaries(read) = self.reader {
            read(subject, emit);
        }
    }

    /// Reads all samples of one subject as `redis_exporter` exposes them. A metric with another
    /// name there has the server's number without conversion. Numbers that mean unknown are kept.
    pub(crate) fn read_for_redis_exporter(&self, subject: &T, emit: EmitSample<'_>) {
        match (&self.reader, self.entry.redis_exporter) {
            (ValueReader::Number(factor), RedisExporterName::Same) => {
                emit_value(number(subject, self.entry.source).map(|number| number * factor), emit);
            }
            (ValueReader::Number(_), _) => emit_value(number(subject, self.entry.source), emit),
            _ => self.read(subject, emit),
        }
    }
}

fn emit_value(value: Option<f64>, emit: EmitSample<'_>) {
    if let Some(value) = value {
        emit(&[], value);
    }
}

/// Returns the number in a field. In a CONFIG parameter, `yes` is 1 and `no` is 0.
fn number(subject: &impl Subject, source: Source) -> Option<f64> {
    match (subject.text(source)?, source) {
        ("yes", Source::Config(_)) => Some(1.0),
        ("no", Source::Config(_)) => Some(0.0),
        (text, _) => text.parse().ok().filter(|number: &f64| number.is_finite()),
    }
}

fn status(text: &str) -> Option<f64> {
    match text {
        "ok" => Some(1.0),
        "err" | "fail" => Some(0.0),
        _ => None,
    }
}

impl Entry {
    /// Returns the name and type of this row in `redis_exporter`; `None` if it has no such metric,
    /// or a separate row for it.
    pub fn on_scrape(&self) -> Option<(&'static str, MetricKind)> {
        match self.redis_exporter {
            RedisExporterName::Same => Some((self.name, self.kind())),
            RedisExporterName::AsGauge(name) => Some((name, MetricKind::Gauge)),
            RedisExporterName::AsCounter(name) => Some((name, MetricKind::Counter)),
            RedisExporterName::AsSummary(name) => Some((name, MetricKind::Summary)),
            RedisExporterName::SeparateRow(_) | RedisExporterName::Absent => None,
        }
    }

    /// Returns the type.
    pub fn kind(&self) -> MetricKind {
        match self.name {
            _ if self.is_histogram => MetricKind::Histogram,
            name if name.ends_with("_total") => MetricKind::Counter,
            name if name.ends_with("_info") => MetricKind::Info,
            _ => MetricKind::Gauge,
        }
    }
}

impl MetricKind {
    /// Returns the name of the type.
    pub const fn label(self) -> &'static str {
        match self {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Info => "info",
            MetricKind::Histogram => "histogram",
            MetricKind::Summary => "summary",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Info { section, field } => write!(f, "INFO {section}: {field}"),
            Source::Cluster(field) => write!(f, "CLUSTER INFO: {field}"),
            Source::Config(parameter) => write!(f, "CONFIG {parameter}"),
            Source::Words(words) => f.write_str(words),
        }
    }
}

// === impl Subject ===

impl Subject for NodeView {
    fn labels(&self) -> &[(String, String)] {
        &self.node.labels
    }

    fn text(&self, source: Source) -> Option<&str> {
        let snapshot = self.snapshot()?;
        match source {
            Source::Info { field, .. } => snapshot.fields.get(field),
            Source::Cluster(field) => snapshot.cluster.as_ref()?.get(field),
            Source::Config(parameter) => snapshot.config.as_ref()?.get(parameter),
            Source::Words(_) => None,
        }
    }
}

impl Subject for DeploymentView {
    fn labels(&self) -> &[(String, String)] {
        &self.deployment.labels
    }
}

impl Subject for ShardSubject {
    fn labels(&self) -> &[(String, String)] {
        &self.shard().labels
    }
}

impl Subject for SentinelSubject {
    fn labels(&self) -> &[(String, String)] {
        &self.view.nodes[self.statement().sentinel].node.labels
    }
}

impl Subject for ExporterView {
    fn labels(&self) -> &[(String, String)] {
        &[]
    }
}
