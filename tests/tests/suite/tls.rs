//! TLS connections to real servers, and the log message of each kind of TLS failure.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use tests::{Daemon, Redis, SECOND, Signal};

/// Directory with certificate authorities, certificates and keys from openssl.
pub(super) struct Certificates(TempDir);

impl Certificates {
    /// Creates all authorities and certificates.
    pub(super) fn create() -> Self {
        let certificates = Certificates(tempfile::tempdir().expect("a directory"));
        for authority in ["ca", "other-ca", "self-signed"] {
            certificates.openssl(
                &[
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                    "-nodes",
                    "-days",
                    "30",
                ],
                &[
                    ("-subj", &format!("/CN={authority}")),
                    ("-addext", "subjectAltName=DNS:localhost"),
                    ("-keyout", &format!("{authority}.key")),
                    ("-out", &format!("{authority}.pem")),
                ],
            );
        }
        certificates.sign("server", "ca", "DNS:localhost,IP:127.0.0.1", 20);
        certificates.sign("elsewhere", "ca", "DNS:redis.example", 20);
        certificates.sign("expired", "ca", "DNS:localhost,IP:127.0.0.1", -1);
        certificates.sign("client", "ca", "DNS:client", 20);
        certificates.sign("untrusted-client", "other-ca", "DNS:client", 20);
        certificates
    }

    /// Creates a key and a certificate that an authority signs.
    fn sign(&self, name: &str, authority: &str, alternative: &str, days: i32) {
        let key = format!("{name}.key");
        self.openssl(
            &["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
            &[("-subj", "/CN=Test"), ("-keyout", &key), ("-out", &format!("{name}.csr"))],
        );
        std::fs::write(
            self.path(&format!("{name}.ext")),
            format!("subjectAltName={alternative}\nbasicConstraints=CA:FALSE\n"),
        )
        .expect("a file");
        self.openssl(
            &["x509", "-req", "-CAcreateserial"],
            &[
                ("-in", &format!("{name}.csr")),
                ("-CA", &format!("{authority}.pem")),
                ("-CAkey", &format!("{authority}.key")),
                ("-days", &days.to_string()),
                ("-extfile", &format!("{name}.ext")),
                ("-out", &format!("{name}.pem")),
            ],
        );
    }

    fn openssl(&self, arguments: &[&str], options: &[(&str, &str)]) {
        let mut command = Command::new("openssl");
        command.current_dir(self.0.path()).args(arguments);
        for (name, value) in options {
            command.args([name, value]);
        }
        let output = command.output().expect("openssl");
        assert!(
            output.status.success(),
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Returns the path of a file of this name.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Starts a server with this certificate on a TLS port, which is returned with it. `clients` is
    /// the value of `tls-auth-clients`.
    pub(super) fn serve(&self, certificate: &str, clients: &str) -> (Redis, u16) {
        self.serve_with(certificate, clients, &[])
    }

    /// Does the same with more options.
    fn serve_with(&self, certificate: &str, clients: &str, more: &[&str]) -> (Redis, u16) {
        let port = tests::free_port();
        let file = |name: &str| self.path(name).display().to_string();
        let (cert, key) =
            (file(&format!("{certificate}.pem")), file(&format!("{certificate}.key")));
        let options = [
            "--tls-cert-file",
            &cert,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &file("ca.pem"),
            "--tls-auth-clients",
            clients,
        ];
        let port_option = ["--tls-port", &port.to_string()];
        (Redis::start(&[&port_option[..], &options, more].concat()), port)
    }
}

/// Options with which a server replicates over TLS.
const REPLICATION: [&str; 2] = ["--tls-replication", "yes"];

/// Starts a daemon on one node with these keys of `tls`.
fn start_daemon(url: &str, tls: &str) -> Daemon {
    Daemon::configured(&format!(
        "[[deployment]]\nname = 'a'\nnodes = [{{ url = '{url}' }}]\ntls = {{ {tls} }}\n"
    ))
}

#[test]
fn trusted_tls_server_is_up_and_its_certificate_is_checked() {
    let certificates = Certificates::create();
    let file = |name: &str| certificates.path(name).display().to_string();
    let (server, port) = certificates.serve("server", "yes");
    let identity =
        format!("cert_file = '{}', key_file = '{}'", file("client.pem"), file("client.key"));
    let daemon = start_daemon(
        &format!("rediss://localhost:{port}"),
        &format!("ca_file = '{}', {identity}", file("ca.pem")),
    );
    daemon.until(SECOND * 8, "redis_up", &[], 1.0);
    let days = daemon.value("redis_tls_certificate_expiry_timestamp_seconds").map(|expiry| {
        let now = daemon.value("redis_last_poll_timestamp_seconds").expect("a poll");
        (expiry - now) / 86_400.0
    });
    assert!(days.is_some_and(|days| (19.0..21.0).contains(&days)), "{days:?}");
    // A new connection resumes the TLS session. A server that hung is up again as without TLS.
    server.cli(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    tests::pause(SECOND * 2);
    assert_eq!(daemon.value("redis_up"), Some(1.0));
    server.signal(Signal::Stop);
    daemon.until(SECOND * 8, "redis_up", &[], 0.0);
    server.signal(Signal::Cont);
    daemon.until(SECOND * 3, "redis_up", &[], 1.0);

    let by_name =
        format!("ca_file = '{}', server_name = 'redis.example', {identity}", file("ca.pem"));
    let (_elsewhere, port) = certificates.serve("elsewhere", "no");
    start_daemon(&format!("rediss://127.0.0.1:{port}"), &by_name).until(
        SECOND * 8,
        "redis_up",
        &[],
        1.0,
    );
    let (_expired, port) = certificates.serve("expired", "no");
    start_daemon(&format!("rediss://127.0.0.1:{port}"), "insecure_skip_verify = true").until(
        SECOND * 8,
        "redis_up",
        &[],
        1.0,
    );
}

#[test]
fn a_self_signed_certificate_is_its_own_authority() {
    let certificates = Certificates::create();
    let trust = format!("ca_file = '{}'", certificates.path("self-signed.pem").display());
    let (_server, port) = certificates.serve("self-signed", "no");
    let daemon = start_daemon(&format!("rediss://localhost:{port}"), &trust);
    daemon.until(SECOND * 8, "redis_up", &[], 1.0);
    // Its name is verified, and no other certificate is accepted.
    let daemon = start_daemon(&format!("rediss://127.0.0.1:{port}"), &trust);
    daemon.until(SECOND * 9, "redis_down_reason", &[("reason", "tls")], 1.0);
    let (_server, port) = certificates.serve("other-ca", "no");
    let daemon = start_daemon(&format!("rediss://localhost:{port}"), &trust);
    daemon.until(SECOND * 9, "redis_down_reason", &[("reason", "tls")], 1.0);
}

#[test]
fn replicas_that_follow_the_tls_port_have_their_primary() {
    let certificates = Certificates::create();
    let (primary, primary_tls) = certificates.serve_with("server", "no", &REPLICATION);
    let follow = ["--replicaof", "127.0.0.1", &primary_tls.to_string()].map(str::to_owned);
    let follow: Vec<_> = follow.iter().map(String::as_str).collect();
    let (replica, replica_tls) =
        certificates.serve_with("server", "no", &[&REPLICATION[..], &follow].concat());
    replica.until_synchronised();
    // The replica follows the TLS port, and the primary lists it with its TLS port. Rolecall knows
    // both nodes by their plain ports.
    assert_eq!(replica.info("master_port"), Some(primary_tls.to_string()));
    let slave = primary.info("slave0").expect("a replica");
    assert!(slave.contains(&format!("port={replica_tls},")), "{slave}");
    let daemon = Daemon::watch(&[&primary, &replica]);
    daemon.until(SECOND * 8, "redis_deployment_replicas", &[], 1.0);
    daemon.until(
        SECOND * 8,
        "redis_connected_slave_info",
        &[("node", &primary.address()), ("replica", &replica.address())],
        1.0,
    );
    let samples = daemon.samples();
    let orphaned = samples
        .get("redis_replica_orphaned", &[("node", &replica.address()), ("why", "unknown_address")]);
    assert!(orphaned.is_none_or(|orphaned| orphaned == 0.0), "{orphaned:?}");
    assert!(samples.get("redis_replication_lag_bytes", &[]).is_some(), "the lag is known");
    assert_eq!(daemon.findings(), []);
}

#[test]
fn printed_commands_run_with_tls_user_and_password() {
    let certificates = Certificates::create();
    let (server, port) = certificates.serve("server", "no");
    let rights = ["-@all", "+info", "+config|get", "+client|id", "+client|list"];
    server.cli(&[&["ACL", "SETUSER", "rolecall", "on", ">secret"][..], &rights].concat());
    server.cli(&["ACL", "SETUSER", "default", ">other"]);
    let ca = certificates.path("ca.pem").display().to_string();
    let daemon = Daemon::configured(&format!(
        "[[deployment]]\nname = 'a'\nnodes = [{{ url = 'rediss://localhost:{port}' }}]\n\
         tls = {{ ca_file = '{ca}' }}\nusername = 'rolecall'\npassword = 'secret'\n\
         expect = {{ aof = 'all' }}\n"
    ));
    daemon.until(SECOND * 9, "redis_up", &[], 1.0);
    daemon.until_found(SECOND * 9, "RedisAofDisabled");
    let page = daemon.get("/runbooks/RedisAofDisabled?deployment=a", "text/html");
    let page = page.text.replace("&quot;", "\"");
    let command = page.lines().find(|line| line.contains("config get appendonly"));
    let command = command.unwrap_or_else(|| panic!("{page}"));
    let run = |password: &str| {
        let mut shell = Command::new("sh");
        let output = shell.args(["-c", command]).env("REDIS_PASSWORD", password).output();
        String::from_utf8(output.expect("a shell").stdout).expect("UTF-8")
    };
    assert_eq!(run("secret"), "appendonly\nno\n", "{command}");
    assert!(run("wrong").contains("NOAUTH"), "{command}");
}

#[test]
fn each_tls_failure_has_its_own_log_message() {
    let certificates = Certificates::create();
    let file = |name: &str| certificates.path(name).display().to_string();
    let trust = format!("ca_file = '{}'", file("ca.pem"));
    let check = |url: &str, tls: &str, words: &str| {
        let daemon = start_daemon(url, tls);
        daemon.until(SECOND * 9, "redis_down_reason", &[("reason", "tls")], 1.0);
        let log = daemon.log();
        let line = log
            .iter()
            .find(|line| line.contains("cannot read node"))
            .unwrap_or_else(|| panic!("{log:?}"));
        assert!(line.contains(words), "{words}: {line}");
    };
    let (_server, port) = certificates.serve("server", "no");
    check(
        &format!("rediss://localhost:{port}"),
        &format!("ca_file = '{}'", file("other-ca.pem")),
        "UnknownIssuer",
    );
    check(
        &format!("redis://localhost:{port}"),
        &trust,
        "the server speaks TLS on this port: use rediss://",
    );
    let (_elsewhere, port) = certificates.serve("elsewhere", "no");
    check(&format!("rediss://localhost:{port}"), &trust, "certificate not valid for name");
    let (_expired, port) = certificates.serve("expired", "no");
    check(&format!("rediss://localhost:{port}"), &trust, "Expired");
    let (_strict, port) = certificates.serve("server", "yes");
    check(&format!("rediss://localhost:{port}"), &trust, "CertificateRequired");
    let untrusted_client = format!(
        "{trust}, cert_file = '{}', key_file = '{}'",
        file("untrusted-client.pem"),
        file("untrusted-client.key")
    );
    check(&format!("rediss://localhost:{port}"), &untrusted_client, "UnknownCA");
    let plain = Redis::start(&[]);
    check(
        &format!("rediss://127.0.0.1:{}", plain.port),
        &trust,
        "the server does not speak TLS on this port: use redis://",
    );
}
