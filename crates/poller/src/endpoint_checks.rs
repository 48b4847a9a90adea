//! Endpoint checks of one deployment: their tasks, and their results until the next round.

use std::time::Duration;

use config::DeploymentSettings;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use topology::{EndpointCheckResult, OwnErrors, PollOutcome};

use crate::context::PollerContext;
use crate::endpoint_checker::{EndpointCheckSettings, EndpointChecker, FinishedCheck};

/// Limit of the endpoint checks that wait for a round, and of the server processes with check
/// errors that wait for their next reply.
const MAX_CHECKS: usize = 16;

/// Endpoint checks of one deployment.
pub(crate) struct EndpointChecks {
    /// Checks are boxed: a channel has memory for 32 of them from the start.
    sender: mpsc::Sender<Box<FinishedCheck>>,
    receiver: mpsc::Receiver<Box<FinishedCheck>>,
    /// Results since the last round.
    results: Vec<EndpointCheckResult>,
    errors: Vec<CheckErrors>,
}

/// Errors that endpoint checks caused at a server process. They are part of its error counters, and
/// wait for the next reply of the node.
struct CheckErrors {
    run_id: Box<str>,
    own_errors: OwnErrors,
}

impl EndpointChecks {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(MAX_CHECKS);
        EndpointChecks { sender, receiver, results: Vec::new(), errors: Vec::new() }
    }

    /// Starts the checks. They have the same relative offset within their interval as the rounds
    /// have within theirs.
    pub(crate) fn start(
        &self,
        settings: &DeploymentSettings,
        context: &PollerContext,
        phase: Duration,
        tasks: &mut JoinSet<()>,
    ) {
        let spread = settings.check_interval.div_duration_f64(settings.deployment.interval);
        let first_at = context.clock.now() + phase.mul_f64(spread);
        for service in &settings.service_endpoints {
            let check_settings = EndpointCheckSettings {
                deployment: settings.deployment.name.clone(),
                kind: service.kind,
                endpoint: service.endpoint.clone(),
                interval: settings.check_interval,
                first_at,
            };
            let checker =
                EndpointChecker::new(check_settings, context.clone(), self.sender.clone());
            tasks.spawn(checker.run());
        }
    }

    /// Waits for the next result, and stores it.
    pub(crate) async fn next(&mut self) {
        match self.receiver.recv().await {
            Some(check) => self.add(*check),
            None => std::future::pending().await,
        }
    }

    /// Returns the results since the last call.
    pub(crate) fn take_results(&mut self) -> Vec<EndpointCheckResult> {
        std::mem::take(&mut self.results)
    }

    /// Adds the errors of the checks to the replies of the nodes behind the endpoints.
    pub(crate) fn add_errors(&mut self, outcomes: &mut [PollOutcome]) {
        for outcome in outcomes {
            let PollOutcome::Answered(reply) = outcome else { continue };
            let Some(run_id) = reply.snapshot.identity.run_id.clone() else { continue };
            for check in self.errors.extract_if(.., |check| check.run_id == run_id) {
                for (code, count) in check.own_errors {
                    *reply.own_errors.entry(code).or_default() += count;
                }
            }
        }
    }

    fn add(&mut self, check: FinishedCheck) {
        let FinishedCheck { result, own_errors } = check;
        if let Ok(server) = &result.outcome
            && let Some(run_id) = server.run_id.as_ref().filter(|_| !own_errors.is_empty())
        {
            self.errors.push(CheckErrors { run_id: run_id.clone(), own_errors });
        }
        self.results.push(result);
        // Drop the oldest. The errors of a server that is not a node are never collected.
        self.errors.drain(..self.errors.len().saturating_sub(MAX_CHECKS));
        self.results.drain(..self.results.len().saturating_sub(MAX_CHECKS));
    }
}
