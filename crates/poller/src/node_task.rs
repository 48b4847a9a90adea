//! Polling task of one node: connects, polls on request, and reconnects.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;
use std::net::SocketAddr;
use std::time::Duration;

use client::{Command, ConnectOptions, Connection, Endpoint, Failure, Replies};
use config::Cadences;
use snapshot::{OptionalCommand, Reason};
use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;
use topology::NodeReply;
use tracing::{debug, info, warn};

use crate::computation::is_large;
use crate::connect_limits::ConnectLane;
use crate::connect_wait::{LastContact, wait_for_permit, waiting};
use crate::context::PollerContext;
use crate::denied_attempts::DenialReader;
use crate::excess_registry::{ConnectionPlace, RefusedNode};
use crate::logged_reasons::LoggedReasons;
use crate::node_messages::{PollRequest, SlotId, SlotReport, TaskReport};
use crate::poll_plan::{ParsedReplies, PollCommand, PollPlan};
use crate::proxy_probe::ProxyProbe;
use crate::reconnect::{ReconnectDelays, ReturnSigns};

/// Limit of one connection attempt.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Connections that are replaced at once after the last reply, although none of them was used for a
/// reply. Servers close the connections of their clients several times during a failover, and the
/// growing delays would make a healthy node miss its rounds.
const REPLACED_AT_ONCE: u32 = 3;

/// Limit of the batches that follow the first one of a poll. Each reads what the replies to the
/// previous batch made necessary.
const MAX_FOLLOW_UP_BATCHES: usize = 2;

/// Settings of the polling task of one node.
#[derive(Debug, Clone)]
pub(crate) struct NodeTaskSettings {
    /// Slot that the reports of the task carry.
    pub(crate) slot: SlotId,
    /// Name of the deployment, for the log.
    pub(crate) deployment: String,
    /// Name of the node, for the log.
    pub(crate) node: String,
    pub(crate) endpoint: Endpoint,
    /// True for a Sentinel, false for a data node.
    pub(crate) is_sentinel: bool,
    /// Limit of the connections to the address, if the node is discovered.
    pub(crate) connections: usize,
    pub(crate) cadences: Cadences,
    /// Interval between polls.
    pub(crate) interval: Duration,
    /// Commands that are never sent.
    pub(crate) skipped: BTreeSet<OptionalCommand>,
    /// CONFIG parameters to use if CONFIG GET is not sent or the server refuses it.
    pub(crate) assumed_config: BTreeMap<String, String>,
}

/// Polling task of one node.
pub(crate) struct NodeTask {
    settings: NodeTaskSettings,
    requests: mpsc::Receiver<PollRequest>,
    reports: mpsc::Sender<SlotReport>,
    context: PollerContext,
    plan: PollPlan,
    delays: ReconnectDelays,
    lane: ConnectLane,
    /// Last evidence about the node while there is no connection.
    contact: LastContact,
    proxy_probe: ProxyProbe,
    /// True if the node replied since the last failed attempt to connect.
    tolerates_close: bool,
    /// Number of connections that are still replaced at once if they end without a reply.
    replaced_at_once: u32,
    /// Reasons of failures that were logged since the last reply.
    logged_reasons: LoggedReasons,
    /// Place of the connection or of the attempt; `None` for a configured node.
    place: Option<ConnectionPlace>,
    /// Reader of the attempts of other tasks that the server of the last connection denied.
    denials: Option<DenialReader>,
    /// Entry among the nodes without a connection, if the last attempt found no place.
    refused: Option<RefusedNode>,
}

/// Result of one poll.
struct PolledReply {
    reply: NodeReply,
    /// Failure of a later batch, which ended the connection.
    failure: Option<Failure>,
}

/// The other end of a channel is closed: the deployment is gone.
struct ChannelClosed;

impl NodeTask {
    pub(crate) fn new(
        settings: NodeTaskSettings,
        requests: mpsc::Receiver<PollRequest>,
        reports: mpsc::Sender<SlotReport>,
        signs: watch::Receiver<ReturnSigns>,
        context: PollerContext,
    ) -> Self {
        let plan = PollPlan::new(
            settings.cadences,
            settings.interval,
            settings.skipped.clone(),
            &settings.assumed_config,
            &context.common,
        );
        NodeTask {
            settings,
            requests,
            reports,
            delays: ReconnectDelays::new(context.clock, signs),
            context,
            plan,
            lane: ConnectLane::default(),
            contact: LastContact::default(),
            proxy_probe: ProxyProbe::default(),
            tolerates_close: false,
            replaced_at_once: 0,
            logged_reasons: LoggedReasons::default(),
            place: None,
            denials: None,
            refused: None,
        }
    }

    /// Runs until the task is aborted.
    ///
    /// The box keeps the task out of the future, which would contain it twice: as the argument and
    /// as the variable.
    pub(crate) async fn run(mut self: Box<Self>) {
        while let Ok(()) = self.connect_and_serve().await {}
        // The deployment is gone, so this task is being aborted.
        std::future::pending::<()>().await;
    }

    /// Handles one connection, from the attempt to its end.
    async fn connect_and_serve(&mut self) -> Result<(), ChannelClosed> {
        // Connecting is rare and needs much memory, so it is not part of the task.
        let connection = match Box::pin(self.connect()).await {
            Ok(connection) => connection,
            // A master that is demoted closes all its connections, even one that is being set up.
            // A single close is therefore no evidence of a problem.
            Err(failure)
                if matches!(failure.reason, Reason::Closed | Reason::Reset)
                    && take(&mut self.tolerates_close) =>
            {
                self.report_lost(failure).await?;
                self.wait().await;
                // A server that is being stopped may close it, too. The next delays are those of a
                // server that refuses connections.
                self.delays.reset();
                return Ok(());
            }
            Err(failure) => {
                self.tolerates_close = false;
                self.place = None;
                self.plan.connection_failed(&failure);
                self.context
                    .connect_limiter
                    .denied_attempts
                    .record(&failure, self.denials.as_ref());
                let failure = self.proxy_probe.explain_attempt(failure, &self.settings.endpoint);
                return self.report_failed(failure).await;
            }
        };
        let (peer, password) = (connection.peer(), connection.password_version());
        self.plan.connected(peer, password, connection.refusal());
        self.read_denials(peer);
        // Discard a request that the previous connection did not serve.
        while self.requests.try_recv().is_ok() {}
        self.report(TaskReport::Connected).await?;
        let mut replied = false;
        let failure = self.serve(connection, &mut replied).await?;
        self.count_denials();
        self.plan.disconnected();
        let explained = self.proxy_probe.explain_loss(failure, &self.settings.endpoint);
        let failure = Box::pin(explained).await;
        if replied {
            self.delays.reset();
        }
        let is_lost = matches!(
            failure.reason,
            Reason::Closed | Reason::Reset | Reason::Timeout | Reason::Unreachable
        );
        if !is_lost {
            return self.report_failed(failure).await;
        }
        // Servers also close connections on purpose, for example during a Sentinel failover.
        self.report_lost(failure).await?;
        if !replied {
            match self.replaced_at_once.checked_sub(1) {
                Some(left) => self.replaced_at_once = left,
                None => self.wait().await,
            }
        }
        Ok(())
    }

    async fn connect(&mut self) -> Result<Connection, Failure> {
        let address = self.settings.endpoint.address.to_string();
        self.take_place(&address)?;
        let endpoint = &self.settings.endpoint;
        let options = ConnectOptions::new(CONNECT_LIMIT);
        // A close that is tolerated needs no cause. The next attempt follows sooner without it.
        let options = if self.tolerates_close { options.without_probe() } else { options };
        let report = async {
            let failure = waiting(&self.context.connect_limiter);
            // The next report notices a closed channel.
            let _ = self.report(TaskReport::AttemptFailed(failure.into())).await;
        };
        let limiter = &self.context.connect_limiter;
        let permit =
            wait_for_permit(limiter, &endpoint.address, self.lane, self.contact, report).await?;
        let connection = if self.settings.is_sentinel {
            let attempt = Connection::open_with_fred(endpoint, options);
            self.context.attempt(permit, &mut self.lane, attempt).await
        } else {
            let attempt = Connection::open(endpoint, options);
            self.context.attempt(permit, &mut self.lane, attempt).await
        };
        let connection = connection?;
        // Many names may lead to one address.
        if let Some(peer) = connection.peer().map(|peer| peer.to_string())
            && peer != address
        {
            self.take_place(&peer)?;
        }
        Ok(connection)
    }

    /// Takes a place for the connection of a discovered node. Servers may list any number of nodes
    /// at one address.
    fn take_place(&mut self, address: &str) -> Result<(), Failure> {
        (self.place, self.refused) = (None, None);
        let NodeTaskSettings { endpoint, connections: limit, deployment, .. } = &self.settings;
        if endpoint.trust.is_none() {
            return Ok(());
        }
        self.place = self.context.excess.connect(address, *limit);
        if self.place.is_some() {
            return Ok(());
        }
        self.refused = Some(self.context.excess.refuse(deployment));
        let problem =
            format!("{limit} connections to {address} are open, and limits.connections is {limit}");
        Err(Failure::new(Reason::Local, problem))
    }

    /// Reads the denied attempts of other tasks at the address of a new connection.
    fn read_denials(&mut self, peer: Option<SocketAddr>) {
        if self.denials.as_ref().map(DenialReader::address) != peer {
            self.denials =
                peer.map(|peer| self.context.connect_limiter.denied_attempts.reader(peer));
        }
    }

    /// Counts the denied attempts of other tasks. The counters of the server include them.
    fn count_denials(&mut self) {
        if let Some(denials) = &self.denials {
            self.plan.attempts_denied(&denials.take());
        }
    }

    /// Serves poll requests until the connection fails. Sets `replied` after the first reply.
    async fn serve(
        &mut self,
        mut connection: Connection,
        replied: &mut bool,
    ) -> Result<Failure, ChannelClosed> {
        loop {
            let request = tokio::select! {
                request = self.requests.recv() => request.ok_or(ChannelClosed)?,
                failure = connection.ended() => return Ok(failure),
            };
            if request.command_stats {
                self.plan.request_command_stats();
            }
            self.plan.set_cluster_map_requested(request.cluster_map);
            self.plan.set_client_list_requested(request.client_list);
            if let Some(sentinel) = &request.sentinel {
                self.plan.request_masters(&sentinel.masters, &sentinel.urgent_masters);
            }
            // A poll is short, and the memory that it needs is not part of the waiting task.
            match Box::pin(self.poll(&mut connection)).await {
                Ok(PolledReply { reply, failure }) => {
                    *replied = true;
                    self.proxy_probe.record_reply();
                    self.tolerates_close = true;
                    self.replaced_at_once = REPLACED_AT_ONCE;
                    if failure.is_none() {
                        self.log_recovery();
                    }
                    self.report(TaskReport::Replied(Box::new(reply))).await?;
                    if let Some(failure) = failure {
                        return Ok(failure);
                    }
                }
                // A script blocks the server until it ends. The connection is still good.
                Err(failure) if failure.reason == Reason::Busy => {
                    self.log_failure(&failure);
                    self.report(TaskReport::InfoRefused(failure.into())).await?;
                }
                Err(failure) => return Ok(failure),
            }
        }
    }

    /// Polls the node once.
    ///
    /// # Errors
    /// Fails if the first batch fails. A failure of a later batch is part of the result.
    async fn poll(&mut self, connection: &mut Connection) -> Result<PolledReply, Failure> {
        let clock = self.context.clock;
        let started = clock.now();
        let commands = self.plan.first_batch(started);
        self.plan.record_sending(started);
        let (replies, mut duration) = self.send(connection, &commands).await?;
        self.count_denials();
        let (parsed, _) = self
            .context
            .compute_threads
            .run(clock, is_large(&replies), || {
                self.plan.parse_first_batch(&commands, &replies.decode(), clock.now())
            })
            .await;
        drop(replies);
        let mut parsed = parsed?;
        let failure = self.send_follow_ups(connection, &mut parsed, &mut duration).await.err();
        self.log_replies(&parsed);
        let ParsedReplies { snapshot, own_errors, commands_read, clients, .. } = parsed;
        let (certificate_expiry, peer) = (connection.certificate_expiry(), connection.peer());
        let reply = NodeReply {
            snapshot: snapshot.into(),
            requested: Some(topology::Monotonic::from_start(clock.elapsed(started))),
            duration,
            at: clock.wall(),
            certificate_expiry,
            peer,
            own_errors,
            commands_read,
            clients,
        };
        Ok(PolledReply { reply, failure })
    }

    /// Sends the batches that follow the first one, and adds their replies to `parsed` and the time
    /// to them to `duration`.
    async fn send_follow_ups(
        &mut self,
        connection: &mut Connection,
        parsed: &mut ParsedReplies,
        duration: &mut Duration,
    ) -> Result<(), Failure> {
        let clock = self.context.clock;
        for _ in 0..MAX_FOLLOW_UP_BATCHES {
            let started = clock.now();
            let commands = self.plan.follow_up_batch(parsed, started);
            if commands.is_empty() {
                break;
            }
            self.plan.record_sending(started);
            let (replies, took) = self.send(connection, &commands).await?;
            *duration += took;
            self.context
                .compute_threads
                .run(clock, is_large(&replies), || {
                    let now = clock.now();
                    self.plan.parse_follow_up_batch(&commands, &replies.decode(), parsed, now);
                })
                .await;
        }
        Ok(())
    }

    /// Sends one batch. Returns the replies and the time from the sending to them.
    async fn send(
        &self,
        connection: &mut Connection,
        batch: &[PollCommand],
    ) -> Result<(Replies, Duration), Failure> {
        let commands: Vec<Command> = batch.iter().map(PollCommand::command).collect();
        self.context.count_commands(&commands);
        let clock = self.context.clock;
        let sent = clock.now();
        let replies = connection.run(&commands).await?;
        let took = clock.now() - sent;
        // Many nodes reply at the same time. All their replies are received before one is parsed,
        // so that the measured time does not include the parsing of others.
        yield_now().await;
        Ok((replies, took))
    }

    async fn report_lost(&mut self, failure: Failure) -> Result<(), ChannelClosed> {
        let NodeTaskSettings { deployment, node, .. } = &self.settings;
        debug!(deployment, node, %failure, "connection lost");
        let at = self.context.clock.now();
        self.contact = LastContact::Lost { at, is_silent: failure.reason.is_silent() };
        self.report(TaskReport::ConnectionLost(failure.into())).await
    }

    async fn report_failed(&mut self, failure: Failure) -> Result<(), ChannelClosed> {
        self.log_failure(&failure);
        self.contact = LastContact::Attempted;
        self.report(TaskReport::AttemptFailed(failure.into())).await?;
        self.wait().await;
        Ok(())
    }

    async fn report(&self, report: TaskReport) -> Result<(), ChannelClosed> {
        let report = SlotReport { slot: self.settings.slot, at: self.context.clock.now(), report };
        self.reports.send(report).await.map_err(|_| ChannelClosed)
    }

    /// Waits before the next connection attempt. The end of a period in which the exporter was cut
    /// off ends the wait too, so that a node that replies again is not taken for down.
    async fn wait(&mut self) {
        tokio::select! {
            () = self.delays.wait() => {}
            () = self.context.blindness.ended() => {}
        }
    }

    /// Logs refused commands and unparsed fields.
    fn log_replies(&self, parsed: &ParsedReplies) {
        let NodeTaskSettings { deployment, node, .. } = &self.settings;
        for refused in &parsed.refused {
            info!(
                deployment,
                node,
                command = refused.command,
                detail = refused.detail,
                "command refused, sent again when the server or the credentials change, or later"
            );
        }
        for issue in &parsed.snapshot.issues {
            debug!(deployment, node, %issue, "unparsed field in reply");
        }
    }

    /// Logs each reason once until the node is read again.
    fn log_failure(&mut self, failure: &Failure) {
        if self.logged_reasons.add(failure.reason) {
            warn!(
                deployment = self.settings.deployment,
                node = self.settings.node,
                reason = failure.reason.label(),
                detail = failure.detail,
                "cannot read node"
            );
        }
    }

    fn log_recovery(&mut self) {
        if self.logged_reasons.clear() {
            let NodeTaskSettings { deployment, node, .. } = &self.settings;
            info!(deployment, node, "reading node again");
        }
    }
}
