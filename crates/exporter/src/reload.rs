//! Reading the configuration again, and the web configuration file, on SIGHUP or when `/-/reload` asks. If one of them is bad, nothing
//! changes but what is said about it.

use catalog::Reload;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::cli::Serve;
use crate::http::Gate;
use config::Settings;
use poller::Clock;
use poller::Fleet;

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
    gate: Gate,
    status: watch::Sender<Reload>,
}

/// What is used as it was at the start: keys of the configuration, and their values.
type Fixed = [(&'static str, String); 6];

fn fixed(settings: &Settings, gate: &Gate) -> Fixed {
    [
        ("web.listen_address", settings.listen_address.clone()),
        ("web.external_url", settings.external_url.clone().unwrap_or_default()),
        ("log.level", settings.log_level.label().to_owned()),
        ("log.format", settings.log_format.label().to_owned()),
        (
            "state_file",
            settings.state_file.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        ),
        ("tls_server_config", if gate.is_tls() { "present" } else { "absent" }.to_owned()),
    ]
}

/// The way to ask for a reload.
pub(crate) fn requests() -> (mpsc::Sender<Request>, mpsc::Receiver<Request>) {
    mpsc::channel(MAX_WAITING)
}

impl Reloader {
    /// The running configuration was read just now.
    pub(crate) fn new(clock: Clock, settings: &Settings, gate: Gate) -> Self {
        let read = Reload { successful: true, succeeded_at: clock.wall() };
        Reloader { clock, used: fixed(settings, &gate), gate, status: watch::Sender::new(read) }
    }

    pub(crate) fn status(&self) -> Status {
        self.status.subscribe()
    }

    /// Reads the configuration, polls what it says from here on, and lets in whom the web configuration file lets in.
    ///
    /// # Errors
    /// What is wrong with it; then all goes on as before.
    pub(crate) fn reload(&self, arguments: &Serve, fleet: &mut Fleet) -> Result<(), String> {
        let (settings, gate) = match read(arguments) {
            Ok(found) => found,
            Err(problem) => {
                error!(problem, "configuration not reloaded, the running one is kept");
                self.status.send_modify(|status| status.successful = false);
                return Err(problem);
            }
        };
        settings.warnings.iter().for_each(|warning| warn!(warning, "configuration"));
        for ((key, found), (_, used)) in
            fixed(&settings, &gate).iter().zip(&self.used).filter(|(found, used)| found != used)
        {
            warn!(key, found, used, "only changes with a restart");
        }
        self.gate.replace(&gate);
        let changes = fleet.poll(settings.deployments);
        info!(
            started = changes.started,
            stopped = changes.stopped,
            kept = changes.kept,
            "configuration reloaded"
        );
        self.status.send_replace(Reload { successful: true, succeeded_at: self.clock.wall() });
        Ok(())
    }
}

/// Reads all there is to read.
fn read(arguments: &Serve) -> Result<(Settings, Gate), String> {
    let settings = Settings::load(arguments.nodes.source(), arguments.overrides())
        .map_err(|problem| problem.to_string())?;
    let gate = Gate::open(arguments.web_config_file.as_deref())
        .map_err(|problem| format!("{problem:#}"))?;
    Ok((settings, gate))
}
