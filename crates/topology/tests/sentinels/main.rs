//! Deployments of kind sentinel.

mod agreement;
mod cannot_reach;
mod fixture;
mod membership;
#[path = "../recorded/mod.rs"]
mod recorded;
mod succession;
