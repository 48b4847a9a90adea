//! Encoder of the metric tables: loops over the rows and writes an exposition.

use std::fmt::{self, Write};
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use topology::{DeploymentView, NodeView};

use crate::histogram::Histogram;
use crate::plain_text::PlainTextWriter;
use crate::row::{Entry, MetricKind, Row, SentinelSubject, ShardSubject, Subject};
use crate::{ExporterView, Format, tables};

/// Content of one scrape.
#[derive(Debug)]
pub struct Exposition {
    /// State of the exporter itself; `None` omits its metrics.
    pub exporter: Option<ExporterView>,
    /// Deployments, each after its last round.
    pub deployments: Vec<Arc<DeploymentView>>,
    /// Themes to expose; `None` for all.
    pub themes: Option<Vec<&'static str>>,
}

/// One node, with the metrics of `redis_exporter`.
#[derive(Debug)]
struct RedisExporterExposition(NodeView);

/// Writes all metrics. Samples go to the writer one by one, without a buffer for the whole text.
///
/// # Errors
/// Returns the errors of the writer.
pub fn encode(exposition: Exposition, format: Format, writer: &mut dyn Write) -> fmt::Result {
    collect(exposition, format, writer)
}

/// Writes the metrics of one node with the names, types and labels of `redis_exporter`, in text
/// format 0.0.4.
///
/// # Errors
/// Returns the errors of the writer.
pub fn encode_legacy(node: NodeView, writer: &mut dyn Write) -> fmt::Result {
    collect(RedisExporterExposition(node), Format::Text, writer)
}

fn collect(collector: impl Collector, format: Format, writer: &mut dyn Write) -> fmt::Result {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(collector));
    match format {
        Format::OpenMetrics => {
            let mut writer = SizedWriter(writer);
            encode_registry(&mut writer, &registry)?;
            encode_eof(&mut writer)
        }
        Format::Text => encode_registry(&mut PlainTextWriter::new(writer), &registry),
    }
}

impl Exposition {
    fn shows(&self, theme: &str) -> bool {
        self.themes.as_ref().is_none_or(|themes| themes.contains(&theme))
    }
}

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (theme, rows) = tables::EXPORTER;
        for row in rows.iter().filter(|_| self.shows(theme)) {
            encode_row(&mut encoder, row, self.exporter.iter())?;
        }
        for (_, rows) in tables::DEPLOYMENT.into_iter().filter(|(theme, _)| self.shows(theme)) {
            for row in rows {
                encode_row(
                    &mut encoder,
                    row,
                    self.deployments.iter().map(|deployment| &**deployment),
                )?;
            }
        }
        let (theme, rows) = tables::SENTINEL;
        if self.shows(theme) {
            let subjects: Vec<_> = self.deployments.iter().flat_map(SentinelSubject::all).collect();
            for row in rows {
                encode_row(&mut encoder, row, subjects.iter())?;
            }
        }
        let (theme, rows) = tables::SHARD;
        if self.shows(theme) {
            let shards: Vec<_> = self.deployments.iter().flat_map(ShardSubject::all).collect();
            for row in rows {
                let is_counter = row.entry.kind() == MetricKind::Counter;
                let shown = |shard: &&ShardSubject| is_counter || !shard.is_outdated();
                encode_row(&mut encoder, row, shards.iter().filter(shown))?;
            }
        }
        for (_, rows) in tables::NODE.into_iter().filter(|(theme, _)| self.shows(theme)) {
            for row in rows {
                encode_row(
                    &mut encoder,
                    row,
                    self.deployments.iter().flat_map(|deployment| deployment.shown()),
                )?;
            }
        }
        Ok(())
    }
}

impl Collector for RedisExporterExposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for row in tables::redis_exporter_rows() {
            let Some((name, kind)) = row.entry.on_scrape() else { continue };
            let mut family = FamilyWriter::new(&mut encoder, &row.entry, name, kind);
            row.read_for_redis_exporter(&self.0, &mut |values, value| {
                family.write_sample(&[], values, value);
            });
            family.result?;
        }
        Ok(())
    }
}

/// Writes all samples of one row.
fn encode_row<'a, T: Subject + 'a>(
    encoder: &mut DescriptorEncoder<'_>,
    row: &Row<T>,
    subjects: impl Iterator<Item = &'a T>,
) -> fmt::Result {
    let mut family = FamilyWriter::new(encoder, &row.entry, row.entry.name, row.entry.kind());
    for subject in subjects {
        row.read(subject, &mut |values, value| {
            family.write_sample(subject.labels(), values, value);
        });
        row.read_histograms(subject, &mut |values, histogram| {
            family.write_histogram(subject.labels(), values, histogram);
        });
    }
    family.result
}

/// Writer of one metric family. It writes the descriptor (HELP and TYPE) before the first sample,
/// so that a family without samples is omitted.
struct FamilyWriter<'a, 'b> {
    entry: &'a Entry,
    name: &'static str,
    kind: MetricKind,
    encoder: FamilyEncoder<'a, 'b>,
    /// Result of all writes so far. After an error nothing more is written.
    result: fmt::Result,
}

/// Encoder of a family, before and after its descriptor is written.
enum FamilyEncoder<'a, 'b> {
    /// The descriptor is not written yet.
    Descriptor(&'a mut DescriptorEncoder<'b>),
    /// The descriptor is written; samples follow.
    Samples(MetricEncoder<'a>),
    /// Writing the descriptor failed.
    Failed,
}

impl<'a, 'b> FamilyWriter<'a, 'b> {
    fn new(
        encoder: &'a mut DescriptorEncoder<'b>,
        entry: &'a Entry,
        name: &'static str,
        kind: MetricKind,
    ) -> Self {
        FamilyWriter {
            entry,
            name,
            kind,
            encoder: FamilyEncoder::Descriptor(encoder),
            result: Ok(()),
        }
    }

    fn write_sample(&mut self, base: &[(String, String)], values: &[&str], value: f64) {
        if value.is_finite() && self.result.is_ok() {
            let labels = SampleLabels { base, names: self.entry.labels, values };
            let kind = if descriptor(self.name, self.kind).0.is_empty() {
                MetricKind::Gauge
            } else {
                self.kind
            };
            self.result = self
                .metric_encoder()
                .and_then(|metric| encode_sample(metric, kind, &labels, value));
        }
    }

    fn write_histogram(
        &mut self,
        base: &[(String, String)],
        values: &[&str],
        histogram: &Histogram,
    ) {
        if self.result.is_ok() {
            let labels = SampleLabels { base, names: self.entry.labels, values };
            self.result = self.metric_encoder().and_then(|metric| {
                metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                    histogram.sum(),
                    histogram.count(),
                    &histogram.buckets(),
                    None,
                )
            });
        }
    }

    /// Returns the encoder of the samples. The first call writes the descriptor.
    fn metric_encoder(&mut self) -> Result<&mut MetricEncoder<'a>, fmt::Error> {
        if let FamilyEncoder::Descriptor(_) = self.encoder
            && let FamilyEncoder::Descriptor(encoder) =
                std::mem::replace(&mut self.encoder, FamilyEncoder::Failed)
        {
            let (suffix, kind) = descriptor(self.name, self.kind);
            let name = self.name.strip_suffix(suffix).unwrap_or(self.name);
            let help = format!("{} Source: {}.", self.entry.help, self.entry.source);
            let metric = encoder.encode_descriptor(name, &help, None, kind)?;
            self.encoder = FamilyEncoder::Samples(metric);
        }
        match &mut self.encoder {
            FamilyEncoder::Samples(metric) => Ok(metric),
            _ => Err(fmt::Error),
        }
    }
}

/// Returns the suffix that the encoder adds to the name, and the type for the encoder.
///
/// OpenMetrics has no counter without `_total`. Such a counter of redis_exporter gets the type
/// unknown, and its samples are encoded like those of a gauge. In text format 0.0.4 it becomes a
/// counter again.
fn descriptor(name: &str, kind: MetricKind) -> (&'static str, MetricType) {
    match kind {
        MetricKind::Counter if name.ends_with("_total") => ("_total", MetricType::Counter),
        MetricKind::Counter => ("", MetricType::Unknown),
        MetricKind::Info => ("_info", MetricType::Info),
        MetricKind::Gauge => ("", MetricType::Gauge),
        MetricKind::Histogram => ("", MetricType::Histogram),
    }
}

fn encode_sample(
    metric: &mut MetricEncoder<'_>,
    kind: MetricKind,
    labels: &SampleLabels<'_>,
    value: f64,
) -> fmt::Result {
    if kind == MetricKind::Info {
        return metric.encode_info(labels);
    }
    if labels.is_empty() {
        return encode_number(metric, kind, value);
    }
    encode_number(&mut metric.encode_family(labels)?, kind, value)
}

fn encode_number(metric: &mut MetricEncoder<'_>, kind: MetricKind, value: f64) -> fmt::Result {
    match (kind, as_integer(value)) {
        (MetricKind::Counter, Some(integer)) => {
            metric.encode_counter::<NoLabelSet, _, u64>(&integer.unsigned_abs(), None)
        }
        (MetricKind::Counter, None) => metric.encode_counter::<NoLabelSet, _, u64>(&value, None),
        (_, Some(integer)) => metric.encode_gauge(&integer),
        (_, None) => metric.encode_gauge(&value),
    }
}

/// Returns the value as an integer, which has a shorter text; `None` if it is not an integer that
/// `f64` represents exactly.
fn as_integer(value: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the value is within the range of exact integers"
    )]
    (value.fract() == 0.0 && value.abs() <= EXACT).then_some(value as i64)
}

/// Labels of one sample: first those of the subject, then those of the row.
#[derive(Debug)]
struct SampleLabels<'a> {
    base: &'a [(String, String)],
    names: &'a [&'static str],
    values: &'a [&'a str],
}

impl SampleLabels<'_> {
    fn is_empty(&self) -> bool {
        self.base.is_empty() && self.values.is_empty()
    }
}

impl EncodeLabelSet for SampleLabels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        use prometheus_client::encoding::EncodeLabel;
        for (name, value) in self.base {
            (name.as_str(), value.as_str()).encode(encoder.encode_label())?;
        }
        for label in self.names.iter().copied().zip(self.values.iter().copied()) {
            label.encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

/// Writer of known size around a trait object, for generic functions that require `Sized`.
struct SizedWriter<'a>(&'a mut dyn Write);

impl Write for SizedWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write_str(text)
    }
}
