//! The flags of redis_exporter 1.88, and what becomes of each.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use anyhow::bail;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command};

use self::Fate::{Honoured, Ignored, Rejected};

/// A flag.
struct Flag {
    /// Name without hyphens.
    name: &'static str,
    /// Value without the flag and its variable. For a switch, `true` or `false`.
    default: &'static str,
    is_switch: bool,
    fate: Fate,
}

/// Consequence of a flag whose value is not the default.
enum Fate {
    /// It does what the text says.
    Honoured(&'static str),
    /// It asks for what Rolecall does not have. The text says what; Rolecall does not start.
    Rejected(&'static str),
    /// It has no meaning here, for the reason in the text. A warning is logged.
    Ignored(&'static str),
}

/// Reason of flags that modify a rejected one.
const MODIFIES_REJECTED: &str = "the flag that it modifies is not supported";

/// Every flag of redis_exporter, and after them those that only Rolecall has.
///
/// The variable of a flag follows from its name: `REDIS_ADDR` for `redis.addr`, and
/// `REDIS_EXPORTER_LOG_FORMAT` for `log-format`.
const FLAGS: &[Flag] = &[
    text("redis.addr", "redis://localhost:6379", Honoured("node of /metrics; empty for none")),
    text("redis.user", "", Honoured("ACL user")),
    text("redis.password", "", Honoured("password")),
    text(
        "redis.password-file",
        "",
        Honoured("JSON map from URL to password, or a file that contains the password"),
    ),
    text("connection-timeout", "15s", Honoured("longest wait for a reply; at most 0.8s are used")),
    switch("set-client-name", "true", Honoured("connections never have a name")),
    switch("ping-on-connect", "false", Ignored("each poll shows whether the server replies")),
    text("config-command", "CONFIG", Honoured("\"-\" sends no CONFIG; other names are rejected")),
    switch("is-cluster", "false", Honoured("discovers the nodes of the cluster")),
    switch("cluster-discover-hostnames", "false", Honoured("names discovered nodes by host name")),
    switch("is-tile38", "false", Rejected("there are no metrics of Tile38")),
    text("tls-client-key-file", "", Honoured("key of the client certificate")),
    text("tls-client-cert-file", "", Honoured("client certificate")),
    text("tls-ca-cert-file", "", Honoured("certificate authorities of the servers")),
    text("tls-server-name", "", Honoured("name in the certificates of the servers")),
    switch("skip-tls-verification", "false", Honoured("accepts any certificate of a server")),
    text("tls-server-key-file", "", Honoured("key of the web server")),
    text("tls-server-cert-file", "", Honoured("certificate of the web server")),
    text("tls-server-ca-cert-file", "", Honoured("certificate authorities of required clients")),
    text("tls-server-min-version", "TLS1.2", Honoured("TLS1.2 or TLS1.3; older ones are TLS1.2")),
    text("basic-auth-username", "", Honoured("user of the web server")),
    text("basic-auth-password", "", Honoured("password of this user")),
    text("basic-auth-hash-password", "", Honoured("bcrypt hash of the password of this user")),
    switch("disable-scrape-endpoint", "false", Honoured("/scrape does not exist")),
    text("check-keys", "", Rejected("there are no metrics of keys")),
    text("check-single-keys", "", Rejected("there are no metrics of keys")),
    text("count-keys", "", Rejected("there are no metrics of keys")),
    text("check-keys-batch-size", "1000", Ignored(MODIFIES_REJECTED)),
    switch("disable-exporting-key-values", "false", Honoured("values are never exported")),
    switch("skip-checkkeys-for-role-master", "false", Honoured("keys are never read")),
    text("check-key-groups", "", Rejected("there are no metrics of key groups")),
    text("max-distinct-key-groups", "100", Ignored(MODIFIES_REJECTED)),
    text("check-streams", "", Rejected("there are no metrics of streams")),
    text("check-single-streams", "", Rejected("there are no metrics of streams")),
    switch("streams-exclude-consumer-metrics", "false", Honoured("there are none")),
    text("script", "", Rejected("Lua scripts are not sent")),
    switch("lua-script-read-only", "false", Ignored(MODIFIES_REJECTED)),
    switch("export-client-list", "false", Rejected("there are no metrics of single clients")),
    switch("export-client-port", "false", Ignored(MODIFIES_REJECTED)),
    switch(
        "include-config-metrics",
        "false",
        Ignored("parameters that Rolecall reads are always there, others never"),
    ),
    switch("redact-config-metrics", "true", Ignored("secrets of CONFIG are never read")),
    switch("include-modules-metrics", "false", Honoured("redis_module_info is always there")),
    switch("include-search-indexes-metrics", "false", Rejected("there are none of indexes")),
    text("check-search-indexes", ".*", Ignored(MODIFIES_REJECTED)),
    switch("include-sentinel-peer-info", "false", Rejected("Sentinels are asked only for INFO")),
    switch("include-system-metrics", "false", Honoured("they are always there")),
    switch(
        "include-rdb-file-size-metric",
        "false",
        Rejected("redis_rdb_current_size_bytes is absent"),
    ),
    switch("exclude-latency-histogram-metrics", "false", Honoured("there are no histograms")),
    switch("include-metrics-for-empty-databases", "true", Ignored("they are always there")),
    switch("append-instance-role-label", "false", Honoured("label instance_role of all metrics")),
    text("web.listen-address", ":9121", Honoured("address of the web server")),
    text("web.telemetry-path", "/metrics", Honoured("another path of /metrics")),
    text("namespace", "redis", Honoured("prefix of the names of the metrics")),
    switch("redis-only-metrics", "false", Honoured("/metrics omits metrics of Rolecall itself")),
    switch("include-go-runtime-metrics", "false", Ignored("Rolecall is not written in Go")),
    text("log-level", "INFO", Honoured("lowest level of log lines")),
    text("log-format", "txt", Honoured("txt for key=value pairs, or json")),
    switch("debug", "false", Honoured("same as --log-level=DEBUG")),
    text(
        "scrape.trust",
        "",
        Honoured("networks and host patterns, separated by commas, whose targets get the password"),
    ),
    text("web.config.file", "", Honoured("web configuration file in the format of Prometheus")),
];

const fn text(name: &'static str, default: &'static str, fate: Fate) -> Flag {
    Flag { name, default, is_switch: false, fate }
}

const fn switch(name: &'static str, default: &'static str, fate: Fate) -> Flag {
    Flag { name, default, is_switch: true, fate }
}

/// Values of the flags. The `Debug` output contains no value, because some are secrets.
pub(crate) struct Flags {
    values: BTreeMap<&'static str, String>,
    /// Messages about flags without effect and unknown variables.
    pub(crate) warnings: Vec<String>,
}

impl Flag {
    /// Returns the names of the variable. redis_exporter abbreviates `INCLUDE` in most of them.
    fn variables(&self) -> [String; 2] {
        let name = self.name.to_uppercase().replace(['.', '-'], "_");
        let prefix = if self.name.starts_with("redis.") { "" } else { "REDIS_EXPORTER_" };
        let variable = format!("{prefix}{name}");
        [variable.replace("_INCLUDE_", "_INCL_"), variable]
    }

    /// Returns the argument of the parser.
    fn argument(&self) -> Arg {
        let (Honoured(text) | Rejected(text) | Ignored(text)) = self.fate;
        let fate = match self.fate {
            Honoured(_) => "",
            Rejected(_) => "not supported: ",
            Ignored(_) => "no effect: ",
        };
        let [variable, _] = self.variables();
        let help = format!("{fate}{text} [default: {:?}] [env: {variable}]", self.default);
        let argument = Arg::new(self.name)
            .long(self.name)
            .help(help)
            .action(ArgAction::Set)
            .overrides_with(self.name);
        if self.is_switch {
            argument.num_args(0..=1).require_equals(true).default_missing_value("true")
        } else {
            argument.allow_hyphen_values(true)
        }
    }

    /// Returns a valid value in its usual form; `None` if it is invalid.
    fn value(&self, text: &str) -> Option<String> {
        if !self.is_switch {
            return Some(text.to_owned());
        }
        match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some("true".to_owned()),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some("false".to_owned()),
            _ => None,
        }
    }
}

impl Flags {
    /// Parses the arguments after the name of the program. A flag that is not among them comes from
    /// `environment`, which has the variables that begin with `REDIS_`.
    ///
    /// # Errors
    /// Fails if there is an unknown flag or an invalid value, and for `--help` and `--version`.
    pub(crate) fn parse(
        arguments: impl IntoIterator<Item = OsString>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, clap::Error> {
        let mut command = command();
        let program = OsString::from("redis_exporter");
        let matches = command
            .try_get_matches_from_mut(std::iter::once(program).chain(normalized(arguments)))?;
        let (mut values, mut warnings) = (BTreeMap::new(), unknown_variables(environment));
        for flag in FLAGS {
            let value = match matches.get_one::<String>(flag.name) {
                Some(text) => flag.value(text).ok_or_else(|| {
                    let problem = format!("--{}: expected true or false\n", flag.name);
                    command.error(ErrorKind::InvalidValue, problem)
                })?,
                None => flag.value_in_environment(environment, &mut warnings),
            };
            if let Ignored(reason) = flag.fate
                && value != flag.default
            {
                warnings.push(format!("--{} has no effect: {reason}", flag.name));
            }
            values.insert(flag.name, value);
        }
        Ok(Flags { values, warnings })
    }

    /// Fails if a flag asks for what Rolecall does not have.
    ///
    /// # Errors
    /// Names every such flag with the reason.
    pub(crate) fn check_supported(&self) -> anyhow::Result<()> {
        let rejected: Vec<_> = FLAGS
            .iter()
            .filter_map(|flag| match flag.fate {
                Rejected(reason) if self.text(flag.name) != flag.default => {
                    Some(format!("--{} is not supported: {reason}", flag.name))
                }
                _ => None,
            })
            .collect();
        if rejected.is_empty() { Ok(()) } else { bail!(rejected.join("; ")) }
    }

    /// Returns the value of a flag.
    pub(crate) fn text(&self, name: &str) -> &str {
        debug_assert!(self.values.contains_key(name), "unknown flag {name:?}");
        self.values.get(name).map_or("", String::as_str)
    }

    /// Returns the value of a flag, if it is not empty.
    pub(crate) fn given(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// Returns the value of a switch.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.text(name) == "true"
    }
}

impl Flag {
    /// Returns the value of the variable, else the default.
    fn value_in_environment(
        &self,
        environment: &BTreeMap<String, String>,
        warnings: &mut Vec<String>,
    ) -> String {
        let found = self.variables().into_iter().find(|name| environment.contains_key(name));
        let value = found.as_ref().and_then(|name| self.value(&environment[name]));
        if let (Some(name), None) = (&found, &value) {
            warnings.push(format!("{name} is ignored: expected true or false"));
        }
        value.unwrap_or_else(|| self.default.to_owned())
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flags").field("warnings", &self.warnings).finish_non_exhaustive()
    }
}

fn command() -> Command {
    Command::new("redis_exporter")
        .about("Rolecall with the flags, variables and metrics of redis_exporter.")
        .version(concat!(env!("CARGO_PKG_VERSION"), " (Rolecall in redis_exporter mode)"))
        .args(FLAGS.iter().map(Flag::argument))
}

/// Writes all flags with two hyphens. The flags of redis_exporter may have one; a value stays as it
/// is.
fn normalized(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut is_value = false;
    let normalize = |argument: OsString| {
        let text = argument.to_string_lossy().into_owned();
        let name = text.trim_start_matches('-');
        if std::mem::take(&mut is_value) || !text.starts_with('-') || name.is_empty() {
            return argument;
        }
        is_value = FLAGS.iter().any(|flag| flag.name == name && !flag.is_switch);
        if name == "h" { "--help".into() } else { format!("--{name}").into() }
    };
    arguments.into_iter().map(normalize).collect()
}

/// Returns messages about variables that look like those of redis_exporter and are none.
fn unknown_variables(environment: &BTreeMap<String, String>) -> Vec<String> {
    let known: Vec<_> = FLAGS.iter().flat_map(Flag::variables).collect();
    let is_unknown = |name: &&String| {
        name.starts_with("REDIS_EXPORTER_") && !known.contains(name) && !is_service(name)
    };
    let unknown = environment.keys().filter(is_unknown);
    unknown.map(|name| format!("unknown variable {name}")).collect()
}

/// Returns whether Kubernetes sets a variable for a Service whose name begins with
/// `redis-exporter`.
fn is_service(name: &str) -> bool {
    let (_, after_port) = name.rsplit_once("_PORT").unwrap_or(("", "x"));
    let is_port = after_port.is_empty()
        || after_port.trim_start_matches('_').starts_with(|first: char| first.is_ascii_digit());
    is_port || name.contains("_SERVICE_HOST") || name.contains("_SERVICE_PORT")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The flags of redis_exporter 1.88, without `version`.
    const OF_REDIS_EXPORTER: &str = "
        redis.addr redis.user redis.password redis.password-file connection-timeout set-client-name
        ping-on-connect config-command is-cluster cluster-discover-hostnames is-tile38
        tls-client-key-file tls-client-cert-file tls-ca-cert-file tls-server-name
        skip-tls-verification
        tls-server-key-file tls-server-cert-file tls-server-ca-cert-file tls-server-min-version
        basic-auth-username basic-auth-password basic-auth-hash-password disable-scrape-endpoint
        check-keys check-single-keys count-keys check-keys-batch-size disable-exporting-key-values
        skip-checkkeys-for-role-master check-key-groups max-distinct-key-groups
        check-streams check-single-streams streams-exclude-consumer-metrics
        script lua-script-read-only
        export-client-list export-client-port include-config-metrics redact-config-metrics
        include-modules-metrics include-search-indexes-metrics check-search-indexes
        include-sentinel-peer-info include-system-metrics include-rdb-file-size-metric
        exclude-latency-histogram-metrics include-metrics-for-empty-databases
        append-instance-role-label
        web.listen-address web.telemetry-path namespace redis-only-metrics
        include-go-runtime-metrics log-level log-format debug";

    /// The flags that only Rolecall has.
    const OWN: [&str; 2] = ["scrape.trust", "web.config.file"];

    fn parse(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Flags, clap::Error> {
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Flags::parse(arguments.iter().map(OsString::from), &variables.collect())
    }

    #[test]
    fn every_flag_of_redis_exporter_has_a_fate() {
        let found: Vec<_> = FLAGS.iter().map(|flag| flag.name).collect();
        let expected: Vec<_> = OF_REDIS_EXPORTER.split_whitespace().chain(OWN).collect();
        assert_eq!(found, expected);
        assert_eq!(found.len() - OWN.len(), 58);
        command().debug_assert();
    }

    #[test]
    fn flags_may_have_one_or_two_hyphens() {
        let flags = parse(
            &["-redis.addr", "h:1", "--redis.password", "-secret", "-debug", "--is-cluster=0"],
            &[],
        );
        let flags = flags.expect("valid flags");
        assert_eq!(flags.text("redis.addr"), "h:1");
        assert_eq!(flags.text("redis.password"), "-secret");
        assert!(flags.is_on("debug") && !flags.is_on("is-cluster"));
        assert_eq!(flags.text("log-format"), "txt");
        assert!(!format!("{flags:?}").contains("secret"));
        let flags = parse(&["--config-command", "-", "-namespace=a", "-namespace=b"], &[]);
        let flags = flags.expect("valid flags");
        assert_eq!((flags.text("config-command"), flags.text("namespace")), ("-", "b"));
    }

    #[test]
    fn flags_override_variables() {
        let variables = [
            ("REDIS_ADDR", ""),
            ("REDIS_USER", "mon"),
            ("REDIS_EXPORTER_DEBUG", "T"),
            ("REDIS_EXPORTER_INCL_SYSTEM_METRICS", "yes"),
            ("REDIS_EXPORTER_LOG_FORMAT", "json"),
            ("REDIS_EXPORTER_CHECK_KEY", "a*"),
            ("REDIS_EXPORTER_PORT", "tcp://10.0.0.5:9121"),
            ("REDIS_EXPORTER_PORT_9121_TCP_ADDR", "10.0.0.5"),
            ("REDIS_EXPORTER_SERVICE_PORT_HTTP", "9121"),
            ("REDIS_EXPORTER_EU_SERVICE_HOST", "10.0.0.5"),
            ("REDIS_ALIAS", "cache"),
        ];
        let flags = parse(&["--log-format=txt"], &variables).expect("valid flags");
        assert_eq!((flags.text("redis.addr"), flags.text("redis.user")), ("", "mon"));
        assert!(flags.is_on("debug"));
        assert_eq!(flags.text("log-format"), "txt");
        assert_eq!(
            flags.warnings,
            [
                "unknown variable REDIS_EXPORTER_CHECK_KEY",
                "REDIS_EXPORTER_INCL_SYSTEM_METRICS is ignored: expected true or false",
            ]
        );
    }

    #[test]
    fn only_values_other_than_the_default_have_consequences() {
        let variables = [
            ("REDIS_EXPORTER_CHECK_KEYS", ""),
            ("REDIS_EXPORTER_IS_TILE38", "false"),
            ("REDIS_EXPORTER_REDACT_CONFIG_METRICS", "true"),
        ];
        let flags = parse(&[], &variables).expect("valid flags");
        assert_eq!(flags.warnings, Vec::<String>::new());
        flags.check_supported().expect("nothing is asked for");
        let flags = parse(&["-ping-on-connect", "-check-keys=a*", "--is-tile38"], &[]);
        let flags = flags.expect("valid flags");
        assert_eq!(
            flags.warnings,
            ["--ping-on-connect has no effect: each poll shows whether the server replies"]
        );
        assert_eq!(
            flags.check_supported().expect_err("two are rejected").to_string(),
            "--is-tile38 is not supported: there are no metrics of Tile38; \
             --check-keys is not supported: there are no metrics of keys"
        );
    }

    #[test]
    fn unknown_flags_and_help_have_the_exit_codes_of_go() {
        for (arguments, code) in [
            (&["-nosuch"][..], 2),
            (&["-debug=maybe"], 2),
            (&["-redis.addr"], 2),
            (&["h:1"], 2),
            (&["-h"], 0),
            (&["--help"], 0),
            (&["-version"], 0),
        ] {
            let error = parse(arguments, &[]).expect_err("no flags");
            assert_eq!(error.exit_code(), code, "{arguments:?}");
        }
    }
}
