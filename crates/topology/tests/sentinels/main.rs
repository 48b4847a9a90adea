//! Deployments of kind sentinel.

mod agreement;
mod cannot_reach;
mod extremes;
mod fixture;
mod identity;
mod membership;
mod readiness;
#[path = "../recorded/mod.rs"]
mod recorded;
mod succession;
