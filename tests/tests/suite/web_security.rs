//! TLS and basic authentication of the web server, configured by a Prometheus web configuration
//! file.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use socket2::{Domain, Socket, Type};
use tests::{ConfigFile, Daemon, Redis, SECOND, Signal, Stopwatch, deployment, eventually};

use super::tls::Certificates;

/// The bcrypt hash of `open-sesame`.
const HASH: &str = "$2b$10$abcdefghijklmnopqrstuuKNEQxEAZiyaAlk1AAmHbHnfydApuKHq";

/// The bcrypt hash of `close-sesame`.
const OTHER_HASH: &str = "$2b$10$abcdefghijklmnopqrstuuaz8oITfENnmzVAFwaKWTcumS7t7sMvy";

/// Starts the daemon on a server. Writes its web configuration with this text to a folder.
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

/// Returns the HTTP status of a request with curl, or 0 without a response.
pub(crate) fn curl(url: &str, arguments: &[&str]) -> u16 {
    response(url, arguments).0
}

/// Returns the status and the body of the response.
fn response(url: &str, arguments: &[&str]) -> (u16, String) {
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
    let (server, folder) = (Redis::start(&[]), Certificates::create());
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
    let cached = Stopwatch::start();
    assert_eq!(curl(&url("/-/healthy"), &["-u", "prometheus:open-sesame"]), 200);
    println!("a password that was accepted before: {:?}", cached.elapsed());
    let log = daemon.log().concat();
    assert!(!log.contains("open-sesame") && !log.contains(HASH), "{log}");
}

#[test]
fn password_guessing_does_not_block_known_users() {
    let (server, folder) = (Redis::start(&[]), Certificates::create());
    let daemon = serve(
        &server,
        &folder,
        &format!("basic_auth_users:\n  prometheus: {HASH}\n  other: {HASH}\n"),
    );
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(SECOND * 10)).build().into();
    let threads = || {
        // The user `prometheus` with the password `open-sesame`.
        let authorization = "Basic cHJvbWV0aGV1czpvcGVuLXNlc2FtZQ==";
        let url = format!("http://127.0.0.1:{}/metrics?collect[]=exporter", daemon.port);
        let text = agent
            .get(url)
            .header("Authorization", authorization)
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
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                       Authorization: Basic cHJvbWV0aGV1czpndWVzcw==\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("request sent");
        stream
    };
    let mut guesses: Vec<_> = (0..200).map(guess).collect();
    let refusal = "Limit of concurrent requests reached (8), try again later.\n";
    let ((), _) = eventually(SECOND * 10, "guesses are refused", || {
        let responses = guesses.iter_mut().filter_map(|stream| {
            let mut text = [0; 1024];
            let length = stream.read(&mut text).ok()?;
            Some(String::from_utf8_lossy(&text[..length]).into_owned())
        });
        let responses: Vec<_> = responses.filter(|response| !response.is_empty()).collect();
        assert!(
            responses.iter().all(|response| response.starts_with("HTTP/1.1 401 ")
                || response.starts_with("HTTP/1.1 503 ")),
            "{responses:?}"
        );
        responses.iter().any(|response| response.contains(refusal)).then_some(())
    });
    let during = threads();
    assert!(
        during <= before + 10,
        "{before} threads before, {during} while 200 passwords are guessed"
    );
    // Closed connections do not block other requests.
    drop(guesses);
    let url = format!("http://127.0.0.1:{}/-/healthy", daemon.port);
    let ((), took) = eventually(SECOND * 20, "another user is let in", || {
        (curl(&url, &["-u", "other:open-sesame"]) == 200).then_some(())
    });
    println!(
        "{before} threads before, {during} while 200 passwords are guessed; \
         another user is let in {took:?} later"
    );
}

/// Somebody who guesses passwords of the user `prometheus` until the value is dropped.
struct Guesser {
    stopped: Arc<AtomicBool>,
    threads: Vec<JoinHandle<u32>>,
}

impl Guesser {
    /// Starts to guess, with eight connections at a time from this loopback address.
    fn start(last: u8, port: u16) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let guess = |thread: u32| {
            let stopped = Arc::clone(&stopped);
            std::thread::spawn(move || {
                let mut number = 0;
                while !stopped.load(Ordering::Relaxed) {
                    number += 1;
                    let credentials = format!("prometheus:guess-{thread}-{number}");
                    // The daemon may close the connection at any time.
                    let _ = request_from(last, port, &credentials);
                }
                number
            })
        };
        let threads = (0..8).map(guess).collect();
        Guesser { stopped, threads }
    }

    /// Stops, and returns the number of guesses.
    fn stop(mut self) -> u32 {
        self.stopped.store(true, Ordering::Relaxed);
        self.threads.drain(..).map(|thread| thread.join().expect("no panic")).sum()
    }
}

impl Drop for Guesser {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic here, while the test panics, would end all tests.
            let _ = thread.join();
        }
    }
}

/// Requests `/-/healthy` from a loopback address. Returns the status.
fn request_from(last: u8, port: u16, credentials: &str) -> std::io::Result<u16> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, last], 0)).into())?;
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into())?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(SECOND * 60))?;
    let encoded = BASE64_STANDARD.encode(credentials);
    write!(
        stream,
        "GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Authorization: Basic {encoded}\r\n\r\n"
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| std::io::Error::other(text))
}

#[test]
fn valid_users_are_let_in_after_a_reload_despite_guessing() {
    let (server, folder) = (Redis::start(&[]), Certificates::create());
    let users =
        |other: &str| format!("basic_auth_users:\n  prometheus: {HASH}\n  other: {other}\n");
    let daemon = serve(&server, &folder, &users(HASH));
    assert_eq!(request_from(1, daemon.port, "prometheus:open-sesame").expect("a response"), 200);
    assert_eq!(request_from(1, daemon.port, "other:open-sesame").expect("a response"), 200);
    // Guesses from the address of the valid user, and from another one.
    let guessers = [1, 2].map(|last| Guesser::start(last, daemon.port));
    std::fs::write(folder.path("web.yml"), users(OTHER_HASH)).expect("a file");
    daemon.signal(Signal::Hangup);
    eventually(SECOND * 5, "the reload is logged", || {
        daemon.log().iter().any(|line| line.contains("configuration reloaded")).then_some(())
    });
    // The password of `prometheus` did not change.
    let mut longest = Duration::ZERO;
    for _ in 0..50 {
        let clock = Stopwatch::start();
        let status = request_from(1, daemon.port, "prometheus:open-sesame").expect("a response");
        assert_eq!(status, 200);
        longest = longest.max(clock.elapsed());
    }
    assert!(longest < SECOND, "a known user waited for {longest:?}");
    // That of `other` did. From another address, its check waits for at most two times eight.
    assert_eq!(request_from(3, daemon.port, "other:open-sesame").expect("a response"), 401);
    let clock = Stopwatch::start();
    assert_eq!(request_from(3, daemon.port, "other:close-sesame").expect("a response"), 200);
    let checked = clock.elapsed();
    let count: u32 = guessers.map(Guesser::stop).iter().sum();
    println!(
        "during {count} guesses, a known user waited for at most {longest:?}, and the check of \
         a new password took {checked:?}"
    );
}

#[test]
fn web_tls_works_with_and_without_client_certificates() {
    let (server, folder) = (Redis::start(&[]), Certificates::create());
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
        "plain HTTP gets no response"
    );
    let text = format!(
        "tls_server_config:\n{identity}  client_auth_type: RequireAndVerifyClientCert\n  \
         client_ca_file: ca.pem\n  min_version: TLS13\n"
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
    let folder = Certificates::create();
    let file = folder.path("web.yml").display().to_string();
    for (text, problem) in [
        ("basic_auth_users:\n  a: plain\n", "basic_auth_users.a: not a bcrypt hash"),
        ("basic_auth_users: a:plain\n", "invalid type: expected a map"),
        ("a:plain\n", "invalid type: expected a map"),
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
            "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n  \
             client_auth_type: Maybe\n",
            "unknown variant `Maybe`",
        ),
        (
            "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n  \
             client_auth_type: RequireAndVerifyClientCert\n",
            "\"client_auth_type: RequireAndVerifyClientCert\" requires \"client_ca_file\"",
        ),
    ] {
        std::fs::write(&file, text).expect("a file");
        let output = Command::new(Daemon::binary())
            .args(["serve", "--web.config.file", &file, "redis://127.0.0.1:1"])
            .output()
            .expect("rolecall");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            stderr.contains(&format!("--web.config.file: {file}")) && stderr.contains(problem),
            "{text}: {stderr}"
        );
        assert_eq!(output.status.code(), Some(1));
        assert!(!stderr.contains("plain"), "{stderr}");
    }
}

/// The log messages of a successful and a failed reload.
const RELOADED: &str = "configuration reloaded";
const NOT_RELOADED: &str = "configuration not reloaded";

/// The TLS part of a web configuration.
const TLS: &str = "tls_server_config:\n  cert_file: used.pem\n  key_file: used.key\n";

/// Returns a web configuration with TLS and a user `prometheus`.
fn tls_and_user(hash: &str) -> String {
    format!("{TLS}basic_auth_users:\n  prometheus: {hash}\n")
}

/// A daemon with TLS and basic authentication, and its files.
struct SecuredDaemon {
    daemon: Daemon,
    config: ConfigFile,
    folder: Certificates,
}

impl SecuredDaemon {
    /// Starts the daemon with the certificate `server` and the password of [`HASH`].
    fn start(server: &Redis) -> Self {
        let folder = Certificates::create();
        use_certificate(&folder, "server");
        let file = folder.path("web.yml");
        std::fs::write(&file, tls_and_user(HASH)).expect("a file");
        let config = ConfigFile::new(&deployment("orders", &[server]));
        let daemon = Daemon::start(&[
            "--config.file",
            &config.path(),
            "--web.enable-lifecycle",
            "--web.config.file",
            &file.display().to_string(),
        ]);
        SecuredDaemon { daemon, config, folder }
    }

    /// Replaces the web configuration.
    fn write_web_configuration(&self, text: &str) {
        std::fs::write(self.folder.path("web.yml"), text).expect("a file");
    }

    /// Sends a request to the daemon by a host name. Returns the status and the body.
    fn request(&self, host: &str, path: &str, password: &str, more: &[&str]) -> (u16, String) {
        let ca = self.folder.path("ca.pem").display().to_string();
        let user = format!("prometheus:{password}");
        let resolve = format!("{host}:{}:127.0.0.1", self.daemon.port);
        let arguments = ["--cacert", &ca, "--resolve", &resolve, "-u", &user];
        let url = format!("https://{host}:{}{path}", self.daemon.port);
        response(&url, &[&arguments, more].concat())
    }

    /// Returns the status of `/-/healthy`.
    fn health(&self, host: &str, password: &str) -> u16 {
        self.request(host, "/-/healthy", password, &[]).0
    }

    /// Returns the status of `/-/healthy` with the password of [`HASH`] and of [`OTHER_HASH`].
    fn health_by_password(&self, host: &str) -> [u16; 2] {
        ["open-sesame", "close-sesame"].map(|password| self.health(host, password))
    }

    fn count_logged(&self, text: &str) -> usize {
        self.daemon.log().iter().filter(|line| line.contains(text)).count()
    }

    /// Sends SIGHUP, and waits until a line with this text is logged.
    #[track_caller]
    fn reload_until_logged(&self, text: &str) {
        let before = self.count_logged(text);
        self.daemon.signal(Signal::Hangup);
        eventually(SECOND * 5, "the reload is logged", || {
            (self.count_logged(text) > before).then_some(())
        });
    }

    /// Reloads, and checks that the reload fails with this problem and changes nothing.
    #[track_caller]
    fn check_not_reloaded(&self, problem: &str) {
        self.reload_until_logged(NOT_RELOADED);
        let log = self.daemon.log();
        assert!(
            log.iter().any(|line| line.contains(NOT_RELOADED) && line.contains(problem)),
            "{problem}: {log:?}"
        );
        assert_eq!(self.health_by_password("redis.example"), [401, 200], "{problem}");
    }
}

/// Makes a certificate and its key the ones that the web configuration names.
fn use_certificate(folder: &Certificates, name: &str) {
    for extension in ["pem", "key"] {
        let [from, to] = [name, "used"].map(|name| folder.path(&format!("{name}.{extension}")));
        std::fs::copy(from, to).expect("a file");
    }
}

#[test]
fn reload_applies_the_web_configuration() {
    let server = Redis::start(&[]);
    let secured = SecuredDaemon::start(&server);
    assert_eq!(secured.health_by_password("localhost"), [200, 401]);
    // A new password replaces the old one, which was accepted and cached before.
    secured.write_web_configuration(&tls_and_user(OTHER_HASH));
    assert_eq!(
        secured.health("localhost", "open-sesame"),
        200,
        "the old password is valid until the reload"
    );
    secured.reload_until_logged(RELOADED);
    assert_eq!(secured.health_by_password("localhost"), [401, 200]);
    // A new certificate for another host name.
    use_certificate(&secured.folder, "elsewhere");
    secured.reload_until_logged(RELOADED);
    assert_eq!(
        ["localhost", "redis.example"].map(|host| secured.health(host, "close-sesame")),
        [0, 200]
    );
    // The old state is kept if a file is invalid or missing, if the key belongs to another
    // certificate, or if the main configuration is invalid.
    secured.config.write("[[deployment]]\nname = 'orders'\n");
    secured.write_web_configuration(&tls_and_user(HASH));
    secured.check_not_reloaded("rolecall.toml");
    secured.config.write(&deployment("payments", &[&server]));
    let valid = tls_and_user(HASH);
    for (text, problem) in [
        (tls_and_user("open-sesame"), "basic_auth_users.prometheus: not a bcrypt hash"),
        (tls_and_user("47110815"), "basic_auth_users.prometheus: not a bcrypt hash"),
        (valid.replace("used.key", "client.key"), "cert_file and key_file"),
        (valid.replace("cert_file", "certificate"), "unknown field `certificate`"),
    ] {
        secured.write_web_configuration(&text);
        secured.check_not_reloaded(problem);
    }
    let post = ["-X", "POST"];
    let (status, body) = secured.request("redis.example", "/-/reload", "close-sesame", &post);
    assert_eq!(status, 500);
    assert!(
        body.starts_with("configuration not reloaded: --web.config.file: ")
            && body.contains("web.yml: tls_server_config: "),
        "{body}"
    );
    let (_, metrics) = secured.request("redis.example", "/metrics", "close-sesame", &[]);
    assert!(metrics.contains("\nrolecall_config_last_reload_successful 0\n"), "{metrics}");
    assert!(!metrics.contains("payments"), "the valid main configuration is not applied either");
    std::fs::remove_file(secured.folder.path("web.yml")).expect("a file");
    secured.check_not_reloaded("No such file");
    // Disabling TLS needs a restart. The users change nevertheless.
    secured.write_web_configuration(&valid.replace(TLS, ""));
    secured.reload_until_logged("only changes with a restart");
    eventually(SECOND * 5, "the configuration is reloaded", || {
        (secured.count_logged(RELOADED) == 3).then_some(())
    });
    assert_eq!(
        secured.count_logged("key=tls_server_config found=absent used=present"),
        1,
        "{:?}",
        secured.daemon.log()
    );
    assert_eq!(secured.health_by_password("redis.example"), [200, 401]);
    let log = secured.daemon.log().concat();
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
    let labels = serde_json::json!({
        "__meta_rolecall_deployment": "default",
        "__meta_rolecall_node": server.address(),
    });
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
