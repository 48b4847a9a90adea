//! The task of one endpoint: at each tick it connects anew, reads one INFO, and closes. A connection that is kept would lead to where the
//! name or the load balancer led when it was opened.

use std::time::Duration;

use crate::context::{ConnectLane, PollerContext};
use client::{Command, Connection, Endpoint, Failure};
use snapshot::{NodeSnapshot, Reason, Reply};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use topology::{EndpointCheckResult, EndpointKind, EndpointServer, OwnErrors};
use tracing::{info, warn};

/// How long a check may take, waiting for the permit to connect left out.
const CHECK_LIMIT: Duration = Duration::from_secs(5);

/// The part of it for connecting; the rest is for finding out why that failed.
const CONNECT_LIMIT: Duration = Duration::from_secs(4);

/// Time between two checks while the server refuses us: each is an error in its own count, and a line in its log of refusals.
const REFUSED_INTERVAL: Duration = Duration::from_secs(60);

/// The code of what a user may not do.
const NOPERM: &str = "NOPERM";

/// Which endpoint a checker is for.
#[derive(Debug, Clone)]
pub(super) struct EndpointCheck {
    /// For the log.
    pub(super) deployment: String,
    pub(super) kind: EndpointKind,
    pub(super) endpoint: Endpoint,
    /// Time between two checks.
    pub(super) interval: Duration,
    /// When the first begins.
    pub(super) first: Instant,
}

/// What came of a check.
#[derive(Debug)]
pub(super) struct FinishedCheck {
    pub(super) check: EndpointCheckResult,
    /// The errors that our own commands met at the server that answered.
    pub(super) own_errors: OwnErrors,
}

/// The task of one endpoint.
pub(super) struct EndpointChecker {
    brief: EndpointCheck,
    shared: PollerContext,
    checked: mpsc::Sender<FinishedCheck>,
    /// The process that answered last, and whether it refuses CLIENT ID, with which each connection begins.
    known: Option<(Box<str>, bool)>,
    lane: ConnectLane,
    /// The failure that was logged last, until a check is answered.
    logged: Option<Reason>,
}

impl EndpointChecker {
    pub(super) fn new(
        brief: EndpointCheck,
        shared: PollerContext,
        checked: mpsc::Sender<FinishedCheck>,
    ) -> Self {
        EndpointChecker {
            brief,
            shared,
            checked,
            known: None,
            lane: ConnectLane::default(),
            logged: None,
        }
    }

    /// Checks until the rounds are no more.
    pub(super) async fn run(mut self) {
        let mut ticks = interval_at(self.brief.first, self.brief.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let checked = self.check().await;
            if matches!(checked.check.outcome, Err(Reason::Auth | Reason::Noperm)) {
                ticks.reset_after(self.brief.interval.max(REFUSED_INTERVAL));
            }
            if self.checked.send(checked).await.is_err() {
                return;
            }
        }
    }

    async fn check(&mut self) -> FinishedCheck {
        let shared = self.shared.clone();
        let clock = shared.clock;
        let permit = shared.connecting(self.lane).await;
        let begun = clock.now();
        let mut own_errors = OwnErrors::new();
        let answered = match permit {
            Ok(permit) => {
                let late =
                    || Failure::new(Reason::Timeout, format!("no answer within {CHECK_LIMIT:?}"));
                timeout(CHECK_LIMIT, self.ask(permit, &mut own_errors))
                    .await
                    .unwrap_or_else(|_| Err(late()))
            }
            Err(failure) => Err(failure),
        };
        self.lane = ConnectLane::after(answered.is_ok(), clock.now() - begun);
        self.log(answered.as_ref().err());
        let outcome = answered.map_err(|failure| failure.reason);
        let [started, ended] =
            [begun, clock.now()].map(|at| topology::Monotonic::from_start(clock.elapsed(at)));
        FinishedCheck {
            check: EndpointCheckResult { endpoint: self.brief.kind, started, ended, outcome },
            own_errors,
        }
    }

    /// Connects and asks. The connection is closed when this ends, however it does; the permit when it is open.
    async fn ask<P>(
        &mut self,
        permit: P,
        own_errors: &mut OwnErrors,
    ) -> Result<EndpointServer, Failure> {
        let mut connection = Connection::open(&self.brief.endpoint, CONNECT_LIMIT).await?;
        drop(permit);
        let info = self.send(&mut connection, Command::new(&snapshot::INFO, None)).await?;
        if let Some(error) = info.error() {
            return Err(Failure::refusal(error));
        }
        let snapshot = info.text().and_then(NodeSnapshot::from_info);
        let snapshot =
            snapshot.ok_or_else(|| Failure::new(Reason::Protocol, "the reply to INFO is none"))?;
        let NodeSnapshot { identity, replication, .. } = snapshot;
        if let Some(run_id) = &identity.run_id {
            let known = self
                .known
                .as_ref()
                .filter(|(known, _)| known == run_id)
                .map(|(_, refuses)| *refuses);
            let refuses = if let Some(refuses) = known {
                refuses
            } else {
                let reply =
                    self.send(&mut connection, Command::new(&snapshot::CLIENT_ID, None)).await?;
                let refused =
                    reply.error().is_some_and(|error| error.reason() == Some(Reason::Noperm));
                if refused {
                    note(own_errors, NOPERM);
                }
                refused
            };
            self.known = Some((run_id.clone(), refuses));
            if refuses {
                note(own_errors, NOPERM);
            }
        }
        Ok(EndpointServer {
            run_id: identity.run_id,
            role: replication.role,
            replid: replication.replid,
        })
    }

    async fn send(&self, connection: &mut Connection, command: Command) -> Result<Reply, Failure> {
        let commands = [command];
        self.shared.count(&commands);
        let replies = connection.run(&commands).await?;
        replies.into_iter().next().ok_or_else(|| Failure::new(Reason::Protocol, "no reply"))
    }

    /// One line when the reason changes, not one for each check.
    fn log(&mut self, failure: Option<&Failure>) {
        let EndpointCheck { deployment, kind, .. } = &self.brief;
        let endpoint = kind.label();
        match failure {
            Some(failure) if self.logged != Some(failure.reason) => {
                self.logged = Some(failure.reason);
                warn!(
                    deployment,
                    endpoint,
                    reason = failure.reason.label(),
                    detail = failure.detail,
                    "cannot check endpoint"
                );
            }
            Some(_) => {}
            None => {
                if self.logged.take().is_some() {
                    info!(deployment, endpoint, "checking endpoint");
                }
            }
        }
    }
}

/// Counts one error that we met.
fn note(own_errors: &mut OwnErrors, code: &str) {
    *own_errors.entry(code.into()).or_default() += 1;
}
