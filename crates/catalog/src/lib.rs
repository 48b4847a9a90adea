//! Metric tables and their encoder. One row describes one metric; encoding and the reference are
//! loops over the rows. This is the only crate that uses prometheus-client.
//!
//! To add a metric, add a row to a file under `tables/`. No metric is defined elsewhere.

mod encode;
mod exporter;
mod family;
mod format;
mod histogram;
mod http_requests;
mod reference;
mod row;
mod selection;
mod tables;

pub use encode::{Exposition, LegacyStyle, encode, encode_legacy};
pub use exporter::{Build, ExporterView, NeverReached, ProcessFigures, Reload};
pub use format::Format;
pub use http_requests::{HttpRequests, RefusedConnections};
pub use reference::reference;
pub use row::{Entry, MetricKind, RedisExporterName, Source};
pub use selection::{Part, Selection};
pub use tables::{entries, redis_exporter_entries, themes};
