//! Metric tables. Each file has the rows of one theme; `collect[]` selects themes by name.

mod cluster;
mod commands;
mod config;
mod deployment;
mod errors;
mod exporter;
mod memory;
mod persistence;
mod polling;
mod redis_exporter;
mod redis_exporter_fields;
mod replication;
mod sentinel;
mod server;
mod shard;
mod shared_names;

use crate::row::{DeploymentRow, Entry, ExporterRow, NodeRow, SentinelRow, ShardRow};

/// Metrics of a node, by theme.
pub(crate) const NODE: [(&str, &[NodeRow]); 10] = [
    ("polling", polling::ROWS),
    ("server", server::ROWS),
    ("memory", memory::ROWS),
    ("replication", replication::ROWS),
    ("persistence", persistence::ROWS),
    ("errors", errors::ROWS),
    ("commands", commands::ROWS),
    ("config", config::ROWS),
    ("cluster", cluster::NODE),
    ("sentinel", sentinel::NODE),
];

/// Metrics of a deployment, by theme.
pub(crate) const DEPLOYMENT: [(&str, &[DeploymentRow]); 3] = [
    ("deployment", deployment::ROWS),
    ("sentinel", sentinel::DEPLOYMENT),
    ("cluster", cluster::DEPLOYMENT),
];

/// Metrics of a deployment's master as seen by each Sentinel.
pub(crate) const SENTINEL: (&str, &[SentinelRow]) = ("sentinel", sentinel::MASTER);

/// Metrics of a shard.
pub(crate) const SHARD: (&str, &[ShardRow]) = ("topology", shard::ROWS);

/// Metrics of the exporter itself.
pub(crate) const EXPORTER: (&str, &[ExporterRow]) = ("exporter", exporter::ROWS);

/// Returns all themes, in the order of the reference.
pub fn themes() -> impl Iterator<Item = &'static str> {
    [EXPORTER.0, DEPLOYMENT[0].0, SHARD.0].into_iter().chain(NODE.map(|(theme, _)| theme))
}

/// Metrics that redis_exporter has of itself.
pub(crate) const REDIS_EXPORTER_SELF: &[ExporterRow] = redis_exporter::EXPORTER;

/// Metrics of a deployment's master that have both the labels of Rolecall and those of
/// redis_exporter.
pub(crate) const SHARED_SENTINEL: &[SentinelRow] = shared_names::SENTINEL;

/// Metrics of a node that have both the labels of Rolecall and those of redis_exporter.
pub(crate) const SHARED_NODE: &[NodeRow] = shared_names::NODE;

/// Metrics of a node that only exist with the names of redis_exporter.
pub(crate) const REDIS_EXPORTER_NODE: [&[NodeRow]; 3] =
    [redis_exporter::ROWS, redis_exporter_fields::ROWS, redis_exporter_fields::CLUSTER];

/// Returns the rows of a node that may be on `/scrape`.
pub(crate) fn redis_exporter_rows() -> impl Iterator<Item = &'static NodeRow> {
    let own = NODE.into_iter().flat_map(|(_, rows)| rows);
    own.chain(REDIS_EXPORTER_NODE.into_iter().flatten())
}

/// Returns all metrics on `/metrics`, each with its theme and the labels of its subject.
pub fn entries() -> impl Iterator<Item = (&'static str, &'static [&'static str], &'static Entry)> {
    let exporter = EXPORTER.1.iter().map(|row| (EXPORTER.0, &[] as &[&str], &row.entry));
    let deployment = DEPLOYMENT.into_iter().flat_map(|(theme, rows)| {
        rows.iter().map(move |row| (theme, &["deployment"] as &[&str], &row.entry))
    });
    let sentinel =
        SENTINEL.1.iter().map(|row| (SENTINEL.0, &["deployment", "node"] as &[&str], &row.entry));
    let shard = SHARD.1.iter().map(|row| (SHARD.0, &["deployment"] as &[&str], &row.entry));
    let node = NODE.into_iter().flat_map(|(theme, rows)| {
        rows.iter().map(move |row| (theme, &["deployment", "node"] as &[&str], &row.entry))
    });
    exporter.chain(deployment).chain(shard).chain(sentinel).chain(node)
}

/// Returns all metrics on `/scrape`.
pub fn redis_exporter_entries() -> impl Iterator<Item = &'static Entry> {
    let node = redis_exporter_rows().map(|row| &row.entry);
    let all = node.chain(REDIS_EXPORTER_SELF.iter().map(|row| &row.entry));
    all.filter(|entry| entry.on_scrape().is_some())
}

/// Returns the metrics that only exist with the names of redis_exporter.
pub(crate) fn redis_exporter_only_entries() -> impl Iterator<Item = &'static Entry> {
    let node = REDIS_EXPORTER_NODE.into_iter().flatten().map(|row| &row.entry);
    node.chain(REDIS_EXPORTER_SELF.iter().map(|row| &row.entry))
}
