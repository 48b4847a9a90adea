//! The scenarios, by what they are about.

mod durability;

use crate::story::Scenario;

pub(crate) const ALL: &[&[Scenario]] = &[durability::ALL];
