//! The daemon: configuration, rounds, HTTP and the command line.
//!
//! `daemon.rs` reads as its table of contents. Each deployment has one task that polls its nodes round by round (`rounds`) and
//! publishes one immutable view per round (`board`); the web server (`http`) only ever reads what was published.

pub mod board;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
mod diagnose;
mod fleet;
mod http;
mod log;
mod process;
mod reload;
pub mod rounds;
pub mod sentinels;
mod signals;
pub mod state;
