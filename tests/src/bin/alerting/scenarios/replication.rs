//! Links, lag, and replicas that are not what they should be.

use crate::story::Scenario;

pub(crate) const ALL: &[Scenario] = &[];
