//! Interruption of a run by a signal: it ends early and removes what it started.

#![expect(clippy::print_stderr, reason = "it tells the user that the run ends")]

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Returns true if the process received SIGINT or SIGTERM since [`watch`].
pub fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Handles SIGINT and SIGTERM from now on.
///
/// # Errors
/// Fails if the system refuses a thread or a signal handler.
pub fn watch() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
            if let [Ok(interrupt), Ok(terminate)] = kinds.map(signal) {
                received(interrupt, terminate).await;
                INTERRUPTED.store(true, Ordering::Relaxed);
                eprintln!("interrupted: the run ends");
            }
        });
    })?;
    Ok(())
}

async fn received(mut interrupt: Signal, mut terminate: Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
