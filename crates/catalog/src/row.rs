//! What a metric is: its row, and how a value is read from what is known.

use std::fmt;
use std::sync::Arc;

use topology::{DeploymentView, NodeView, SentinelStatement, ShardView};

use crate::ExporterView;

/// One metric of things of type `T`.
pub(crate) struct Row<T: 'static> {
    /// What is said about it.
    pub(crate) entry: Entry,
    /// How its values are read.
    pub(crate) read: Read<T>,
}

/// A metric of a node.
pub(crate) type NodeRow = Row<NodeView>;

/// A metric of a deployment.
pub(crate) type DeploymentRow = Row<DeploymentView>;

/// A metric of the nodes that hold one data set.
pub(crate) type ShardRow = Row<ShardOf>;

/// A metric of what a Sentinel says of a deployment's master.
pub(crate) type SaidRow = Row<SaidOf>;

/// A metric of the exporter itself.
pub(crate) type ExporterRow = Row<ExporterView>;

/// What is said about a metric: all of the reference, and what laws are about.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The full name, as exposed: that of a counter ends in `_total`, that of an info in `_info`.
    pub name: &'static str,
    /// The name under which `redis_exporter` has it.
    pub legacy: Legacy,
    /// Labels of its own, beside those of the node or deployment.
    pub labels: &'static [&'static str],
    /// Where the value comes from.
    pub source: Source,
    /// One sentence on what it says, with its unit.
    pub help: &'static str,
}

/// How `redis_exporter` has a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Legacy {
    /// As it is here.
    Same,
    /// As a gauge of this name, with the number as the server writes it.
    Gauge(&'static str),
    /// As a counter of this name, with the number as the server writes it.
    Counter(&'static str),
    /// Under this name, but with other labels or another meaning: it has a row of its own in `tables/legacy.rs`.
    Own(&'static str),
    /// Not at all.
    No,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A field of INFO.
    Info {
        /// The section, in lower case.
        section: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A field of CLUSTER INFO.
    Cluster(&'static str),
    /// A CONFIG parameter.
    Config(&'static str),
    /// Several fields, or the exporter itself, in words.
    Words(&'static str),
}

/// How the values of a metric are read.
pub(crate) enum Read<T> {
    /// The number in a field, times a factor; a negative number stands for unknown there.
    Field(f64),
    /// The number in a field, which may be negative.
    Signed,
    /// The `ok` or `err` (of a cluster: `fail`) in a field, as 1 or 0.
    Status,
    /// One value.
    One(fn(&T) -> Option<f64>),
    /// One of the named states: 1 for the current one, 0 for the others.
    State(&'static [&'static str], fn(&T) -> Option<&'static str>),
    /// Any number of values, each with values for the row's labels.
    Many(fn(&T, Emit<'_>)),
}

/// One shard of a deployment, with the nodes that it is about.
#[derive(Debug, Clone)]
pub(crate) struct ShardOf {
    view: Arc<DeploymentView>,
    index: usize,
}

impl ShardOf {
    /// Every shard of a deployment.
    pub(crate) fn all(view: &Arc<DeploymentView>) -> impl Iterator<Item = ShardOf> {
        let view = Arc::clone(view);
        (0..view.shards.len()).map(move |index| ShardOf { view: Arc::clone(&view), index })
    }

    pub(crate) fn shard(&self) -> &ShardView {
        &self.view.shards[self.index]
    }

    /// The label of a node.
    pub(crate) fn name(&self, index: topology::NodeIndex) -> &str {
        self.view.name(index)
    }

    /// How many stale masters take writes.
    pub(crate) fn writable_stale_masters(&self) -> usize {
        self.view.writable_stale_masters(self.shard()).len()
    }

    /// Whether there was a round yet.
    pub(crate) fn known(&self) -> bool {
        self.view.at.is_some()
    }
}

/// What one Sentinel says of the master of a deployment.
#[derive(Debug, Clone)]
pub(crate) struct SaidOf {
    view: Arc<DeploymentView>,
    said: SentinelStatement,
}

impl SaidOf {
    /// What every Sentinel of a deployment says.
    pub(crate) fn all(view: &Arc<DeploymentView>) -> impl Iterator<Item = SaidOf> {
        let said = view.sentinels.iter().flat_map(|sentinels| &sentinels.statements);
        said.map(|said| SaidOf { view: Arc::clone(view), said: said.clone() })
    }

    pub(crate) fn said(&self) -> &SentinelStatement {
        &self.said
    }

    /// The name by which Sentinels know the master.
    pub(crate) fn master(&self) -> &str {
        self.view.deployment.discovery.as_ref().map_or("", |discovery| &discovery.master)
    }
}

/// Takes the values of a row's labels, and a sample.
pub(crate) type Emit<'a> = &'a mut dyn FnMut(&[&str], f64);

/// What a metric can be about.
pub(crate) trait Subject {
    /// The labels on each of its series.
    fn labels(&self) -> &[(String, String)];

    /// The text of a field or parameter; only nodes have any.
    fn text(&self, _source: Source) -> Option<&str> {
        None
    }
}

/// The type of a metric. It follows from the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows, and starts anew with its source. The name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Always 1; its labels are what it says. The name ends in `_info`.
    Info,
}

impl Row<NodeView> {
    /// A number in an INFO field.
    pub(crate) const fn field(
        name: &'static str,
        section: &'static str,
        field: &'static str,
        help: &'static str,
    ) -> Self {
        Self::read_from(name, Source::Info { section, field }, help, Read::Field(1.0))
    }

    /// An `ok` or `err` in an INFO field.
    pub(crate) const fn status(
        name: &'static str,
        section: &'static str,
        field: &'static str,
        help: &'static str,
    ) -> Self {
        Self::read_from(name, Source::Info { section, field }, help, Read::Status)
    }

    /// A number in a field of CLUSTER INFO.
    pub(crate) const fn cluster(
        name: &'static str,
        field: &'static str,
        help: &'static str,
    ) -> Self {
        Self::read_from(name, Source::Cluster(field), help, Read::Field(1.0))
    }

    /// A number, `yes` or `no` in a CONFIG parameter.
    pub(crate) const fn config(
        name: &'static str,
        parameter: &'static str,
        help: &'static str,
    ) -> Self {
        Self::read_from(name, Source::Config(parameter), help, Read::Field(1.0)).legacy(Legacy::No)
    }

    const fn read_from(
        name: &'static str,
        source: Source,
        help: &'static str,
        read: Read<NodeView>,
    ) -> Self {
        Row { entry: Entry { name, legacy: Legacy::Same, labels: &[], source, help }, read }
    }

    /// The field counts in another unit: what it is multiplied by.
    pub(crate) const fn scaled(mut self, factor: f64) -> Self {
        self.read = Read::Field(factor);
        self
    }

    /// The number may be negative.
    pub(crate) const fn signed(mut self) -> Self {
        self.read = Read::Signed;
        self
    }

    /// The field holds `ok` or `fail`.
    pub(crate) const fn ok(mut self) -> Self {
        self.read = Read::Status;
        self
    }
}

impl<T: 'static> Row<T> {
    /// One computed value.
    pub(crate) const fn one(
        name: &'static str,
        source: &'static str,
        help: &'static str,
        read: fn(&T) -> Option<f64>,
    ) -> Self {
        let entry =
            Entry { name, legacy: Legacy::No, labels: &[], source: Source::Words(source), help };
        Row { entry, read: Read::One(read) }
    }

    /// A state set. `labels` holds the name of the one label that carries the state.
    pub(crate) const fn state(
        name: &'static str,
        labels: &'static [&'static str],
        states: &'static [&'static str],
        source: &'static str,
        help: &'static str,
        read: fn(&T) -> Option<&'static str>,
    ) -> Self {
        let entry = Entry { name, legacy: Legacy::No, labels, source: Source::Words(source), help };
        Row { entry, read: Read::State(states, read) }
    }

    /// Any number of values, told apart by the labels.
    pub(crate) const fn many(
        name: &'static str,
        labels: &'static [&'static str],
        source: &'static str,
        help: &'static str,
        read: fn(&T, Emit<'_>),
    ) -> Self {
        let entry = Entry { name, legacy: Legacy::No, labels, source: Source::Words(source), help };
        Row { entry, read: Read::Many(read) }
    }

    /// `redis_exporter` has it, under this name.
    pub(crate) const fn legacy(mut self, legacy: Legacy) -> Self {
        self.entry.legacy = legacy;
        self
    }
}

impl<T: Subject> Row<T> {
    /// Reads every sample of one thing.
    pub(crate) fn read(&self, subject: &T, emit: Emit<'_>) {
        match self.read {
            Read::Field(factor) => {
                one(
                    number(subject, self.entry.source)
                        .filter(|number| *number >= 0.0)
                        .map(|number| number * factor),
                    emit,
                );
            }
            Read::Signed => one(number(subject, self.entry.source), emit),
            Read::Status => one(subject.text(self.entry.source).and_then(status), emit),
            Read::One(read) => one(read(subject), emit),
            Read::State(states, read) => {
                if let Some(current) = read(subject) {
                    for state in states {
                        emit(&[state], f64::from(*state == current));
                    }
                }
            }
            Read::Many(read) => read(subject, emit),
        }
    }

    /// Reads every sample of one thing as `redis_exporter` would show it: what has another name there is the number of the server as it
    /// is, also where it stands for unknown.
    pub(crate) fn read_legacy(&self, subject: &T, emit: Emit<'_>) {
        match (&self.read, self.entry.legacy) {
            (Read::Field(factor), Legacy::Same) => {
                one(number(subject, self.entry.source).map(|number| number * factor), emit);
            }
            (Read::Field(_), _) => one(number(subject, self.entry.source), emit),
            _ => self.read(subject, emit),
        }
    }
}

fn one(value: Option<f64>, emit: Emit<'_>) {
    if let Some(value) = value {
        emit(&[], value);
    }
}

/// The number in a field. Of a parameter also `yes` and `no`.
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
    /// Name and type on `/scrape`, if it is there.
    pub fn legacy(&self) -> Option<(&'static str, MetricKind)> {
        match self.legacy {
            Legacy::Same => Some((self.name, self.kind())),
            Legacy::Gauge(name) => Some((name, MetricKind::Gauge)),
            Legacy::Counter(name) => Some((name, MetricKind::Counter)),
            Legacy::Own(_) | Legacy::No => None,
        }
    }

    /// The type that follows from the name.
    pub fn kind(&self) -> MetricKind {
        match self.name {
            name if name.ends_with("_total") => MetricKind::Counter,
            name if name.ends_with("_info") => MetricKind::Info,
            _ => MetricKind::Gauge,
        }
    }
}

impl MetricKind {
    /// The name of the type in the reference.
    pub const fn label(self) -> &'static str {
        match self {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Info => "info",
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

impl Subject for ShardOf {
    fn labels(&self) -> &[(String, String)] {
        &self.shard().labels
    }
}

impl Subject for SaidOf {
    fn labels(&self) -> &[(String, String)] {
        &self.view.nodes[self.said().sentinel].node.labels
    }
}

impl Subject for ExporterView {
    fn labels(&self) -> &[(String, String)] {
        &[]
    }
}
