//! Start, stop, configuration sources and user errors.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;

use tests::{Daemon, Redis, SECOND, Signal};

/// Runs the binary to completion. Returns the exit code and standard error.
fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(Daemon::binary()).args(arguments).output().expect("the binary");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn health_readiness_and_status_page_respond() {
    let server = Redis::start(&[]);
    let daemon = Daemon::start(&[&server.url()]);
    assert_eq!(daemon.get("/-/healthy", "").status, 200);
    let ((), ready) = tests::eventually(SECOND * 5, "ready", || {
        (daemon.get("/-/ready", "").status == 200).then_some(())
    });
    assert_eq!(daemon.value("redis_up"), Some(1.0), "ready means that a round is complete");
    let page = daemon.get("/", "text/html");
    assert!(
        page.content_type.starts_with("text/html")
            && page.text.contains(&server.address())
            && page.text.contains("href=\"./metrics\"")
    );
    assert_eq!(daemon.get("/nosuch", "").status, 404);
    println!("ready after {ready:?}");
}

#[test]
fn daemon_becomes_ready_without_any_reply() {
    let server = Redis::start(&[]);
    server.signal(Signal::Stop);
    let daemon = Daemon::start(&[&server.url()]);
    assert_eq!(daemon.get("/-/ready", "").status, 503);
    tests::eventually(SECOND * 3, "ready", || {
        (daemon.get("/-/ready", "").status == 200).then_some(())
    });
}

#[test]
fn first_signal_drains_and_second_signal_aborts() {
    let server = Redis::start(&[]);
    let mut daemon = Daemon::watch(&[&server]);
    daemon.signal(Signal::Term);
    let (status, took) = daemon.end(SECOND * 3);
    assert_eq!(status.code(), Some(0), "{:?}", daemon.log());
    assert!(daemon.log().iter().any(|line| line.contains("msg=stopped")));
    println!("stopped after {took:?}");

    // An incomplete request delays the drain.
    let mut daemon = Daemon::watch(&[&server]);
    let mut incomplete = TcpStream::connect(("127.0.0.1", daemon.port)).expect("a connection");
    incomplete.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n").expect("request sent");
    tests::pause(SECOND / 5);
    daemon.signal(Signal::Int);
    tests::eventually(SECOND, "the drain has started", || {
        daemon.log().iter().any(|line| line.contains("msg=stopping")).then_some(())
    });
    tests::pause(SECOND / 2);
    daemon.signal(Signal::Term);
    let (status, took) = daemon.end(SECOND * 2);
    assert_eq!(status.code(), Some(1), "{:?}", daemon.log());
    println!("aborted after {took:?}");
}

#[test]
fn invalid_arguments_print_an_error_and_set_the_exit_code() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let check = |arguments: &[&str], expected: i32, words: &[&str]| {
        let (code, text) =
            run(&[&["serve", "--web.listen-address", "127.0.0.1:0"], arguments].concat());
        assert_eq!(code, Some(expected), "{arguments:?}: {text}");
        assert!(words.iter().all(|word| text.contains(word)), "{arguments:?}: {text}");
    };
    check(
        &["--config.file", "/nosuch/rolecall.toml"],
        1,
        &["/nosuch/rolecall.toml", "cannot read the file"],
    );
    let unknown = file("unknown.toml", "[[deployment]]\nname = 'a'\nnode = []\n");
    check(&["--config.file", &unknown], 1, &["unknown.toml", "deployment.0.node", "nodes"]);
    check(&["--config.file", &unknown, "redis://h"], 2, &["cannot be used with"]);
    check(
        &["http://:hunter2@h"],
        1,
        &["command line", "invalid URL \"http://...@h\"", "expected redis, rediss"],
    );
    check(&["redis://h", "redis://h:6379"], 1, &["duplicate node \"h:6379\""]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (code, text) = run(&["serve", "--web.listen-address", &address]);
    assert_eq!(code, Some(1));
    assert!(text.contains(&format!("cannot listen on {address}")), "{text}");
}

#[test]
fn log_lines_are_structured() {
    let (json, logfmt) = (
        Daemon::start(&["--log.format", "json", "redis://127.0.0.1:1"]),
        Daemon::start(&["redis://127.0.0.1:1"]),
    );
    for daemon in [&json, &logfmt] {
        daemon.until(SECOND * 3, "redis_up", &[], 0.0);
    }
    for line in json.log() {
        let line: serde_json::Value = serde_json::from_str(&line).expect("a line of JSON");
        assert!(
            line["ts"].is_string()
                && line["msg"].is_string()
                && ["info", "warn"].map(Some).contains(&line["level"].as_str()),
            "{line}"
        );
    }
    let line = logfmt
        .log()
        .into_iter()
        .find(|line| line.contains("cannot read node"))
        .expect("a log line");
    assert!(
        line.starts_with("ts=")
            && line.contains(" level=warn msg=")
            && line.contains("node=127.0.0.1:1 "),
        "{line}"
    );
}

#[test]
fn metrics_command_prints_the_reference() {
    let output = Command::new(Daemon::binary()).arg("metrics").output().expect("the binary");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/catalog/REFERENCE.md");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        std::fs::read_to_string(path).expect("the reference")
    );
    assert!(output.status.success());
}

#[test]
fn environment_variables_apply_and_flags_override_them() {
    let server = Redis::start(&["--requirepass", "correct-horse"]);
    let directory = tempfile::tempdir().expect("a directory");
    let passwords = directory.path().join("passwords.json");
    std::fs::write(
        &passwords,
        format!("{{\"{}\": \"correct-horse\", \"redis://elsewhere:1\": \"other\"}}", server.url()),
    )
    .expect("a file");
    let run = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = Command::new(Daemon::binary());
        command.envs(variables.iter().copied());
        Daemon::run(&mut command, arguments)
    };
    let (url, file) = (server.url(), passwords.display().to_string());
    for (variables, arguments) in [
        (vec![("REDIS_ADDR", url.as_str()), ("REDIS_PASSWORD", "correct-horse")], vec![]),
        (vec![("REDIS_PASSWORD", "correct-horse"), ("REDIS_USER", "default")], vec![url.as_str()]),
        (vec![("REDIS_PASSWORD_FILE", file.as_str())], vec![url.as_str()]),
        (
            vec![("REDIS_ADDR", "redis://127.0.0.1:1"), ("REDIS_PASSWORD", "correct-horse")],
            vec![url.as_str()],
        ),
    ] {
        run(&variables, &arguments).until(SECOND * 5, "redis_up", &[], 1.0);
    }
    let logs_json = |daemon: &Daemon| daemon.log().iter().all(|line| line.starts_with('{'));
    assert!(logs_json(&run(&[("ROLECALL_LOG__FORMAT", "json")], &[&url])));
    assert!(!logs_json(&run(
        &[("ROLECALL_LOG__FORMAT", "json")],
        &["--log.format", "logfmt", &url]
    )));
    let mut command = Command::new(Daemon::binary());
    let output = command
        .env("ROLECALL_LOG__LEVEL", "loud")
        .args(["serve", &url])
        .output()
        .expect("the binary");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text.contains(
            "ROLECALL_LOG__LEVEL: invalid value \"loud\", \
             expected one of \"trace\", \"debug\", \"info\", \"warn\", \"error\""
        ),
        "{text}"
    );
}

#[test]
fn without_a_command_rolecall_serves() {
    let server = Redis::start(&["--requirepass", "correct-horse"]);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("password").display().to_string();
    std::fs::write(&file, "outdated").expect("a file");
    let run = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = Command::new(Daemon::binary());
        command.envs(variables.iter().copied());
        command.args(["--web.listen-address", "127.0.0.1:0"]).args(arguments);
        Daemon::launch(&mut command, "127.0.0.1")
    };
    let address = server.address();
    let passwords = [("REDIS_PASSWORD", "correct-horse"), ("REDIS_PASSWORD_FILE", &*file)];
    run(&passwords, &[&address]).until(SECOND * 5, "redis_up", &[], 1.0);
    let with_address = [&passwords[..], &[("REDIS_ADDR", &*address)]].concat();
    run(&with_address, &[]).until(SECOND * 5, "redis_up", &[], 1.0);
    let without_node = run(&[("REDIS_ADDR", "")], &[]).get("/metrics", "").text;
    assert!(without_node.contains("\nrolecall_deployments 0\n"), "{without_node}");
}

#[test]
fn check_command_and_daemon_never_show_secrets() {
    const SECRETS: [&str; 5] = [
        "secret-in-url",
        "secret-in-file",
        "secret-in-config",
        "secret-of-node",
        "secret-in-environment",
    ];
    let server = Redis::start(&["--requirepass", SECRETS[1]]);
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let password = write("password", SECRETS[1]);
    let address = server.address();
    let text = format!(
        "[[deployment]]\nname = 'a'\npassword = '{}'\nnodes = [\n  \
         {{ url = 'redis://u:{}@{address}', name = 'one' }},\n  \
         {{ url = 'redis://{address}', name = 'two', password_file = '{password}' }},\n  \
         {{ url = 'redis://{address}', name = 'three', password = '{}' }},\n  \
         {{ url = 'redis://{address}', name = 'four' }},\n]\n",
        SECRETS[2], SECRETS[0], SECRETS[3]
    );
    let file = write("rolecall.toml", &text);
    let check = |file: &str| {
        let output = Command::new(Daemon::binary())
            .args(["check", "--config.file", file])
            .output()
            .expect("the binary");
        (
            output.status.code(),
            [output.stdout, output.stderr]
                .map(|text| String::from_utf8_lossy(&text).into_owned())
                .concat(),
        )
    };
    let (code, effective) = check(&file);
    assert_eq!(code, Some(0), "{effective}");
    assert!(
        effective.starts_with("# warning: deployment a: a password is part of the configuration"),
        "{effective}"
    );
    assert!(
        effective.contains("password = \"<redacted>\"") && effective.contains("password_file = "),
        "{effective}"
    );
    let broken = write("broken.toml", &format!("{text}password = '{}\n", SECRETS[2]));
    let (code, message) = check(&broken);
    assert_eq!(code, Some(1));
    assert!(message.contains("broken.toml:10: invalid TOML"), "{message}");

    let mut command = Command::new(Daemon::binary());
    command.env("REDIS_PASSWORD", SECRETS[4]);
    let daemon = Daemon::run(&mut command, &["--log.level", "trace", "--config.file", &file]);
    daemon.until(SECOND * 5, "redis_up", &[("node", "two")], 1.0);
    for node in ["one", "three", "four"] {
        daemon.until(SECOND * 5, "redis_down_reason", &[("node", node), ("reason", "auth")], 1.0);
    }
    let pages = ["/", "/metrics", "/scrape?target=one", "/scrape?target=two", "/-/ready"]
        .map(|path| daemon.get(path, "").text);
    let output = [effective, message, daemon.log().concat(), pages.concat()].concat();
    for secret in SECRETS {
        assert!(!output.contains(secret), "{secret}");
    }
    // The next connection uses the password that was rotated in its file.
    server.cli(&["-a", SECRETS[1], "CONFIG", "SET", "requirepass", "rotated"]);
    write("password", "rotated\n");
    server.cli(&["-a", "rotated", "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    tests::pause(SECOND * 2);
    daemon.until(SECOND * 5, "redis_up", &[("node", "two")], 1.0);
    assert_eq!(
        daemon.samples().get("redis_poll_failures_total", &[("node", "two"), ("reason", "auth")]),
        None
    );
}
