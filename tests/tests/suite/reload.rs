//! Reading the configuration again, and what systemd is told.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tests::{Daemon, Redis, Signal, deployment, eventually, pause};

const SECOND: Duration = Duration::from_secs(1);

/// A configuration file that can be written anew.
struct File {
    path: PathBuf,
    _directory: TempDir,
}

impl File {
    fn new(deployments: &[(&str, &Redis, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = File { path: directory.path().join("rolecall.toml"), _directory: directory };
        file.write(deployments);
        file
    }

    fn write(&self, deployments: &[(&str, &Redis, &str)]) {
        let text = |(name, server, more): &(&str, &Redis, &str)| format!("{}{more}\n", deployment(name, &[server]));
        self.write_text(&deployments.iter().map(text).collect::<String>());
    }

    fn write_text(&self, text: &str) {
        std::fs::write(&self.path, text).expect("a file");
    }
}

fn serve(path: &Path, more: &[&str]) -> Daemon {
    let path = path.display().to_string();
    Daemon::serve(&[&["--config.file", &path], more].concat())
}

fn rounds(daemon: &Daemon, deployment: &str) -> Option<f64> {
    daemon.samples().get("rolecall_rounds_total", &[("deployment", deployment)])
}

#[test]
fn a_reload_replaces_what_changed_and_nothing_else() {
    let (one, other) = (Redis::start(&[]), Redis::start(&[]));
    let file = File::new(&[("kept", &one, ""), ("changed", &other, ""), ("gone", &other, "")]);
    let daemon = serve(&file.path, &[]);
    eventually(SECOND * 10, "rounds", || (rounds(&daemon, "kept") >= Some(3.0)).then_some(()));
    let (connection, before) = (one.pollers(), rounds(&daemon, "kept"));
    file.write(&[("kept", &one, ""), ("changed", &other, "labels = { team = 'a' }"), ("new", &other, "")]);
    daemon.signal(Signal::Hangup);
    eventually(SECOND * 5, "the new one is polled", || rounds(&daemon, "new").filter(|rounds| *rounds >= 1.0));
    let samples = daemon.samples();
    assert_eq!(samples.get("redis_up", &[("deployment", "changed"), ("team", "a")]), Some(1.0));
    assert_eq!(rounds(&daemon, "gone"), None);
    assert!(rounds(&daemon, "kept") >= before, "it went on");
    assert_eq!(one.pollers(), connection, "on the same connection");
    assert!(daemon.log().iter().any(|line| line.contains("configuration reloaded") && line.contains("kept=1")), "{:?}", daemon.log());
    assert_eq!(samples.get("rolecall_config_last_reload_successful", &[]), Some(1.0));
    // The connections of what is gone are closed: those that are left are of `changed` and `new`.
    eventually(SECOND * 5, "two connections", || (other.pollers().len() == 2).then_some(()));
}

#[test]
fn a_bad_file_changes_nothing() {
    let server = Redis::start(&[]);
    let file = File::new(&[("orders", &server, "")]);
    let daemon = serve(&file.path, &["--web.enable-lifecycle"]);
    let read = daemon.value("rolecall_config_last_reload_success_timestamp_seconds");
    let before = rounds(&daemon, "orders");
    file.write_text("[[deployment]]\nname = 'orders'\nnodes = [{ url = 'redis://h', rolle = 'master' }]\n");
    let (status, text) = post(&daemon);
    assert_eq!(status, 500);
    assert!(text.contains("rolecall.toml:3: deployment.0.nodes.0.rolle: found an unknown key"), "{text}");
    assert_eq!(daemon.value("rolecall_config_last_reload_successful"), Some(0.0));
    assert!(daemon.log().iter().any(|line| line.contains("level=error") && line.contains("rolle")), "{:?}", daemon.log());
    eventually(SECOND * 5, "it goes on", || (rounds(&daemon, "orders") > before).then_some(()));
    assert_eq!(daemon.value("rolecall_config_last_reload_success_timestamp_seconds"), read);
    file.write(&[("orders", &server, "")]);
    pause(SECOND / 50);
    assert_eq!(post(&daemon).0, 200);
    let samples = daemon.samples();
    assert_eq!(samples.get("rolecall_config_last_reload_successful", &[]), Some(1.0));
    assert!(samples.get("rolecall_config_last_reload_success_timestamp_seconds", &[]) > read);
}

#[test]
fn reloading_over_http_must_be_enabled() {
    let server = Redis::start(&[]);
    let daemon = Daemon::watch(&[&server]);
    let (status, text) = post(&daemon);
    assert_eq!((status, text.contains("--web.enable-lifecycle")), (403, true), "{text}");
    assert_eq!(daemon.get("/-/reload", "").status, 405);
}

#[test]
fn systemd_is_told() {
    let server = Redis::start(&[]);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(SECOND * 5)).expect("a timeout");
    let told = || {
        let mut message = [0; 256];
        let length = socket.recv(&mut message).expect("a message");
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    let daemon = Daemon::run(Command::new(Daemon::binary()).env("NOTIFY_SOCKET", &path), &[&server.url()]);
    assert_eq!(told(), "READY=1\n");
    daemon.signal(Signal::Hangup);
    let reloading = told();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(told(), "READY=1\n");
    daemon.signal(Signal::Term);
    assert_eq!(told(), "STOPPING=1\n");
}

fn post(daemon: &Daemon) -> (u16, String) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer = agent.post(format!("http://127.0.0.1:{}/-/reload", daemon.port)).send_empty().expect("an answer");
    (answer.status().as_u16(), answer.body_mut().read_to_string().expect("text"))
}
