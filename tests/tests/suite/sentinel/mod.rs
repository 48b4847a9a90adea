//! Deployments that Sentinels know, on real Sentinels: who belongs to one, what is said of it, and what asking costs.

mod cost;
mod membership;
mod statements;
mod trust;
