//! Views become what people and programs read. Pure. The only user of templates and Markdown.

pub mod api;
mod diagnose;
mod fill;
mod pages;
mod runbook;
mod standing;
mod tone;
mod words;

pub use diagnose::diagnose;
pub use pages::{Asset, SearchQuery, Site, assets};
pub use runbook::{Runbook, SECTIONS, runbook, runbooks};
