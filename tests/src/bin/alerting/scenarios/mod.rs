//! The scenarios, by what they are about; the longest first, so that the others run beside it.

mod clients;
mod cluster;
mod durability;
mod exporter;
mod quiet;
mod replication;
mod sentinel;
mod topology;

use crate::story::Scenario;

pub(crate) const ALL: &[&[Scenario]] = &[
    quiet::ALL,
    topology::ALL,
    sentinel::ALL,
    cluster::ALL,
    replication::ALL,
    durability::ALL,
    clients::ALL,
    exporter::ALL,
];
