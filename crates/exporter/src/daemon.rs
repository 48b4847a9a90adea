//! The daemon from start to end: configure, listen, poll, serve, drain.

use std::convert::Infallible;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use axum_server::Handle;
use catalog::Build;
use sd_notify::NotifyState;
use tokio::runtime::{Builder, Handle as RuntimeHandle, Runtime};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::cli::{Cli, Command, Serve};
use crate::diagnose;
use crate::http::{self, Gate, Requests, Web};
use crate::log;
use crate::reload::{self, Reloader};
use crate::signals::{Hangup, Stop};
use config::Settings;
use poller::Clock;
use poller::Fleet;
use poller::PollerContext;
use poller::StateStore;

/// How long requests that are under way may take after a request to stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// Threads of the web server: while one is busy, another answers.
const WEB_THREADS: usize = 2;

/// What is running.
const BUILD: Build = Build {
    version: env!("CARGO_PKG_VERSION"),
    revision: env!("BUILD_REVISION"),
    rustc: env!("BUILD_RUSTC"),
};

/// Does what the command line says.
///
/// # Errors
/// What stops the program.
pub fn main(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Serve(arguments) => serve(&arguments)?,
        Command::Diagnose(arguments) => return Ok(diagnose::main(&arguments)),
        Command::Check(arguments) => check(&arguments.config_file)?,
        Command::Metrics => print(&catalog::reference())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the configuration as it would be used, its warnings as comments.
fn check(path: &Path) -> anyhow::Result<()> {
    let settings = Settings::check(path)?;
    let warnings: Vec<_> =
        settings.warnings.iter().map(|warning| format!("# warning: {warning}\n")).collect();
    print(&(warnings.concat() + &settings.effective()))
}

/// Writes to standard output; colours only to a terminal. A reader that has had enough is no error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    match anstream::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

fn serve(arguments: &Serve) -> anyhow::Result<()> {
    let settings = Settings::load(arguments.nodes.source(), arguments.overrides())?;
    log::init(settings.log_level, settings.log_format);
    settings.warnings.iter().for_each(|warning| warn!(warning, "configuration"));
    let gate = Gate::open(arguments.web_config_file.as_deref())?;
    let listener = listen(&settings.listen_address)?;
    let runtime = Runtime::new().context("cannot start the runtime")?;
    // In the queue of the other a request would wait behind the answers of a thousand nodes.
    let web = Builder::new_multi_thread()
        .worker_threads(WEB_THREADS)
        .thread_name("web")
        .enable_all()
        .build();
    let web = web.context("cannot start the runtime of the web server")?;
    let ended = runtime.block_on(run(arguments, settings, gate, listener, web.handle()));
    // A look-up of a name may hang for long after everything else ended.
    runtime.shutdown_background();
    web.shutdown_background();
    ended
}

/// Polls and serves until a signal asks to stop.
///
/// # Errors
/// A task died: a stopped poller behind a living `/metrics` would be the worst failure.
async fn run(
    arguments: &Serve,
    settings: Settings,
    gate: Gate,
    listener: TcpListener,
    web_runtime: &RuntimeHandle,
) -> anyhow::Result<()> {
    let mut stop = Stop::listen().context("cannot listen for signals")?;
    let mut hangup = Hangup::listen().context("cannot listen for signals")?;
    let clock = Clock::start();
    let state = StateStore::open(settings.state_file.as_deref());
    let shared = PollerContext::new(clock, state.clone());
    let reloader = Reloader::new(clock, &settings, gate.clone());
    let (lifecycle, mut requests) = reload::requests();
    let lifecycle = arguments.enable_lifecycle.then_some(lifecycle);
    let external_url = settings.external_url.clone();
    let mut fleet = Fleet::new(shared.clone());
    fleet.poll(settings.deployments);
    let web = Web {
        board: fleet.board(),
        shared,
        build: BUILD,
        external_url,
        reload: reloader.status(),
        lifecycle,
        requests: Requests::new(),
        gate,
        runtimes: [RuntimeHandle::current(), web_runtime.clone()],
    };
    info!(version = BUILD.version, revision = BUILD.revision, "starting Rolecall");
    info!(address = %listener.local_addr()?, "listening");
    let handle = Handle::new();
    let mut server = JoinSet::new();
    server.spawn_on(http::serve(listener, web, handle.clone()), web_runtime);
    let mut writer = JoinSet::new();
    writer.spawn(state.clone().write_for_ever());
    tell(&[NotifyState::Ready]);
    loop {
        tokio::select! {
            signal = stop.next() => {
                info!(signal, "stopping");
                break;
            }
            () = hangup.next() => drop(reload(&reloader, arguments, &mut fleet)),
            Some(request) = requests.recv() => drop(request.send(reload(&reloader, arguments, &mut fleet))),
            ended = fleet.ended() => {
                let never: Infallible = ended?;
                match never {}
            }
            Some(ended) = writer.join_next() => {
                ended.context("the writer of the state file died")??;
                bail!("the writer of the state file ended");
            }
            Some(ended) = server.join_next() => {
                ended.context("the web server died")?.context("the web server failed")?;
                bail!("the web server ended");
            }
        }
    }
    tell(&[NotifyState::Stopping]);
    if let Err(error) = state.write() {
        warn!(error = format!("{error:#}"), "cannot write the state file");
    }
    handle.graceful_shutdown(Some(DRAIN_LIMIT));
    tokio::select! {
        _ = server.join_next() => info!("stopped"),
        signal = stop.next() => {
            warn!(signal, "stopping at once");
            bail!("stopped by a second signal");
        }
    }
    Ok(())
}

fn reload(reloader: &Reloader, arguments: &Serve, fleet: &mut Fleet) -> Result<(), String> {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
    let outcome = reloader.reload(arguments, fleet);
    tell(&[NotifyState::Ready]);
    outcome
}

/// Tells systemd, where it is systemd that started us.
fn tell(what: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(what) {
        warn!(%error, "cannot notify systemd");
    }
}

/// Opens the port. `:9121` is every address of either family, as for Prometheus.
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
