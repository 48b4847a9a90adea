//! The daemon from start to end: configure, listen, poll, serve, shut down.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum_server::Handle;
use catalog::{Build, Part, Selection};
use sd_notify::NotifyState;
use tokio::runtime::{Builder, Handle as RuntimeHandle, Runtime};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::cli::{Cli, Command};
use crate::configuration::{Configuration, Loaded};
use crate::diagnose;
use crate::http::measure::RequestMeter;
use crate::http::redis_exporter::RedisExporterMode;
use crate::http::{self, WebState};
use crate::limits::{ConnectionLimit, RequestLimit};
use crate::log;
use crate::output::print;
use crate::redis_exporter::flags::Flags;
use crate::redis_exporter::targets::ScrapeTargets;
use crate::reload::{self, Reloader};
use crate::signals::{ReloadSignal, StopSignal};
use config::{DeploymentSettings, MetricNames, MetricSet, Settings};
use poller::Clock;
use poller::Fleet;
use poller::PollerContext;
use poller::RoundRecorder;
use poller::StateStore;

/// Time that running requests get to finish after a signal to stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// Threads of the web server. While one is busy, the other serves requests.
const WEB_THREADS: usize = 2;

/// Version of this binary.
const BUILD: Build = Build {
    version: env!("CARGO_PKG_VERSION"),
    revision: env!("BUILD_REVISION"),
    rustc: env!("BUILD_RUSTC"),
};

/// Runs the subcommand of the command line.
///
/// # Errors
/// Fails with the problem that stops the program.
pub fn main(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Serve(arguments) => serve(&Arc::new(Configuration::Rolecall(arguments)))?,
        Command::RedisExporter { arguments } => {
            let environment = config::variables("REDIS_");
            let flags = Flags::parse(arguments, &environment).unwrap_or_else(|error| error.exit());
            serve(&Arc::new(Configuration::RedisExporter(flags)))?;
        }
        Command::Diagnose(arguments) => return Ok(diagnose::main(&arguments)),
        Command::Check(arguments) => check(&arguments.config_file)?,
        Command::Metrics => print(&catalog::reference())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the effective configuration, with its warnings as comments.
fn check(path: &Path) -> anyhow::Result<()> {
    let settings = Settings::check(path)?;
    let warnings: Vec<_> =
        settings.warnings.iter().map(|warning| format!("# warning: {warning}\n")).collect();
    print(&(warnings.concat() + &settings.effective()))
}

fn serve(configuration: &Arc<Configuration>) -> anyhow::Result<()> {
    let Loaded { settings, security, web_options } = configuration.load()?;
    log::init(settings.log_level, settings.log_format);
    settings.warnings.iter().for_each(|warning| warn!(warning, "configuration"));
    // Before the handlers of signals: until then, signals end the process.
    let state = StateStore::open(settings.state_file.as_deref())?;
    let listener = listen(&settings.listen_address)?;
    let runtime = Runtime::new().context("cannot start the runtime")?;
    // On the runtime of the poller, a request would wait behind the replies of a thousand nodes.
    let web = Builder::new_multi_thread()
        .worker_threads(WEB_THREADS)
        .thread_name("web")
        .enable_all()
        .build();
    let web = web.context("cannot start the web server runtime")?;
    let loaded = Loaded { settings, security, web_options };
    let ended = runtime.block_on(run(configuration, loaded, state, listener, web.handle()));
    // A DNS lookup or a file may hang for long after everything else has ended.
    runtime.shutdown_background();
    web.shutdown_background();
    ended
}

/// Returns the configured metrics of a scrape.
fn selection(settings: &Settings) -> Selection {
    let native = match settings.metric_set {
        MetricSet::Full => Selection::Full,
        MetricSet::Core => Selection::Parts(vec![Part::Core]),
    };
    match settings.metric_names {
        MetricNames::Native => native,
        MetricNames::RedisExporter => Selection::redis_exporter(),
        MetricNames::Both => native.with_redis_exporter(),
    }
}

/// Polls and serves until a signal stops the daemon.
///
/// # Errors
/// Fails if a task ends: a stopped poller behind a working `/metrics` would be the worst failure.
async fn run(
    configuration: &Arc<Configuration>,
    Loaded { settings, security, web_options }: Loaded,
    state: StateStore,
    listener: TcpListener,
    web_runtime: &RuntimeHandle,
) -> anyhow::Result<()> {
    let mut stop = StopSignal::listen().context("cannot listen for signals")?;
    let mut hangup = ReloadSignal::listen().context("cannot listen for signals")?;
    let clock = Clock::start();
    let shared = PollerContext::new(clock, state.clone());
    let mut shared = shared.with_connect_limits(settings.connect_limits);
    if let Some(directory) = configuration.record_rounds() {
        shared.recorder = Some(RoundRecorder::start(directory, BUILD.version)?);
    }
    let mut reloader = Reloader::new(clock, Arc::clone(configuration), &settings, security.clone());
    let (lifecycle, mut requests) = reload::requests();
    let lifecycle = configuration.enables_lifecycle().then_some(lifecycle);
    let external_url = settings.external_url.clone();
    let selection = selection(&settings);
    let targets = settings.scrape.map(|access| ScrapeTargets::new(clock, access));
    let mut fleet = Fleet::new(shared.clone());
    fleet.poll(settings.deployments);
    let web = WebState {
        registry: fleet.registry(),
        shared,
        build: BUILD,
        external_url,
        selection,
        reload: reloader.status(),
        lifecycle,
        connections: ConnectionLimit::new(settings.max_connections_per_address),
        requests: RequestLimit::new(),
        meter: RequestMeter::new(clock, &http::paths(web_options.is_some())),
        security,
        redis_exporter: web_options.map(|web_options| RedisExporterMode {
            web_options: Arc::new(web_options),
            targets: targets.clone(),
        }),
        runtimes: [RuntimeHandle::current(), web_runtime.clone()],
    };
    info!(version = BUILD.version, revision = BUILD.revision, "starting Rolecall");
    info!(address = %listener.local_addr()?, "listening");
    let handle = Handle::new();
    let mut server = JoinSet::new();
    server.spawn_on(http::serve(listener, web, handle.clone()), web_runtime);
    let mut writer = JoinSet::new();
    writer.spawn(state.clone().write_periodically());
    notify_systemd(&[NotifyState::Ready]);
    loop {
        tokio::select! {
            signal = stop.next() => {
                info!(signal, "stopping");
                break;
            }
            () = hangup.next(), if !reloader.is_running() => start_reload(&mut reloader, None),
            Some(request) = requests.recv(), if !reloader.is_running() => {
                start_reload(&mut reloader, Some(request));
            }
            files = reloader.files_read() => {
                reloader.apply(files, &mut fleet, targets.as_ref());
                notify_systemd(&[NotifyState::Ready]);
            }
            scraped = changed(targets.as_ref()) => {
                fleet.poll_targets(scraped);
            }
            ended = fleet.supervise() => {
                let never: Infallible = ended?;
                match never {}
            }
            Some(ended) = writer.join_next() => {
                ended.context("the task that writes the state file panicked")??;
                bail!("the task that writes the state file ended");
            }
            Some(ended) = server.join_next() => {
                ended.context("the web server panicked")?.context("the web server failed")?;
                bail!("the web server ended");
            }
        }
    }
    notify_systemd(&[NotifyState::Stopping]);
    handle.graceful_shutdown(Some(DRAIN_LIMIT));
    tokio::select! {
        _ = async { tokio::join!(server.join_next(), write_last_state(state)) } => {
            info!("stopped");
        }
        signal = stop.next() => {
            warn!(signal, "stopping immediately");
            bail!("stopped by a second signal");
        }
    }
    Ok(())
}

/// Waits until the targets of `/scrape` changed, and returns them. Never returns if there can be
/// none.
async fn changed(targets: Option<&ScrapeTargets>) -> Vec<Arc<DeploymentSettings>> {
    let Some(targets) = targets else { return std::future::pending().await };
    targets.changed().await;
    targets.deployments()
}

/// Writes the state file for the last time. A file system that hangs does not keep the process.
async fn write_last_state(state: StateStore) {
    let problem =
        match timeout(DRAIN_LIMIT, tokio::task::spawn_blocking(move || state.write())).await {
            Ok(Ok(Ok(()))) => return,
            Ok(Ok(Err(error))) => format!("{error:#}"),
            Ok(Err(panicked)) => panicked.to_string(),
            Err(_) => format!("not written within {DRAIN_LIMIT:?}"),
        };
    warn!(error = problem, "cannot write the state file");
}

/// Starts a reload, and notifies systemd.
fn start_reload(reloader: &mut Reloader, request: Option<reload::Request>) {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        notify_systemd(&[NotifyState::Reloading, now]);
    }
    reloader.start(request);
}

/// Notifies systemd, if systemd started this process.
fn notify_systemd(what: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(what) {
        warn!(%error, "cannot notify systemd");
    }
}

/// Opens the port. `:9121` means every address of both families, as in Prometheus.
fn listen(address: &str) -> anyhow::Result<TcpListener> {
    let hosts = if address.starts_with(':') {
        ["[::]", "0.0.0.0"].map(|host| format!("{host}{address}")).to_vec()
    } else {
        vec![address.to_owned()]
    };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for host in hosts {
        let found = host.to_socket_addrs();
        addresses.extend(found.with_context(|| {
            format!(
                "--web.listen-address: invalid address {address:?}, expected host:port or :port"
            )
        })?);
    }
    let listener =
        TcpListener::bind(&*addresses).with_context(|| format!("cannot listen on {address}"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
