//! The daemon from start to end: configure, listen, poll, serve, drain.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use axum_server::Handle;
use catalog::{Build, Reload};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use topology::DeploymentView;
use tracing::{info, warn};

use crate::board::Board;
use crate::cli::{Cli, Command, Serve};
use crate::clock::Clock;
use crate::config::{DeploymentSettings, Settings};
use crate::diagnose;
use crate::http::{self, Requests, Web};
use crate::log;
use crate::rounds::{self, Shared};
use crate::signals::Stop;
use crate::state::State;

/// How long requests that are under way may take after a request to stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// What is running.
const BUILD: Build = Build { version: env!("CARGO_PKG_VERSION"), revision: env!("BUILD_REVISION"), rustc: env!("BUILD_RUSTC") };

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
    let warnings: Vec<_> = settings.warnings.iter().map(|warning| format!("# warning: {warning}\n")).collect();
    print(&(warnings.concat() + &settings.effective()))
}

/// Writes to standard output; colours only to a terminal. A reader that has had enough is no error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    match anstream::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to standard output"),
        _ => Ok(()),
    }
}

fn serve(arguments: &Serve) -> anyhow::Result<()> {
    let settings = Settings::load(arguments)?;
    log::init(settings.log_level, settings.log_format);
    settings.warnings.iter().for_each(|warning| warn!(warning, "configuration"));
    let listener = listen(&settings.listen_address)?;
    let runtime = Runtime::new().context("cannot start the runtime")?;
    let ended = runtime.block_on(run(settings, listener));
    // A look-up of a name may hang for long after everything else ended.
    runtime.shutdown_background();
    ended
}

/// Polls and serves until a signal asks to stop.
///
/// # Errors
/// A task died: a stopped poller behind a living `/metrics` would be the worst failure.
async fn run(settings: Settings, listener: TcpListener) -> anyhow::Result<()> {
    let mut stop = Stop::listen().context("cannot listen for signals")?;
    let clock = Clock::start();
    let state = State::open(settings.state_file.as_deref());
    let shared = Shared::new(clock, state.clone());
    let (board, mut pollers) = poll(settings.deployments, &shared);
    pollers.spawn(state.clone().write_for_ever());
    let reload = Reload { successful: true, succeeded_at: clock.wall() };
    let handle = Handle::new();
    let router = http::router(Web { board, shared, build: BUILD, reload, requests: Requests::new() });
    info!(version = BUILD.version, revision = BUILD.revision, "starting Rolecall");
    info!(address = %listener.local_addr()?, "listening");
    let mut server = JoinSet::new();
    server.spawn(http::bound(axum_server::from_tcp(listener)?).handle(handle.clone()).serve(router.into_make_service()));
    tokio::select! {
        signal = stop.next() => info!(signal, "stopping"),
        Some(ended) = pollers.join_next() => {
            ended.context("a poller died")?.context("a poller failed")?;
            bail!("a poller ended");
        }
        Some(ended) = server.join_next() => {
            ended.context("the web server died")?.context("the web server failed")?;
            bail!("the web server ended");
        }
    }
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

/// Starts the rounds of each deployment, spread evenly over their interval.
pub(crate) fn poll(deployments: Vec<DeploymentSettings>, shared: &Shared) -> (Board, JoinSet<anyhow::Result<()>>) {
    let mut board = Board::default();
    let mut pollers = JoinSet::new();
    let count = u32::try_from(deployments.len()).unwrap_or(u32::MAX);
    for (deployment, place) in deployments.into_iter().zip(0..) {
        let phase = deployment.deployment.interval * place / count;
        let publish = board.add(DeploymentView::empty(deployment.deployment.clone()));
        pollers.spawn(rounds::run(deployment, shared.clone(), publish, phase));
    }
    (board, pollers)
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
        addresses.extend(found.with_context(|| format!("--web.listen-address: found {address:?}, accepted is host:port or :port"))?);
    }
    let listener = TcpListener::bind(&*addresses).with_context(|| format!("cannot listen on {address}"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
