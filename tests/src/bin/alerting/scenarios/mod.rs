//! All scenarios by topic. The longest one is first, so that the others run at the same time.

mod clients;
mod cluster;
mod durability;
mod exporter;
mod hanging;
mod replication;
mod routine;
mod sentinel;
mod topology;
mod unreachable;

use crate::harness::Scenario;

pub(crate) const ALL: &[&[Scenario]] = &[
    routine::ALL,
    topology::ALL,
    sentinel::ALL,
    cluster::ALL,
    replication::ALL,
    durability::ALL,
    clients::ALL,
    exporter::ALL,
    hanging::ALL,
    unreachable::ALL,
];
