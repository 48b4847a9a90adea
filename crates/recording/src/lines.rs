//! Lines of a recording, as they are written. `FORMAT.md` describes each field.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use topology::{Limits, SavedState};

use crate::expectation::Expectation;

/// Name of the format, in the header.
pub const FORMAT: &str = "rolecall-recording";

/// Version of the format, in the header. It changes only if a reader of the old version would
/// misunderstand a recording. Readers ignore names that they do not know.
pub const VERSION: u64 = 1;

/// A line. One of its fields is present.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Line {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) header: Option<HeaderLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) round: Option<RoundLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dropped: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expect: Option<Expectation>,
}

/// Format and version of a header. They are read before the rest.
#[derive(Debug, Deserialize)]
pub(crate) struct VersionLine {
    pub(crate) header: Option<FormatVersion>,
}

/// Format and version.
#[derive(Debug, Deserialize)]
pub(crate) struct FormatVersion {
    pub(crate) format: String,
    pub(crate) version: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HeaderLine {
    pub(crate) format: String,
    pub(crate) version: u64,
    pub(crate) rolecall: String,
    pub(crate) deployment: DeploymentLine,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restored: Option<RestoredLine>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RestoredLine {
    pub(crate) downtime: u64,
    pub(crate) state: SavedState,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DeploymentLine {
    pub(crate) name: String,
    pub(crate) kind: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) interval: u64,
    pub(crate) down_after: u64,
    pub(crate) nodes: Vec<ConfiguredNode>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) aliases: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) expect: ExpectLine,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) endpoints: Vec<EndpointLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) discovery: Option<DiscoveryLine>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) limits: LimitsLine,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) preset: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) skipped: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LimitsLine {
    pub(crate) nodes: usize,
    pub(crate) masters: usize,
    pub(crate) group_nodes: usize,
    pub(crate) connections: usize,
    pub(crate) label_values: usize,
}

impl Default for LimitsLine {
    fn default() -> Self {
        Limits::DEFAULT.into()
    }
}

impl From<Limits> for LimitsLine {
    fn from(limits: Limits) -> Self {
        let Limits { nodes, masters, group_nodes, connections, label_values } = limits;
        LimitsLine { nodes, masters, group_nodes, connections, label_values }
    }
}

impl From<LimitsLine> for Limits {
    fn from(line: LimitsLine) -> Self {
        let LimitsLine { nodes, masters, group_nodes, connections, label_values } = line;
        Limits { nodes, masters, group_nodes, connections, label_values }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ConfiguredNode {
    pub(crate) name: String,
    pub(crate) address: String,
    /// Present for a Sentinel only: true if this deployment shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sentinel_shown: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<String>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ExpectLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) replicas: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) masters: Option<u32>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) external: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) aof: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) unknown_role: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EndpointLine {
    pub(crate) kind: String,
    pub(crate) address: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DiscoveryLine {
    pub(crate) master: String,
    pub(crate) names: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) address_map: BTreeMap<String, String>,
    pub(crate) ghost_after: u64,
    pub(crate) forget_after: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RoundLine {
    pub(crate) at: u64,
    pub(crate) now: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) duration: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) missed: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) blind: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cut_off_for: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) nodes_left: Option<usize>,
    /// The line refers to no earlier one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) full: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) members: Option<Vec<String>>,
    pub(crate) nodes: Vec<NodeLine>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) messages: Vec<MessageLine>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) checks: Vec<CheckLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) host_names: Option<BTreeMap<String, Option<String>>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) shared: Vec<SharedLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resolved: Option<Vec<ResolvedLine>>,
}

/// Outcome of the poll of one node. At most one of the first three fields is present; none if there
/// is no outcome yet.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct NodeLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answered: Option<AnswerLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) missed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) contact: Option<ContactLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disk: Option<DiskLine>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AnswerLine {
    pub(crate) at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) requested: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) duration: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) own_errors: BTreeMap<Box<str>, u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) commands_read: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) clients: Option<Vec<String>>,
    /// Difference of the state of the node to the one in its previous answer.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) state: Map<String, Value>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ContactLine {
    pub(crate) since: u64,
    pub(crate) refused: u32,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DiskLine {
    pub(crate) free_bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) free_inodes: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MessageLine {
    pub(crate) at: u64,
    pub(crate) sentinel: String,
    pub(crate) channel: String,
    pub(crate) payload: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CheckLine {
    pub(crate) endpoint: String,
    pub(crate) started: u64,
    pub(crate) ended: u64,
    pub(crate) interval: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run_id: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replid: Option<Box<str>>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SharedLine {
    /// Position in the members.
    pub(crate) node: usize,
    pub(crate) deployment: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) follows_there: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ResolvedLine {
    pub(crate) host: String,
    pub(crate) port: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) addresses: Option<Vec<String>>,
    pub(crate) lookups: u64,
    pub(crate) failures: u64,
}

/// Returns true for a value that is left out.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
