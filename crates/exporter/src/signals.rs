//! Unix signals.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Receiver of SIGTERM and SIGINT, which stop the daemon.
pub(crate) struct StopSignal {
    terminate: Signal,
    interrupt: Signal,
}

/// Receiver of SIGHUP, which reloads the configuration.
pub(crate) struct ReloadSignal(Signal);

impl ReloadSignal {
    /// Installs the signal handler.
    ///
    /// # Errors
    /// Fails if the system rejects the handler.
    pub(crate) fn listen() -> std::io::Result<Self> {
        signal(SignalKind::hangup()).map(ReloadSignal)
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) {
        self.0.recv().await;
    }
}

impl StopSignal {
    /// Installs the signal handler.
    ///
    /// # Errors
    /// Fails if the system rejects the handler.
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(StopSignal {
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
