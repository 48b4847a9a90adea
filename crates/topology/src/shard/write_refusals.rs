//! Commands that write: a read-only replica refuses them.

use snapshot::CommandStat;

/// Commands with the flag `write` of Redis up to 8.2 and Valkey up to 9.1 according to COMMAND,
/// sorted. Commands of modules are missing. Servers before 7.0 do not report the subcommands of
/// `xgroup`, so the command itself is in the list.
#[rustfmt::skip]
const WRITES: [&str; 125] = [
    "append", "bitfield", "bitop", "blmove", "blmpop", "blpop", "brpop", "brpoplpush", "bzmpop",
    "bzpopmax", "bzpopmin", "cluster|flushslot", "copy", "decr", "decrby", "del", "delifeq",
    "expire", "expireat", "flushall", "flushdb", "function|delete", "function|flush",
    "function|load", "function|restore", "geoadd", "georadius", "georadiusbymember",
    "geosearchstore", "getdel", "getex", "getset", "hdel", "hexpire", "hexpireat", "hgetdel",
    "hgetex", "hincrby", "hincrbyfloat", "hmset", "hpersist", "hpexpire", "hpexpireat", "hset",
    "hsetex", "hsetnx", "incr", "incrby", "incrbyfloat", "linsert", "lmove", "lmpop", "lpop",
    "lpush", "lpushx", "lrem", "lset", "ltrim", "migrate", "move", "mset", "msetex", "msetnx",
    "persist", "pexpire", "pexpireat", "pfadd", "pfdebug", "pfmerge", "psetex", "rename",
    "renamenx", "restore", "restore-asking", "rpop", "rpoplpush", "rpush", "rpushx", "sadd",
    "sdiffstore", "set", "setbit", "setex", "setnx", "setrange", "sinterstore", "smove", "sort",
    "spop", "srem", "sunionstore", "swapdb", "unlink", "vadd", "vrem", "vsetattr", "xack",
    "xackdel", "xadd", "xautoclaim", "xclaim", "xdel", "xdelex", "xgroup", "xgroup|create",
    "xgroup|createconsumer", "xgroup|delconsumer", "xgroup|destroy", "xgroup|setid", "xreadgroup",
    "xsetid", "xtrim", "zadd", "zdiffstore", "zincrby", "zinterstore", "zmpop", "zpopmax",
    "zpopmin", "zrangestore", "zrem", "zremrangebylex", "zremrangebyrank", "zremrangebyscore",
    "zunionstore",
];

/// Commands that run other commands, and fail when the server refuses one of them.
const RUNNERS: [&str; 4] = ["eval", "evalsha", "exec", "fcall"];

/// Returns how often a read-only replica may have refused a command so far: a write command before
/// it ran, a command that runs others also while it ran. 0 for other commands, and if the server
/// does not count refusals.
pub(crate) fn refused(command: CommandStat<'_>) -> u64 {
    let Some(rejected) = command.rejected else { return 0 };
    if RUNNERS.contains(&command.name) {
        return rejected.saturating_add(command.failed.unwrap_or_default());
    }
    // Most commands were never rejected. They are not searched in the list.
    if rejected > 0 && is_write(command.name) { rejected } else { 0 }
}

/// Returns true if a command writes itself, and not only runs other commands.
pub(crate) fn is_write(name: &str) -> bool {
    // COMMAND reports the commands of vector sets in capital letters.
    WRITES.binary_search(&&*name.to_ascii_lowercase()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_commands_are_sorted_and_found() {
        assert!(WRITES.is_sorted());
        assert!(
            ["set", "del", "xgroup|create", "xgroup", "VADD", "zunionstore"]
                .into_iter()
                .all(is_write)
        );
        assert!(
            !["get", "mget", "info", "config|set", "publish", "eval", "xinfo|stream"]
                .into_iter()
                .any(is_write)
        );
    }
}
