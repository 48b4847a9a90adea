//! Reload of the configuration and the web configuration file, on SIGHUP or POST `/-/reload`.
//!
//! If one of the files is invalid, the running configuration is kept. The files are read on another
//! thread: a file system that hangs delays neither signals nor rounds.

use std::sync::Arc;
use std::time::Duration;

use catalog::Reload;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tracing::{error, info, warn};

use crate::configuration::{self, Configuration};
use crate::redis_exporter::targets::ScrapeTargets;
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

/// Time limit for reading all files of a reload.
const READ_LIMIT: Duration = Duration::from_secs(30);

/// Content of the files.
type Loaded = Result<configuration::Loaded, String>;

/// Reloader of the configuration.
#[derive(Debug)]
pub(crate) struct Reloader {
    clock: Clock,
    configuration: Arc<Configuration>,
    used: RestartOnlyKeys,
    security: WebSecurity,
    status: watch::Sender<Reload>,
    /// Reload whose files are being read.
    running: Option<RunningReload>,
    /// Reading of the files of an earlier reload that took too long.
    hanging: Option<JoinHandle<Loaded>>,
}

/// Reload whose files are being read.
#[derive(Debug)]
struct RunningReload {
    reading: JoinHandle<Loaded>,
    deadline: Instant,
    /// Sender for the result, if the reload was requested over HTTP.
    request: Option<Request>,
}

/// Keys that only change with a restart, and their values.
type RestartOnlyKeys = [(&'static str, String); 11];

fn restart_only_keys(settings: &Settings, security: &WebSecurity) -> RestartOnlyKeys {
    [
        ("web.listen_address", settings.listen_address.clone()),
        ("web.external_url", settings.external_url.clone().unwrap_or_default()),
        ("web.max_connections_per_address", settings.max_connections_per_address.to_string()),
        ("metrics.set", settings.metric_set.label().to_owned()),
        ("metrics.names", settings.metric_names.label().to_owned()),
        ("limits.connections_per_second", settings.connect_limits.per_second.to_string()),
        ("limits.connections_per_host", settings.connect_limits.per_host.to_string()),
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
    pub(crate) fn new(
        clock: Clock,
        configuration: Arc<Configuration>,
        settings: &Settings,
        security: WebSecurity,
    ) -> Self {
        let read = Reload { successful: true, succeeded_at: clock.wall() };
        Reloader {
            clock,
            configuration,
            used: restart_only_keys(settings, &security),
            security,
            status: watch::Sender::new(read),
            running: None,
            hanging: None,
        }
    }

    pub(crate) fn status(&self) -> Status {
        self.status.subscribe()
    }

    /// Returns true while the files of a reload are being read. No other reload can start then.
    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Starts to read both files. [`Reloader::files_read`] waits for the result.
    pub(crate) fn start(&mut self, request: Option<Request>) {
        if self.hanging.as_ref().is_some_and(JoinHandle::is_finished) {
            self.hanging = None;
        }
        let hangs = self.hanging.is_some();
        let configuration = Arc::clone(&self.configuration);
        let reading = tokio::task::spawn_blocking(move || {
            if hangs {
                return Err("an earlier reload still waits for a file".to_owned());
            }
            configuration.load().map_err(|problem| format!("{problem:#}"))
        });
        let deadline = self.clock.now() + READ_LIMIT;
        self.running = Some(RunningReload { reading, deadline, request });
    }

    /// Waits until the files of the running reload are read. Never returns if there is none.
    pub(crate) async fn files_read(&mut self) -> FilesRead {
        let Some(running) = &mut self.running else { return std::future::pending().await };
        let read = timeout_at(running.deadline, &mut running.reading).await;
        let Some(RunningReload { reading, request, .. }) = self.running.take() else {
            return std::future::pending().await;
        };
        let loaded = match read {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(panicked)) => Err(format!("reading the files failed: {panicked}")),
            Err(_) => {
                self.hanging = Some(reading);
                Err(format!("the files were not read within {READ_LIMIT:?}"))
            }
        };
        FilesRead { loaded, request }
    }

    /// Applies the files, and sends the result to the one who requested the reload. If a file is
    /// invalid, the running configuration is kept.
    pub(crate) fn apply(
        &self,
        FilesRead { loaded, request }: FilesRead,
        fleet: &mut Fleet,
        targets: Option<&ScrapeTargets>,
    ) {
        let outcome = self.apply_files(loaded, fleet, targets);
        if let Some(request) = request {
            // The client may have disconnected.
            drop(request.send(outcome));
        }
    }

    fn apply_files(
        &self,
        loaded: Loaded,
        fleet: &mut Fleet,
        targets: Option<&ScrapeTargets>,
    ) -> Result<(), String> {
        let configuration::Loaded { settings, security, .. } = match loaded {
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
        if let (Some(targets), Some(access)) = (targets, settings.scrape) {
            targets.replace_access(access);
        }
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

/// Files of a reload, and the one who requested it.
#[derive(Debug)]
pub(crate) struct FilesRead {
    loaded: Loaded,
    request: Option<Request>,
}
