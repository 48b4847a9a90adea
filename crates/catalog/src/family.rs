//! Lines of one metric family.
//!
//! prometheus-client writes the HELP and TYPE lines, and labels with characters that need escapes.
//! The other lines are written here: its encoder passes each part of a sample to the writer on its
//! own and escapes all labels for each sample, which takes most of the time of a large scrape.

use std::fmt::{self, Write};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::Format;
use crate::histogram::Histogram;
use crate::row::{Entry, MetricKind, Summary};

/// Writer of one metric family. It writes the descriptor (HELP and TYPE) before the first sample,
/// so that a family without samples is omitted.
pub(crate) struct Family<'a> {
    entry: &'a Entry,
    /// Name of the samples.
    name: &'a str,
    kind: MetricKind,
    format: Format,
    is_described: bool,
    /// Lines that are not written yet.
    lines: String,
}

impl<'a> Family<'a> {
    /// Creates a writer for the metric of an entry under this name and with this type.
    pub(crate) fn new(entry: &'a Entry, name: &'a str, kind: MetricKind, format: Format) -> Self {
        Family { entry, name, kind, format, is_described: false, lines: String::new() }
    }

    /// Adds a sample. `subject` has the encoded labels of the subject, `values` has the values of
    /// the row's labels. A value that is not finite is left out.
    pub(crate) fn add_sample(&mut self, subject: &str, values: &[&str], value: f64) {
        if value.is_finite() {
            self.lines.push_str(self.name);
            self.push_labels(subject, values);
            self.lines.push(' ');
            self.push_value(value);
            self.lines.push('\n');
        }
    }

    /// Adds a histogram.
    pub(crate) fn add_histogram(&mut self, subject: &str, values: &[&str], histogram: &Histogram) {
        self.add_part("_sum", subject, values, dtoa::Buffer::new().format(histogram.sum()));
        self.add_part("_count", subject, values, itoa::Buffer::new().format(histogram.count()));
        let mut cumulative = 0;
        for (bound, count) in histogram.buckets() {
            cumulative += count;
            let mut text = dtoa::Buffer::new();
            let bound = if bound == f64::INFINITY { "+Inf" } else { text.format(bound) };
            let mut labels = String::new();
            push_label(&mut labels, "le", bound);
            if !subject.is_empty() {
                labels.push(',');
                labels.push_str(subject);
            }
            self.add_part("_bucket", &labels, values, itoa::Buffer::new().format(cumulative));
        }
    }

    /// Adds a summary.
    pub(crate) fn add_summary(&mut self, subject: &str, values: &[&str], summary: &Summary) {
        for (quantile, value) in &summary.quantiles {
            let mut labels = String::new();
            push_label(&mut labels, "quantile", quantile);
            if !subject.is_empty() {
                labels.push(',');
                labels.push_str(subject);
            }
            self.add_part("", &labels, values, dtoa::Buffer::new().format(*value));
        }
        self.add_part("_sum", subject, values, dtoa::Buffer::new().format(summary.sum));
        self.add_part("_count", subject, values, itoa::Buffer::new().format(summary.count));
    }

    /// Writes the lines that were added since the last call.
    ///
    /// # Errors
    /// Returns the errors of the writer.
    pub(crate) fn write_to(&mut self, writer: &mut dyn Write) -> fmt::Result {
        if self.lines.is_empty() {
            return Ok(());
        }
        if !self.is_described {
            writer.write_str(&self.descriptor())?;
            self.is_described = true;
        }
        writer.write_str(&self.lines)?;
        self.lines.clear();
        Ok(())
    }

    /// Adds one sample of a histogram or a summary.
    fn add_part(&mut self, suffix: &str, subject: &str, values: &[&str], value: &str) {
        self.lines.push_str(self.name);
        self.lines.push_str(suffix);
        self.push_labels(subject, values);
        self.lines.push(' ');
        self.lines.push_str(value);
        self.lines.push('\n');
    }

    /// Appends the labels of a sample: first those of the subject, then those of the row.
    fn push_labels(&mut self, subject: &str, values: &[&str]) {
        if subject.is_empty() && values.is_empty() {
            return;
        }
        self.lines.push('{');
        self.lines.push_str(subject);
        let mut is_first = subject.is_empty();
        for (name, value) in self.entry.labels.iter().zip(values) {
            if !is_first {
                self.lines.push(',');
            }
            is_first = false;
            push_label(&mut self.lines, name, value);
        }
        self.lines.push('}');
    }

    /// Appends a value as prometheus-client writes it: a counter has no sign, an info metric is 1.
    fn push_value(&mut self, value: f64) {
        let is_counter = self.kind == MetricKind::Counter && self.name.ends_with("_total");
        let mut digits = itoa::Buffer::new();
        let mut text = dtoa::Buffer::new();
        self.lines.push_str(match as_integer(value) {
            _ if self.kind == MetricKind::Info => "1",
            Some(integer) if is_counter => digits.format(integer.unsigned_abs()),
            Some(integer) => digits.format(integer),
            None => text.format(value),
        });
    }

    /// Returns the HELP and TYPE lines.
    fn descriptor(&self) -> String {
        let (name, kind) = described(self.name, self.kind, self.format);
        let help = format!("{} Source: {}.", self.entry.help, self.entry.source);
        let mut text = encode_alone(Descriptor { name: name.to_owned(), help, kind });
        if self.kind == MetricKind::Summary {
            // prometheus-client has no such type.
            let end = text.rfind(' ').unwrap_or(text.len());
            text.replace_range(end.., " summary\n");
        }
        text
    }
}

/// Returns the name and the type of a family in its HELP and TYPE lines.
///
/// In OpenMetrics the name has no suffix, and there is no counter without `_total`: such a counter
/// of redis_exporter gets the type unknown. In text format 0.0.4 the name is that of the samples,
/// and the type info does not exist.
fn described(name: &str, kind: MetricKind, format: Format) -> (&str, MetricType) {
    match (kind, format) {
        (MetricKind::Counter, Format::OpenMetrics) => match name.strip_suffix("_total") {
            Some(name) => (name, MetricType::Counter),
            None => (name, MetricType::Unknown),
        },
        (MetricKind::Info, Format::OpenMetrics) => {
            (name.strip_suffix("_info").unwrap_or(name), MetricType::Info)
        }
        (MetricKind::Counter, Format::Text) => (name, MetricType::Counter),
        (MetricKind::Gauge, _) | (MetricKind::Info, Format::Text) => (name, MetricType::Gauge),
        (MetricKind::Histogram, _) => (name, MetricType::Histogram),
        (MetricKind::Summary, _) => (name, MetricType::Unknown),
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

/// Returns labels as they are between braces.
pub(crate) fn encode_labels(labels: &[(String, String)]) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        if !text.is_empty() {
            text.push(',');
        }
        push_label(&mut text, name, value);
    }
    text
}

/// Appends a label. prometheus-client writes it if its value has a character that may need an
/// escape.
fn push_label(text: &mut String, name: &str, value: &str) {
    let may_need_escape = |byte| matches!(byte, b'"' | b'\\' | 0..b' ');
    if value.bytes().any(may_need_escape) {
        let encoded = encode_alone(Label { name: name.to_owned(), value: value.to_owned() });
        // The descriptor has no brace, and the sample ends with the value 0.
        let sample = encoded.split_once('{').map_or("", |(_, sample)| sample);
        text.push_str(sample.strip_suffix("} 0\n").unwrap_or(sample));
    } else {
        text.push_str(name);
        text.push_str("=\"");
        text.push_str(value);
        text.push('"');
    }
}

/// Returns what prometheus-client writes for one collector.
fn encode_alone(collector: impl Collector) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(collector));
    let mut text = String::new();
    let written = encode_registry(&mut text, &registry);
    debug_assert!(written.is_ok(), "writing to a string cannot fail");
    text
}

/// Descriptor of a family.
#[derive(Debug)]
struct Descriptor {
    name: String,
    help: String,
    kind: MetricType,
}

/// Label that needs escapes, as the only one of a gauge.
#[derive(Debug)]
struct Label {
    name: String,
    value: String,
}

impl Collector for Descriptor {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        encoder.encode_descriptor(&self.name, &self.help, None, self.kind).map(drop)
    }
}

impl Collector for Label {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let labels = [(self.name.as_str(), self.value.as_str())];
        let mut gauge = encoder.encode_descriptor("", "", None, MetricType::Gauge)?;
        gauge.encode_family(&labels)?.encode_gauge(&0_i64)
    }
}
