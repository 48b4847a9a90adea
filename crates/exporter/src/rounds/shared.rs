//! What the rounds of all deployments share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use client::{Command, Failure};
use snapshot::Reason;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::blindness::Blindness;
use crate::clock::Clock;
use crate::process::descriptors;
use crate::state::State;

/// The most connections that are being opened at a time, over all deployments.
const MAX_CONNECTING: usize = 64;

/// Descriptors that connections to servers leave for scrapes.
const RESERVED_DESCRIPTORS: u64 = 64;

/// What the rounds of all deployments share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Where time comes from.
    pub clock: Clock,
    connecting: Arc<Semaphore>,
    pub(super) state: State,
    pub(super) blindness: Arc<Blindness>,
    sent: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

impl Shared {
    /// Nothing was sent yet.
    pub fn new(clock: Clock, state: State) -> Self {
        Shared { clock, state, connecting: Arc::new(Semaphore::new(MAX_CONNECTING)), sent: Arc::default(), blindness: Arc::default() }
    }

    /// Waits until a connection may be opened, which is while the permit lasts.
    ///
    /// # Errors
    /// Too many descriptors are open.
    pub(crate) async fn connecting(&self) -> Result<SemaphorePermit<'_>, Failure> {
        let permit = self.connecting.acquire().await.map_err(|closed| Failure::new(Reason::Local, closed.to_string()))?;
        let connecting = (MAX_CONNECTING - self.connecting.available_permits()) as u64;
        if let Some((open, limit)) = descriptors()
            && open + connecting + RESERVED_DESCRIPTORS > limit
        {
            let problem =
                format!("{open} of {limit} descriptors are open, and {RESERVED_DESCRIPTORS} are kept for scrapes: raise the limit");
            return Err(Failure::new(Reason::Local, problem));
        }
        Ok(permit)
    }

    /// Forgets a deployment that is no longer polled.
    pub(crate) fn forget(&self, deployment: &str) {
        self.blindness.forget(deployment);
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
