//! The task of one node: connect, answer when asked, connect again.

use std::collections::BTreeMap;
use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

use crate::context::{ConnectLane, PollerContext};
use crate::poll_plan::WatchedMasters;
use crate::poll_plan::{ParsedReplies, PollCommand, PollPlan};
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use client::{Command, Connection, Endpoint, Failure};
use config::Cadences;
use snapshot::Reason;
use tokio::sync::mpsc;
use tokio::time::sleep;
use topology::NodeReply;
use tracing::{debug, info, warn};

/// How long an attempt to connect may take.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// The most batches that follow the first, each for what the one before it showed to be worth reading.
const MAX_BATCHES_MORE: usize = 2;

/// The first and the longest delay between attempts to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// What a station is asked for, beside what is due.
#[derive(Debug, Clone, Default)]
pub(crate) struct PollRequest {
    /// The statistics by command, at once: a fact waits for them.
    pub(crate) commands: bool,
    /// The map of the cluster.
    pub(crate) map: bool,
    /// The list of clients, if it is due, and there are not too many.
    pub(crate) clients: bool,
    /// Of a Sentinel, the masters that are of interest.
    pub(crate) interest: Option<WatchedMasters>,
    /// Those of them to which something just happened.
    pub(crate) urgent: Vec<Arc<str>>,
}

/// Which node a station is for.
#[derive(Debug, Clone)]
pub(crate) struct NodeTaskSettings {
    /// What its reports are marked with.
    pub(crate) seat: SlotId,
    /// For the log.
    pub(crate) deployment: String,
    /// For the log.
    pub(crate) node: String,
    pub(crate) endpoint: Endpoint,
    pub(crate) cadences: Cadences,
    pub(crate) assumed: BTreeMap<String, String>,
}

/// The place of a node, and how often it was given away before: a report may outlive the node that it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SlotId {
    pub(crate) index: usize,
    pub(crate) turn: u64,
}

/// What a station tells its rounds.
pub(crate) enum TaskReport {
    /// There is a connection.
    Connected,
    /// The node answered.
    Answered(Box<NodeReply>),
    /// INFO was refused, but the connection is kept.
    Refused(Failure),
    /// The connection is gone, and another attempt is to follow. No evidence that the server is.
    Lost(Failure),
    /// An attempt failed; the next follows after a while.
    Failed(Failure),
}

/// The task of one node.
pub(crate) struct NodeTask {
    post: NodeTaskSettings,
    asks: mpsc::Receiver<PollRequest>,
    reports: mpsc::Sender<(SlotId, TaskReport)>,
    shared: PollerContext,
    readings: PollPlan,
    backoff: ExponentialBackoff,
    lane: ConnectLane,
    /// It answered, and no connection that was being opened was closed since.
    answers: bool,
    /// The failure that was logged last, until the node answers.
    logged: Option<Reason>,
}

/// The rounds are no more: the exporter stops.
struct ReceiverClosed;

impl NodeTask {
    pub(crate) fn new(
        post: NodeTaskSettings,
        asks: mpsc::Receiver<PollRequest>,
        reports: mpsc::Sender<(SlotId, TaskReport)>,
        shared: PollerContext,
    ) -> Self {
        let readings = PollPlan::new(post.cadences, &post.assumed);
        NodeTask {
            post,
            asks,
            reports,
            shared,
            readings,
            backoff: backoff(),
            lane: ConnectLane::default(),
            answers: false,
            logged: None,
        }
    }

    /// Runs until it is ended, as it is when the rounds are no more.
    pub(crate) async fn run(mut self) {
        while let Ok(()) = self.attempt().await {}
        // Nobody asks any more, and this task is being ended.
        std::future::pending::<()>().await;
    }

    /// One connection, from the attempt to its end.
    async fn attempt(&mut self) -> Result<(), ReceiverClosed> {
        let connection = match self.open().await {
            Ok(connection) => connection,
            // Whoever demotes a master closes all its connections, also one that is just being opened. Once is no evidence.
            Err(failure)
                if matches!(failure.reason, Reason::Closed | Reason::Reset)
                    && take(&mut self.answers) =>
            {
                self.lost(failure).await?;
                self.wait().await;
                return Ok(());
            }
            Err(failure) => {
                self.readings.turned_away(&failure);
                return self.failed(failure).await;
            }
        };
        self.readings.connected();
        // An ask that the lost connection left behind is answered by nobody.
        while self.asks.try_recv().is_ok() {}
        self.report(TaskReport::Connected).await?;
        let mut answered = false;
        let failure = self.serve(connection, &mut answered).await?;
        if answered {
            self.backoff = backoff();
        }
        if !matches!(failure.reason, Reason::Closed | Reason::Reset | Reason::Timeout) {
            return self.failed(failure).await;
        }
        // Servers close connections for reasons of their own, a Sentinel's failover among them.
        self.lost(failure).await?;
        if !answered {
            self.wait().await;
        }
        Ok(())
    }

    async fn open(&mut self) -> Result<Connection, Failure> {
        self.shared.open(&mut self.lane, Connection::open(&self.post.endpoint, CONNECT_LIMIT)).await
    }

    /// Answers when asked, until the connection is of no use any more.
    async fn serve(
        &mut self,
        mut connection: Connection,
        answered: &mut bool,
    ) -> Result<Failure, ReceiverClosed> {
        loop {
            let ask = tokio::select! {
                ask = self.asks.recv() => ask.ok_or(ReceiverClosed)?,
                failure = connection.ended() => return Ok(failure),
            };
            if ask.commands {
                self.readings.want_commands();
            }
            self.readings.want_map(ask.map);
            self.readings.want_clients(ask.clients);
            if let Some(interest) = &ask.interest {
                self.readings.want_masters(interest, &ask.urgent);
            }
            match self.poll(&mut connection).await {
                Ok((answer, broken)) => {
                    *answered = true;
                    self.answers = true;
                    self.recovered();
                    self.report(TaskReport::Answered(Box::new(answer))).await?;
                    if let Some(failure) = broken {
                        return Ok(failure);
                    }
                }
                // A script blocks the server, and will end: this is no fault of the connection.
                Err(failure) if failure.reason == Reason::Busy => {
                    self.log(&failure);
                    self.report(TaskReport::Refused(failure)).await?;
                }
                Err(failure) => return Ok(failure),
            }
        }
    }

    /// One answer; and the failure that ended the connection after it, if one did.
    async fn poll(
        &mut self,
        connection: &mut Connection,
    ) -> Result<(NodeReply, Option<Failure>), Failure> {
        let clock = self.shared.clock;
        let asked = clock.now();
        let due = self.readings.due(asked);
        let replies = self.send(connection, &due).await?;
        let mut taken = self.readings.take(&due, &replies, clock.now())?;
        let mut broken = None;
        for _ in 0..MAX_BATCHES_MORE {
            let overdue = self.readings.overdue(&taken, clock.now());
            if overdue.is_empty() {
                break;
            }
            match self.send(connection, &overdue).await {
                Ok(replies) => {
                    self.readings.take_others(&overdue, &replies, &mut taken, clock.now());
                }
                Err(failure) => {
                    broken = Some(failure);
                    break;
                }
            }
        }
        for (command, detail) in &taken.refused {
            info!(
                deployment = self.post.deployment,
                node = self.post.node,
                command,
                detail,
                "command refused, and not sent to this process again"
            );
        }
        for issue in &taken.snapshot.issues {
            debug!(deployment = self.post.deployment, node = self.post.node, %issue, "strange reply");
        }
        let ParsedReplies { snapshot, own_errors, commands_read, clients, .. } = taken;
        let (certificate_expiry, peer) = (connection.certificate_expiry(), connection.peer());
        let (took, at) = (clock.now() - asked, clock.wall());
        Ok((
            NodeReply {
                snapshot: snapshot.into(),
                duration: took,
                at,
                certificate_expiry,
                peer,
                own_errors,
                commands_read,
                clients,
            },
            broken,
        ))
    }

    async fn send(
        &self,
        connection: &mut Connection,
        readings: &[PollCommand],
    ) -> Result<Vec<snapshot::Reply>, Failure> {
        let commands: Vec<Command> = readings.iter().map(PollCommand::command).collect();
        self.shared.count(&commands);
        connection.run(&commands).await
    }

    async fn lost(&mut self, failure: Failure) -> Result<(), ReceiverClosed> {
        debug!(deployment = self.post.deployment, node = self.post.node, %failure, "connection lost");
        self.report(TaskReport::Lost(failure)).await
    }

    async fn failed(&mut self, failure: Failure) -> Result<(), ReceiverClosed> {
        self.log(&failure);
        self.report(TaskReport::Failed(failure)).await?;
        self.wait().await;
        Ok(())
    }

    async fn wait(&mut self) {
        sleep(self.backoff.next().unwrap_or(BACKOFF.1)).await;
    }

    async fn report(&self, report: TaskReport) -> Result<(), ReceiverClosed> {
        self.reports.send((self.post.seat, report)).await.map_err(|_| ReceiverClosed)
    }

    /// One line when the reason changes, not one for each attempt.
    fn log(&mut self, failure: &Failure) {
        if self.logged != Some(failure.reason) {
            self.logged = Some(failure.reason);
            warn!(
                deployment = self.post.deployment,
                node = self.post.node,
                reason = failure.reason.label(),
                detail = failure.detail,
                "cannot read node"
            );
        }
    }

    fn recovered(&mut self) {
        if self.logged.take().is_some() {
            info!(deployment = self.post.deployment, node = self.post.node, "reading node");
        }
    }
}

pub(crate) fn backoff() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(BACKOFF.0)
        .with_max_delay(BACKOFF.1)
        .with_jitter()
        .without_max_times()
        .build()
}
