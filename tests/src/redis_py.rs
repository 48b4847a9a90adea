//! Real clients: redis-py, with connections that it keeps, as applications do.

use std::process::Command;

use crate::{Process, installed};

/// A program that uses redis-py. It goes on whatever it is told, until it is dropped.
pub struct RedisPy {
    process: Process,
}

/// Keeps connections out of one pool, and uses each in turn, five times a second.
const SCRIPT: &str = "
import sys, time, redis
port, name, what, count = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
pool = redis.ConnectionPool(host='127.0.0.1', port=port, client_name=name)
requests = {
    'set': [('SET', 'key', '1')],
    'hset': [('HSET', 'hash', 'field', '1')],
    'get': [('GET', 'key')],
    'multi': [('MULTI',), ('INCR', 'number'), ('EXEC',)],
    'eval': [('EVAL', \"return redis.call('SET', 'key', '1')\", '0')],
    'eval_get': [('EVAL', \"return redis.call('GET', 'key')\", '0')],
}
connections = [pool.get_connection() for _ in range(count)]
while True:
    for connection in connections:
        try:
            for request in requests[what]:
                connection.send_command(*request)
                try:
                    connection.read_response()
                except redis.ResponseError as error:
                    print(error, flush=True)
        except redis.ConnectionError as error:
            print(error, flush=True)
            connection.disconnect()
    time.sleep(0.2)
";

impl RedisPy {
    /// Starts one that calls itself `name` and does `what` over that many connections: `set`, `hset`, `get`, `multi`, `eval`, `eval_get`.
    pub fn start(port: u16, name: &str, what: &str, connections: usize) -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", SCRIPT, &port.to_string(), name, what, &connections.to_string()]);
        RedisPy { process: Process::start(command.env("PYTHONPATH", installed().join("python"))) }
    }

    /// What it was told that was no success.
    pub fn complaints(&self) -> Vec<String> {
        self.process.log()
    }
}
