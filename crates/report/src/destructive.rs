//! Commands that delete data, stop the server, or stop writes, on the node that they are sent to.
//!
//! Commands whose runbook is about the primary, such as `config set appendonly`, are not among
//! them. Neither is FAILOVER: the primary runs it, and no acknowledged write is lost.

/// A destructive command.
struct DestructiveCommand {
    /// The words of the command, in lower case.
    words: &'static [&'static str],
    /// Values of the next word with which the command is harmless.
    harmless: &'static [&'static str],
}

/// The destructive commands.
const COMMANDS: [DestructiveCommand; 35] = [
    always(&["replicaof"]),
    always(&["slaveof"]),
    always(&["--replicaof"]),
    always(&["--slaveof"]),
    always(&["sentinel", "reset"]),
    // A high minimum is a fence. A low one ends the fence.
    unless(&["config", "set", "min-replicas-to-write"], &["0", "1"]),
    unless(&["config", "set", "min-slaves-to-write"], &["0", "1"]),
    always(&["client", "pause"]),
    always(&["flushall"]),
    always(&["flushdb"]),
    always(&["del"]),
    always(&["unlink"]),
    always(&["debug"]),
    always(&["shutdown"]),
    always(&["cluster", "reset"]),
    always(&["cluster", "replicate"]),
    always(&["cluster", "delslots"]),
    always(&["cluster", "flushslots"]),
    // Slots that are assigned again lose the keys of their former owner.
    always(&["cluster", "addslots"]),
    always(&["cluster", "addslotsrange"]),
    always(&["cluster", "bumpepoch"]),
    always(&["cluster", "meet"]),
    always(&["--cluster", "fix"]),
    // A Sentinel demotes all masters except the one that it is told to monitor.
    always(&["sentinel", "remove"]),
    always(&["sentinel", "monitor"]),
    always(&["rm"]),
    // Units of data nodes. One Sentinel may be stopped.
    always(&["systemctl", "stop", "redis-server"]),
    always(&["systemctl", "stop", "redis"]),
    always(&["systemctl", "stop", "valkey"]),
    always(&["systemctl", "restart", "redis-server"]),
    always(&["systemctl", "restart", "redis"]),
    always(&["systemctl", "restart", "valkey"]),
    always(&["pkill"]),
    always(&["kubectl", "delete"]),
    always(&["docker", "stop"]),
];

const fn always(words: &'static [&'static str]) -> DestructiveCommand {
    unless(words, &[])
}

const fn unless(
    words: &'static [&'static str],
    harmless: &'static [&'static str],
) -> DestructiveCommand {
    DestructiveCommand { words, harmless }
}

impl DestructiveCommand {
    /// Returns true if the words contain the command.
    fn is_in(&self, words: &[String]) -> bool {
        let is_harmful = |next: Option<&String>| {
            !next.is_some_and(|next| self.harmless.contains(&next.as_str()))
        };
        let mut windows = words.windows(self.words.len()).enumerate();
        windows.any(|(start, window)| {
            window == self.words && is_harmful(words.get(start + self.words.len()))
        })
    }
}

/// Returns true if a text contains a destructive command. Patterns of `grep` do not count.
pub(crate) fn is_destructive(text: &str) -> bool {
    text.lines().any(|line| {
        let words = words(line);
        COMMANDS.iter().any(|command| command.is_in(&words))
    })
}

/// Returns the words of a line in lower case, without quotes and without the patterns of `grep`.
fn words(line: &str) -> Vec<String> {
    let steps = line.split(" | ").filter(|step| !step.trim_start().starts_with("grep "));
    let is_separator = |character: char| {
        character.is_whitespace() || matches!(character, '\'' | '"' | '`' | '|' | ';' | '(' | ')')
    };
    steps
        // `printf` writes line breaks as `\n`.
        .flat_map(|step| {
            let step = step.replace("\\n", " ").to_lowercase();
            step.split(is_separator).map(str::to_owned).collect::<Vec<_>>()
        })
        .filter(|word| !word.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destructive_commands_are_recognized() {
        for text in [
            "redis-cli -h $HOST -p $PORT replicaof $PRIMARY_HOST $PRIMARY_PORT",
            "redis-cli -h $HOST -p $PORT REPLICAOF NO ONE",
            "redis-cli -h $HOST -p $PORT slaveof no one",
            "redis-server /etc/redis/redis.conf --replicaof $PRIMARY_HOST $PRIMARY_PORT",
            r"printf 'MULTI\nREPLICAOF NO ONE\nEXEC\n' | redis-cli -h $HOST -p $PORT",
            "redis-cli -h $HOST info\nredis-cli -h $HOST config set min-replicas-to-write 100",
            "redis-cli -h $HOST config set min-slaves-to-write 2",
            "redis-cli -h $SENTINEL_HOST sentinel reset $MASTER_NAME",
            "redis-cli -h $HOST client pause 10000 WRITE",
            "redis-cli -h $HOST flushall async",
            "redis-cli -h $HOST 'FLUSHDB'",
            "redis-cli -h $HOST del key",
            "redis-cli -h $HOST unlink key",
            "redis-cli -h $HOST debug sleep 5",
            "redis-cli -h $HOST shutdown nosave",
            "redis-cli -h $HOST cluster reset hard",
            "redis-cli -h $HOST cluster replicate $MASTER_ID",
            "ssh $HOST 'rm /var/lib/redis/dump.rdb'",
            "ssh $HOST 'systemctl stop redis-server'",
            "redis-cli --cluster fix $HOST:$PORT",
        ] {
            assert!(is_destructive(text), "{text}");
        }
    }

    #[test]
    fn other_commands_are_not_destructive() {
        for text in [
            "",
            "redis-cli -h $HOST -p $PORT info replication",
            "redis-cli -h $HOST role",
            "redis-cli -h $HOST client list",
            "redis-cli -h $HOST client kill id $ID",
            "redis-cli -h $HOST info commandstats | grep -E 'replicaof|slaveof|failover|debug'",
            "redis-cli -h $HOST config get 'min-replicas-*'",
            "redis-cli -h $HOST config get min-replicas-to-write",
            "redis-cli -h $HOST config set min-replicas-to-write 1",
            "redis-cli -h $HOST config set min-replicas-to-write 0",
            "redis-cli -h $HOST config set appendonly no",
            "redis-cli -h $HOST config set maxmemory 2gb",
            "redis-cli -h $HOST bgrewriteaof",
            "redis-cli -h $PRIMARY_HOST failover to $HOST $PORT timeout 10000",
            "redis-cli -h $SENTINEL_HOST sentinel failover $MASTER_NAME",
            "redis-cli -h $HOST --rdb stale.rdb",
        ] {
            assert!(!is_destructive(text), "{text}");
        }
    }

    /// Commands of runbooks that may be filled with any node: they read, start a server, or change
    /// what the runbook is about.
    const HARMLESS: [&str; 47] = [
        "--rdb ",
        "-x config set masterauth",
        "acl getuser ",
        "acl log ",
        "acl setuser ",
        "bgrewriteaof",
        "bgsave",
        "client kill ",
        "client list",
        "client unpause",
        "cluster info",
        "cluster countkeysinslot ",
        "cluster nodes",
        "cluster setslot $SLOT ",
        "config get ",
        "config resetstat",
        "config rewrite",
        "config set appendfsync ",
        "config set appendonly ",
        "config set auto-aof-rewrite-percentage ",
        "config set client-output-buffer-limit ",
        "config set maxclients ",
        "config set maxmemory ",
        "config set min-replicas-to-write 1",
        "config set repl-backlog-size ",
        "config set repl-diskless-sync ",
        "config set replica-read-only yes",
        "config set replica-serve-stale-data ",
        "config set save ''",
        "config set stop-writes-on-bgsave-error ",
        "config set timeout ",
        "dbsize",
        "failover abort",
        "failover to ",
        "info",
        "latency latest",
        "memory doctor",
        "role",
        "script kill",
        "slowlog get ",
        "sentinel ckquorum ",
        "sentinel config ",
        "sentinel failover ",
        "sentinel get-master-addr-by-name ",
        "sentinel master",
        "sentinel replicas ",
        "sentinel sentinels ",
    ];

    /// Commands of other programs that may be filled with any node.
    const HARMLESS_PROGRAMS: [&str; 20] = [
        "redis-cli --cluster add-node ",
        "redis-cli --cluster call $HOST:$PORT cluster forget ",
        "redis-cli --cluster call $HOST:$PORT config ",
        "redis-cli --cluster check ",
        "getent ",
        "ssh $HOST 'df ",
        "ssh $HOST \"df ",
        "ssh $HOST 'cat ",
        "ssh $HOST 'chown redis:redis /etc/redis /etc/redis/sentinel.conf'",
        "ssh $HOST 'dmesg ",
        "ssh $HOST 'iostat ",
        "ssh $HOST 'journalctl ",
        "ssh $HOST 'systemctl restart redis-sentinel'",
        "ssh $HOST 'systemctl start ",
        "ssh $HOST 'systemctl status ",
        "ssh $HOST 'uptime",
        "ssh $HOST free ",
        "ssh $ROLECALL_HOST 'getent ",
        // One Sentinel after the other.
        "ssh $SENTINEL_HOST 'systemctl ",
        "ssh $SENTINEL_HOST \"sed -i '/^sentinel known-",
    ];

    /// Returns the lines of the code blocks of all runbooks, with the name of the runbook.
    fn code_lines() -> Vec<(&'static str, &'static str)> {
        let mut lines = Vec::new();
        for (alert, runbook) in crate::runbooks() {
            let mut in_block = false;
            for line in runbook.text.lines().map(str::trim) {
                if line.starts_with("```") {
                    in_block = !in_block;
                } else if in_block {
                    lines.push((alert, line));
                }
            }
        }
        lines
    }

    #[test]
    fn every_command_of_a_runbook_is_guarded_or_harmless() {
        let (mut guarded, mut harmless, mut unknown) = (0, 0, Vec::new());
        for (alert, line) in code_lines() {
            // Rolecall fills only these.
            let is_filled = [
                "$HOST",
                "$SENTINEL_HOST",
                "$PRIMARY_HOST",
                "$FORMER_PRIMARY_HOST",
                "$MASTER_HOST",
                "$SOURCE_HOST",
                "$TARGET_HOST",
            ]
            .iter()
            .any(|placeholder| line.contains(placeholder));
            if !is_filled {
                continue;
            }
            if is_destructive(line) {
                guarded += 1;
                continue;
            }
            let (_, options) = line.split_once("redis-cli -h ").unwrap_or_default();
            let command = options.split_once("PORT ").map(|(_, command)| command);
            let is_listed = match command {
                Some(command) if command.starts_with("sentinel set $MASTER_NAME ") => true,
                Some(command) => HARMLESS.iter().any(|known| command.starts_with(known)),
                None if line.contains("-x config set masterauth") => true,
                None => HARMLESS_PROGRAMS.iter().any(|known| line.starts_with(known)),
            };
            if is_listed {
                harmless += 1;
            } else {
                unknown.push(format!("{alert}: {line}"));
            }
        }
        assert_eq!(unknown, Vec::<String>::new(), "neither guarded nor known as harmless");
        assert!(guarded > 15 && harmless > 150, "{guarded} guarded, {harmless} harmless");
    }
}
