//! The end-to-end suite: the real daemon on real servers.

#![expect(clippy::print_stdout, reason = "measured figures are shown with --nocapture")]

mod bounds;
mod cluster;
mod compat;
mod counters;
mod culprits;
mod dns;
mod down;
mod durability;
mod endpoints;
mod exposition;
mod failover;
mod gate;
mod hang;
mod lifecycle;
mod pages;
mod partition;
mod primary;
mod reasons;
mod reload;
mod replicas;
mod roles;
mod sentinel;
mod split_brain;
mod synchronisation;
mod tls;
mod versions;
mod watch;
