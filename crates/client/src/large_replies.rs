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
use tokio::time::{Sleep, sleep};

use crate::Failure;

/// Memory that a reply may use without a reservation, bytes.
pub(crate) const USUAL_SIZE: usize = 256 << 10;

/// Memory for all large replies together, bytes.
const TOTAL: usize = 32 << 20;

/// Unit of a reservation, bytes. It is also the step by which a large reply grows.
const UNIT: usize = 256 << 10;

/// Time limit for receiving a large reply. It starts when the reply exceeds [`USUAL_SIZE`], so that
/// a server cannot keep a reservation by sending slowly.
const TIME_LIMIT: Duration = Duration::from_secs(5);

static UNITS: Semaphore = Semaphore::const_new(TOTAL / UNIT);

/// Memory that a reply has reserved.
#[derive(Debug, Default)]
pub(crate) struct Reservation {
    permit: Option<SemaphorePermit<'static>>,
    /// The end of the time for a large reply; `None` for a reply of usual size.
    time_limit: Option<Pin<Box<Sleep>>>,
}

impl Reservation {
    /// Reserves memory so that the reply may use `bytes` in total. Waits until it is free.
    ///
    /// # Errors
    /// The time for a large reply ended.
    pub(crate) async fn extend(&mut self, bytes: usize) -> Result<(), Failure> {
        if bytes <= USUAL_SIZE {
            return Ok(());
        }
        let reserved = self.permit.as_ref().map_or(0, SemaphorePermit::num_permits);
        let units = bytes.div_ceil(UNIT).min(TOTAL / UNIT).saturating_sub(reserved);
        if units == 0 {
            return Ok(());
        }
        self.time_limit.get_or_insert_with(|| Box::pin(sleep(TIME_LIMIT)));
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let permit = self.within_time_limit(UNITS.acquire_many(units)).await?;
        let permit = permit.map_err(|error| Failure::new(Reason::Local, error.to_string()))?;
        match &mut self.permit {
            Some(reserved) => reserved.merge(permit),
            None => self.permit = Some(permit),
        }
        Ok(())
    }

    /// Waits for the result of `receiving`, but no longer than the time for a large reply.
    ///
    /// # Errors
    /// The time for a large reply ended.
    pub(crate) async fn within_time_limit<T>(
        &mut self,
        receiving: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        let Some(time_limit) = &mut self.time_limit else { return Ok(receiving.await) };
        tokio::select! {
            biased;
            result = receiving => Ok(result),
            () = time_limit => Err(Failure::new(Reason::Toolarge, format!(
                "invalid reply: larger than {USUAL_SIZE} bytes, and not complete after \
                 {TIME_LIMIT:?}"
            ))),
        }
    }
}
