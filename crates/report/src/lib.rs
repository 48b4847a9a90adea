//! Renders deployment views as pages, as JSON documents and as the text of `rolecall diagnose`.
//! The crate does no I/O. It is the only user of HTML templates and Markdown.

pub mod api;
mod cause_keys;
mod deployment_status;
mod destructive;
mod diagnose;
mod evidence;
mod explanations;
mod format;
mod labels;
mod node_status;
mod pages;
mod placeholders;
mod redis_cli;
mod runbook;
mod status_level;

pub use diagnose::diagnose;
pub use pages::{Asset, SearchQuery, Site, assets};
pub use runbook::{Runbook, SECTIONS, runbook, runbooks};
