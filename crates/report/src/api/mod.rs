//! The documents of `/api/v1`. An unknown value is absent, never null. Times are RFC 3339 in UTC.
//! Durations are in seconds.

mod events;
mod findings;
mod topology;

use std::time::{Duration, SystemTime};

pub(crate) use self::topology::upstream;
pub use self::topology::{
    DeploymentDocument, EndpointDocument, MisroutedDocument, NodeDocument, ShardDocument, Topology,
    deployment, shards, topology,
};
pub use events::{EventDocument, Events, event, events};
pub use findings::{FindingDocument, Findings, findings};

/// Formats a time as RFC 3339 with milliseconds.
pub(crate) fn rfc3339(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

/// Returns seconds, rounded to a millisecond.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}
