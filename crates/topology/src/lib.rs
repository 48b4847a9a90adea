//! What the servers of a deployment mean together: rounds become facts and events. Pure: time arrives with the rounds.
//!
//! [`Fold::apply`] takes one [`Round`] and gives the next [`DeploymentView`] and the [`Event`]s that led to it. Each fact has a file of
//! its own, with the memory it needs; `fold.rs` says in which order they are formed.

mod cause;
mod cluster;
mod counters;
mod deployment;
mod divergence;
mod emptied;
mod endpoints;
mod events;
mod findings;
mod fold;
mod following;
mod history;
mod lag;
pub mod limits;
mod lineage;
mod link;
mod lost_writes;
mod masters;
mod membership;
mod misrouted;
mod names;
mod no_primary;
mod places;
mod presence;
mod primary;
mod process;
mod recent;
mod refusals;
mod remembered;
mod replicas;
mod resync;
mod rising;
mod round;
mod sentinels;
mod serving;
mod shard;
mod shards;
mod split_brain;
mod view;
mod writes;

pub use cause::{Cause, PrimaryChange};
pub use cluster::{ClusterView, SLOTS};
pub use counters::{Counters, TOPOLOGY_COMMANDS, topology_moved};
pub use deployment::{
    AofExpectation, Deployment, Discovery, Expectations, Kind, Labels, Node, NodeKind, address,
};
pub use emptied::EmptiedView;
pub use endpoints::{Answerer, Check, EndpointKind, EndpointView, LeadsTo, ServiceEndpoint};
pub use events::{Event, EventKind};
pub use findings::{Finding, FindingKind, NO_FINDING, Severity, Value};
pub use fold::{Fold, Step, Wanted};
pub use following::{Orphan, Upstream};
pub use history::History;
pub use lag::Lag;
pub use link::{LinkState, LinkView};
pub use lost_writes::LostWritesView;
pub use membership::{Ghosts, HostNames};
pub use misrouted::{Clients, MisroutedView, Why};
pub use names::NameTemplate;
pub use no_primary::{NoPrimary, NoPrimaryView};
pub use presence::{Polling, Presence};
pub use primary::{Evidence, PrimaryView};
pub use process::ProcessView;
pub use recent::{Asking, Came};
pub use refusals::{Refusal, Refusals, holding};
pub use remembered::{Remembered, RememberedNode};
pub use rising::ACCESS_CODES;
pub use round::{Answer, Disk, Message, Outcome, OwnErrors, Resolved, Round};
pub use sentinels::{Disagreement, Majority, Said, SentinelsView};
pub use split_brain::SplitBrainView;
pub use view::{AttachedView, DeploymentView, NodeView, RoundFigures, ShardView};
