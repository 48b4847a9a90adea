//! CONFIG parameters of a server.
//!
//! Rolecall reads single parameters by name, and none that contains a secret.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Reply;
use crate::names::{NameKind, is_bounded};

/// The CONFIG parameters that Rolecall reads. None of them may contain a secret.
///
/// The first one is read alone. If the server refuses it, the others are not read.
pub const CONFIG_PARAMETERS: [&str; 33] = [
    "replica-serve-stale-data",
    "appendfsync",
    "auto-aof-rewrite-min-size",
    "auto-aof-rewrite-percentage",
    "client-output-buffer-limit",
    "cluster-announce-hostname",
    "cluster-announce-ip",
    "cluster-announce-port",
    "cluster-node-timeout",
    "cluster-replica-validity-factor",
    "cluster-require-full-coverage",
    "databases",
    "dir",
    "io-threads",
    "maxclients",
    "maxmemory",
    "maxmemory-policy",
    "min-replicas-max-lag",
    "min-replicas-to-write",
    "no-appendfsync-on-rewrite",
    "repl-backlog-size",
    "repl-backlog-ttl",
    "repl-ping-replica-period",
    "repl-timeout",
    "replica-announce-ip",
    "replica-announce-port",
    "replica-ignore-disk-write-errors",
    "replica-read-only",
    "save",
    "slowlog-log-slower-than",
    "slowlog-max-len",
    "stop-writes-on-bgsave-error",
    "tls-port",
];

/// Output buffer limits of one class of clients. 0 bytes means no limit.
/// CONFIG `client-output-buffer-limit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputBufferLimit {
    /// Class of clients: `normal`, `slave` or `pubsub`.
    pub class: &'static str,
    /// Hard limit, bytes. The server disconnects a client at once when its buffer exceeds it.
    pub hard: u64,
    /// Soft limit, bytes. The server disconnects a client when its buffer exceeds the limit for
    /// [`soft_duration`](Self::soft_duration).
    pub soft: u64,
    /// Time that a buffer may exceed the soft limit, whole seconds.
    pub soft_duration: Duration,
}

/// Values of CONFIG parameters by name.
///
/// ```
/// use snapshot::{Config, Reply};
///
/// let reply = ["maxmemory", "1048576"].map(|word| Reply::Text(word.into()));
/// let mut config = Config::default();
/// config.add(&Reply::Array(reply.into()));
/// assert_eq!(config.number("maxmemory"), Some(1_048_576.0));
/// assert_eq!(config.get("maxclients"), None);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    values: BTreeMap<Box<str>, Box<str>>,
}

impl Config {
    /// Maximum length of a value, bytes. Longer values are skipped. The longest real values are
    /// those of `save` and `client-output-buffer-limit`.
    const MAX_VALUE: usize = 1024;

    /// Maximum number of parameters that are kept of one reply.
    const MAX_VALUES: usize = 512;

    /// Returns values from the configuration, for a server that refuses CONFIG.
    pub fn assumed(values: &BTreeMap<String, String>) -> Self {
        Config {
            values: values
                .iter()
                .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
                .collect(),
        }
    }

    /// Adds the parameters of a reply to CONFIG GET: alternating names and values.
    ///
    /// The reply is empty if the server does not know the parameter.
    pub fn add(&mut self, reply: &Reply) {
        for (name, value) in reply.pairs().take(Self::MAX_VALUES) {
            if let (Some(name), Some(value)) = (name.text(), value.text())
                && is_bounded(NameKind::Parameter, name)
                && value.len() <= Self::MAX_VALUE
            {
                self.values.insert(name.into(), value.into());
            }
        }
    }

    /// Returns the value of a parameter, if it is known.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|value| &**value)
    }

    /// Returns the name and value of every parameter, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Returns the value of a parameter that is a finite number.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.get(name)?.parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// Returns the output buffer limits of each class of clients.
    /// CONFIG `client-output-buffer-limit`.
    pub fn output_buffer_limits(&self) -> Vec<OutputBufferLimit> {
        let words: Vec<_> =
            self.get("client-output-buffer-limit").unwrap_or_default().split(' ').collect();
        let limit = |words: &[&str]| {
            // Servers of every version write `slave`, as in INFO. `replica` is a synonym.
            let class = match words[0] {
                "normal" => "normal",
                "slave" | "replica" => "slave",
                "pubsub" => "pubsub",
                _ => return None,
            };
            let [hard, soft, seconds] =
                [words[1], words[2], words[3]].map(|word| word.parse().ok());
            Some(OutputBufferLimit {
                class,
                hard: hard?,
                soft: soft?,
                soft_duration: Duration::from_secs(seconds?),
            })
        };
        words.chunks_exact(4).filter_map(limit).collect()
    }

    /// Returns the value of a parameter that is `yes` (true) or `no` (false).
    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        }
    }
}
