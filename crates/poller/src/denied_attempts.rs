//! Registry of the attempts to connect that servers denied. The error counters of a server include
//! them, whichever task made the attempt: several deployments may have one server, and the
//! credentials of one of them may be wrong.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use client::{CountedError, Failure};
use topology::OwnErrors;

use crate::own_errors;

/// Registry of the denied attempts.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeniedAttempts {
    /// Errors that wait for a reader, for each of the readers at an address.
    pending: Arc<Mutex<HashMap<SocketAddr, Vec<Arc<Pending>>>>>,
}

/// Errors that wait for one reader.
#[derive(Debug)]
struct Pending {
    address: SocketAddr,
    errors: Mutex<OwnErrors>,
}

/// Reader of the denied attempts at the address of a server. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct DenialReader {
    registry: DeniedAttempts,
    pending: Arc<Pending>,
}

impl DeniedAttempts {
    /// Records a failed attempt to connect for all readers except that of the task that made it.
    /// Only an error reply to its first command counts.
    pub(crate) fn record(&self, failure: &Failure, own: Option<&DenialReader>) {
        let Some(CountedError { code, peer: Some(peer) }) = failure.counted_error.as_deref() else {
            return;
        };
        let is_own =
            |pending: &Arc<Pending>| own.is_some_and(|own| Arc::ptr_eq(pending, &own.pending));
        let readers = self.lock();
        for pending in readers.get(peer).into_iter().flatten().filter(|it| !is_own(it)) {
            own_errors::add(&mut lock(&pending.errors), code, 1);
        }
    }

    /// Returns a reader of the attempts at an address from now on.
    pub(crate) fn reader(&self, address: SocketAddr) -> DenialReader {
        let pending = Arc::new(Pending { address, errors: Mutex::default() });
        self.lock().entry(address).or_default().push(Arc::clone(&pending));
        DenialReader { registry: self.clone(), pending }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Vec<Arc<Pending>>>> {
        lock(&self.pending)
    }
}

impl DenialReader {
    /// Returns the address of the server.
    pub(crate) fn address(&self) -> SocketAddr {
        self.pending.address
    }

    /// Returns the errors since the last call.
    pub(crate) fn take(&self) -> OwnErrors {
        std::mem::take(&mut lock(&self.pending.errors))
    }
}

impl Drop for DenialReader {
    fn drop(&mut self) {
        let mut readers = self.registry.lock();
        if let Some(pending) = readers.get_mut(&self.address()) {
            pending.retain(|other| !Arc::ptr_eq(other, &self.pending));
            if pending.is_empty() {
                readers.remove(&self.address());
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use snapshot::ServerError;

    use super::*;

    fn denied(peer: Option<SocketAddr>) -> Failure {
        let mut failure = Failure::refusal(&ServerError::new("NOAUTH Authentication required."));
        failure.counted_error.as_mut().expect("it is counted").peer = peer;
        failure
    }

    #[test]
    fn every_other_reader_at_the_address_gets_each_denial_once() {
        let [one, other] = [1, 2].map(|host| SocketAddr::from(([10, 0, 0, host], 6379)));
        let attempts = DeniedAttempts::default();
        attempts.record(&denied(Some(one)), None);
        let readers = [one, one, other].map(|address| attempts.reader(address));
        attempts.record(&denied(Some(one)), None);
        attempts.record(&denied(Some(one)), Some(&readers[0]));
        // The server has not counted these, or it is unknown.
        let closed = Failure { counted_error: None, ..denied(Some(one)) };
        attempts.record(&closed, None);
        attempts.record(&denied(None), None);
        let counts = |reader: &DenialReader| reader.take().get("NOAUTH").copied();
        assert_eq!(readers.each_ref().map(counts), [Some(1), Some(2), None]);
        assert_eq!(readers.each_ref().map(counts), [None; 3]);
        drop(readers);
        assert!(attempts.lock().is_empty());
    }
}
