//! The tables. Each file is one theme; each row is one metric.

mod commands;
mod config;
mod deployment;
mod errors;
mod exporter;
mod persistence;
mod polling;
mod replication;
mod server;

use crate::row::{DeploymentRow, Entry, ExporterRow, NodeRow};

/// The metrics of a node.
pub(crate) fn node() -> impl Iterator<Item = &'static NodeRow> {
    [polling::ROWS, server::ROWS, replication::ROWS, persistence::ROWS, errors::ROWS, commands::ROWS, config::ROWS].into_iter().flatten()
}

/// The metrics of a deployment.
pub(crate) fn deployment() -> impl Iterator<Item = &'static DeploymentRow> {
    deployment::ROWS.iter()
}

/// The metrics of the exporter itself.
pub(crate) fn exporter() -> impl Iterator<Item = &'static ExporterRow> {
    exporter::ROWS.iter()
}

/// Every metric there is, with the labels that its subject brings: what the reference and the laws loop over.
pub fn entries() -> impl Iterator<Item = (&'static [&'static str], &'static Entry)> {
    let exporter = exporter().map(|row| (&[] as &[&str], &row.entry));
    let deployment = deployment().map(|row| (&["deployment"] as &[&str], &row.entry));
    let node = node().map(|row| (&["deployment", "node"] as &[&str], &row.entry));
    exporter.chain(deployment).chain(node)
}
