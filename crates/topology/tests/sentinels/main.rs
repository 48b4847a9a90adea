//! Deployments of kind sentinel.

mod agreement;
mod fixture;
mod identity;
mod membership;
#[path = "../recorded/mod.rs"]
mod recorded;
mod succession;
