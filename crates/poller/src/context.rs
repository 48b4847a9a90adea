//! What the rounds of all deployments share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::blindness::BlindnessDetector;
use crate::clock::Clock;
use crate::descriptors::descriptors;
use crate::state_store::StateStore;
use client::{Command, Failure};
use snapshot::Reason;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The most connections of one lane that are being opened at a time, over all deployments.
const MAX_CONNECTING: usize = 64;

/// An attempt to connect that fails after longer than that hung.
const HUNG: Duration = Duration::from_secs(1);

/// Descriptors that connections to servers leave for scrapes.
const RESERVED_DESCRIPTORS: u64 = 64;

/// What the rounds of all deployments share.
#[derive(Debug, Clone)]
pub struct PollerContext {
    /// Where time comes from.
    pub clock: Clock,
    connecting: Arc<[Semaphore; ConnectLane::COUNT]>,
    pub(super) state: StateStore,
    pub(super) blindness: Arc<BlindnessDetector>,
    sent: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

/// Among which others an attempt to connect waits. Attempts that hang hold their permits for seconds, so what is known to hang, and what is
/// not known yet, must not stand before a healthy server that closed a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum ConnectLane {
    /// There was no attempt yet.
    #[default]
    New,
    /// The last attempt succeeded, or failed at once.
    Prompt,
    /// The last attempt hung.
    Hung,
}

impl ConnectLane {
    const COUNT: usize = 3;

    /// The lane after an attempt.
    pub(super) fn after(succeeded: bool, took: Duration) -> Self {
        if succeeded || took < HUNG { ConnectLane::Prompt } else { ConnectLane::Hung }
    }
}

impl PollerContext {
    /// Nothing was sent yet.
    pub fn new(clock: Clock, state: StateStore) -> Self {
        let connecting =
            Arc::new([(); ConnectLane::COUNT].map(|()| Semaphore::new(MAX_CONNECTING)));
        PollerContext { clock, state, connecting, sent: Arc::default(), blindness: Arc::default() }
    }

    /// Waits until a connection may be opened, which is while the permit lasts.
    ///
    /// # Errors
    /// Too many descriptors are open.
    pub(super) async fn connecting(
        &self,
        lane: ConnectLane,
    ) -> Result<SemaphorePermit<'_>, Failure> {
        let permit = self.connecting[lane as usize]
            .acquire()
            .await
            .map_err(|closed| Failure::new(Reason::Local, closed.to_string()))?;
        let connecting = self
            .connecting
            .iter()
            .map(|lane| (MAX_CONNECTING - lane.available_permits()) as u64)
            .sum::<u64>();
        if let Some((open, limit)) = descriptors()
            && open + connecting + RESERVED_DESCRIPTORS > limit
        {
            let problem = format!(
                "{open} of {limit} descriptors are open, and {RESERVED_DESCRIPTORS} are kept for scrapes: raise the limit"
            );
            return Err(Failure::new(Reason::Local, problem));
        }
        Ok(permit)
    }

    /// Makes an attempt to connect when its turn comes, and notes the lane of the next.
    pub(crate) async fn open<T>(
        &self,
        lane: &mut ConnectLane,
        attempt: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let _permit = self.connecting(*lane).await?;
        let begun = self.clock.now();
        let outcome = attempt.await;
        *lane = ConnectLane::after(outcome.is_ok(), self.clock.now() - begun);
        outcome
    }

    /// Commands that were sent to servers, by name.
    pub fn sent(&self) -> Vec<(&'static str, u64)> {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.iter().map(|(name, count)| (*name, *count)).collect()
    }

    /// Counts commands that are sent.
    pub(crate) fn count(&self, commands: &[Command]) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        for command in commands {
            *sent.entry(command.name).or_default() += 1;
        }
    }
}
