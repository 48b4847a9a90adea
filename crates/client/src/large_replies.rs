//! Limits the memory of all large replies together.
//!
//! Each reply has its own limit. Many servers that send the largest permitted reply at the same
//! time would still exhaust the memory. A connection therefore reserves memory before it receives
//! the rest of a large reply, and stops reading until it gets it. Replies of usual size need no
//! reservation, so they are not delayed.

use std::pin::Pin;
use std::time::Duration;

use snapshot::Reason;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Sleep, sleep, timeout};

use crate::Failure;

/// Memory that a reply may use without a reservation, bytes.
pub(crate) const USUAL_SIZE: usize = 256 << 10;

/// Memory for all large replies together, bytes.
const TOTAL: usize = 32 << 20;

/// Unit of a reservation, bytes.
const UNIT: usize = 256 << 10;

/// Time limit for receiving a large reply. It starts when the reply exceeds [`USUAL_SIZE`], so that
/// a server cannot keep a reservation by sending slowly.
const RECEIVE_LIMIT: Duration = Duration::from_secs(5);

/// Time limit for waiting until the memory for a large reply is free. Several others may be
/// received before it.
const WAIT_LIMIT: Duration = Duration::from_secs(15);

/// Time limit for a connection that waits for more than it has reserved: another one may wait for
/// what it has.
const MORE_LIMIT: Duration = Duration::from_secs(2);

static UNITS: Semaphore = Semaphore::const_new(TOTAL / UNIT);

/// Memory that replies have reserved.
#[derive(Debug, Default)]
pub(crate) struct Reservation {
    permit: Option<SemaphorePermit<'static>>,
}

impl Reservation {
    /// Reserves memory for replies that use `used` bytes now. Waits until it is free.
    ///
    /// Reserves at once what they may use at most, because connections that wait while they have a
    /// reservation could wait for each other.
    ///
    /// # Errors
    /// The replies use more than all large replies together may use, or other servers send large
    /// replies for too long.
    pub(crate) async fn extend(&mut self, used: usize, at_most: usize) -> Result<(), Failure> {
        if used <= USUAL_SIZE {
            return Ok(());
        }
        if used > TOTAL {
            let problem = format!("invalid reply: it needs more than {TOTAL} bytes of memory");
            return Err(Failure::new(Reason::Toolarge, problem));
        }
        let reserved = self.permit.as_ref().map_or(0, SemaphorePermit::num_permits);
        if used <= reserved * UNIT {
            return Ok(());
        }
        let units = at_most.max(used).min(TOTAL).div_ceil(UNIT) - reserved;
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let local = |problem: String| Failure::new(Reason::Local, problem);
        let limit = if reserved == 0 { WAIT_LIMIT } else { MORE_LIMIT };
        let permit = timeout(limit, UNITS.acquire_many(units)).await.map_err(|_| {
            local("no memory for a large reply: other servers send large replies".to_owned())
        })?;
        self.add(permit.map_err(|error| local(error.to_string()))?);
        Ok(())
    }

    /// Takes over another reservation.
    pub(crate) fn merge(&mut self, other: Reservation) {
        other.permit.into_iter().for_each(|permit| self.add(permit));
    }

    /// Releases what exceeds `used` bytes.
    pub(crate) fn shrink(&mut self, used: usize) {
        let needed = if used <= USUAL_SIZE { 0 } else { used.div_ceil(UNIT) };
        if let Some(permit) = &mut self.permit {
            drop(permit.split(permit.num_permits().saturating_sub(needed)));
        }
    }

    fn add(&mut self, permit: SemaphorePermit<'static>) {
        match &mut self.permit {
            Some(reserved) => reserved.merge(permit),
            None => self.permit = Some(permit),
        }
    }
}

/// Time for receiving a large reply. It begins with the first call.
#[derive(Debug, Default)]
pub(crate) struct ReceiveTime(Option<Pin<Box<Sleep>>>);

impl ReceiveTime {
    /// Waits for the result of `receiving`. If `used` bytes exceed the usual size, waits no longer
    /// than the time for a large reply.
    ///
    /// # Errors
    /// The time for a large reply ended.
    pub(crate) async fn limit<T>(
        &mut self,
        used: usize,
        receiving: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        if used <= USUAL_SIZE {
            return Ok(receiving.await);
        }
        let end = self.0.get_or_insert_with(|| Box::pin(sleep(RECEIVE_LIMIT)));
        tokio::select! {
            biased;
            result = receiving => Ok(result),
            () = end => Err(Failure::new(Reason::Toolarge, format!(
                "invalid reply: larger than {USUAL_SIZE} bytes, and not complete after \
                 {RECEIVE_LIMIT:?}"
            ))),
        }
    }
}
