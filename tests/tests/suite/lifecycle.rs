//! Start, stop, and what a user does wrong.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use tests::{Daemon, Redis, Signal};

const SECOND: Duration = Duration::from_secs(1);

/// Runs the binary to its end: exit code and standard error.
fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(Daemon::binary()).args(arguments).output().expect("the binary");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn health_readiness_and_the_landing_page() {
    let server = Redis::start(&[]);
    let daemon = Daemon::start(&[&server.url()]);
    assert_eq!(daemon.get("/-/healthy", "").status, 200);
    let ((), ready) = tests::eventually(SECOND * 5, "ready", || (daemon.get("/-/ready", "").status == 200).then_some(()));
    assert_eq!(daemon.samples().get("redis_up", &[]), Some(1.0), "ready means that a round was published");
    let page = daemon.get("/", "text/html");
    assert!(page.content_type.starts_with("text/html") && page.text.contains(&server.address()) && page.text.contains("href=\"/metrics\""));
    assert_eq!(daemon.get("/nosuch", "").status, 404);
    println!("ready after {ready:?}");
}

#[test]
fn without_an_answer_from_anybody_it_still_gets_ready() {
    let server = Redis::start(&[]);
    server.signal(Signal::Stop);
    let daemon = Daemon::start(&[&server.url()]);
    assert_eq!(daemon.get("/-/ready", "").status, 503);
    tests::eventually(SECOND * 3, "ready", || (daemon.get("/-/ready", "").status == 200).then_some(()));
}

#[test]
fn the_first_signal_drains_and_the_second_aborts() {
    let server = Redis::start(&[]);
    let mut daemon = Daemon::serve(&[&server.url()]);
    daemon.signal(Signal::Term);
    let (status, took) = daemon.end(SECOND * 3);
    assert_eq!(status.code(), Some(0), "{:?}", daemon.log());
    assert!(daemon.log().iter().any(|line| line.contains("message=stopped")));
    println!("stopped after {took:?}");

    // A request that is only half there keeps the drain waiting.
    let mut daemon = Daemon::serve(&[&server.url()]);
    let mut half = TcpStream::connect(("127.0.0.1", daemon.port)).expect("a connection");
    half.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n").expect("taken");
    tests::pause(SECOND / 5);
    daemon.signal(Signal::Int);
    tests::eventually(SECOND, "it drains", || daemon.log().iter().any(|line| line.contains("message=stopping")).then_some(()));
    tests::pause(SECOND / 2);
    daemon.signal(Signal::Term);
    let (status, took) = daemon.end(SECOND * 2);
    assert_eq!(status.code(), Some(1), "{:?}", daemon.log());
    println!("aborted after {took:?}");
}

#[test]
fn a_mistake_is_told_and_ends_with_a_code() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let check = |arguments: &[&str], code: i32, words: &[&str]| {
        let (found, text) = run(&[&["serve", "--web.listen-address", "127.0.0.1:0"], arguments].concat());
        assert_eq!(found, Some(code), "{arguments:?}: {text}");
        assert!(words.iter().all(|word| text.contains(word)), "{arguments:?}: {text}");
    };
    check(&["--config.file", "/nosuch/rolecall.toml"], 1, &["/nosuch/rolecall.toml", "cannot be read"]);
    let unknown = file("unknown.toml", "[[deployment]]\nname = 'a'\nnode = []\n");
    check(&["--config.file", &unknown], 1, &["unknown.toml", "deployment.0.node", "nodes"]);
    check(&["--config.file", &unknown, "redis://h"], 2, &["cannot be used with"]);
    check(&["http://:hunter2@h"], 1, &["command line", "found \"http://...@h\"", "accepted are redis://"]);
    check(&["redis://h", "redis://h:6379"], 1, &["twice"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let (code, text) = run(&["serve", "--web.listen-address", &address]);
    assert_eq!(code, Some(1));
    assert!(text.contains(&format!("cannot listen on {address}")), "{text}");
}

#[test]
fn log_lines_are_structured() {
    let (json, logfmt) = (Daemon::start(&["--log.format", "json", "redis://127.0.0.1:1"]), Daemon::start(&["redis://127.0.0.1:1"]));
    for daemon in [&json, &logfmt] {
        daemon.until(SECOND * 3, "redis_up", &[], 0.0);
    }
    for line in json.log() {
        let line: serde_json::Value = serde_json::from_str(&line).expect("a line of JSON");
        assert!(line["level"].is_string() && line["message"].is_string() && line["timestamp"].is_string(), "{line}");
    }
    let line = logfmt.log().into_iter().find(|line| line.contains("event=node_unreachable")).expect("logged");
    assert!(line.starts_with("ts=") && line.contains("level=warn") && line.contains("node=127.0.0.1:1 "), "{line}");
}

#[test]
fn the_reference_is_printed() {
    let output = Command::new(Daemon::binary()).arg("metrics").output().expect("the binary");
    let written = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/catalog/REFERENCE.md");
    assert_eq!(String::from_utf8_lossy(&output.stdout), std::fs::read_to_string(written).expect("the reference"));
    assert!(output.status.success());
}
