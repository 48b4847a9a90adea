//! Reload of the configuration and the web configuration file, on SIGHUP or POST `/-/reload`.
//!
//! If one of the files is invalid, the running configuration is kept.

use catalog::Reload;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::cli::Serve;
use crate::web_security::WebSecurity;
use config::Settings;
use poller::Clock;
use poller::Fleet;

/// Result of the last reload, for the metrics.
pub(crate) type Status = watch::Receiver<Reload>;

/// Sender for the result of one reload request.
pub(crate) type Request = oneshot::Sender<Result<(), String>>;

/// Limit of waiting reload requests.
const MAX_WAITING: usize = 8;

/// Reloader of the configuration.
#[derive(Debug)]
pub(crate) struct Reloader {
    clock: Clock,
    used: RestartOnlyKeys,
    security: WebSecurity,
    status: watch::Sender<Reload>,
}

/// Keys that only change with a restart, and their values.
type RestartOnlyKeys = [(&'static str, String); 6];

fn restart_only_keys(settings: &Settings, security: &WebSecurity) -> RestartOnlyKeys {
    [
        ("web.listen_address", settings.listen_address.clone()),
        ("web.external_url", settings.external_url.clone().unwrap_or_default()),
        ("log.level", settings.log_level.label().to_owned()),
        ("log.format", settings.log_format.label().to_owned()),
        (
            "state_file",
            settings.state_file.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        ),
        ("tls_server_config", if security.is_tls() { "present" } else { "absent" }.to_owned()),
    ]
}

/// Creates the channel for reload requests.
pub(crate) fn requests() -> (mpsc::Sender<Request>, mpsc::Receiver<Request>) {
    mpsc::channel(MAX_WAITING)
}

impl Reloader {
    /// Creates a reloader for the configuration that was just loaded.
    pub(crate) fn new(clock: Clock, settings: &Settings, security: WebSecurity) -> Self {
        let read = Reload { successful: true, succeeded_at: clock.wall() };
        Reloader {
            clock,
            used: restart_only_keys(settings, &security),
            security,
            status: watch::Sender::new(read),
        }
    }

    pub(crate) fn status(&self) -> Status {
        self.status.subscribe()
    }

    /// Loads both files and applies them.
    ///
    /// # Errors
    /// Fails if a file is invalid. The running configuration is kept then.
    pub(crate) fn reload(&self, arguments: &Serve, fleet: &mut Fleet) -> Result<(), String> {
        let (settings, security) = match read(arguments) {
            Ok(found) => found,
            Err(problem) => {
                error!(problem, "configuration not reloaded, keeping the running one");
                self.status.send_modify(|status| status.successful = false);
                return Err(problem);
            }
        };
        settings.warnings.iter().for_each(|warning| warn!(warning, "configuration"));
        for ((key, found), (_, used)) in restart_only_keys(&settings, &security)
            .iter()
            .zip(&self.used)
            .filter(|(found, used)| found != used)
        {
            warn!(key, found, used, "key only changes with a restart");
        }
        self.security.replace(&security);
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

/// Loads both files.
fn read(arguments: &Serve) -> Result<(Settings, WebSecurity), String> {
    let settings = Settings::load(arguments.nodes.source(), arguments.overrides())
        .map_err(|problem| problem.to_string())?;
    let security = WebSecurity::open(arguments.web_config_file.as_deref())
        .map_err(|problem| format!("{problem:#}"))?;
    Ok((settings, security))
}
