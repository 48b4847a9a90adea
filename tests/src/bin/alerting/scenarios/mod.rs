//! The scenarios, by what they are about.

mod durability;
mod replication;
mod topology;

use crate::story::Scenario;

pub(crate) const ALL: &[&[Scenario]] = &[topology::ALL, replication::ALL, durability::ALL];
