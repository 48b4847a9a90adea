//! Views become what people and programs read. Pure. The only user of templates and Markdown.

pub mod api;
mod diagnose;
mod landing;
mod runbook;

pub use diagnose::diagnose;
pub use landing::landing;
pub use runbook::{Runbook, SECTIONS, runbook, runbooks};
