//! Conversion of the flags into the settings of the daemon.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use catalog::LegacyStyle;
use client::{Password, TlsSettings};
use config::{LogFormat, LogLevel, RedisExporterOptions, Settings};

use super::flags::Flags;
use crate::http;
use crate::web_config::{ClientAuth, MinVersion, PasswordHash, TlsServerConfig, WebConfigFile};
use crate::web_security::WebSecurity;

/// Cost of the hash of `basic-auth-password`, the default of bcrypt tools.
const HASH_COST: u32 = 10;

/// Longest time for which a request waits for the first reply of a target. Prometheus gives up
/// after ten seconds.
const FIRST_REPLY_LIMIT: Duration = Duration::from_secs(5);

/// Options of the web server in this mode.
#[derive(Debug, Clone)]
pub(crate) struct WebOptions {
    /// Names and labels of the metrics.
    pub(crate) style: LegacyStyle,
    /// Another path of `/metrics`.
    pub(crate) telemetry_path: Option<String>,
    /// `/metrics` omits the metrics of Rolecall itself.
    pub(crate) redis_only: bool,
    /// `/discover-cluster-nodes` lists the nodes.
    pub(crate) is_cluster: bool,
    /// Longest time for which a request waits for the first reply of a target.
    pub(crate) first_reply: Duration,
}

impl Flags {
    /// Returns the settings of the daemon.
    ///
    /// # Errors
    /// Fails if a flag is not supported or has an invalid value.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        self.check_supported()?;
        let mut settings = Settings::for_redis_exporter(&self.options()?)?;
        settings.warnings.extend_from_slice(&self.warnings);
        if self.is_on("disable-scrape-endpoint") {
            settings.scrape = None;
        }
        if let Some(scrape) = &settings.scrape {
            settings.warnings.push(format!(
                "/scrape connects to any target that a request names; the password is sent only \
                 to: {}. --scrape.trust changes this, --disable-scrape-endpoint disables /scrape",
                scrape.trusted()
            ));
        }
        Ok(settings)
    }

    fn options(&self) -> anyhow::Result<RedisExporterOptions> {
        let reads_config = match self.text("config-command") {
            "-" => false,
            "CONFIG" => true,
            _ => bail!(
                "--config-command: a renamed CONFIG command is not supported, expected CONFIG or -"
            ),
        };
        let trust = self.given("scrape.trust").map(|text| {
            let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
            entries.map(str::to_owned).collect()
        });
        Ok(RedisExporterOptions {
            address: self.text("redis.addr").to_owned(),
            username: self.given("redis.user"),
            password: self.given("redis.password").map(|text| Password::Inline(text.into())),
            password_file: self.given("redis.password-file"),
            tls: TlsSettings {
                ca_file: self.path("tls-ca-cert-file"),
                cert_file: self.path("tls-client-cert-file"),
                key_file: self.path("tls-client-key-file"),
                server_name: self.given("tls-server-name"),
                insecure_skip_verify: self.is_on("skip-tls-verification"),
            },
            is_cluster: self.is_on("is-cluster"),
            discovers_host_names: self.is_on("cluster-discover-hostnames"),
            reads_config,
            connection_timeout: self.connection_timeout()?,
            trust,
            listen_address: self.text("web.listen-address").to_owned(),
            log_level: self.log_level(),
            log_format: match self.text("log-format") {
                "json" => LogFormat::Json,
                _ => LogFormat::Logfmt,
            },
        })
    }

    /// Returns what the web server serves.
    ///
    /// # Errors
    /// Fails if a flag has an invalid value.
    pub(crate) fn web_options(&self) -> anyhow::Result<WebOptions> {
        let namespace = self.text("namespace");
        Ok(WebOptions {
            style: LegacyStyle {
                namespace: (namespace != "redis").then(|| namespace.to_owned()),
                role_label: self.is_on("append-instance-role-label"),
            },
            telemetry_path: telemetry_path(self.text("web.telemetry-path"))?,
            redis_only: self.is_on("redis-only-metrics"),
            is_cluster: self.is_on("is-cluster"),
            first_reply: FIRST_REPLY_LIMIT.min(self.connection_timeout()?),
        })
    }

    /// Returns TLS and basic authentication of the web server.
    ///
    /// # Errors
    /// Fails if the flags contradict each other or a file is invalid.
    pub(crate) fn web_security(&self) -> anyhow::Result<WebSecurity> {
        let tls = self.tls_server()?;
        let user = self.basic_auth_user()?;
        let has_flags = tls.is_some() || user.is_some();
        if let Some(path) = self.path("web.config.file") {
            if has_flags {
                bail!(
                    "--web.config.file cannot be combined with --tls-server-* and --basic-auth-*"
                );
            }
            return WebSecurity::open(Some(&path));
        }
        let file =
            WebConfigFile { tls_server_config: tls, basic_auth_users: user.into_iter().collect() };
        WebSecurity::from_file(file, Path::new(".")).context("--tls-server-*")
    }

    fn tls_server(&self) -> anyhow::Result<Option<TlsServerConfig>> {
        let client_ca_file = self.path("tls-server-ca-cert-file");
        let files = (self.path("tls-server-cert-file"), self.path("tls-server-key-file"));
        let (cert_file, key_file) = match files {
            (Some(cert), Some(key)) => (cert, key),
            (None, None) if client_ca_file.is_none() => return Ok(None),
            _ => bail!(
                "--tls-server-cert-file and --tls-server-key-file require each other, and \
                 --tls-server-ca-cert-file requires both"
            ),
        };
        let client_auth_type = match client_ca_file {
            Some(_) => ClientAuth::RequireAndVerifyClientCert,
            None => ClientAuth::NoClientCert,
        };
        let min_version = match self.text("tls-server-min-version") {
            "TLS1.0" | "TLS1.1" | "TLS1.2" => MinVersion::TLS12,
            "TLS1.3" => MinVersion::TLS13,
            other => bail!("--tls-server-min-version: expected TLS1.2 or TLS1.3, got {other:?}"),
        };
        let tls =
            TlsServerConfig { cert_file, key_file, client_ca_file, client_auth_type, min_version };
        Ok(Some(tls))
    }

    /// Returns the user of the web server and the hash of the password.
    fn basic_auth_user(&self) -> anyhow::Result<Option<(String, PasswordHash)>> {
        let (password, hash) = ("basic-auth-password", "basic-auth-hash-password");
        let hash = match (self.given(password), self.given(hash)) {
            (None, None) if self.given("basic-auth-username").is_none() => return Ok(None),
            (Some(password), None) => {
                bcrypt::hash(password, HASH_COST).context("--basic-auth-password")?
            }
            (None, Some(hash)) if hash.parse::<bcrypt::HashParts>().is_ok() => hash,
            (None, Some(_)) => bail!("--basic-auth-hash-password: not a bcrypt hash"),
            _ => bail!(
                "--basic-auth-username needs one of --basic-auth-password and \
                 --basic-auth-hash-password"
            ),
        };
        match self.given("basic-auth-username") {
            Some(user) => Ok(Some((user, PasswordHash(hash)))),
            None => bail!("a password of basic authentication needs --basic-auth-username"),
        }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.given(name).map(PathBuf::from)
    }

    fn connection_timeout(&self) -> anyhow::Result<Duration> {
        let text = self.text("connection-timeout");
        match humantime::parse_duration(text) {
            Ok(timeout) if !timeout.is_zero() => Ok(timeout),
            _ => {
                bail!("--connection-timeout: expected a duration such as 5s or 500ms, got {text:?}")
            }
        }
    }

    /// Returns the lowest level of log lines. Like redis_exporter, uses info for an unknown one.
    fn log_level(&self) -> LogLevel {
        if self.is_on("debug") {
            return LogLevel::Debug;
        }
        match self.text("log-level").to_ascii_lowercase().as_str() {
            "trace" => LogLevel::Trace,
            "debug" => LogLevel::Debug,
            "warn" | "warning" => LogLevel::Warn,
            "error" | "fatal" | "panic" => LogLevel::Error,
            _ => LogLevel::Info,
        }
    }
}

/// Returns the path of the metrics, if it is another one than `/metrics`.
fn telemetry_path(text: &str) -> anyhow::Result<Option<String>> {
    if text == "/metrics" {
        return Ok(None);
    }
    let is_taken = || http::PATHS.contains(&text) || http::redis_exporter::PATHS.contains(&text);
    if !text.starts_with('/') || text.contains(['{', '}', '*', ':', '?', '#']) || is_taken() {
        bail!("--web.telemetry-path: expected a path that is not used otherwise, got {text:?}");
    }
    Ok(Some(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn flags(arguments: &[&str]) -> Flags {
        let arguments = arguments.iter().map(Into::into);
        Flags::parse(arguments, &BTreeMap::new()).expect("valid flags")
    }

    #[test]
    fn contradictions_of_the_web_server_are_rejected() {
        for (arguments, problem) in [
            (&["--tls-server-cert-file=a"][..], "require each other"),
            (&["--tls-server-ca-cert-file=a"], "requires both"),
            (&["--basic-auth-username=a"], "needs one of"),
            (&["--basic-auth-password=hunter2"], "needs --basic-auth-username"),
            (&["--basic-auth-username=a", "--basic-auth-hash-password=hunter2"], "not a bcrypt"),
            (
                &["--web.config.file=x", "--basic-auth-username=a", "--basic-auth-password=b"],
                "cannot be combined",
            ),
        ] {
            let error = format!("{:#}", flags(arguments).web_security().expect_err(problem));
            assert!(error.contains(problem) && !error.contains("hunter2"), "{error}");
        }
        flags(&[]).web_security().expect("open to everybody");
    }

    #[test]
    fn invalid_values_are_rejected_with_the_flag() {
        for argument in [
            "--config-command=MYCONFIG",
            "--connection-timeout=soon",
            "--web.telemetry-path=/scrape",
            "--web.telemetry-path=/{x}",
            "--web.telemetry-path=metrics",
            "--scrape.trust=10.0.0.0/99",
            "--redis.addr=http://h",
            "--redis.password-file=/nonexistent",
            "--tls-client-key-file=/nonexistent",
        ] {
            let flags = flags(&[argument]);
            let error = flags.settings().and_then(|_| flags.web_options().map(drop));
            let error = format!("{:#}", error.expect_err(argument));
            let (flag, _) = argument.split_once('=').expect("a value");
            assert!(error.starts_with(flag), "{error}");
        }
    }

    #[test]
    fn flags_become_settings() {
        let flags = flags(&[
            "-web.listen-address=127.0.0.1:0",
            "-log-format=json",
            "-log-level=WARNING",
            "-namespace=cache",
            "-web.telemetry-path=/telemetry",
            "-disable-scrape-endpoint",
        ]);
        let settings = flags.settings().expect("valid flags");
        assert_eq!(settings.listen_address, "127.0.0.1:0");
        assert!(matches!(settings.log_format, LogFormat::Json));
        assert!(matches!(settings.log_level, LogLevel::Warn));
        assert!(settings.scrape.is_none() && settings.warnings.is_empty());
        let web_options = flags.web_options().expect("valid flags");
        assert_eq!(web_options.style.namespace.as_deref(), Some("cache"));
        assert_eq!(web_options.telemetry_path.as_deref(), Some("/telemetry"));
    }
}
