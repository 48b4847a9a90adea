//! State of a deployment, derived from the replies of its nodes: views, events and findings. The
//! crate is pure: the current time is part of each round.
//!
//! [`DeploymentTracker::observe`] processes one [`Round`] and returns the next [`DeploymentView`]
//! and the [`Event`]s that led to it.

mod discovery;
mod endpoints;
mod events;
mod failover;
mod findings;
mod identity;
pub mod limits;
mod model;
mod node;
mod shard;
mod tracker;
mod witnesses;

pub use model::access::{NodeAccess, TlsAccess};
pub use model::cluster::{ClusterView, OpenSlotView};
pub use model::counters::{Counters, TOPOLOGY_COMMANDS, topology_changed};
pub use model::deployment::{
    AofExpectation, Deployment, DeploymentKind, Discovery, Expectations, Labels, Node, NodeKind,
    address,
};
pub use model::endpoint::{
    EndpointCheckResult, EndpointKind, EndpointServer, EndpointTarget, EndpointView,
    ServiceEndpoint,
};
pub use model::event::{Event, EventKind};
pub use model::event_history::EventHistory;
pub use model::excess::{Excess, LimitKind, Limits};
pub use model::failover::{
    FailoverBlocker, FailoverCandidate, FailoverView, PromotionObstacle, RefusedReplica,
};
pub use model::finding::{
    Evidence, Finding, FindingKind, NO_FINDING, Severity, Value, evidence, tiers,
};
pub use model::identity::{
    DatasetReplacedView, DatasetReplacement, ForeignMastersView, SharedNode,
};
pub use model::misrouted::{MisrouteReason, MisroutedClients, MisroutedView};
pub use model::monotonic::Monotonic;
pub use model::node::{
    AttachedView, Lag, LinkState, LinkView, NodeView, OrphanReason, PollRecord, PollResult,
    PollStats, ProcessView, Upstream,
};
pub use model::node_index::{NodeIndex, NodeVec};
pub use model::node_names::NodeNameTemplate;
pub use model::node_state::{Availability, NodeState, UnknownNode, UnknownReason};
pub use model::pause::{PauseCause, PauseView};
pub use model::read_request::ReadRequest;
pub use model::refusals::{RefusalReason, Refusals, active_reasons};
pub use model::round::{
    DiskSpace, FailedContact, HostNames, NodeReply, OwnErrors, PollOutcome, ResolvedName, Round,
    SentinelMessage,
};
pub use model::saved_state::{
    SavedClaim, SavedClaims, SavedFollowing, SavedNode, SavedPrimary, SavedReign, SavedReplacement,
    SavedState,
};
pub use model::sentinels::{
    CannotReach, Disagreement, Ghosts, Majority, SentinelStatement, SentinelsView,
    UnreachedPrimary, UnreachedReason,
};
pub use model::shard::{
    Cause, ChangeCount, DivergingWrites, EmptiedView, LostWritesView, NoPrimaryReason,
    NoPrimaryView, PrimaryChange, PrimaryEvidence, PrimaryStatement, PrimaryView, ShardView,
    SplitBrainView,
};
pub use model::view::{DeploymentView, RoundStats};
pub use model::witness::{Witness, WitnessKind};
pub use node::rising_errors::ACCESS_CODES;
pub use node::servers::{SeenServers, ServerChange};
pub use tracker::{DeploymentTracker, RoundResult};
