//! The metric tables: one row is one metric, and everything else is a loop over the rows. The only user of prometheus-client.
//!
//! To add a metric, add a row to a file under `tables/`. No metric exists outside them.

mod encode;
mod exporter;
mod format;
mod reference;
mod row;
mod tables;
mod text;

pub use encode::{Exposition, encode, encode_legacy};
pub use exporter::{Build, ExporterView, ProcessFigures, Reload};
pub use format::Format;
pub use reference::reference;
pub use row::{Entry, Legacy, MetricKind, Source};
pub use tables::{entries, legacy_entries, themes};
