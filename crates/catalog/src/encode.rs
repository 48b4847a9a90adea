//! Encoder of the metric tables: loops over the rows and writes an exposition.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::sync::Arc;

use topology::{DeploymentView, NodeView};

use crate::family::{Family, encode_labels};
use crate::row::{MetricKind, Row, SentinelSubject, ShardSubject, Subject};
use crate::{ExporterView, Format, Selection, tables};

/// Content of one scrape.
#[derive(Debug)]
pub struct Exposition {
    /// State of the exporter itself; `None` omits its metrics.
    pub exporter: Option<ExporterView>,
    /// Deployments, each after its last round.
    pub deployments: Vec<Arc<DeploymentView>>,
    /// Metrics to expose.
    pub selection: Selection,
}

/// Subject with its labels, which are encoded once for all its samples.
struct Labeled<'a, T> {
    subject: &'a T,
    /// Labels as they are between braces.
    labels: String,
}

/// Writes all metrics. The writer gets the samples of one metric and one subject at a time, so that
/// no buffer needs memory for the whole text.
///
/// # Errors
/// Returns the errors of the writer.
pub fn encode(exposition: &Exposition, format: Format, writer: &mut dyn Write) -> fmt::Result {
    exposition.encode(format, writer)?;
    match format {
        Format::OpenMetrics => writer.write_str("# EOF\n"),
        Format::Text => Ok(()),
    }
}

/// Options of redis_exporter that change all metrics of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LegacyStyle {
    /// Prefix of the names; `None` for `redis`. An empty one has no separator.
    pub namespace: Option<String>,
    /// Every series has the label `instance_role`.
    pub role_label: bool,
}

/// Writes the metrics of one node with the names, types and labels of `redis_exporter`, in text
/// format 0.0.4.
///
/// # Errors
/// Returns the errors of the writer.
pub fn encode_legacy(node: &NodeView, style: &LegacyStyle, writer: &mut dyn Write) -> fmt::Result {
    let labels = style.labels(node);
    for row in tables::redis_exporter_rows() {
        let Some((name, kind)) = row.entry.on_scrape() else { continue };
        let name = style.name(name);
        let mut family = Family::new(&row.entry, &name, kind, Format::Text);
        row.read_for_redis_exporter(node, &mut |values, value| {
            family.add_sample(&labels, values, value);
        });
        family.write_to(writer)?;
    }
    Ok(())
}

impl LegacyStyle {
    /// Returns a name of redis_exporter with the configured prefix.
    fn name<'a>(&self, name: &'a str) -> Cow<'a, str> {
        match (&self.namespace, name.strip_prefix("redis_")) {
            (Some(namespace), Some(rest)) if namespace.is_empty() => rest.into(),
            (Some(namespace), Some(rest)) => format!("{namespace}_{rest}").into(),
            _ => name.into(),
        }
    }

    /// Returns the encoded labels that every series has.
    fn labels(&self, node: &NodeView) -> String {
        let role = || node.snapshot()?.fields.get("role");
        let role = self.role_label.then(|| role().unwrap_or_default().to_owned());
        encode_labels(
            &role.map(|role| ("instance_role".to_owned(), role)).into_iter().collect::<Vec<_>>(),
        )
    }
}

impl Exposition {
    fn encode(&self, format: Format, writer: &mut dyn Write) -> fmt::Result {
        let selection = &self.selection;
        let exporter = labeled(self.exporter.iter());
        for row in selection.rows(tables::EXPORTER) {
            encode_row(row, &exporter, format, writer)?;
        }
        let deployments = labeled(self.deployments.iter().map(|deployment| &**deployment));
        for row in tables::DEPLOYMENT.into_iter().flat_map(|table| selection.rows(table)) {
            encode_row(row, &deployments, format, writer)?;
        }
        let sentinels: Vec<_> = self.deployments.iter().flat_map(SentinelSubject::all).collect();
        let sentinels = labeled(sentinels.iter());
        for row in selection.rows(tables::SENTINEL) {
            encode_row(row, &sentinels, format, writer)?;
        }
        let shards: Vec<_> = self.deployments.iter().flat_map(ShardSubject::all).collect();
        let shards = labeled(shards.iter());
        for row in selection.rows(tables::SHARD) {
            let is_counter = row.entry.kind() == MetricKind::Counter;
            let shown =
                |shard: &&Labeled<'_, ShardSubject>| is_counter || !shard.subject.is_outdated();
            encode_row(row, shards.iter().filter(shown), format, writer)?;
        }
        let nodes = labeled(self.deployments.iter().flat_map(|deployment| deployment.shown()));
        for row in tables::NODE.into_iter().flat_map(|table| selection.rows(table)) {
            encode_row(row, &nodes, format, writer)?;
        }
        Ok(())
    }
}

/// Encodes the labels of subjects.
fn labeled<'a, T: Subject + 'a>(subjects: impl Iterator<Item = &'a T>) -> Vec<Labeled<'a, T>> {
    subjects.map(|subject| Labeled { subject, labels: encode_labels(subject.labels()) }).collect()
}

/// Writes all samples of one row.
fn encode_row<'a, T: Subject + 'a>(
    row: &Row<T>,
    subjects: impl IntoIterator<Item = &'a Labeled<'a, T>>,
    format: Format,
    writer: &mut dyn Write,
) -> fmt::Result {
    let mut family = Family::new(&row.entry, row.entry.name, row.entry.kind(), format);
    for Labeled { subject, labels } in subjects {
        row.read(subject, &mut |values, value| family.add_sample(labels, values, value));
        row.read_histograms(subject, &mut |values, histogram| {
            family.add_histogram(labels, values, histogram);
        });
        family.write_to(writer)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
