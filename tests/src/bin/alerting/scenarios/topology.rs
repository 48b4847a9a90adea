//! Who is primary, who decides it, and who tells.

use crate::story::Scenario;

pub(crate) const ALL: &[Scenario] = &[];
