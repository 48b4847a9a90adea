//! Limits the memory of all large replies together.
//!
//! Each reply has its own limit. Many servers that send the largest permitted reply at the same
//! time would still exhaust the memory. A connection therefore reserves memory before it receives
//! the rest of a large reply, and stops reading until it gets it. Replies of usual size need no
//! reservation, so they are not delayed.

use std::time::Duration;

use snapshot::Reason;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

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
    deadline: Option<Instant>,
}

impl Reservation {
    /// Returns the time until which the reply must be complete; `None` for a reply of usual size.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Reserves memory so that the reply may use `bytes` in total. Waits until it is free.
    ///
    /// # Errors
    /// The reply did not arrive within the time limit of large replies.
    pub(crate) async fn extend(&mut self, bytes: usize) -> Result<(), Failure> {
        if bytes <= USUAL_SIZE {
            return Ok(());
        }
        let reserved = self.permit.as_ref().map_or(0, SemaphorePermit::num_permits);
        let units = bytes.div_ceil(UNIT).min(TOTAL / UNIT).saturating_sub(reserved);
        if units == 0 {
            return Ok(());
        }
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + TIME_LIMIT);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let permit = timeout_at(deadline, UNITS.acquire_many(units)).await;
        let permit = permit.map_err(|_| too_slow())?;
        let permit = permit.map_err(|error| Failure::new(Reason::Local, error.to_string()))?;
        match &mut self.permit {
            Some(reserved) => reserved.merge(permit),
            None => self.permit = Some(permit),
        }
        Ok(())
    }
}

/// Returns the failure of a large reply that took too long.
pub(crate) fn too_slow() -> Failure {
    let detail = format!(
        "invalid reply: larger than {USUAL_SIZE} bytes, and not complete after {TIME_LIMIT:?}"
    );
    Failure::new(Reason::Toolarge, detail)
}
