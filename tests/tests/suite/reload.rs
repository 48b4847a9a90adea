//! Reading the configuration again, and what systemd is told.

use std::os::unix::net::UnixDatagram;
use std::process::Command;

use tests::{ConfigFile, Daemon, Process, Redis, SECOND, Signal, deployment, eventually, pause};

/// A configuration with these deployments of one server each, with more of their keys.
fn configuration(deployments: &[(&str, &Redis, &str)]) -> String {
    let text = |(name, server, more): &(&str, &Redis, &str)| {
        format!("{}{more}\n", deployment(name, &[server]))
    };
    deployments.iter().map(text).collect()
}

fn rounds(daemon: &Daemon, deployment: &str) -> Option<f64> {
    daemon.samples().get("rolecall_rounds_total", &[("deployment", deployment)])
}

#[test]
fn reload_replaces_only_changed_deployments() {
    let (one, other) = (Redis::start(&[]), Redis::start(&[]));
    let daemon = Daemon::configured(&configuration(&[
        ("kept", &one, ""),
        ("changed", &other, ""),
        ("gone", &other, ""),
    ]));
    eventually(SECOND * 10, "rounds", || (rounds(&daemon, "kept") >= Some(3.0)).then_some(()));
    let (connection, before) = (one.pollers(), rounds(&daemon, "kept"));
    daemon.reload(&configuration(&[
        ("kept", &one, ""),
        ("changed", &other, "labels = { team = 'a' }"),
        ("new", &other, ""),
    ]));
    eventually(SECOND * 5, "the new one is polled", || {
        rounds(&daemon, "new").filter(|rounds| *rounds >= 1.0)
    });
    let samples = daemon.samples();
    assert_eq!(samples.get("redis_up", &[("deployment", "changed"), ("team", "a")]), Some(1.0));
    assert_eq!(rounds(&daemon, "gone"), None);
    assert!(rounds(&daemon, "kept") >= before, "it went on");
    assert_eq!(one.pollers(), connection, "on the same connection");
    assert!(
        daemon
            .log()
            .iter()
            .any(|line| line.contains("configuration reloaded") && line.contains("kept=1")),
        "{:?}",
        daemon.log()
    );
    assert_eq!(samples.get("rolecall_config_last_reload_successful", &[]), Some(1.0));
    // The connections of what is gone are closed: those that are left are of `changed` and `new`.
    eventually(SECOND * 5, "two connections", || (other.pollers().len() == 2).then_some(()));
}

#[test]
fn invalid_configuration_changes_nothing() {
    let server = Redis::start(&[]);
    let good = configuration(&[("orders", &server, "")]);
    let daemon = Daemon::configured_with(&good, &["--web.enable-lifecycle"]);
    let read = daemon.value("rolecall_config_last_reload_success_timestamp_seconds");
    let before = rounds(&daemon, "orders");
    daemon.rewrite(
        "[[deployment]]\nname = 'orders'\nnodes = [{ url = 'redis://h', rolle = 'master' }]\n",
    );
    let (status, text) = post(&daemon);
    assert_eq!(status, 500);
    assert!(
        text.contains("rolecall.toml:3: deployment.0.nodes.0.rolle: found an unknown key"),
        "{text}"
    );
    assert_eq!(daemon.value("rolecall_config_last_reload_successful"), Some(0.0));
    assert!(
        daemon.log().iter().any(|line| line.contains("level=error") && line.contains("rolle")),
        "{:?}",
        daemon.log()
    );
    eventually(SECOND * 5, "it goes on", || (rounds(&daemon, "orders") > before).then_some(()));
    assert_eq!(daemon.value("rolecall_config_last_reload_success_timestamp_seconds"), read);
    daemon.rewrite(&good);
    pause(SECOND / 50);
    assert_eq!(post(&daemon).0, 200);
    let samples = daemon.samples();
    assert_eq!(samples.get("rolecall_config_last_reload_successful", &[]), Some(1.0));
    assert!(samples.get("rolecall_config_last_reload_success_timestamp_seconds", &[]) > read);
}

#[test]
fn reload_warns_about_settings_that_need_a_restart() {
    let server = Redis::start(&[]);
    let text = |port: u16, name: &str, level: &str, format: &str| {
        let head = format!(
            "state_file = '/nowhere/{name}'\n[log]\nlevel = '{level}'\nformat = '{format}'\n"
        );
        let web =
            format!("[web]\nlisten_address = '127.0.0.1:{port}'\nexternal_url = 'http://{name}'\n");
        head + &web + &deployment("orders", &[&server])
    };
    let file = ConfigFile::new(&text(0, "before", "debug", "logfmt"));
    let daemon = Process::start(Command::new(Daemon::binary()).args([
        "serve",
        "--config.file",
        &file.path(),
    ]));
    let logged = |what: &str| {
        daemon.log().into_iter().filter(|line| line.contains(what)).collect::<Vec<_>>()
    };
    let until_reloaded = |times: usize| {
        daemon.signal(Signal::Hangup);
        eventually(SECOND * 5, "it is reloaded", || {
            (logged("configuration reloaded").len() == times).then_some(())
        });
    };
    eventually(SECOND * 10, "rolecall listens", || (!logged("listening").is_empty()).then_some(()));
    until_reloaded(1);
    assert_eq!(logged("only changes with a restart"), Vec::<String>::new(), "nothing changed");
    file.write(&text(1, "after", "info", "json"));
    until_reloaded(2);
    let told = logged("only changes with a restart");
    let expected = [
        ("web.listen_address", "127.0.0.1:1", "127.0.0.1:0"),
        ("web.external_url", "http://after", "http://before"),
        ("log.level", "info", "debug"),
        ("log.format", "json", "logfmt"),
        ("state_file", "/nowhere/after", "/nowhere/before"),
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for (line, (key, found, used)) in told.iter().zip(expected) {
        let parts = [format!("key={key}"), format!("found={found}"), format!("used={used}")];
        assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    }
}

#[test]
fn reload_over_http_must_be_enabled() {
    let server = Redis::start(&[]);
    let daemon = Daemon::watch(&[&server]);
    let (status, text) = post(&daemon);
    assert_eq!((status, text.contains("--web.enable-lifecycle")), (403, true), "{text}");
    assert_eq!(daemon.get("/-/reload", "").status, 405);
}

#[test]
fn systemd_is_notified_of_start_reload_and_stop() {
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
    let daemon =
        Daemon::run(Command::new(Daemon::binary()).env("NOTIFY_SOCKET", &path), &[&server.url()]);
    assert_eq!(told(), "READY=1\n");
    daemon.signal(Signal::Hangup);
    let reloading = told();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(told(), "READY=1\n");
    daemon.signal(Signal::Term);
    assert_eq!(told(), "STOPPING=1\n");
}

fn post(daemon: &Daemon) -> (u16, String) {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer = agent
        .post(format!("http://127.0.0.1:{}/-/reload", daemon.port))
        .send_empty()
        .expect("an answer");
    (answer.status().as_u16(), answer.body_mut().read_to_string().expect("text"))
}

#[test]
fn empty_exporter_part_is_only_a_warning() {
    let server = Redis::start(&[]);
    let text = configuration(&[("orders", &server, "")]);
    let in_part = |part: &str| format!("part = '{part}'\n{text}");
    let daemon = Daemon::configured(&in_part("1/1"));
    // The one deployment is in one of two parts.
    for part in ["1/2", "2/2"] {
        daemon.reload(&in_part(part));
        eventually(SECOND * 5, "it was read", || {
            daemon.log().iter().any(|line| line.contains("configuration reloaded")).then_some(())
        });
    }
    let warned = eventually(SECOND * 5, "a warning", || {
        daemon.log().into_iter().find(|line| line.contains("so nothing is polled"))
    })
    .0;
    assert_eq!(daemon.value("rolecall_config_last_reload_successful"), Some(1.0));
    let empty = if warned.contains("1/2") { "1/2" } else { "2/2" };
    // The same at the start.
    let daemon = Daemon::configured(&in_part(empty));
    assert_eq!(daemon.samples().count("redis_deployment_info", &[]), 0);
    daemon.reload(&in_part("1/1"));
    eventually(SECOND * 5, "it is polled", || rounds(&daemon, "orders"));
}
