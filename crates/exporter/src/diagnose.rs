//! `rolecall diagnose`: three rounds of every known node, then a report. If it sees what may be a
//! failover, it observes until the outcome is clear.

mod settling;

use std::convert::Infallible;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use topology::limits::ENDPOINT_WRONG_CHECKS;
use topology::{
    DeploymentKind, DeploymentView, EndpointView, NodeState, NodeView, Severity, UnknownReason,
    UnreachedPrimary,
};
use tracing::error;

use self::settling::{Settling, provisional};
use crate::cli::{Diagnose, DocumentFormat};
use crate::log;
use crate::output::print;
use config::LogFormat;
use config::{DeploymentSettings, Settings};
use poller::Clock;
use poller::Fleet;
use poller::PollerContext;
use poller::StateStore;

/// Rounds of each deployment. Changes are only visible between rounds.
const ROUNDS: u64 = 3;

/// Interval between rounds.
const INTERVAL: Duration = Duration::from_secs(1);

/// Silence after which a node is down: two rounds.
const DOWN_AFTER: Duration = Duration::from_secs(2);

/// Limit for polling all nodes, including those that are discovered meanwhile.
const LIMIT: Duration = Duration::from_secs(20);

/// Time beyond the longest observation, for rounds that take longer.
const OBSERVATION_SLACK: Duration = Duration::from_secs(5);

/// Exit code: no finding above severity info.
const HEALTHY: u8 = 0;
/// Exit code: findings above severity info.
const FINDINGS: u8 = 1;
/// Exit code: the state is unknown. No node of some deployment replied, some node did not reply in
/// time and there is no finding, or the configuration is invalid.
const UNKNOWN: u8 = 2;

/// Polls, prints the report and returns the exit code.
pub(crate) fn main(arguments: &Diagnose) -> ExitCode {
    log::init(arguments.log_level, LogFormat::Logfmt);
    let code = poll(arguments).and_then(|views| {
        print(&match arguments.format {
            DocumentFormat::Text => report::diagnose(&views),
            DocumentFormat::Json => {
                serde_json::to_string_pretty(&report::api::findings(&views))? + "\n"
            }
        })?;
        Ok(exit_code(&views))
    });
    ExitCode::from(code.unwrap_or_else(|problem| {
        error!("{problem:#}");
        UNKNOWN
    }))
}

/// Polls the deployments until the state of every node is known, within the limit.
fn poll(arguments: &Diagnose) -> anyhow::Result<Vec<Arc<DeploymentView>>> {
    let Settings { mut deployments, state_file, .. } =
        Settings::from_source(arguments.nodes.source())?;
    if deployments.is_empty() && arguments.nodes.config_file.is_none() {
        bail!("REDIS_ADDR is empty: there is no node to diagnose");
    }
    deployments.iter_mut().for_each(shorten_intervals);
    let runtime = Runtime::new().context("cannot start the runtime")?;
    let views = runtime.block_on(async {
        // The state of the daemon tells which node was the primary. Nothing is written to the file.
        let state = StateStore::read(state_file.as_deref());
        let shared = PollerContext::new(Clock::start(), state);
        let mut fleet = Fleet::new(shared);
        fleet.poll(deployments);
        let registry = fleet.registry();
        // A hanging node is only recognized when the connection attempt ends. Events of Sentinels
        // start rounds before the interval ends, so rounds alone do not measure time.
        let settling = Settling::default();
        let is_polled =
            |view: &DeploymentView| settling.is_settled(view, ROUNDS, INTERVAL * 2) && !waits(view);
        let finished = async {
            let _ = timeout(LIMIT, registry.wait_until(is_polled)).await;
            if let Some(limit) = announce_observation(&registry.views())? {
                let is_clear =
                    |view: &DeploymentView| is_polled(view) && provisional(view).next().is_none();
                let limit = limit + OBSERVATION_SLACK;
                let _ = timeout(limit, registry.wait_until(is_clear)).await;
            }
            anyhow::Ok(())
        };
        tokio::select! {
            finished = finished => finished?,
            ended = fleet.supervise() => {
                let never: Infallible = ended?;
                match never {}
            }
        }
        Ok(registry.views())
    });
    runtime.shutdown_background();
    views
}

/// Prints on standard error what is observed and why. Returns the longest time that it takes;
/// `None` if there is nothing to observe.
fn announce_observation(views: &[Arc<DeploymentView>]) -> anyhow::Result<Option<Duration>> {
    let mut longest = None;
    for view in views {
        for (finding, left) in provisional(view) {
            let kind = finding.kind.label();
            let problem = report::runbook(kind).map_or(kind, |runbook| runbook.title);
            writeln!(
                std::io::stderr(),
                "Observing {} for up to {} s: {kind} ({problem}). A failover ends in this time.",
                view.deployment.name,
                left.as_secs() + 1
            )
            .context("cannot write to standard error")?;
            longest = longest.max(Some(left));
        }
    }
    Ok(longest)
}

/// Shortens intervals for interactive use.
fn shorten_intervals(settings: &mut DeploymentSettings) {
    let deployment = Arc::make_mut(&mut settings.deployment);
    deployment.interval = INTERVAL;
    deployment.down_after = deployment.down_after.min(DOWN_AFTER);
    settings.deadline = settings.deadline.min(deployment.interval);
    settings.check_interval = INTERVAL;
}

/// Returns whether the state of a node or endpoint is still unknown. One wrong check of an endpoint
/// proves nothing. Writes may wait for a moment, and Sentinels need a moment to notice a restart.
fn waits(view: &DeploymentView) -> bool {
    let once = |endpoint: &EndpointView| {
        endpoint.checks == 0 || (1..ENDPOINT_WRONG_CHECKS).contains(&endpoint.wrong_checks)
    };
    let undecided = |node: &NodeView| {
        node.presence == NodeState::Pending && !node.was_never_reached()
            || node.polling.unknown.is_some_and(|unknown| unknown.why == UnknownReason::Undecided)
    };
    let pauses = |node: &NodeView| {
        node.pause.reported.is_some() && !node.pause.lasting && node.is_known_up()
    };
    let may_recover = |unreached: &UnreachedPrimary| !unreached.is_lasting();
    let unreached = view.sentinels.iter().flat_map(|sentinels| &sentinels.cannot_reach.sentinels);
    view.members().any(|(_, node)| undecided(node) || pauses(node))
        || view.endpoints.iter().any(once)
        || unreached.into_iter().any(may_recover)
}

/// Returns the exit code for the polled deployments.
fn exit_code(views: &[Arc<DeploymentView>]) -> u8 {
    let lacks = |view: &DeploymentView, of: fn(&NodeView) -> bool| {
        !view.members().any(|(_, node)| of(node) && node.up() == Some(true))
    };
    let is_unknown = |view: &Arc<DeploymentView>| {
        // Discovery may have found no data node, or no shard of a cluster.
        let has_no_data =
            view.deployment.kind == DeploymentKind::Sentinel && lacks(view, NodeView::holds_data);
        lacks(view, |_| true) || has_no_data || view.shards.is_empty()
    };
    let found = |view: &Arc<DeploymentView>| {
        view.findings.iter().any(|finding| finding.severity != Severity::Info)
    };
    if views.is_empty()
        || views.iter().any(is_unknown)
        || (views.iter().any(|view| waits(view)) && !views.iter().any(found))
    {
        UNKNOWN
    } else if views.iter().any(found) {
        FINDINGS
    } else {
        HEALTHY
    }
}
