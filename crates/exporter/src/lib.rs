//! The binary: command line, web server, reload and log.
//!
//! `daemon.rs` starts and stops everything in order. The crate `poller` polls the deployments and
//! publishes their views; the web server (`http`) only reads published views.

pub mod cli;
mod configuration;
pub mod daemon;
mod diagnose;
mod http;
mod limits;
mod log;
mod output;
mod process;
mod redis_exporter;
mod reload;
mod signals;
mod web_config;
mod web_security;

pub use http::in_process::Routes;
pub use web_config::WebConfigFile;
