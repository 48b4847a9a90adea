//! The daemon: configuration, rounds, HTTP and the command line.
//!
//! `daemon.rs` reads as its table of contents. Each deployment has one task that polls its nodes round by round (`rounds`) and
//! publishes one immutable view per round (`board`); the web server (`http`) only ever reads what was published.

pub mod cli;
pub mod daemon;
mod diagnose;
mod http;
mod log;
mod process;
mod reload;
mod signals;
