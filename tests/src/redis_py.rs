//! Real client: redis-py with persistent connections, as applications use it.

use std::process::Command;

use crate::{Process, installed};

/// Python process that sends requests with redis-py until the value is dropped. Errors do not stop
/// it.
pub struct RedisPyClient {
    process: Process,
}

/// Takes connections from one pool and sends a request on each of them, five times per second.
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

impl RedisPyClient {
    /// Starts a client with this client name and number of connections. `what` is the request:
    /// `set`, `hset`, `get`, `multi`, `eval` or `eval_get`.
    pub fn start(port: u16, name: &str, what: &str, connections: usize) -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", SCRIPT, &port.to_string(), name, what, &connections.to_string()]);
        RedisPyClient {
            process: Process::start(command.env("PYTHONPATH", installed().join("python"))),
        }
    }

    /// Returns the errors so far: error replies and connection errors.
    pub fn errors(&self) -> Vec<String> {
        self.process.log()
    }
}
