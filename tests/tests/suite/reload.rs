//! Reloads of the configuration, and notifications to systemd.

use std::os::unix::net::UnixDatagram;
use std::process::Command;

use tests::{ConfigFile, Daemon, Process, Redis, SECOND, Signal, deployment, eventually, pause};

/// Returns a configuration with deployments of one server each: name, server and additional keys.
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
    let (connection, before) = (one.rolecall_connections(), rounds(&daemon, "kept"));
    daemon.reload(&configuration(&[
        ("kept", &one, ""),
        ("changed", &other, "labels = { team = 'a' }"),
        ("new", &other, ""),
    ]));
    eventually(SECOND * 5, "the new deployment is polled", || {
        rounds(&daemon, "new").filter(|rounds| *rounds >= 1.0)
    });
    let samples = daemon.samples();
    assert_eq!(samples.get("redis_up", &[("deployment", "changed"), ("team", "a")]), Some(1.0));
    assert_eq!(rounds(&daemon, "gone"), None);
    assert!(rounds(&daemon, "kept") >= before, "the unchanged deployment is still polled");
    assert_eq!(one.rolecall_connections(), connection, "the connection is the same");
    assert!(
        daemon
            .log()
            .iter()
            .any(|line| line.contains("configuration reloaded") && line.contains("kept=1")),
        "{:?}",
        daemon.log()
    );
    assert_eq!(samples.get("rolecall_config_last_reload_successful", &[]), Some(1.0));
    // The connection of `gone` is closed. Those of `changed` and `new` are left.
    eventually(SECOND * 5, "two connections", || {
        (other.rolecall_connections().len() == 2).then_some(())
    });
}

#[test]
fn invalid_configuration_changes_nothing() {
    let server = Redis::start(&[]);
    let good = configuration(&[("orders", &server, "")]);
    let daemon = Daemon::configured_with(&good, &["--web.enable-lifecycle"]);
    let last_success = daemon.value("rolecall_config_last_reload_success_timestamp_seconds");
    let before = rounds(&daemon, "orders");
    daemon.rewrite(
        "[[deployment]]\nname = 'orders'\nnodes = [{ url = 'redis://h', rolle = 'master' }]\n",
    );
    let (status, text) = post_reload(&daemon);
    assert_eq!(status, 500);
    assert!(
        text.contains("rolecall.toml:3: deployment.0.nodes.0.rolle: unknown field \"rolle\""),
        "{text}"
    );
    assert_eq!(daemon.value("rolecall_config_last_reload_successful"), Some(0.0));
    assert!(
        daemon.log().iter().any(|line| line.contains("level=error") && line.contains("rolle")),
        "{:?}",
        daemon.log()
    );
    eventually(SECOND * 5, "polling continues", || {
        (rounds(&daemon, "orders") > before).then_some(())
    });
    assert_eq!(daemon.value("rolecall_config_last_reload_success_timestamp_seconds"), last_success);
    daemon.rewrite(&good);
    pause(SECOND / 50);
    assert_eq!(post_reload(&daemon).0, 200);
    let samples = daemon.samples();
    assert_eq!(samples.get("rolecall_config_last_reload_successful", &[]), Some(1.0));
    assert!(
        samples.get("rolecall_config_last_reload_success_timestamp_seconds", &[]) > last_success
    );
}

#[test]
fn reload_warns_about_settings_that_need_a_restart() {
    let server = Redis::start(&[]);
    let configuration_text = |port: u16, name: &str, level: &str, format: &str| {
        let head = format!(
            "state_file = '/nowhere/{name}'\n[log]\nlevel = '{level}'\nformat = '{format}'\n"
        );
        let web = format!(
            "[web]\nlisten_address = '127.0.0.1:{port}'\nexternal_url = 'http://{name}'\n\
             max_connections_per_address = {}\n",
            100 + name.len()
        );
        head + &web + &deployment("orders", &[&server])
    };
    let file = ConfigFile::new(&configuration_text(0, "before", "debug", "logfmt"));
    let daemon = Process::start(Command::new(Daemon::binary()).args([
        "serve",
        "--config.file",
        &file.path(),
    ]));
    let logged = |text: &str| {
        daemon.log().into_iter().filter(|line| line.contains(text)).collect::<Vec<_>>()
    };
    let until_reloaded = |times: usize| {
        daemon.signal(Signal::Hangup);
        eventually(SECOND * 5, "the configuration is reloaded", || {
            (logged("configuration reloaded").len() == times).then_some(())
        });
    };
    eventually(SECOND * 10, "rolecall listens", || (!logged("listening").is_empty()).then_some(()));
    until_reloaded(1);
    assert_eq!(logged("only changes with a restart"), Vec::<String>::new(), "nothing changed");
    file.write(&configuration_text(1, "after", "info", "json"));
    until_reloaded(2);
    let warnings = logged("only changes with a restart");
    let expected = [
        ("web.listen_address", "127.0.0.1:1", "127.0.0.1:0"),
        ("web.external_url", "http://after", "http://before"),
        ("web.max_connections_per_address", "105", "106"),
        ("log.level", "info", "debug"),
        ("log.format", "json", "logfmt"),
        ("state_file", "/nowhere/after", "/nowhere/before"),
    ];
    assert_eq!(warnings.len(), expected.len(), "{warnings:?}");
    for (line, (key, found, used)) in warnings.iter().zip(expected) {
        let parts = [format!("key={key}"), format!("found={found}"), format!("used={used}")];
        assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    }
}

#[test]
fn reload_over_http_must_be_enabled() {
    let server = Redis::start(&[]);
    let daemon = Daemon::watch(&[&server]);
    let (status, text) = post_reload(&daemon);
    assert_eq!((status, text.contains("--web.enable-lifecycle")), (403, true), "{text}");
    assert_eq!(daemon.get("/-/reload", "").status, 405);
}

#[test]
fn reload_for_a_page_of_another_site_is_refused() {
    let server = Redis::start(&[]);
    let text = format!(
        "[web]\nexternal_url = 'https://rolecall.example.com/path'\n{}",
        configuration(&[("orders", &server, "")])
    );
    let daemon = Daemon::configured_with(&text, &["--web.enable-lifecycle"]);
    let own = format!("http://127.0.0.1:{}", daemon.port);
    let reloads =
        || daemon.log().iter().filter(|line| line.contains("configuration reloaded")).count();
    for (name, value, status) in [
        ("Origin", "http://evil.example", 403),
        ("Origin", "http://127.0.0.1:1", 403),
        ("Origin", "null", 403),
        ("Sec-Fetch-Site", "cross-site", 403),
        ("Sec-Fetch-Site", "same-site", 403),
        ("Origin", &own, 200),
        ("Origin", "https://rolecall.example.com", 200),
        ("Sec-Fetch-Site", "same-origin", 200),
        ("X-Other", "value", 200),
    ] {
        let (found, text) = post_reload_with(&daemon, Some((name, value)));
        assert_eq!(found, status, "{value}");
        assert_eq!(text.contains("a page of another site"), status == 403, "{value}: {text}");
    }
    // Refused requests reload nothing. The log may be late.
    eventually(SECOND * 5, "four reloads", || (reloads() >= 4).then_some(()));
    assert_eq!(reloads(), 4);
}

#[test]
fn systemd_is_notified_of_start_reload_and_stop() {
    let server = Redis::start(&[]);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(SECOND * 5)).expect("a timeout");
    let receive = || {
        let mut message = [0; 256];
        let length = socket.recv(&mut message).expect("a message");
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    let daemon =
        Daemon::run(Command::new(Daemon::binary()).env("NOTIFY_SOCKET", &path), &[&server.url()]);
    assert_eq!(receive(), "READY=1\n");
    daemon.signal(Signal::Hangup);
    let reloading = receive();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(receive(), "READY=1\n");
    daemon.signal(Signal::Term);
    assert_eq!(receive(), "STOPPING=1\n");
}

/// Sends POST `/-/reload`. Returns the status and the text of the response.
fn post_reload(daemon: &Daemon) -> (u16, String) {
    post_reload_with(daemon, None)
}

/// Does the same with an additional header.
fn post_reload_with(daemon: &Daemon, header: Option<(&str, &str)>) -> (u16, String) {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut request = agent.post(format!("http://127.0.0.1:{}/-/reload", daemon.port));
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    let mut response = request.send_empty().expect("a response");
    (response.status().as_u16(), response.body_mut().read_to_string().expect("text"))
}

#[test]
fn empty_exporter_part_is_only_a_warning() {
    let server = Redis::start(&[]);
    let text = configuration(&[("orders", &server, "")]);
    let with_part = |part: &str| format!("part = '{part}'\n{text}");
    let daemon = Daemon::configured(&with_part("1/1"));
    // The only deployment belongs to one of the two parts.
    for part in ["1/2", "2/2"] {
        daemon.reload(&with_part(part));
        eventually(SECOND * 5, "the configuration is reloaded", || {
            daemon.log().iter().any(|line| line.contains("configuration reloaded")).then_some(())
        });
    }
    let warning = eventually(SECOND * 5, "a warning about the empty part", || {
        daemon
            .log()
            .into_iter()
            .find(|line| line.contains("contains no deployment: this exporter polls nothing"))
    })
    .0;
    assert_eq!(daemon.value("rolecall_config_last_reload_successful"), Some(1.0));
    let empty = if warning.contains("1/2") { "1/2" } else { "2/2" };
    // A daemon also starts with an empty part.
    let daemon = Daemon::configured(&with_part(empty));
    assert_eq!(daemon.samples().count("redis_deployment_info", &[]), 0);
    daemon.reload(&with_part("1/1"));
    eventually(SECOND * 5, "the deployment is polled", || rounds(&daemon, "orders"));
}
