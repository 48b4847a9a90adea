//! Encoder of the metric tables: loops over the rows and writes an exposition.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::sync::Arc;

use topology::{DeploymentView, NodeView};

use crate::family::{Family, encode_labels};
use crate::row::{
    Entry, MetricKind, NodeRow, RedisExporterName, Row, SentinelRow, SentinelSubject, ShardSubject,
    Subject,
};
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
    /// Every series of a node has the label `instance_role`.
    pub role_label: bool,
}

/// Writes the metrics of one node, if there is one, with the names, types and labels of
/// `redis_exporter`, and those that it has of itself, in text format 0.0.4.
///
/// # Errors
/// Returns the errors of the writer.
pub fn encode_legacy(
    node: Option<&NodeView>,
    exporter: &ExporterView,
    style: &LegacyStyle,
    writer: &mut dyn Write,
) -> fmt::Result {
    let nodes: Vec<_> = node
        .map(|node| Labeled { subject: node, labels: style.labels(node) })
        .into_iter()
        .collect();
    let exporter = [Labeled { subject: exporter, labels: String::new() }];
    tables::redis_exporter_rows()
        .try_for_each(|row| encode_redis_exporter_row(row, &nodes, style, writer))?;
    tables::REDIS_EXPORTER_SELF
        .iter()
        .try_for_each(|row| encode_redis_exporter_row(row, &exporter, style, writer))
}

/// The only metric with a name of `redis_exporter` that keeps Rolecall's meaning while both are
/// exposed. Its rate is the same, without the errors that the exporter itself causes.
const OWN_MEANING: &str = "redis_errors_total";

impl LegacyStyle {
    /// Returns a name of redis_exporter with the configured prefix.
    fn name<'a>(&self, name: &'a str) -> Cow<'a, str> {
        match (&self.namespace, name.strip_prefix("redis_")) {
            (Some(namespace), Some(rest)) if namespace.is_empty() => rest.into(),
            (Some(namespace), Some(rest)) => format!("{namespace}_{rest}").into(),
            _ => name.into(),
        }
    }

    /// Returns the encoded labels that every series of a node has.
    fn labels(&self, node: &NodeView) -> String {
        if !self.role_label {
            return String::new();
        }
        let role = node.snapshot().and_then(|snapshot| snapshot.fields.get("role"));
        encode_labels(&[("instance_role".to_owned(), role.unwrap_or_default().to_owned())])
    }
}

impl Exposition {
    fn encode(&self, format: Format, writer: &mut dyn Write) -> fmt::Result {
        let selection = &self.selection;
        let with_redis_exporter = selection.has_redis_exporter();
        let exporter = labeled(self.exporter.iter());
        for row in selection.rows(tables::EXPORTER) {
            encode_row(row, &exporter, format, writer)?;
        }
        if with_redis_exporter {
            for row in tables::REDIS_EXPORTER_SELF {
                encode_redis_exporter_row(row, &exporter, &LegacyStyle::default(), writer)?;
            }
        }
        let deployments = labeled(self.deployments.iter().map(|deployment| &**deployment));
        for row in tables::DEPLOYMENT.into_iter().flat_map(|table| selection.rows(table)) {
            encode_row(row, &deployments, format, writer)?;
        }
        let sentinels: Vec<_> = self.deployments.iter().flat_map(SentinelSubject::all).collect();
        let sentinels = labeled(sentinels.iter());
        for row in selection.rows(tables::SENTINEL) {
            if !(with_redis_exporter && is_replaced(&row.entry)) {
                encode_row(row, &sentinels, format, writer)?;
            }
        }
        if with_redis_exporter {
            let of_others = self.deployments.iter().filter(|view| view.sentinels.is_none());
            let others = labeled(of_others.flat_map(|deployment| deployment.shown()));
            for row in tables::SHARED_SENTINEL {
                encode_shared_row(row, &sentinels, &others, writer)?;
            }
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
        let rows = tables::NODE.into_iter().flat_map(|table| selection.rows(table));
        if with_redis_exporter {
            encode_both(rows, &nodes, writer)
        } else {
            rows.into_iter().try_for_each(|row| encode_row(row, &nodes, format, writer))
        }
    }
}

/// Returns whether a row with both meanings or that of `redis_exporter` replaces the metric while
/// the names of `redis_exporter` are exposed.
fn is_replaced(entry: &Entry) -> bool {
    entry.redis_exporter == RedisExporterName::SeparateRow(entry.name) && entry.name != OWN_MEANING
}

/// Writes the metrics of nodes: the selected rows, and all names of `redis_exporter`, each name
/// once.
fn encode_both(
    rows: impl Iterator<Item = &'static NodeRow>,
    nodes: &[Labeled<'_, NodeView>],
    writer: &mut dyn Write,
) -> fmt::Result {
    let mut written: BTreeSet<_> =
        tables::SHARED_SENTINEL.iter().map(|row| row.entry.name).collect();
    for row in rows.filter(|row| !is_replaced(&row.entry)) {
        written.insert(row.entry.name);
        encode_row(row, nodes, Format::Text, writer)?;
    }
    for row in tables::SHARED_NODE.iter().chain(tables::redis_exporter_rows()) {
        if row.entry.on_scrape().is_some_and(|(name, _)| written.insert(name)) {
            encode_redis_exporter_row(row, nodes, &LegacyStyle::default(), writer)?;
        }
    }
    Ok(())
}

/// Writes a metric about the masters of Sentinels: of the deployments that are known from them, and
/// of Sentinels that are nodes like others.
fn encode_shared_row(
    row: &SentinelRow,
    sentinels: &[Labeled<'_, SentinelSubject>],
    others: &[Labeled<'_, NodeView>],
    writer: &mut dyn Write,
) -> fmt::Result {
    let mut family = Family::new(&row.entry, row.entry.name, row.entry.kind(), Format::Text);
    for Labeled { subject, labels } in sentinels {
        row.read(subject, &mut |values, value| family.add_sample(labels, values, value));
    }
    let of_node = tables::redis_exporter_rows()
        .filter(|other| other.entry.on_scrape().is_some_and(|(name, _)| name == row.entry.name));
    for row in of_node {
        for Labeled { subject, labels } in others {
            row.read(subject, &mut |values, value| family.add_sample(labels, values, value));
        }
    }
    family.write_to(writer)
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

/// Writes all samples of one row as `redis_exporter` exposes them. A row that has no name there is
/// omitted.
fn encode_redis_exporter_row<T: Subject>(
    row: &Row<T>,
    subjects: &[Labeled<'_, T>],
    style: &LegacyStyle,
    writer: &mut dyn Write,
) -> fmt::Result {
    let Some((name, kind)) = row.entry.on_scrape() else { return Ok(()) };
    let name = style.name(name);
    let mut family = Family::new(&row.entry, &name, kind, Format::Text);
    for Labeled { subject, labels } in subjects {
        row.read_for_redis_exporter(subject, &mut |values, value| {
            family.add_sample(labels, values, value);
        });
        row.read_summaries(subject, &mut |values, summary| {
            family.add_summary(labels, values, summary);
        });
        family.write_to(writer)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
