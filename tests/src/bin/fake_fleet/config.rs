//! Replies to CONFIG GET.

/// Parameters that differ from an empty text, and their values.
const PARAMETERS: [(&str, &str); 27] = [
    ("appendfsync", "everysec"),
    ("auto-aof-rewrite-min-size", "67108864"),
    ("auto-aof-rewrite-percentage", "100"),
    (
        "client-output-buffer-limit",
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
    ),
    ("cluster-announce-hostname", ""),
    ("cluster-announce-ip", ""),
    ("cluster-announce-port", "0"),
    ("cluster-require-full-coverage", "yes"),
    ("dir", "/var/lib/redis"),
    ("io-threads", "1"),
    ("maxclients", "10000"),
    ("maxmemory", "0"),
    ("maxmemory-policy", "noeviction"),
    ("min-replicas-max-lag", "10"),
    ("min-replicas-to-write", "0"),
    ("no-appendfsync-on-rewrite", "no"),
    ("repl-backlog-size", "1048576"),
    ("repl-backlog-ttl", "3600"),
    ("repl-ping-replica-period", "10"),
    ("repl-timeout", "60"),
    ("replica-announce-ip", ""),
    ("replica-announce-port", "0"),
    ("replica-ignore-disk-write-errors", "no"),
    ("replica-read-only", "yes"),
    ("replica-serve-stale-data", "yes"),
    ("save", "3600 1 300 100 60 10000"),
    ("stop-writes-on-bgsave-error", "yes"),
];

/// Appends the reply to CONFIG GET with one parameter. It is empty if the parameter is unknown.
pub(crate) fn write(parameter: &str, replies: &mut Vec<u8>) {
    let known = PARAMETERS.iter().find(|(name, _)| *name == parameter);
    let reply = known.map_or_else(
        || "*0\r\n".to_owned(),
        |(name, value)| {
            format!("*2\r\n${}\r\n{name}\r\n${}\r\n{value}\r\n", name.len(), value.len())
        },
    );
    replies.extend(reply.into_bytes());
}
