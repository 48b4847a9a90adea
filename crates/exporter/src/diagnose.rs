//! `rolecall diagnose`: three rounds of every deployment, and what they show.

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use topology::limits::ENDPOINT_WRONG_CHECKS;
use topology::{DeploymentKind, DeploymentView, EndpointView, NodeState, NodeView, Severity};
use tracing::error;

use crate::cli::{Diagnose, DocumentFormat};
use crate::daemon::print;
use crate::log;
use config::LogFormat;
use config::{DeploymentSettings, Settings};
use poller::Clock;
use poller::Fleet;
use poller::PollerContext;
use poller::StateStore;

/// Rounds of each deployment: what moves shows only between two.
const ROUNDS: u64 = 3;

/// Time from one round to the next.
const INTERVAL: Duration = Duration::from_secs(1);

/// A node that is silent for two rounds does not answer.
const DOWN_AFTER: Duration = Duration::from_secs(2);

/// How long it may take in all.
const LIMIT: Duration = Duration::from_secs(15);

/// Nothing that needs a person.
const HEALTHY: u8 = 0;
/// Findings.
const FINDINGS: u8 = 1;
/// Not a single node of some deployment could be read, or not every one was reached and nothing was found, or the configuration is bad.
const COULD_NOT_TELL: u8 = 2;

/// Looks, prints, and gives the exit code.
pub(crate) fn main(arguments: &Diagnose) -> ExitCode {
    log::init(arguments.log_level, LogFormat::Logfmt);
    let told = look(arguments).and_then(|views| {
        print(&match arguments.format {
            DocumentFormat::Text => report::diagnose(&views),
            DocumentFormat::Json => {
                serde_json::to_string_pretty(&report::api::findings(&views))? + "\n"
            }
        })?;
        Ok(verdict(&views))
    });
    ExitCode::from(told.unwrap_or_else(|problem| {
        error!("{problem:#}");
        COULD_NOT_TELL
    }))
}

fn look(arguments: &Diagnose) -> anyhow::Result<Vec<Arc<DeploymentView>>> {
    let mut deployments = Settings::from_source(arguments.nodes.source())?.deployments;
    deployments.iter_mut().for_each(hasten);
    let runtime = Runtime::new().context("cannot start the runtime")?;
    let views = runtime.block_on(async {
        let shared = PollerContext::new(Clock::start(), StateStore::default());
        let mut fleet = Fleet::new(shared);
        fleet.poll(deployments);
        let board = fleet.board();
        // A node that hangs is found out only when the attempt to connect ends.
        // What Sentinels announce asks for rounds before their time.
        let looked = board.until(|view| {
            view.rounds.total >= ROUNDS && view.now.since_start() >= INTERVAL * 2 && !waits(view)
        });
        tokio::select! {
            _ = timeout(LIMIT, looked) => {}
            ended = fleet.ended() => {
                let never: Infallible = ended?;
                match never {}
            }
        }
        Ok(board.views())
    });
    runtime.shutdown_background();
    views
}

/// Somebody waits for the answer.
fn hasten(settings: &mut DeploymentSettings) {
    let deployment = Arc::make_mut(&mut settings.deployment);
    deployment.interval = INTERVAL;
    deployment.down_after = deployment.down_after.min(DOWN_AFTER);
    settings.deadline = settings.deadline.min(deployment.interval);
    settings.check_interval = INTERVAL;
}

/// Nobody knows yet whether some node answers, or whether some endpoint leads where it should: once wrong is not enough.
fn waits(view: &DeploymentView) -> bool {
    let once = |endpoint: &EndpointView| {
        endpoint.checks == 0 || (1..ENDPOINT_WRONG_CHECKS).contains(&endpoint.wrong_checks)
    };
    view.members().any(|(_, node)| node.presence == NodeState::Pending)
        || view.endpoints.iter().any(once)
}

fn verdict(views: &[Arc<DeploymentView>]) -> u8 {
    let lacks = |view: &DeploymentView, of: fn(&NodeView) -> bool| {
        !view.members().any(|(_, node)| of(node) && node.up() == Some(true))
    };
    let dark = |view: &Arc<DeploymentView>| {
        // Of nodes that others were to name there may be none, and of a cluster no shard.
        let of_none =
            view.deployment.kind == DeploymentKind::Sentinel && lacks(view, NodeView::holds_data);
        lacks(view, |_| true) || of_none || view.shards.is_empty()
    };
    let found = |view: &Arc<DeploymentView>| {
        view.findings.iter().any(|finding| finding.severity != Severity::Info)
    };
    if views.is_empty()
        || views.iter().any(dark)
        || (views.iter().any(|view| waits(view)) && !views.iter().any(found))
    {
        COULD_NOT_TELL
    } else if views.iter().any(found) {
        FINDINGS
    } else {
        HEALTHY
    }
}
