//! The tables. Each file is one theme, which is also what `collect[]` names; each row is one metric.

mod cluster;
mod commands;
mod config;
mod deployment;
mod errors;
mod exporter;
mod legacy;
mod memory;
mod persistence;
mod polling;
mod replication;
mod sentinel;
mod server;
mod shard;

use crate::row::{DeploymentRow, Entry, ExporterRow, NodeRow, SaidRow, ShardRow};

/// The metrics of a node, by theme.
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

/// The metrics of a deployment, by theme.
pub(crate) const DEPLOYMENT: [(&str, &[DeploymentRow]); 3] = [
    ("deployment", deployment::ROWS),
    ("sentinel", sentinel::DEPLOYMENT),
    ("cluster", cluster::DEPLOYMENT),
];

/// What each Sentinel says of a deployment's master.
pub(crate) const SAID: (&str, &[SaidRow]) = ("sentinel", sentinel::SAID);

/// The metrics of the nodes that hold one data set.
pub(crate) const SHARD: (&str, &[ShardRow]) = ("topology", shard::ROWS);

/// The metrics of the exporter itself.
pub(crate) const EXPORTER: (&str, &[ExporterRow]) = ("exporter", exporter::ROWS);

/// Every theme there is.
pub fn themes() -> impl Iterator<Item = &'static str> {
    [EXPORTER.0, DEPLOYMENT[0].0, SHARD.0].into_iter().chain(NODE.map(|(theme, _)| theme))
}

/// The metrics of a node that `redis_exporter` has too.
pub(crate) fn legacy() -> impl Iterator<Item = &'static NodeRow> {
    NODE.into_iter().flat_map(|(_, rows)| rows).chain(legacy::ROWS)
}

/// Every metric on `/metrics`, with its theme and the labels that its subject brings: what the reference and the laws loop over.
pub fn entries() -> impl Iterator<Item = (&'static str, &'static [&'static str], &'static Entry)> {
    let exporter = EXPORTER.1.iter().map(|row| (EXPORTER.0, &[] as &[&str], &row.entry));
    let deployment = DEPLOYMENT.into_iter().flat_map(|(theme, rows)| {
        rows.iter().map(move |row| (theme, &["deployment"] as &[&str], &row.entry))
    });
    let said = SAID.1.iter().map(|row| (SAID.0, &["deployment", "node"] as &[&str], &row.entry));
    let shard = SHARD.1.iter().map(|row| (SHARD.0, &["deployment"] as &[&str], &row.entry));
    let node = NODE.into_iter().flat_map(|(theme, rows)| {
        rows.iter().map(move |row| (theme, &["deployment", "node"] as &[&str], &row.entry))
    });
    exporter.chain(deployment).chain(shard).chain(said).chain(node)
}

/// Every metric on `/scrape`.
pub fn legacy_entries() -> impl Iterator<Item = &'static Entry> {
    legacy().map(|row| &row.entry).filter(|entry| entry.legacy().is_some())
}
