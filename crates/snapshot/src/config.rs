//! The CONFIG parameters that were read from a server. Only named ones are ever asked for, and never a secret.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Reply;

/// The CONFIG parameters that are read. The first is asked alone: where it is refused, the others are not asked at all. None may hold a
/// secret.
pub const CONFIG_PARAMETERS: [&str; 27] = [
    "replica-serve-stale-data",
    "appendfsync",
    "auto-aof-rewrite-min-size",
    "auto-aof-rewrite-percentage",
    "client-output-buffer-limit",
    "cluster-announce-hostname",
    "cluster-announce-ip",
    "cluster-announce-port",
    "cluster-require-full-coverage",
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
    "stop-writes-on-bgsave-error",
];

/// How much output may wait for clients of one class before they are cut off; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputBufferLimit {
    /// `normal`, `slave` or `pubsub`.
    pub class: &'static str,
    /// Cut off at once, bytes.
    pub hard: u64,
    /// Cut off after a while, bytes.
    pub soft: u64,
    /// That while.
    pub overcome: Duration,
}

/// Values of CONFIG parameters, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    values: BTreeMap<Box<str>, Box<str>>,
}

impl Config {
    /// The longest value that is kept, bytes. `save` and `client-output-buffer-limit` are the longest real ones.
    const MAX_VALUE: usize = 1024;

    /// The most parameters that are taken up from one reply.
    const MAX_VALUES: usize = 512;

    /// Values that a person declared, for a server that does not tell them.
    pub fn assumed(values: &BTreeMap<String, String>) -> Self {
        Config {
            values: values
                .iter()
                .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
                .collect(),
        }
    }

    /// Takes up a reply to `CONFIG GET`: names and values in turn. A server that does not know a parameter answers with none.
    pub fn add(&mut self, reply: &Reply) {
        for (name, value) in reply.pairs().take(Self::MAX_VALUES) {
            if let (Some(name), Some(value)) = (name.text(), value.text())
                && value.len() <= Self::MAX_VALUE
            {
                self.values.insert(name.into(), value.into());
            }
        }
    }

    /// The value of a parameter, if it was read.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|value| &**value)
    }

    /// The value of a parameter that is a number.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.get(name)?.parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// The output buffer limits by class of client, bytes and seconds. CONFIG `client-output-buffer-limit`.
    pub fn output_buffer_limits(&self) -> Vec<OutputBufferLimit> {
        let words: Vec<_> =
            self.get("client-output-buffer-limit").unwrap_or_default().split(' ').collect();
        let limit = |words: &[&str]| {
            // 5.0 to 6.2 write `slave`, as does INFO; later servers too, for compatibility.
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
                overcome: Duration::from_secs(seconds?),
            })
        };
        words.chunks_exact(4).filter_map(limit).collect()
    }

    /// The value of a parameter that is `yes` or `no`.
    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        }
    }
}
