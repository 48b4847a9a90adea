//! Reading the configuration again, on SIGHUP or when `/-/reload` asks. A bad one changes nothing but what is said about it.

use catalog::Reload;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::cli::Serve;
use crate::clock::Clock;
use crate::config::Settings;
use crate::fleet::Fleet;

/// How reading the configuration went, for those who ask.
pub(crate) type Status = watch::Receiver<Reload>;

/// Asks for a reload, and hears how it went.
pub(crate) type Request = oneshot::Sender<Result<(), String>>;

/// The most requests that wait.
const MAX_WAITING: usize = 8;

/// Reads the configuration again.
#[derive(Debug)]
pub(crate) struct Reloader {
    clock: Clock,
    listen_address: String,
    external_url: Option<String>,
    status: watch::Sender<Reload>,
}

/// The way to ask for a reload.
pub(crate) fn requests() -> (mpsc::Sender<Request>, mpsc::Receiver<Request>) {
    mpsc::channel(MAX_WAITING)
}

impl Reloader {
    /// The running configuration was read just now.
    pub(crate) fn new(clock: Clock, settings: &Settings) -> Self {
        let read = Reload { successful: true, succeeded_at: clock.wall() };
        let (listen_address, external_url) = (settings.listen_address.clone(), settings.external_url.clone());
        Reloader { clock, listen_address, external_url, status: watch::Sender::new(read) }
    }

    pub(crate) fn status(&self) -> Status {
        self.status.subscribe()
    }

    /// Reads the configuration, and polls what it says from here on.
    ///
    /// # Errors
    /// What is wrong with it; then all goes on as before.
    pub(crate) fn reload(&self, arguments: &Serve, fleet: &mut Fleet) -> Result<(), String> {
        let settings = match Settings::load(arguments) {
            Ok(settings) => settings,
            Err(problem) => {
                let problem = problem.to_string();
                error!(problem, "configuration not reloaded, the running one is kept");
                self.status.send_modify(|status| status.successful = false);
                return Err(problem);
            }
        };
        settings.warnings.iter().for_each(|warning| warn!(warning, "configuration"));
        if settings.listen_address != self.listen_address {
            warn!(found = settings.listen_address, used = self.listen_address, "listen_address only changes with a restart");
        }
        if settings.external_url != self.external_url {
            warn!(found = settings.external_url, used = self.external_url, "external_url only changes with a restart");
        }
        let changes = fleet.poll(settings.deployments);
        info!(started = changes.started, stopped = changes.stopped, kept = changes.kept, "configuration reloaded");
        self.status.send_replace(Reload { successful: true, succeeded_at: self.clock.wall() });
        Ok(())
    }
}
