//! Which commands write: those that a read-only replica refuses.

use snapshot::CommandStat;

/// Every command with the flag `write` of Redis up to 8.2 and Valkey up to 9.1, as COMMAND tells, sorted; `xgroup` stands for its
/// subcommands, which servers before 7.0 do not tell apart. What modules add is not known.
#[rustfmt::skip]
const WRITES: [&str; 125] = [
    "append", "bitfield", "bitop", "blmove", "blmpop", "blpop", "brpop", "brpoplpush", "bzmpop", "bzpopmax", "bzpopmin",
    "cluster|flushslot", "copy", "decr", "decrby", "del", "delifeq", "expire", "expireat", "flushall", "flushdb", "function|delete",
    "function|flush", "function|load", "function|restore", "geoadd", "georadius", "georadiusbymember", "geosearchstore", "getdel",
    "getex", "getset", "hdel", "hexpire", "hexpireat", "hgetdel", "hgetex", "hincrby", "hincrbyfloat", "hmset", "hpersist", "hpexpire",
    "hpexpireat", "hset", "hsetex", "hsetnx", "incr", "incrby", "incrbyfloat", "linsert", "lmove", "lmpop", "lpop", "lpush", "lpushx",
    "lrem", "lset", "ltrim", "migrate", "move", "mset", "msetex", "msetnx", "persist", "pexpire", "pexpireat", "pfadd", "pfdebug",
    "pfmerge", "psetex", "rename", "renamenx", "restore", "restore-asking", "rpop", "rpoplpush", "rpush", "rpushx", "sadd", "sdiffstore",
    "set", "setbit", "setex", "setnx", "setrange", "sinterstore", "smove", "sort", "spop", "srem", "sunionstore", "swapdb", "unlink",
    "vadd", "vrem", "vsetattr", "xack", "xackdel", "xadd", "xautoclaim", "xclaim", "xdel", "xdelex", "xgroup", "xgroup|create",
    "xgroup|createconsumer", "xgroup|delconsumer", "xgroup|destroy", "xgroup|setid", "xreadgroup", "xsetid", "xtrim", "zadd",
    "zdiffstore", "zincrby", "zinterstore", "zmpop", "zpopmax", "zpopmin", "zrangestore", "zrem", "zremrangebylex", "zremrangebyrank",
    "zremrangebyscore", "zunionstore",
];

/// Commands that run others: they fail when what they run is refused.
const CARRIERS: [&str; 4] = ["eval", "evalsha", "exec", "fcall"];

/// How often a read-only replica may have refused this command, so far: a write before it ran, and what runs others also while it did.
/// `None` when it is neither, or the server does not count refusals.
pub(crate) fn refused(command: &CommandStat) -> Option<u64> {
    if CARRIERS.contains(&&*command.name) {
        return Some(command.rejected? + command.failed.unwrap_or_default());
    }
    command.rejected.filter(|_| is_write(&command.name))
}

/// It is a write itself, and does not only run others.
pub(crate) fn is_write(name: &str) -> bool {
    // Vector sets are spelt in capitals.
    WRITES.binary_search(&&*name.to_ascii_lowercase()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_sorted_so_that_they_are_found() {
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
