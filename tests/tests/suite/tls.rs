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
        for authority in ["ca", "other-ca"] {
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
        (Redis::start(&[&["--tls-port", &port.to_string()][..], &options].concat()), port)
    }
}

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
    check(&format!("rediss://localhost:{port}"), &trust, "NotValidForName");
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
