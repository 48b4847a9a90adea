//! Polling: one task for each deployment, node and Sentinel, and the views that result.
//!
//! Running the deployments:
//! - `fleet.rs`: [`Fleet`] starts and stops the deployments, also on a reload.
//! - `deployment_poller.rs`: [`run`] polls one deployment round by round.
//! - `phases.rs`: the instants at which rounds start.
//! - `view_registry.rs`: [`ViewRegistry`] gives access to the last view of each deployment.
//! - `state_store.rs`: [`StateStore`] keeps tracker state across restarts.
//! - `state_lock.rs`: locks the state file against a second exporter.
//! - `event_log.rs`: logs the events of a round.
//! - `round_recorder.rs`: [`RoundRecorder`] writes all rounds to files, if it is enabled.
//!
//! Polling one node:
//! - `node_handle.rs`: the handle that a deployment has for each node.
//! - `node_task.rs`: the task that owns the connection to a node.
//! - `node_messages.rs`: the messages between the two.
//! - `connect_wait.rs`: the wait for the permit to connect.
//! - `proxy_probe.rs`: recognises a proxy that closes connections on INFO.
//! - `logged_reasons.rs`: logs each reason of failed attempts once.
//! - `own_errors.rs`: counts the errors that this exporter causes.
//! - `reconnect.rs`: delays between connection attempts, and signs that a node is back.
//! - `poll_plan/`: which commands to send, and how often.
//! - `sentinels/`: tasks that poll the Sentinels, which deployments share.
//!
//! Other sources of a round:
//! - `endpoint_checker.rs` and `endpoint_checks.rs`: checks of the endpoints that applications use.
//! - `name_resolver.rs`: DNS lookups of the names that stand for nodes.
//! - `reverse_lookups.rs`: host names of addresses.
//! - `disk_monitor.rs`: free space of local data directories.
//!
//! Shared by all deployments:
//! - `context.rs`: [`PollerContext`] holds them together and counts commands.
//! - `connect_limits.rs`: limits of new connections, in total and to one host.
//! - `computation.rs`: keeps long computations off the threads of the runtime.
//! - `process_registry.rs`: recognises processes that are nodes of several deployments.
//! - `excess_registry.rs`: limits connections to one address, over all deployments.
//! - `episode.rs`: logs slow rounds and exceeded limits once per episode.
//! - `blindness/`: detects that the exporter itself is cut off.
//! - `clock.rs`: [`Clock`] is the only source of time.
//! - `descriptors.rs`: file descriptors of this process.

mod blindness;
mod clock;
mod computation;
mod connect_limits;
mod connect_wait;
mod context;
mod denied_attempts;
mod deployment_poller;
mod descriptors;
mod disk_monitor;
mod endpoint_checker;
mod endpoint_checks;
mod episode;
mod event_log;
mod excess_registry;
mod fleet;
mod logged_reasons;
mod name_resolver;
mod node_handle;
mod node_messages;
mod node_task;
mod own_errors;
mod phases;
mod poll_plan;
mod process_registry;
mod proxy_probe;
mod reconnect;
mod reverse_lookups;
mod round_recorder;
mod sentinels;
mod state_lock;
mod state_store;
#[cfg(test)]
mod task_sizes;
mod view_registry;

pub use clock::Clock;
pub use context::PollerContext;
pub use deployment_poller::run;
pub use fleet::{Changes, Fleet};
pub use round_recorder::RoundRecorder;
pub use sentinels::SentinelHandle;
pub use state_store::StateStore;
pub use view_registry::{ViewPublisher, ViewRegistry};
