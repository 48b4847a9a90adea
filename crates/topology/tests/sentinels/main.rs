//! Deployments of kind sentinel.

mod agreement;
mod fixture;
mod membership;
mod succession;
