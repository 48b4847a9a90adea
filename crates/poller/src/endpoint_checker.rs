//! Checks of the endpoints that applications use.
//!
//! Each endpoint has its own task. Every check opens a new connection, reads INFO once and closes
//! the connection. A connection that stays open would keep its server, even if the name or the load
//! balancer leads to another one now.

use std::time::Duration;

use client::{Command, ConnectOptions, Connection, Endpoint, Failure, Replies};
use snapshot::{NodeSnapshot, Reason, Reply};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use topology::{EndpointCheckResult, EndpointKind, EndpointServer, OwnErrors};
use tracing::{info, warn};

use crate::connect_limits::{ConnectLane, ConnectPermit};
use crate::context::PollerContext;
use crate::descriptors::cause;
use crate::logged_reasons::LoggedReasons;

/// Limit of one check, without the wait for the connection permit.
const CHECK_LIMIT: Duration = Duration::from_secs(5);

/// Part of the limit for connecting. The rest is for finding the reason of a failure.
const CONNECT_OPTIONS: ConnectOptions = ConnectOptions::new(Duration::from_secs(4));

/// Minimum time between two checks while the server refuses access. Each refusal increments an
/// error counter of the server and adds a line to its ACL log.
const REFUSED_INTERVAL: Duration = Duration::from_secs(60);

/// Error code of a command that the user has no permission for.
const NOPERM: &str = "NOPERM";

/// Settings of the checks of one endpoint.
#[derive(Debug, Clone)]
pub(crate) struct EndpointCheckSettings {
    /// Name of the deployment, for the log.
    pub(crate) deployment: String,
    pub(crate) kind: EndpointKind,
    pub(crate) endpoint: Endpoint,
    /// Time between two checks.
    pub(crate) interval: Duration,
    /// Start of the first check.
    pub(crate) first_at: Instant,
}

/// Result of one check.
#[derive(Debug)]
pub(crate) struct FinishedCheck {
    pub(crate) result: EndpointCheckResult,
    /// Errors that the commands of this check caused at the server.
    pub(crate) own_errors: OwnErrors,
}

/// Task that checks one endpoint.
pub(crate) struct EndpointChecker {
    settings: EndpointCheckSettings,
    context: PollerContext,
    checks: mpsc::Sender<Box<FinishedCheck>>,
    /// Server process that replied to the last check.
    last_process: Option<CheckedProcess>,
    lane: ConnectLane,
    logged_reasons: LoggedReasons,
}

/// Server process behind an endpoint.
struct CheckedProcess {
    run_id: Box<str>,
    /// True if it refuses CLIENT ID, which the client sends first on each connection.
    refuses_client_id: bool,
}

impl EndpointChecker {
    pub(crate) fn new(
        settings: EndpointCheckSettings,
        context: PollerContext,
        checks: mpsc::Sender<Box<FinishedCheck>>,
    ) -> Self {
        EndpointChecker {
            settings,
            context,
            checks,
            last_process: None,
            lane: ConnectLane::default(),
            logged_reasons: LoggedReasons::default(),
        }
    }

    /// Checks the endpoint periodically until the receiver of the results is dropped.
    pub(crate) async fn run(mut self) {
        let mut ticks = interval_at(self.settings.first_at, self.settings.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let check = self.check().await;
            if matches!(check.result.outcome, Err(Reason::Auth | Reason::Noperm)) {
                ticks.reset_after(self.settings.interval.max(REFUSED_INTERVAL));
            }
            if self.checks.send(Box::new(check)).await.is_err() {
                return;
            }
        }
    }

    async fn check(&mut self) -> FinishedCheck {
        let context = self.context.clone();
        let clock = context.clock;
        let permit = context.connect_permit(&self.settings.endpoint.address, self.lane).await;
        let started = clock.now();
        let mut own_errors = OwnErrors::new();
        let outcome = match permit {
            Ok(permit) => {
                let timed_out =
                    || Failure::new(Reason::Timeout, format!("no reply within {CHECK_LIMIT:?}"));
                timeout(CHECK_LIMIT, self.read_server(permit, &mut own_errors))
                    .await
                    .unwrap_or_else(|_| Err(timed_out()))
            }
            Err(failure) => Err(failure),
        };
        self.lane = ConnectLane::after(outcome.is_ok(), clock.now() - started);
        self.log(outcome.as_ref().err());
        let outcome = outcome.map_err(|failure| failure.reason);
        let [started, ended] =
            [started, clock.now()].map(|at| topology::Monotonic::from_start(clock.elapsed(at)));
        FinishedCheck {
            result: EndpointCheckResult {
                endpoint: self.settings.kind,
                started,
                ended,
                interval: self.settings.interval,
                outcome,
            },
            own_errors,
        }
    }

    /// Connects and reads INFO. Drops the permit when the connection is open.
    async fn read_server(
        &mut self,
        permit: ConnectPermit,
        own_errors: &mut OwnErrors,
    ) -> Result<EndpointServer, Failure> {
        let opening = Connection::open_with_fred(&self.settings.endpoint, CONNECT_OPTIONS).await;
        let opening = opening.map_err(cause);
        permit.record_outcome(&opening);
        if let Err(failure) = &opening {
            self.context.connect_limiter.denied_attempts.record(failure, None);
        }
        let mut connection = opening?;
        drop(permit);
        let replies = self.send(&mut connection, Command::new(&snapshot::INFO, None)).await?;
        let info = first(&replies)?;
        if let Some(error) = info.error() {
            return Err(Failure::refusal(error));
        }
        let snapshot = info.text().and_then(NodeSnapshot::from_info);
        let snapshot =
            snapshot.ok_or_else(|| Failure::new(Reason::Protocol, "invalid INFO reply"))?;
        let NodeSnapshot { identity, replication, .. } = snapshot;
        if let Some(run_id) = &identity.run_id {
            self.count_client_id_errors(run_id, &mut connection, own_errors).await?;
        }
        Ok(EndpointServer {
            run_id: identity.run_id,
            role: replication.role,
            replid: replication.replid,
        })
    }

    /// Counts the CLIENT ID commands of this check that the server refused.
    async fn count_client_id_errors(
        &mut self,
        run_id: &str,
        connection: &mut Connection,
        own_errors: &mut OwnErrors,
    ) -> Result<(), Failure> {
        let known = self
            .last_process
            .as_ref()
            .filter(|process| *process.run_id == *run_id)
            .map(|process| process.refuses_client_id);
        let refuses_client_id = if let Some(refuses) = known {
            refuses
        } else {
            let replies = self.send(connection, Command::new(&snapshot::CLIENT_ID, None)).await?;
            let reply = first(&replies)?;
            let refuses = reply.error().is_some_and(|error| error.reason() == Some(Reason::Noperm));
            if refuses {
                count_error(own_errors, NOPERM);
            }
            refuses
        };
        self.last_process = Some(CheckedProcess { run_id: run_id.into(), refuses_client_id });
        // The CLIENT ID at the start of the connection.
        if refuses_client_id {
            count_error(own_errors, NOPERM);
        }
        Ok(())
    }

    async fn send(
        &self,
        connection: &mut Connection,
        command: Command,
    ) -> Result<Replies, Failure> {
        let commands = [command];
        self.context.count_commands(&commands);
        connection.run(&commands).await
    }

    /// Logs each reason once until a check succeeds.
    fn log(&mut self, failure: Option<&Failure>) {
        let EndpointCheckSettings { deployment, kind, .. } = &self.settings;
        let endpoint = kind.label();
        match failure {
            Some(failure) => {
                if self.logged_reasons.add(failure.reason) {
                    warn!(
                        deployment,
                        endpoint,
                        reason = failure.reason.label(),
                        detail = failure.detail,
                        "cannot check endpoint"
                    );
                }
            }
            None => {
                if self.logged_reasons.clear() {
                    info!(deployment, endpoint, "checking endpoint again");
                }
            }
        }
    }
}

/// Returns the reply to the only command.
fn first(replies: &Replies) -> Result<Reply<'_>, Failure> {
    let first = replies.decode().into_iter().next();
    first.ok_or_else(|| Failure::new(Reason::Protocol, "no reply"))
}

/// Counts one error that a command of this exporter caused.
fn count_error(own_errors: &mut OwnErrors, code: &str) {
    *own_errors.entry(code.into()).or_default() += 1;
}
