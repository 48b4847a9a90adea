//! Signals of the system.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Requests to stop: SIGTERM and SIGINT.
pub(crate) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

/// Requests to read the configuration again: SIGHUP.
pub(crate) struct Hangup(Signal);

impl Hangup {
    /// Listens from here on.
    ///
    /// # Errors
    /// The system does not let us.
    pub(crate) fn listen() -> std::io::Result<Self> {
        signal(SignalKind::hangup()).map(Hangup)
    }

    /// Waits for the next request.
    pub(crate) async fn next(&mut self) {
        self.0.recv().await;
    }
}

impl Stop {
    /// Listens from here on.
    ///
    /// # Errors
    /// The system does not let us.
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Stop {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next request, and names it.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
