//! Trackers of membership: nodes that Sentinels, clusters and DNS names list.

pub(crate) mod addresses;
pub(crate) mod cluster;
pub(crate) mod membership;
pub(crate) mod sentinels;
