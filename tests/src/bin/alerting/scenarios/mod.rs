//! The scenarios, by what they are about.

mod clients;
mod cluster;
mod durability;
mod exporter;
mod quiet;
mod replication;
mod sentinel;
mod topology;

use crate::story::Scenario;

pub(crate) const ALL: &[&[Scenario]] =
    &[topology::ALL, sentinel::ALL, cluster::ALL, replication::ALL, durability::ALL, clients::ALL, exporter::ALL, quiet::ALL];
