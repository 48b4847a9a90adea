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
    used: Fixed,
    status: watch::Sender<Reload>,
}

/// What is used as it was at the start: keys of the configuration, and their values.
type Fixed = [(&'static str, String); 5];

fn fixed(settings: &Settings) -> Fixed {
    [
        ("web.listen_address", settings.listen_address.clone()),
        ("web.external_url", settings.external_url.clone().unwrap_or_default()),
        ("log.level", settings.log_level.label().to_owned()),
        ("log.format", settings.log_format.label().to_owned()),
        ("state_file", settings.state_file.as_ref().map(|path| path.display().to_string()).unwrap_or_default()),
    ]
}

/// The way to ask for a reload.
pub(crate) fn requests() -> (mpsc::Sender<Request>, mpsc::Receiver<Request>) {
    mpsc::channel(MAX_WAITING)
}

impl Reloader {
    /// The running configuration was read just now.
    pub(crate) fn new(clock: Clock, settings: &Settings) -> Self {
        let read = Reload { successful: true, succeeded_at: clock.wall() };
        Reloader { clock, used: fixed(settings), status: watch::Sender::new(read) }
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
        for ((key, found), (_, used)) in fixed(&settings).iter().zip(&self.used).filter(|(found, used)| found != used) {
            warn!(key, found, used, "only changes with a restart");
        }
        let changes = fleet.poll(settings.deployments);
        info!(started = changes.started, stopped = changes.stopped, kept = changes.kept, "configuration reloaded");
        self.status.send_replace(Reload { successful: true, succeeded_at: self.clock.wall() });
        Ok(())
    }
}
