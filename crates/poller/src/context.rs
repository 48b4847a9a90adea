//! Context that the polling tasks of all deployments share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use client::{Command, Failure};
use snapshot::{Layouts, Reason};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::blindness::BlindnessDetector;
use crate::clock::Clock;
use crate::computation::ComputeThreads;
use crate::descriptors::{FileDescriptors, cause, descriptors, exhaustion};
use crate::excess_registry::ExcessRegistry;
use crate::process_registry::ProcessRegistry;
use crate::round_recorder::RoundRecorder;
use crate::state_store::StateStore;

/// Limit of concurrent connection attempts in one lane, over all deployments.
const MAX_CONNECTING: usize = 64;

/// Duration from which on a failed connection attempt counts as hanging.
const HANGING_AFTER: Duration = Duration::from_secs(1);

/// File descriptors that are reserved for scrapes.
const RESERVED_DESCRIPTORS: u64 = 64;

/// Context that the polling tasks of all deployments share.
#[derive(Debug, Clone)]
pub struct PollerContext {
    /// Source of time.
    pub clock: Clock,
    connect_permits: Arc<[Semaphore; ConnectLane::COUNT]>,
    pub(crate) state: StateStore,
    /// Recorder of all rounds; `None` unless it is enabled.
    pub recorder: Option<RoundRecorder>,
    pub(crate) blindness: Arc<BlindnessDetector>,
    pub(crate) processes: ProcessRegistry,
    pub(crate) compute_threads: ComputeThreads,
    pub(crate) excess: ExcessRegistry,
    /// Layouts of INFO and CLUSTER INFO, which nodes share.
    pub(crate) layouts: Layouts,
    commands_sent: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

/// Queue in which a connection attempt waits for its permit.
///
/// Attempts that hang keep their permits for seconds. Attempts that are known to hang, or may hang,
/// must not delay a healthy server that closed a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum ConnectLane {
    /// No attempt was made yet.
    #[default]
    New,
    /// The last attempt succeeded or failed quickly.
    Fast,
    /// The last attempt hung.
    Hanging,
}

impl ConnectLane {
    const COUNT: usize = 3;

    /// Returns the lane of the next attempt.
    pub(crate) fn after(succeeded: bool, took: Duration) -> Self {
        if succeeded || took < HANGING_AFTER { ConnectLane::Fast } else { ConnectLane::Hanging }
    }
}

impl PollerContext {
    /// Creates a context in which no command was sent yet, without a recorder.
    pub fn new(clock: Clock, state: StateStore) -> Self {
        let connect_permits =
            Arc::new([(); ConnectLane::COUNT].map(|()| Semaphore::new(MAX_CONNECTING)));
        PollerContext {
            clock,
            connect_permits,
            state,
            recorder: None,
            blindness: Arc::default(),
            processes: ProcessRegistry::default(),
            compute_threads: ComputeThreads::default(),
            excess: ExcessRegistry::default(),
            layouts: Layouts::default(),
            commands_sent: Arc::default(),
        }
    }

    /// Waits for the permit to open a connection. Drop it when the connection is open.
    ///
    /// # Errors
    /// Fails if too many file descriptors are open.
    pub(crate) async fn connect_permit(
        &self,
        lane: ConnectLane,
    ) -> Result<SemaphorePermit<'_>, Failure> {
        let permit = self.connect_permits[lane as usize]
            .acquire()
            .await
            .map_err(|closed| Failure::new(Reason::Local, closed.to_string()))?;
        // Without a free descriptor, the number of open ones is unknown.
        exhaustion().map_or(Ok(()), Err)?;
        let connecting = self
            .connect_permits
            .iter()
            .map(|lane| (MAX_CONNECTING - lane.available_permits()) as u64)
            .sum::<u64>();
        if let Some(FileDescriptors { open, limit }) = descriptors()
            && open + connecting + RESERVED_DESCRIPTORS > limit
        {
            let problem = format!(
                "{open} of {limit} file descriptors are open, and {RESERVED_DESCRIPTORS} are \
                 reserved for scrapes: raise the limit"
            );
            return Err(Failure::new(Reason::Local, problem));
        }
        Ok(permit)
    }

    /// Waits for a permit, makes a connection attempt, and updates the lane of the next attempt.
    pub(crate) async fn connect<T>(
        &self,
        lane: &mut ConnectLane,
        attempt: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let _permit = self.connect_permit(*lane).await?;
        let started = self.clock.now();
        let outcome = attempt.await.map_err(cause);
        *lane = ConnectLane::after(outcome.is_ok(), self.clock.now() - started);
        outcome
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
