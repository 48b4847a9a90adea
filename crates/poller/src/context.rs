//! Context that the polling tasks of all deployments share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use client::{Address, Command, Failure};
use config::ConnectLimits;

use crate::blindness::BlindnessDetector;
use crate::clock::Clock;
use crate::computation::ComputeThreads;
use crate::connect_limits::{ConnectLane, ConnectLimiter, ConnectPermit};
use crate::descriptors::{DescriptorCount, cause};
use crate::excess_registry::ExcessRegistry;
use crate::poll_plan::CommonData;
use crate::process_registry::ProcessRegistry;
use crate::round_recorder::RoundRecorder;
use crate::state_store::StateStore;

/// Context that the polling tasks of all deployments share.
#[derive(Debug, Clone)]
pub struct PollerContext {
    /// Source of time.
    pub clock: Clock,
    pub(crate) connect_limiter: Arc<ConnectLimiter>,
    descriptors: Arc<DescriptorCount>,
    pub(crate) state: StateStore,
    /// Recorder of all rounds; `None` unless it is enabled.
    pub recorder: Option<RoundRecorder>,
    pub(crate) blindness: Arc<BlindnessDetector>,
    pub(crate) processes: ProcessRegistry,
    pub(crate) compute_threads: ComputeThreads,
    pub(crate) excess: ExcessRegistry,
    /// Parts of replies that nodes have in common.
    pub(crate) common: Arc<CommonData>,
    commands_sent: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

impl PollerContext {
    /// Creates a context in which no command was sent yet, without a recorder, with the default
    /// limits of new connections.
    pub fn new(clock: Clock, state: StateStore) -> Self {
        PollerContext {
            clock,
            connect_limiter: Arc::new(ConnectLimiter::new(clock, ConnectLimits::DEFAULT)),
            descriptors: Arc::default(),
            state,
            recorder: None,
            blindness: Arc::default(),
            processes: ProcessRegistry::default(),
            compute_threads: ComputeThreads::default(),
            excess: ExcessRegistry::default(),
            common: Arc::default(),
            commands_sent: Arc::default(),
        }
    }

    /// Sets the limits of new connections.
    #[must_use]
    pub fn with_connect_limits(self, limits: ConnectLimits) -> Self {
        let connect_limiter = Arc::new(ConnectLimiter::new(self.clock, limits));
        PollerContext { connect_limiter, ..self }
    }

    /// Waits for the permit to open a connection. Drop it when the connection is open.
    ///
    /// # Errors
    /// Fails if too many file descriptors are open.
    pub(crate) async fn connect_permit(
        &self,
        address: &Address,
        lane: ConnectLane,
    ) -> Result<ConnectPermit, Failure> {
        let permit = self.connect_limiter.permit(address, lane).await?;
        self.check_descriptors()?;
        Ok(permit)
    }

    /// Waits for a permit, makes a connection attempt, and updates the lane of the next attempt.
    pub(crate) async fn connect<T>(
        &self,
        address: &Address,
        lane: &mut ConnectLane,
        attempt: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let permit = self.connect_limiter.permit(address, *lane).await?;
        let outcome = self.attempt(permit, lane, attempt).await;
        if let Err(failure) = &outcome {
            self.connect_limiter.denied_attempts.record(failure, None);
        }
        outcome
    }

    /// Makes a connection attempt with a permit, and updates the lane of the next attempt.
    pub(crate) async fn attempt<T>(
        &self,
        permit: ConnectPermit,
        lane: &mut ConnectLane,
        attempt: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        self.check_descriptors()?;
        let started = self.clock.now();
        let outcome = attempt.await.map_err(cause);
        permit.record_outcome(&outcome);
        *lane = ConnectLane::after(outcome.is_ok(), self.clock.now() - started);
        outcome
    }

    fn check_descriptors(&self) -> Result<(), Failure> {
        self.descriptors.check(self.connect_limiter.connecting(), self.clock.now())
    }

    /// Returns true while the exporter is cut off from the nodes.
    pub fn is_cut_off(&self) -> bool {
        self.blindness.is_cut_off()
    }

    /// Returns the number of commands sent to servers, by command name.
    pub fn commands_sent(&self) -> Vec<(&'static str, u64)> {
        let sent = self.commands_sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.iter().map(|(name, count)| (*name, *count)).collect()
    }

    /// Counts commands that are about to be sent.
    pub(crate) fn count_commands(&self, commands: &[Command]) {
        let mut sent = self.commands_sent.lock().unwrap_or_else(PoisonError::into_inner);
        for command in commands {
            *sent.entry(command.name).or_default() += 1;
        }
    }
}
