//! The loop over the rows that writes an exposition.

use std::fmt::{self, Write};
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use topology::DeploymentView;

use crate::row::{Entry, Kind, Row, Subject};
use crate::text::Text;
use crate::{ExporterView, Format, tables};

/// Everything that one scrape shows.
#[derive(Debug)]
pub struct Exposition {
    /// The exporter itself.
    pub exporter: ExporterView,
    /// The deployments, each as of its last round.
    pub deployments: Vec<Arc<DeploymentView>>,
}

/// Writes every metric. Nothing is kept in between: what is written goes to the writer piece by piece.
///
/// # Errors
/// Those of the writer.
pub fn encode(exposition: Exposition, format: Format, writer: &mut dyn Write) -> fmt::Result {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(exposition));
    match format {
        Format::OpenMetrics => {
            let mut writer = Sized(writer);
            encode_registry(&mut writer, &registry)?;
            encode_eof(&mut writer)
        }
        Format::Text => encode_registry(&mut Text::new(writer), &registry),
    }
}

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for row in tables::exporter() {
            family(&mut encoder, row, std::iter::once(&self.exporter))?;
        }
        for row in tables::deployment() {
            family(&mut encoder, row, self.deployments.iter().map(|deployment| &**deployment))?;
        }
        for row in tables::node() {
            family(&mut encoder, row, self.deployments.iter().flat_map(|deployment| &deployment.nodes))?;
        }
        Ok(())
    }
}

/// Writes all samples of one row. A family without a sample is not mentioned.
fn family<'a, T: Subject + 'a>(encoder: &mut DescriptorEncoder<'_>, row: &Row<T>, subjects: impl Iterator<Item = &'a T>) -> fmt::Result {
    let mut family = Family::Unmentioned(encoder);
    let mut outcome = Ok(());
    for subject in subjects {
        row.read(subject, &mut |values, value| {
            if value.is_finite() && outcome.is_ok() {
                let labels = SampleLabels { base: subject.labels(), names: row.entry.labels, values };
                outcome = family.mention(&row.entry).and_then(|metric| sample(metric, row.entry.kind(), &labels, value));
            }
        });
    }
    outcome
}

/// A family, before and after its descriptor was written.
enum Family<'a, 'b> {
    Unmentioned(&'a mut DescriptorEncoder<'b>),
    Mentioned(MetricEncoder<'a>),
    Failed,
}

impl<'a> Family<'a, '_> {
    fn mention(&mut self, entry: &Entry) -> Result<&mut MetricEncoder<'a>, fmt::Error> {
        if let Family::Unmentioned(_) = self
            && let Family::Unmentioned(encoder) = std::mem::replace(self, Family::Failed)
        {
            let (name, kind) = match entry.kind() {
                Kind::Counter => (entry.name.strip_suffix("_total").unwrap_or(entry.name), MetricType::Counter),
                Kind::Info => (entry.name.strip_suffix("_info").unwrap_or(entry.name), MetricType::Info),
                Kind::Gauge => (entry.name, MetricType::Gauge),
            };
            let help = format!("{} Source: {}.", entry.help, entry.source);
            *self = Family::Mentioned(encoder.encode_descriptor(name, &help, None, kind)?);
        }
        match self {
            Family::Mentioned(metric) => Ok(metric),
            _ => Err(fmt::Error),
        }
    }
}

fn sample(metric: &mut MetricEncoder<'_>, kind: Kind, labels: &SampleLabels<'_>, value: f64) -> fmt::Result {
    if labels.is_empty() {
        return number(metric, kind, value);
    }
    if kind == Kind::Info {
        return metric.encode_info(labels);
    }
    number(&mut metric.encode_family(labels)?, kind, value)
}

fn number(metric: &mut MetricEncoder<'_>, kind: Kind, value: f64) -> fmt::Result {
    match (kind, whole(value)) {
        (Kind::Counter, Some(whole)) => metric.encode_counter::<NoLabelSet, _, u64>(&whole.unsigned_abs(), None),
        (Kind::Counter, None) => metric.encode_counter::<NoLabelSet, _, u64>(&value, None),
        (_, Some(whole)) => metric.encode_gauge(&whole),
        (_, None) => metric.encode_gauge(&value),
    }
}

/// The value as a whole number, which is shorter to write and to read.
fn whole(value: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "the bounds of exact whole numbers were checked")]
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
