//! Identity of the data set: replacements of the data of a deployment by foreign data.
//!
//! A replication ID identifies a history, but a server remembers only one predecessor of it. So
//! each condition below excludes a harmless case in which the histories alone look foreign: a
//! restart, a slot migration, a planned move, a failover that was not observed.

mod histories;
mod newcomers;
mod reign;
mod tracker;

pub(crate) use tracker::{IdentityRound, IdentityTracker};
