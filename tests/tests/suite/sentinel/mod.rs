//! Sentinel deployments on real Sentinels: membership, metrics, failovers, partitions, trust and
//! the load that polling causes.

mod cannot_reach;
mod cost;
mod failover;
mod membership;
mod partition;
mod replies;
mod trust;
