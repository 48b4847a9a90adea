//! What the servers of a deployment mean together: rounds become facts and events. Pure: time arrives with the rounds.
//!
//! [`DeploymentTracker::observe`] takes one [`Round`] and gives the next [`DeploymentView`] and the [`Event`]s that led to it.

mod discovery;
mod endpoints;
mod events;
mod findings;
pub mod limits;
mod model;
mod node;
mod shard;
mod tracker;

pub use discovery::cluster::{ClusterView, SLOTS};
pub use discovery::membership::{Ghosts, HostNames};
pub use discovery::sentinels::{Disagreement, Majority, SentinelStatement, SentinelsView};
pub use endpoints::{
    EndpointCheckResult, EndpointKind, EndpointServer, EndpointTarget, EndpointView,
    ServiceEndpoint,
};
pub use events::{Event, EventKind};
pub use findings::{Evidence, Finding, FindingKind, NO_FINDING, Severity, Value, evidence};
pub use model::deployment::{
    AofExpectation, Deployment, DeploymentKind, Discovery, Expectations, Labels, Node, NodeKind,
    address,
};
pub use model::event_history::EventHistory;
pub use model::node_names::NodeNameTemplate;
pub use model::round::{
    DiskSpace, NodeReply, OwnErrors, PollOutcome, ResolvedName, Round, SentinelMessage,
};
pub use model::saved_state::{SavedNode, SavedState};
pub use model::view::{AttachedView, DeploymentView, NodeView, RoundStats, ShardView};
pub use node::counters::{Counters, TOPOLOGY_COMMANDS, topology_moved};
pub use node::link::{LinkState, LinkView};
pub use node::poll_history::{PollRecord, PollResult};
pub use node::process::ProcessView;
pub use node::refusals::{RefusalReason, Refusals, holding};
pub use node::rising_errors::ACCESS_CODES;
pub use node::state::{NodeState, PollStats};
pub use shard::change_cause::{Cause, PrimaryChange};
pub use shard::emptied::EmptiedView;
pub use shard::lag::Lag;
pub use shard::lost_writes::LostWritesView;
pub use shard::misrouted::{MisrouteReason, MisroutedClients, MisroutedView};
pub use shard::no_primary::{NoPrimaryReason, NoPrimaryView};
pub use shard::primary::{PrimaryEvidence, PrimaryView};
pub use shard::split_brain::SplitBrainView;
pub use shard::upstream::{OrphanReason, Upstream};
pub use tracker::{DeploymentTracker, ReadRequest, RoundResult};
