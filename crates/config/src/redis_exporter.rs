//! The configuration that the flags of redis_exporter describe, and the access to the targets of
//! `/scrape`.

use std::sync::Arc;
use std::time::Duration;

use client::{Address, Credentials, Endpoint, Password, Tls, TlsSettings, Trust};
use snapshot::OptionalCommand;
use topology::DeploymentKind;

use crate::access::{Access, FileTls, TlsProfiles};
use crate::address::{DEFAULT_PORT, ParsedUrl, system_tls};
use crate::discovery::{DiscoveryOptions, FileServer};
use crate::endpoints::FileEndpoints;
use crate::passwords::{self, PasswordMap};
use crate::{
    ConfigError, DeploymentSettings, LATENCYSTATS_OF_REDIS_EXPORTER, LogFormat, LogLevel,
    MetricNames, Settings, cluster, file, urls,
};

/// Longest text of a target that is accepted.
const MAX_TARGET_LENGTH: usize = 512;

/// Configuration that the flags of redis_exporter describe.
#[derive(Debug, Clone)]
pub struct RedisExporterOptions {
    /// `redis.addr`: the node whose metrics are on `/metrics`. Empty for none.
    pub address: String,
    /// `redis.user`.
    pub username: Option<String>,
    /// `redis.password`.
    pub password: Option<Password>,
    /// `redis.password-file`.
    pub password_file: Option<String>,
    /// TLS profile of `rediss://` nodes.
    pub tls: TlsSettings,
    /// `is-cluster`: the other nodes of the cluster are discovered.
    pub is_cluster: bool,
    /// `cluster-discover-hostnames`: discovered nodes are named by their host names.
    pub discovers_host_names: bool,
    /// `config-command`: CONFIG GET is sent.
    pub reads_config: bool,
    /// `connection-timeout`.
    pub connection_timeout: Duration,
    /// `scrape.trust`: networks and host patterns that get the password. `None` for the default.
    pub trust: Option<Vec<String>>,
    /// Address of the web server.
    pub listen_address: String,
    /// Minimum level of log lines.
    pub log_level: LogLevel,
    /// Format of log lines.
    pub log_format: LogFormat,
}

/// Access to the targets of `/scrape`, which requests name.
#[derive(Debug, Clone)]
pub struct ScrapeAccess {
    /// Credentials for trusted targets.
    credentials: Credentials,
    /// Passwords of single targets.
    passwords: PasswordMap,
    /// TLS profile, or why there is none.
    tls: Result<Tls, String>,
    /// Addresses that get the credentials.
    trust: Arc<Trust>,
    /// `trust` in words.
    trusted: String,
    reads_config: bool,
    connection_timeout: Duration,
}

/// Target of `/scrape`. Two targets with different users are different ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrapeTarget {
    address: Address,
    username: Option<String>,
    is_tls: bool,
}

impl Settings {
    /// Returns the settings that the flags of redis_exporter describe. Nothing is read from a
    /// configuration file.
    ///
    /// # Errors
    /// The first error in the options, or in the environment.
    pub fn for_redis_exporter(options: &RedisExporterOptions) -> Result<Self, ConfigError> {
        let profiles = TlsProfiles::default();
        let tls = FileTls::from(options.tls.clone()).profile(&profiles).map_err(|error| {
            let flag = match error.path.first().map(String::as_str) {
                Some("ca_file") => "--tls-ca-cert-file",
                Some("cert_file") => "--tls-client-cert-file",
                Some("key_file") => "--tls-client-key-file",
                _ => "TLS flags",
            };
            ConfigError::new(flag, error.message)
        })?;
        let location = "--redis.password-file";
        let (password, passwords) =
            passwords::load(options.password.clone(), options.password_file.as_deref(), location)?;
        let credentials = Credentials { username: options.username.clone(), password };
        let access = Access { credentials: credentials.clone(), tls: tls.clone(), profiles };
        let deployment = options
            .deployment(&access, &passwords)
            .map_err(|message| ConfigError::new("--redis.addr", message))?;
        let tls = tls.map_or_else(|| system_tls(&access.profiles), Ok);
        let scrape = ScrapeAccess::new(options, credentials, passwords, tls)
            .map_err(|message| ConfigError::new("--scrape.trust", message))?;
        Ok(Settings {
            listen_address: options.listen_address.clone(),
            log_level: options.log_level,
            log_format: options.log_format,
            deployments: deployment.into_iter().collect(),
            metric_names: MetricNames::RedisExporter,
            scrape: Some(scrape),
            ..file::load(None)?
        })
    }
}

impl RedisExporterOptions {
    /// Returns the deployment of the configured node or cluster, if there is one.
    fn deployment(
        &self,
        access: &Access,
        passwords: &PasswordMap,
    ) -> Result<Option<DeploymentSettings>, String> {
        if self.address.is_empty() {
            return Ok(None);
        }
        let mut settings = if self.is_cluster {
            let node_name = self.discovers_host_names.then(|| "{name}:{port}".to_owned());
            let mut settings = cluster::build(
                vec![FileServer::from_url(self.address.clone())],
                DiscoveryOptions { node_name, ..DiscoveryOptions::default() },
                &FileEndpoints::default(),
                urls::builder(urls::NAME, DeploymentKind::Cluster),
                access.clone(),
            )
            .map_err(|error| error.message)?;
            settings.endpoints.iter_mut().for_each(|endpoint| passwords.fill_in(endpoint));
            settings
        } else {
            urls::static_deployment(std::slice::from_ref(&self.address), access, passwords)?
        };
        apply_options(&mut settings, self.reads_config, self.connection_timeout);
        Ok(Some(settings))
    }
}

/// Applies the options that all deployments have.
fn apply_options(
    settings: &mut DeploymentSettings,
    reads_config: bool,
    connection_timeout: Duration,
) {
    if !reads_config {
        Arc::make_mut(&mut settings.deployment).skipped.insert(OptionalCommand::ConfigGet);
    }
    settings.deadline = settings.deadline.min(connection_timeout);
    settings.cadences.latencystats.get_or_insert(LATENCYSTATS_OF_REDIS_EXPORTER);
}

impl ScrapeAccess {
    fn new(
        options: &RedisExporterOptions,
        credentials: Credentials,
        passwords: PasswordMap,
        tls: Result<Tls, String>,
    ) -> Result<Self, String> {
        let (trust, trusted) = match &options.trust {
            Some(entries) if entries.is_empty() => {
                return Err("expected at least one network or host pattern".to_owned());
            }
            Some(entries) => {
                (Trust::new(entries.iter().map(String::as_str), false)?, entries.join(", "))
            }
            None => {
                let mut trust = Trust::new([], true)?.with_private_networks();
                let hosts = passwords.addresses().filter_map(|address| match address {
                    Address::Tcp { host, .. } => Some(host),
                    Address::Unix(_) => None,
                });
                hosts.for_each(|host| trust.add(host));
                (trust, "private networks, this machine, hosts in the password file".to_owned())
            }
        };
        Ok(ScrapeAccess {
            credentials,
            passwords,
            tls,
            trust: Arc::new(trust.with_anonymous_connections()),
            trusted,
            reads_config: options.reads_config,
            connection_timeout: options.connection_timeout,
        })
    }

    /// Returns in words which targets get the password.
    pub fn trusted(&self) -> &str {
        &self.trusted
    }

    /// Returns the user that targets without a user get.
    pub fn username(&self) -> Option<&str> {
        self.credentials.username.as_deref()
    }

    /// Returns the deployment that consists of a target.
    ///
    /// # Errors
    /// Returns the message if the target needs TLS, and there is no profile.
    pub fn deployment(&self, target: &ScrapeTarget) -> Result<DeploymentSettings, String> {
        let mut builder = urls::builder(&target.name(), DeploymentKind::Static);
        builder.add_node(None, self.endpoint(target)?, None)?;
        let mut settings = builder.build();
        apply_options(&mut settings, self.reads_config, self.connection_timeout);
        Ok(settings)
    }

    /// Returns the access to a target: the password that the map has for it, else the global one,
    /// which only trusted addresses get. Nobody configured a socket that a request names, so it
    /// gets no global password.
    fn endpoint(&self, target: &ScrapeTarget) -> Result<Endpoint, String> {
        let ScrapeTarget { address, username, is_tls } = target;
        let username = username.clone().or_else(|| self.credentials.username.clone());
        let mut endpoint = Endpoint {
            address: address.clone(),
            credentials: Credentials { username, password: None },
            tls: is_tls.then(|| self.tls.clone()).transpose()?,
            trust: None,
        };
        self.passwords.fill_in(&mut endpoint);
        if endpoint.credentials.password.is_none() {
            endpoint.trust = Some(Arc::clone(&self.trust));
            if matches!(address, Address::Tcp { .. }) {
                endpoint.credentials.password.clone_from(&self.credentials.password);
            }
        }
        Ok(endpoint)
    }
}

impl ScrapeTarget {
    /// Parses a URL or address. A password in it is ignored, as in redis_exporter.
    ///
    /// # Errors
    /// Returns the message, without secrets.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_TARGET_LENGTH {
            return Err(format!("longer than {MAX_TARGET_LENGTH} bytes"));
        }
        let ParsedUrl { address, username, is_tls, .. } = ParsedUrl::parse(text, DEFAULT_PORT)?;
        Ok(ScrapeTarget { address, username, is_tls })
    }

    /// Returns the name of the deployment that consists of this target: its URL.
    pub fn name(&self) -> String {
        let user = self.username.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let scheme = match (&self.address, self.is_tls) {
            (Address::Unix(_), _) => "unix",
            (Address::Tcp { .. }, false) => "redis",
            (Address::Tcp { .. }, true) => "rediss",
        };
        format!("{scheme}://{user}{}", self.address)
    }

    /// Returns the address, `host:port` or the path of a socket.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Returns the user, if the target has one.
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> RedisExporterOptions {
        RedisExporterOptions {
            address: "cache.example.com:6379".to_owned(),
            username: None,
            password: Some(password("global")),
            password_file: None,
            tls: TlsSettings::default(),
            is_cluster: false,
            discovers_host_names: false,
            reads_config: true,
            connection_timeout: Duration::from_secs(15),
            trust: None,
            listen_address: ":9121".to_owned(),
            log_level: LogLevel::Info,
            log_format: LogFormat::Logfmt,
        }
    }

    fn endpoint(options: &RedisExporterOptions, target: &str) -> Endpoint {
        let settings = Settings::for_redis_exporter(options).expect("valid options");
        let access = settings.scrape.expect("the mode of redis_exporter");
        let target = ScrapeTarget::parse(target).expect(target);
        access.deployment(&target).expect("a deployment").endpoints.remove(0)
    }

    fn password(text: &str) -> Password {
        Password::Inline(text.to_owned().into())
    }

    #[test]
    fn the_global_password_is_only_for_trusted_addresses() {
        let permits = |options: &RedisExporterOptions, host: &str, address: &str| {
            let endpoint = endpoint(options, &format!("redis://{host}:6379"));
            assert_eq!(endpoint.credentials.password, Some(password("global")));
            let trust = endpoint.trust.expect("a rule");
            trust.permits(host, address.parse().expect("an address"))
        };
        let mut options = options();
        assert!(permits(&options, "orders", "10.0.0.5") && permits(&options, "h", "127.0.0.1"));
        assert!(!permits(&options, "evil.example.com", "203.0.113.9"));
        options.trust = Some(vec!["*.example.com".to_owned()]);
        assert!(permits(&options, "a.example.com", "203.0.113.9"));
        assert!(!permits(&options, "orders", "10.0.0.5"));
        options.trust = Some(Vec::new());
        let error = Settings::for_redis_exporter(&options).expect_err("no entry").to_string();
        assert!(error.starts_with("--scrape.trust: expected at least one"), "{error}");
    }

    #[test]
    fn the_map_gives_its_hosts_their_own_password() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("passwords");
        let map = r#"{"redis://a:6379": "of-a", "rediss://mon@b:6379": "of-mon"}"#;
        std::fs::write(&file, map).expect("a file");
        let mut options = options();
        options.password_file = Some(file.display().to_string());
        let own = endpoint(&options, "redis://:ignored@a");
        assert_eq!((own.credentials.password, own.trust), (Some(password("of-a")), None));
        assert_eq!(endpoint(&options, "mon@b").credentials.password, Some(password("of-mon")));
        let other = endpoint(&options, "redis://other@b:6379");
        assert_eq!(other.credentials.password, Some(password("global")));
        let trust = other.trust.expect("a rule");
        assert!(trust.permits("b", "203.0.113.9".parse().expect("an address")));
        let socket = endpoint(&options, "unix:///run/redis.sock");
        assert_eq!(socket.credentials.password, None);

        std::fs::write(&file, "one-password\n").expect("a file");
        assert_eq!(endpoint(&options, "a").credentials.password, Some(password("global")));
        options.password_file = Some("/nonexistent".to_owned());
        assert_eq!(endpoint(&options, "a").credentials.password, Some(password("global")));
        options.password_file = Some(file.display().to_string());
        options.password = None;
        let own = endpoint(&options, "a").credentials.password;
        assert_eq!(own, Some(Password::File(file.clone())));

        std::fs::write(&file, "{\"redis://a\": hunter2}").expect("a file");
        for given in [None, Some(password("global"))] {
            options.password = given;
            let error = Settings::for_redis_exporter(&options).expect_err("no map").to_string();
            assert!(error.contains("invalid JSON") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn targets_have_one_name_and_no_password() {
        for (text, name) in [
            ("h", "redis://h:6379"),
            ("h:1", "redis://h:1"),
            ("valkeys://mon:hunter2@h/3", "rediss://mon@h:6379"),
            ("[fd00::5]:7", "redis://[fd00::5]:7"),
            ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        ] {
            assert_eq!(ScrapeTarget::parse(text).expect(text).name(), name);
        }
        for text in ["http://h", "redis://:hunter2@h:port", &"h".repeat(600)] {
            let message = ScrapeTarget::parse(text).expect_err(text);
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn options_apply_to_the_configured_node() {
        let mut options = options();
        options.connection_timeout = Duration::from_millis(300);
        options.reads_config = false;
        let settings = Settings::for_redis_exporter(&options).expect("valid options");
        let [deployment] = &settings.deployments[..] else { panic!("one deployment") };
        assert_eq!(deployment.deadline, Duration::from_millis(300));
        assert!(deployment.deployment.skipped.contains(&OptionalCommand::ConfigGet));
        assert_eq!(deployment.cadences.latencystats, Some(LATENCYSTATS_OF_REDIS_EXPORTER));
        assert_eq!(deployment.endpoints[0].credentials.password, Some(password("global")));
        options.address = String::new();
        let settings = Settings::for_redis_exporter(&options).expect("valid options");
        assert!(settings.deployments.is_empty());
        options.address = "redis://:hunter2@h:port".to_owned();
        let error = Settings::for_redis_exporter(&options).expect_err("no port").to_string();
        assert!(error.starts_with("--redis.addr: ") && !error.contains("hunter2"), "{error}");
    }
}
