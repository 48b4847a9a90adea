//! Commands that delete data, or stop writes, on the node that they are sent to.
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
const COMMANDS: [DestructiveCommand; 19] = [
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
    always(&["rm"]),
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
}
