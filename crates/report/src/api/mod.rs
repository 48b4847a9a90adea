//! The documents of `/api/v1`. What is unknown is left out, never null. Times are RFC 3339 in UTC; spans are seconds.

mod events;
mod findings;
mod topology;

use std::time::{Duration, SystemTime};

pub(crate) use self::topology::follows;
pub use self::topology::{
    DeploymentDocument, EndpointDocument, MisroutedDocument, NodeDocument, ShardDocument, Topology,
    deployment, shards, topology,
};
pub use events::{EventDocument, Events, event, events};
pub use findings::{FindingDocument, Findings, findings};

pub(crate) fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

/// Seconds to the millisecond.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}
