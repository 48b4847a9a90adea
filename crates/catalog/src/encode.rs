//! The loop over the rows that writes an exposition.

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

use crate::row::{Entry, MetricKind, Row, SaidOf, ShardOf, Subject};
use crate::text::Text;
use crate::{ExporterView, Format, tables};

/// Everything that one scrape shows.
#[derive(Debug)]
pub struct Exposition {
    /// The exporter itself; `None` leaves it out.
    pub exporter: Option<ExporterView>,
    /// The deployments, each as of its last round.
    pub deployments: Vec<Arc<DeploymentView>>,
    /// The themes to show; `None` for all.
    pub themes: Option<Vec<&'static str>>,
}

/// One node as `redis_exporter` would show it.
#[derive(Debug)]
struct Legacy(NodeView);

/// Writes every metric. Nothing is kept in between: what is written goes to the writer piece by piece.
///
/// # Errors
/// Those of the writer.
pub fn encode(exposition: Exposition, format: Format, writer: &mut dyn Write) -> fmt::Result {
    collect(exposition, format, writer)
}

/// Writes what `redis_exporter` has too of one node: its names, types and labels, in text format 0.0.4.
///
/// # Errors
/// Those of the writer.
pub fn encode_legacy(node: NodeView, writer: &mut dyn Write) -> fmt::Result {
    collect(Legacy(node), Format::Text, writer)
}

fn collect(collector: impl Collector, format: Format, writer: &mut dyn Write) -> fmt::Result {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(collector));
    match format {
        Format::OpenMetrics => {
            let mut writer = Sized(writer);
            encode_registry(&mut writer, &registry)?;
            encode_eof(&mut writer)
        }
        Format::Text => encode_registry(&mut Text::new(writer), &registry),
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
            family(&mut encoder, row, self.exporter.iter())?;
        }
        for (_, rows) in tables::DEPLOYMENT.into_iter().filter(|(theme, _)| self.shows(theme)) {
            for row in rows {
                family(&mut encoder, row, self.deployments.iter().map(|deployment| &**deployment))?;
            }
        }
        let (theme, rows) = tables::SAID;
        if self.shows(theme) {
            let said: Vec<_> = self.deployments.iter().flat_map(SaidOf::all).collect();
            for row in rows {
                family(&mut encoder, row, said.iter())?;
            }
        }
        let (theme, rows) = tables::SHARD;
        if self.shows(theme) {
            let shards: Vec<_> = self.deployments.iter().flat_map(ShardOf::all).collect();
            for row in rows {
                family(&mut encoder, row, shards.iter())?;
            }
        }
        for (_, rows) in tables::NODE.into_iter().filter(|(theme, _)| self.shows(theme)) {
            for row in rows {
                family(
                    &mut encoder,
                    row,
                    self.deployments.iter().flat_map(|deployment| deployment.shown()),
                )?;
            }
        }
        Ok(())
    }
}

impl Collector for Legacy {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for row in tables::legacy() {
            let Some((name, kind)) = row.entry.legacy() else { continue };
            let mut family = Family::new(&mut encoder, &row.entry, name, kind);
            row.read_legacy(&self.0, &mut |values, value| family.sample(&[], values, value));
            family.written?;
        }
        Ok(())
    }
}

/// Writes all samples of one row.
fn family<'a, T: Subject + 'a>(
    encoder: &mut DescriptorEncoder<'_>,
    row: &Row<T>,
    subjects: impl Iterator<Item = &'a T>,
) -> fmt::Result {
    let mut family = Family::new(encoder, &row.entry, row.entry.name, row.entry.kind());
    for subject in subjects {
        row.read(subject, &mut |values, value| family.sample(subject.labels(), values, value));
    }
    family.written
}

/// A family that is being written. One without a sample is not mentioned.
struct Family<'a, 'b> {
    entry: &'a Entry,
    name: &'static str,
    kind: MetricKind,
    encoder: Mention<'a, 'b>,
    written: fmt::Result,
}

/// Before and after the descriptor of a family was written.
enum Mention<'a, 'b> {
    Before(&'a mut DescriptorEncoder<'b>),
    After(MetricEncoder<'a>),
    Failed,
}

impl<'a, 'b> Family<'a, 'b> {
    fn new(
        encoder: &'a mut DescriptorEncoder<'b>,
        entry: &'a Entry,
        name: &'static str,
        kind: MetricKind,
    ) -> Self {
        Family { entry, name, kind, encoder: Mention::Before(encoder), written: Ok(()) }
    }

    fn sample(&mut self, base: &[(String, String)], values: &[&str], value: f64) {
        if value.is_finite() && self.written.is_ok() {
            let labels = SampleLabels { base, names: self.entry.labels, values };
            let kind = if descriptor(self.name, self.kind).0.is_empty() {
                MetricKind::Gauge
            } else {
                self.kind
            };
            self.written = self.mention().and_then(|metric| sample(metric, kind, &labels, value));
        }
    }

    fn mention(&mut self) -> Result<&mut MetricEncoder<'a>, fmt::Error> {
        if let Mention::Before(_) = self.encoder
            && let Mention::Before(encoder) = std::mem::replace(&mut self.encoder, Mention::Failed)
        {
            let (suffix, kind) = descriptor(self.name, self.kind);
            let name = self.name.strip_suffix(suffix).unwrap_or(self.name);
            let help = format!("{} Source: {}.", self.entry.help, self.entry.source);
            self.encoder = Mention::After(encoder.encode_descriptor(name, &help, None, kind)?);
        }
        match &mut self.encoder {
            Mention::After(metric) => Ok(metric),
            _ => Err(fmt::Error),
        }
    }
}

/// The suffix that the encoder adds by itself, and the type it knows. A counter without `_total` is unknown to OpenMetrics, and its samples
/// are written as they are, like those of a gauge; in text format 0.0.4 it is a counter again.
fn descriptor(name: &str, kind: MetricKind) -> (&'static str, MetricType) {
    match kind {
        MetricKind::Counter if name.ends_with("_total") => ("_total", MetricType::Counter),
        MetricKind::Counter => ("", MetricType::Unknown),
        MetricKind::Info => ("_info", MetricType::Info),
        MetricKind::Gauge => ("", MetricType::Gauge),
    }
}

fn sample(
    metric: &mut MetricEncoder<'_>,
    kind: MetricKind,
    labels: &SampleLabels<'_>,
    value: f64,
) -> fmt::Result {
    if kind == MetricKind::Info {
        return metric.encode_info(labels);
    }
    if labels.is_empty() {
        return number(metric, kind, value);
    }
    number(&mut metric.encode_family(labels)?, kind, value)
}

fn number(metric: &mut MetricEncoder<'_>, kind: MetricKind, value: f64) -> fmt::Result {
    match (kind, whole(value)) {
        (MetricKind::Counter, Some(whole)) => {
            metric.encode_counter::<NoLabelSet, _, u64>(&whole.unsigned_abs(), None)
        }
        (MetricKind::Counter, None) => metric.encode_counter::<NoLabelSet, _, u64>(&value, None),
        (_, Some(whole)) => metric.encode_gauge(&whole),
        (_, None) => metric.encode_gauge(&value),
    }
}

/// The value as a whole number, which is shorter to write and to read.
fn whole(value: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the bounds of exact whole numbers were checked"
    )]
    (value.fract() == 0.0 && value.abs() <= EXACT).then_some(value as i64)
}

/// The labels of one sample: those of its subject, then the row's own.
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

/// A writer that is no longer a trait object, for functions that want to know its size.
struct Sized<'a>(&'a mut dyn Write);

impl Write for Sized<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write_str(text)
    }
}
