//! Discovery: the members of a deployment, their addresses, and the reports of Sentinels and
//! cluster nodes.

pub(crate) mod addresses;
pub(crate) mod cannot_reach;
pub(crate) mod cluster;
pub(crate) mod ghosts;
pub(crate) mod membership;
pub(crate) mod sentinels;
pub(crate) mod sources;
pub(crate) mod succession;
