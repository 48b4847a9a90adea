//! TLS and basic authentication of the web server, by Prometheus' own web configuration file.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use tests::{ConfigFile, Daemon, Redis, SECOND, Signal, Stopwatch, deployment, eventually};

use super::tls::Certificates;

/// bcrypt of `open-sesame`.
const HASH: &str = "$2b$10$abcdefghijklmnopqrstuuKNEQxEAZiyaAlk1AAmHbHnfydApuKHq";

/// bcrypt of `close-sesame`.
const OTHER_HASH: &str = "$2b$10$abcdefghijklmnopqrstuuaz8oITfENnmzVAFwaKWTcumS7t7sMvy";

/// Starts the daemon on a server with a web configuration in a folder; the text of the file goes with it.
fn serve(server: &Redis, folder: &Certificates, text: &str) -> Daemon {
    let file = folder.path("web.yml");
    std::fs::write(&file, text).expect("a file");
    Daemon::start(&[
        "--log.level",
        "trace",
        "--web.config.file",
        &file.display().to_string(),
        &server.url(),
    ])
}

/// The status that curl gets, or 0 when there is no answer.
fn curl(url: &str, arguments: &[&str]) -> u16 {
    answer(url, arguments).0
}

/// The same with the text.
fn answer(url: &str, arguments: &[&str]) -> (u16, String) {
    let output = Command::new("curl")
        .args(["-s", "-w", "\n%{http_code}", "--max-time", "5"])
        .args(arguments)
        .arg(url)
        .output();
    let output = String::from_utf8_lossy(&output.expect("curl").stdout).into_owned();
    let (text, status) = output.rsplit_once('\n').expect("a status");
    (status.parse().expect("a number"), text.to_owned())
}

#[test]
fn requests_without_a_valid_password_get_401() {
    let (server, folder) = (Redis::start(&[]), Certificates::make());
    let daemon = serve(&server, &folder, &format!("basic_auth_users:\n  prometheus: {HASH}\n"));
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", daemon.port);
    for path in
        ["/metrics", "/", "/-/healthy", "/api/v1/findings", "/scrape?target=x", "/sd", "/nosuch"]
    {
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
fn password_guessing_does_not_block_known_users() {
    let (server, folder) = (Redis::start(&[]), Certificates::make());
    let daemon = serve(
        &server,
        &folder,
        &format!("basic_auth_users:\n  prometheus: {HASH}\n  other: {HASH}\n"),
    );
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(SECOND * 10)).build().into();
    let threads = || {
        // `prometheus:open-sesame`
        let known = "Basic cHJvbWV0aGV1czpvcGVuLXNlc2FtZQ==";
        let url = format!("http://127.0.0.1:{}/metrics?collect[]=exporter", daemon.port);
        let text = agent
            .get(url)
            .header("Authorization", known)
            .call()
            .expect("200")
            .body_mut()
            .read_to_string()
            .expect("text");
        let line =
            text.lines().find_map(|line| line.strip_prefix("process_threads ")).expect("threads");
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
    let ((), _) =
        eventually(SECOND * 10, "guesses are turned away", || {
            let answers = guesses.iter_mut().filter_map(|stream| {
                let mut text = [0; 1024];
                let length = stream.read(&mut text).ok()?;
                Some(String::from_utf8_lossy(&text[..length]).into_owned())
            });
            let answers: Vec<_> = answers.filter(|answer| !answer.is_empty()).collect();
            assert!(
                answers.iter().all(|answer| answer.starts_with("HTTP/1.1 401 ")
                    || answer.starts_with("HTTP/1.1 503 ")),
                "{answers:?}"
            );
            answers.iter().any(|answer| answer.contains(refusal)).then_some(())
        });
    let during = threads();
    assert!(
        during <= before + 10,
        "{before} threads before, {during} while 200 passwords are guessed"
    );
    // Those who no longer wait for an answer keep nobody from getting one.
    drop(guesses);
    let url = format!("http://127.0.0.1:{}/-/healthy", daemon.port);
    let ((), took) = eventually(SECOND * 20, "the other gets in", || {
        (curl(&url, &["-u", "other:open-sesame"]) == 200).then_some(())
    });
    println!(
        "{before} threads before, {during} while 200 passwords are guessed; another user gets in {took:?} later"
    );
}

#[test]
fn web_tls_works_with_and_without_client_certificates() {
    let (server, folder) = (Redis::start(&[]), Certificates::make());
    let [ca, cert, key] =
        ["ca.pem", "client.pem", "client.key"].map(|name| folder.path(name).display().to_string());
    let identity = "  cert_file: server.pem\n  key_file: server.key\n";
    let daemon = serve(&server, &folder, &format!("tls_server_config:\n{identity}"));
    let url = format!("https://localhost:{}/metrics", daemon.port);
    let resolve = |daemon: &Daemon| format!("localhost:{}:127.0.0.1", daemon.port);
    assert_eq!(curl(&url, &["--cacert", &ca, "--resolve", &resolve(&daemon)]), 200);
    assert_eq!(
        curl(&url.replace("https", "http"), &["--resolve", &resolve(&daemon)]),
        0,
        "plain text is not answered"
    );
    let text = format!(
        "tls_server_config:\n{identity}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  min_version: TLS13\n"
    );
    let daemon = serve(&server, &folder, &text);
    let url = format!("https://localhost:{}/metrics", daemon.port);
    assert_eq!(curl(&url, &["--cacert", &ca, "--resolve", &resolve(&daemon)]), 0);
    assert_eq!(
        curl(
            &url,
            &["--cacert", &ca, "--cert", &cert, "--key", &key, "--resolve", &resolve(&daemon)]
        ),
        200
    );
    assert_eq!(
        curl(
            &url,
            &[
                "--cacert",
                &ca,
                "--cert",
                &cert,
                "--key",
                &key,
                "--tls-max",
                "1.2",
                "--resolve",
                &resolve(&daemon)
            ]
        ),
        0
    );
}

#[test]
fn invalid_web_configuration_is_rejected_with_the_reason() {
    let folder = Certificates::make();
    let file = folder.path("web.yml").display().to_string();
    for (text, problem) in [
        ("basic_auth_users:\n  a: plain\n", "basic_auth_users.a: found no bcrypt hash"),
        ("basic_auth_users: a:plain\n", "found text, accepted is a map of keys to values"),
        ("a:plain\n", "found text, accepted is a map of keys to values"),
        (
            "basic_auth: {}\n",
            "unknown field `basic_auth`, expected `tls_server_config` or `basic_auth_users`",
        ),
        ("tls_server_config:\n  cert_file: nosuch.pem\n  key_file: server.key\n", "cert_file: "),
        (
            "tls_server_config:\n  cert_file: server.pem\n  key_file: client.key\n",
            "cert_file and key_file",
        ),
        (
            "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n  client_auth_type: Maybe\n",
            "unknown variant `Maybe`",
        ),
        (
            "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n  client_auth_type: RequireAndVerifyClientCert\n",
            "client_auth_type: found RequireAndVerifyClientCert without client_ca_file",
        ),
    ] {
        std::fs::write(&file, text).expect("a file");
        let output = Command::new(Daemon::binary())
            .args(["serve", "--web.config.file", &file, "redis://127.0.0.1:1"])
            .output()
            .expect("rolecall");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains(&format!("--web.config.file: {file}")) && said.contains(problem),
            "{text}: {said}"
        );
        assert_eq!(output.status.code(), Some(1));
        assert!(!said.contains("plain"), "{said}");
    }
}

#[test]
fn reload_applies_the_web_configuration() {
    let (server, folder) = (Redis::start(&[]), Certificates::make());
    let file = folder.path("web.yml");
    let copy =
        |from: &str, to: &str| std::fs::copy(folder.path(from), folder.path(to)).expect("a file");
    let identity = |name: &str| {
        ["pem", "key"].map(|kind| copy(&format!("{name}.{kind}"), &format!("used.{kind}")))
    };
    identity("server");
    let tls = "tls_server_config:\n  cert_file: used.pem\n  key_file: used.key\n";
    let text = |hash: &str| format!("{tls}basic_auth_users:\n  prometheus: {hash}\n");
    std::fs::write(&file, text(HASH)).expect("a file");
    let config = ConfigFile::new(&deployment("orders", &[&server]));
    let arguments = [
        "--config.file",
        &config.path(),
        "--web.enable-lifecycle",
        "--web.config.file",
        &file.display().to_string(),
    ];
    let daemon = Daemon::start(&arguments);
    let ca = folder.path("ca.pem").display().to_string();
    let ask = |name: &str, path: &str, password: &str, more: &[&str]| {
        let user = format!("prometheus:{password}");
        let resolve = format!("{name}:{}:127.0.0.1", daemon.port);
        let arguments = ["--cacert", &ca, "--resolve", &resolve, "-u", &user];
        answer(&format!("https://{name}:{}{path}", daemon.port), &[&arguments, more].concat())
    };
    let healthy = |name: &str, password: &str| ask(name, "/-/healthy", password, &[]).0;
    let logged = |what: &str| daemon.log().iter().filter(|line| line.contains(what)).count();
    let reload = |what: &str| {
        let before = logged(what);
        daemon.signal(Signal::Hangup);
        eventually(SECOND * 5, "it is read again", || (logged(what) > before).then_some(()));
    };
    let [reloaded, kept] = ["configuration reloaded", "configuration not reloaded"];
    assert_eq!(
        [healthy("localhost", "open-sesame"), healthy("localhost", "close-sesame")],
        [200, 401]
    );
    // Another password; the old one was remembered as good.
    std::fs::write(&file, text(OTHER_HASH)).expect("a file");
    assert_eq!(healthy("localhost", "open-sesame"), 200, "not before the reload");
    reload(reloaded);
    assert_eq!(
        [healthy("localhost", "open-sesame"), healthy("localhost", "close-sesame")],
        [401, 200]
    );
    // Another certificate, for another name.
    identity("elsewhere");
    reload(reloaded);
    assert_eq!(
        [healthy("localhost", "close-sesame"), healthy("redis.example", "close-sesame")],
        [0, 200]
    );
    // A bad file, a key of another certificate, no file: all stays as it is. So it does when the configuration is bad.
    let keeps = |problem: &str| {
        reload(kept);
        assert!(
            daemon.log().iter().any(|line| line.contains(kept) && line.contains(problem)),
            "{problem}: {:?}",
            daemon.log()
        );
        assert_eq!(
            [healthy("redis.example", "open-sesame"), healthy("redis.example", "close-sesame")],
            [401, 200],
            "{problem}"
        );
    };
    config.write("[[deployment]]\nname = 'orders'\n");
    std::fs::write(&file, text(HASH)).expect("a file");
    keeps("rolecall.toml");
    config.write(&deployment("payments", &[&server]));
    for (text, problem) in [
        (text("open-sesame"), "basic_auth_users.prometheus: found no bcrypt hash"),
        (text("47110815"), "basic_auth_users.prometheus: found no bcrypt hash"),
        (text(HASH).replace("used.key", "client.key"), "cert_file and key_file"),
        (text(HASH).replace("cert_file", "certificate"), "unknown field `certificate`"),
    ] {
        std::fs::write(&file, text).expect("a file");
        keeps(problem);
    }
    let (status, said) = ask("redis.example", "/-/reload", "close-sesame", &["-X", "POST"]);
    assert_eq!(status, 500);
    assert!(
        said.starts_with("configuration not reloaded: --web.config.file: ")
            && said.contains("web.yml: tls_server_config: "),
        "{said}"
    );
    let (_, metrics) = ask("redis.example", "/metrics", "close-sesame", &[]);
    assert!(metrics.contains("\nrolecall_config_last_reload_successful 0\n"), "{metrics}");
    assert!(!metrics.contains("payments"), "the good file of the two is not used either");
    std::fs::remove_file(&file).expect("a file");
    keeps("No such file");
    // Whether TLS is spoken only changes with a restart; the users change nonetheless.
    std::fs::write(&file, text(HASH).replace(tls, "")).expect("a file");
    reload("only changes with a restart");
    eventually(SECOND * 5, "it is reloaded", || (logged(reloaded) == 3).then_some(()));
    assert_eq!(logged("key=tls_server_config found=absent used=present"), 1, "{:?}", daemon.log());
    assert_eq!(
        [healthy("redis.example", "open-sesame"), healthy("redis.example", "close-sesame")],
        [200, 401]
    );
    let log = daemon.log().concat();
    assert!(
        ["sesame", HASH, OTHER_HASH, "47110815"].iter().all(|secret| !log.contains(secret)),
        "{log}"
    );
}

#[test]
fn service_discovery_lists_nodes_and_deployments() {
    let server = Redis::start(&[]);
    let daemon = Daemon::watch(&[&server]);
    let nodes = daemon.document("/sd");
    let labels = serde_json::json!({ "__meta_rolecall_deployment": "default", "__meta_rolecall_node": server.address() });
    assert_eq!(nodes, serde_json::json!([{ "targets": [server.address()], "labels": labels }]));
    assert_eq!(
        daemon.get(&format!("/scrape?target={}", server.address()), "").status,
        200,
        "a target can be scraped"
    );
    let deployments = daemon.document("/sd?role=deployments");
    assert_eq!(deployments[0]["targets"][0], "default");
    assert_eq!(daemon.get("/sd?role=pods", "").status, 400);
    daemon.until(SECOND * 5, "redis_up", &[], 1.0);
}
