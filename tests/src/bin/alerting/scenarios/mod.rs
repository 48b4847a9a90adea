//! The scenarios, by what they are about.

mod durability;
mod quiet;

use crate::story::Scenario;

pub(crate) const ALL: &[&[Scenario]] = &[durability::ALL, quiet::ALL];
