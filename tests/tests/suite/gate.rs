//! TLS and basic authentication of the web server, by Prometheus' own web configuration file.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use tests::{Daemon, Redis, SECOND, Stopwatch, eventually};

use super::tls::Certificates;

/// bcrypt of `open-sesame`.
const HASH: &str = "$2b$10$abcdefghijklmnopqrstuuKNEQxEAZiyaAlk1AAmHbHnfydApuKHq";

/// Starts the daemon on a server with a web configuration in a folder; the text of the file goes with it.
fn serve(server: &Redis, folder: &Certificates, text: &str) -> Daemon {
    let file = folder.path("web.yml");
    std::fs::write(&file, text).expect("a file");
    Daemon::start(&["--log.level", "trace", "--web.config.file", &file.display().to_string(), &server.url()])
}

/// The status that curl gets, or 0 when there is no answer.
fn curl(url: &str, arguments: &[&str]) -> u16 {
    let output =
        Command::new("curl").args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "5"]).args(arguments).arg(url).output();
    String::from_utf8_lossy(&output.expect("curl").stdout).trim().parse().unwrap_or_default()
}

#[test]
fn who_has_no_password_gets_nothing() {
    let (server, folder) = (Redis::start(&[]), Certificates::make());
    let daemon = serve(&server, &folder, &format!("basic_auth_users:\n  prometheus: {HASH}\n"));
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", daemon.port);
    for path in ["/metrics", "/", "/-/healthy", "/api/v1/findings", "/scrape?target=x", "/sd", "/nosuch"] {
        assert_eq!(curl(&url(path), &[]), 401, "{path}");
    }
    assert_eq!(curl(&url("/metrics"), &["-u", "prometheus:open-sesame"]), 200);
    assert_eq!(curl(&url("/metrics"), &["-u", "prometheus:wrong"]), 401);
    assert_eq!(curl(&url("/metrics"), &["-u", "nobody:open-sesame"]), 401);
    assert_eq!(curl(&url("/metrics"), &["-H", "Authorization: Bearer open-sesame"]), 401);
    let again = Stopwatch::start();
    assert_eq!(curl(&url("/-/healthy"), &["-u", "prometheus:open-sesame"]), 200);
    println!("a password that was good before: {:?}", again.elapsed());
    let log = daemon.log().concat();
    assert!(!log.contains("open-sesame") && !log.contains(HASH), "{log}");
}

#[test]
fn guessing_passwords_does_not_burden_those_who_are_known() {
    let (server, folder) = (Redis::start(&[]), Certificates::make());
    let daemon = serve(&server, &folder, &format!("basic_auth_users:\n  prometheus: {HASH}\n  other: {HASH}\n"));
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(SECOND * 10)).build().into();
    let threads = || {
        // `prometheus:open-sesame`
        let known = "Basic cHJvbWV0aGV1czpvcGVuLXNlc2FtZQ==";
        let url = format!("http://127.0.0.1:{}/metrics?collect[]=exporter", daemon.port);
        let text = agent.get(url).header("Authorization", known).call().expect("200").body_mut().read_to_string().expect("text");
        let line = text.lines().find_map(|line| line.strip_prefix("process_threads ")).expect("threads");
        line.parse::<u32>().expect("a number")
    };
    let before = threads();
    let guess = |_| {
        let mut stream = TcpStream::connect(("127.0.0.1", daemon.port)).expect("a connection");
        stream.set_nonblocking(true).expect("a socket");
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic cHJvbWV0aGV1czpndWVzcw==\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("taken");
        stream
    };
    let mut guesses: Vec<_> = (0..200).map(guess).collect();
    let refusal = "Limit of concurrent requests reached (64), try again later.\n";
    let ((), _) = eventually(SECOND * 10, "guesses are turned away", || {
        let answers = guesses.iter_mut().filter_map(|stream| {
            let mut text = [0; 1024];
            let length = stream.read(&mut text).ok()?;
            Some(String::from_utf8_lossy(&text[..length]).into_owned())
        });
        let answers: Vec<_> = answers.filter(|answer| !answer.is_empty()).collect();
        assert!(answers.iter().all(|answer| answer.starts_with("HTTP/1.1 401 ") || answer.starts_with("HTTP/1.1 503 ")), "{answers:?}");
        answers.iter().any(|answer| answer.contains(refusal)).then_some(())
    });
    let during = threads();
    assert!(during <= before + 10, "{before} threads before, {during} while 200 passwords are guessed");
    // Those who no longer wait for an answer keep nobody from getting one.
    drop(guesses);
    let url = format!("http://127.0.0.1:{}/-/healthy", daemon.port);
    let ((), took) = eventually(SECOND * 20, "the other gets in", || (curl(&url, &["-u", "other:open-sesame"]) == 200).then_some(()));
    println!("{before} threads before, {during} while 200 passwords are guessed; another user gets in {took:?} later");
}

#[test]
fn tls_with_and_without_certificates_of_clients() {
    let (server, folder) = (Redis::start(&[]), Certificates::make());
    let [ca, cert, key] = ["ca.pem", "client.pem", "client.key"].map(|name| folder.path(name).display().to_string());
    let identity = "  cert_file: server.pem\n  key_file: server.key\n";
    let daemon = serve(&server, &folder, &format!("tls_server_config:\n{identity}"));
    let url = format!("https://localhost:{}/metrics", daemon.port);
    let resolve = |daemon: &Daemon| format!("localhost:{}:127.0.0.1", daemon.port);
    assert_eq!(curl(&url, &["--cacert", &ca, "--resolve", &resolve(&daemon)]), 200);
    assert_eq!(curl(&url.replace("https", "http"), &["--resolve", &resolve(&daemon)]), 0, "plain text is not answered");
    let text = format!(
        "tls_server_config:\n{identity}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  min_version: TLS13\n"
    );
    let daemon = serve(&server, &folder, &text);
    let url = format!("https://localhost:{}/metrics", daemon.port);
    assert_eq!(curl(&url, &["--cacert", &ca, "--resolve", &resolve(&daemon)]), 0);
    assert_eq!(curl(&url, &["--cacert", &ca, "--cert", &cert, "--key", &key, "--resolve", &resolve(&daemon)]), 200);
    assert_eq!(curl(&url, &["--cacert", &ca, "--cert", &cert, "--key", &key, "--tls-max", "1.2", "--resolve", &resolve(&daemon)]), 0);
}

#[test]
fn a_bad_web_configuration_says_what_is_wrong() {
    let folder = Certificates::make();
    let file = folder.path("web.yml").display().to_string();
    for (text, problem) in [
        ("basic_auth_users:\n  a: plain\n", "basic_auth_users.a: found no bcrypt hash"),
        ("basic_auth: {}\n", "unknown field `basic_auth`, expected `tls_server_config` or `basic_auth_users`"),
        ("tls_server_config:\n  cert_file: nosuch.pem\n  key_file: server.key\n", "cert_file: "),
        ("tls_server_config:\n  cert_file: server.pem\n  key_file: client.key\n", "cert_file and key_file"),
        ("tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n  client_auth_type: Maybe\n", "unknown variant `Maybe`"),
        (
            "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n  client_auth_type: RequireAndVerifyClientCert\n",
            "client_auth_type: found RequireAndVerifyClientCert without client_ca_file",
        ),
    ] {
        std::fs::write(&file, text).expect("a file");
        let output =
            Command::new(Daemon::binary()).args(["serve", "--web.config.file", &file, "redis://127.0.0.1:1"]).output().expect("rolecall");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(&format!("--web.config.file: {file}")) && said.contains(problem), "{text}: {said}");
        assert_eq!(output.status.code(), Some(1));
        assert!(!said.contains("plain"), "{said}");
    }
}

#[test]
fn prometheus_learns_what_there_is_to_scrape() {
    let server = Redis::start(&[]);
    let daemon = Daemon::watch(&[&server]);
    let nodes = daemon.document("/sd");
    let labels = serde_json::json!({ "__meta_rolecall_deployment": "default", "__meta_rolecall_node": server.address() });
    assert_eq!(nodes, serde_json::json!([{ "targets": [server.address()], "labels": labels }]));
    assert_eq!(daemon.get(&format!("/scrape?target={}", server.address()), "").status, 200, "a target can be scraped");
    let deployments = daemon.document("/sd?role=deployments");
    assert_eq!(deployments[0]["targets"][0], "default");
    assert_eq!(daemon.get("/sd?role=pods", "").status, 400);
    daemon.until(SECOND * 5, "redis_up", &[], 1.0);
}
