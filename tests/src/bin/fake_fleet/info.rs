//! Replies to INFO, from a capture of Redis 7.0.15.

use std::io::Write;
use std::path::Path;

use tests::{Shape, address};

use crate::{AGE, Node, id};

/// Capture of a healthy master, relative to the crate.
const CAPTURE: &str = "../crates/snapshot/captures/redis-7.0.15/\
                       03-replication-healthy.master.info-everything.txt";

/// Sections that INFO without arguments leaves out.
const NOT_IN_DEFAULT: [&str; 3] = ["Commandstats", "Latencystats", "Debug"];

/// Fields that grow, and by how much each second. Their values differ by node.
const MOVING: [(&str, u64); 26] = [
    ("server_time_usec", 1_000_000),
    ("uptime_in_seconds", 1),
    ("lru_clock", 1),
    ("used_memory", 1234),
    ("used_memory_rss", 4096),
    ("used_memory_overhead", 17),
    ("used_memory_dataset", 1217),
    ("allocator_allocated", 1111),
    ("allocator_active", 4096),
    ("allocator_resident", 4096),
    ("allocator_frag_bytes", 333),
    ("mem_fragmentation_bytes", 919),
    ("mem_clients_normal", 3),
    ("rdb_changes_since_last_save", 11),
    ("total_connections_received", 1),
    ("total_commands_processed", 4321),
    ("total_net_input_bytes", 123_456),
    ("total_net_output_bytes", 654_321),
    ("total_net_repl_output_bytes", 33_333),
    ("expired_keys", 7),
    ("keyspace_hits", 3000),
    ("keyspace_misses", 300),
    ("expire_cycle_cpu_milliseconds", 1),
    ("total_reads_processed", 4000),
    ("total_writes_processed", 4100),
    ("reply_buffer_shrinks", 1),
];

/// Commands in the command statistics.
const COMMANDS: [&str; 50] = [
    "append",
    "bitcount",
    "client|id",
    "cluster|nodes",
    "config|get",
    "dbsize",
    "decr",
    "del",
    "echo",
    "eval",
    "exists",
    "expire",
    "get",
    "getset",
    "hdel",
    "hget",
    "hgetall",
    "hlen",
    "hset",
    "incr",
    "info",
    "llen",
    "lpop",
    "lpush",
    "lrange",
    "mget",
    "mset",
    "pfadd",
    "pfcount",
    "ping",
    "psync",
    "publish",
    "replconf",
    "rpush",
    "sadd",
    "scan",
    "scard",
    "set",
    "setex",
    "slowlog|len",
    "smembers",
    "srem",
    "strlen",
    "ttl",
    "type",
    "xadd",
    "xlen",
    "zadd",
    "zcard",
    "zrange",
];

/// Distinguishes IDs of processes from other IDs.
const PROCESS: u64 = 1;

/// Distinguishes replication IDs from other IDs.
const REPLICATION: u64 = 2;

/// Sections of a reply to INFO.
pub(crate) struct InfoTemplate(Vec<Section>);

/// One section.
struct Section {
    name: String,
    parts: Vec<Part>,
}

/// Part of a section.
enum Part {
    /// The same text for all nodes.
    Text(String),
    /// A number that grows.
    Moving {
        captured: u64,
        per_second: u64,
    },
    RunId,
    Replication,
    CommandStats,
}

impl InfoTemplate {
    /// Reads the capture.
    pub(crate) fn read(shape: Shape, port: u16) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(CAPTURE);
        let capture = std::fs::read_to_string(path).expect("cannot read the capture");
        let is_cluster = shape == Shape::Cluster;
        let mut sections: Vec<Section> = Vec::new();
        for line in capture.lines() {
            if let Some(name) = line.strip_prefix("# ") {
                let mut section = Section { name: name.to_owned(), parts: Vec::new() };
                section.add_text(&format!("# {name}\r\n"));
                match name {
                    "Replication" => section.parts.push(Part::Replication),
                    "Commandstats" => section.parts.push(Part::CommandStats),
                    _ => {}
                }
                sections.push(section);
                continue;
            }
            let section = sections.last_mut().expect("the capture begins with a section");
            let is_generated = ["Replication", "Commandstats"].contains(&&*section.name);
            let Some((field, value)) = line.split_once(':').filter(|_| !is_generated) else {
                continue;
            };
            section.add_text(&format!("{field}:"));
            match field {
                "run_id" => section.parts.push(Part::RunId),
                "tcp_port" => section.add_text(&port.to_string()),
                "redis_mode" if is_cluster => section.add_text("cluster"),
                "cluster_enabled" => section.add_text(if is_cluster { "1" } else { "0" }),
                _ => section.add_value(field, value),
            }
            section.add_text("\r\n");
        }
        InfoTemplate(sections)
    }
}

impl Section {
    fn add_text(&mut self, text: &str) {
        match self.parts.last_mut() {
            Some(Part::Text(last)) => last.push_str(text),
            _ => self.parts.push(Part::Text(text.to_owned())),
        }
    }

    fn add_value(&mut self, field: &str, value: &str) {
        match MOVING.iter().find(|(name, _)| *name == field) {
            Some((_, per_second)) => {
                let captured = value.parse().expect("moving fields are numbers");
                self.parts.push(Part::Moving { captured, per_second: *per_second });
            }
            None => self.add_text(value),
        }
    }

    /// Returns true if the arguments of INFO request the section.
    fn is_requested(&self, arguments: &[&str]) -> bool {
        let is_default = !NOT_IN_DEFAULT.contains(&&*self.name);
        let requests = |argument: &&str| match argument.to_ascii_lowercase().as_str() {
            "everything" | "all" => true,
            "default" => is_default,
            name => self.name.eq_ignore_ascii_case(name),
        };
        if arguments.is_empty() { is_default } else { arguments.iter().any(requests) }
    }
}

impl Node<'_> {
    /// Appends the requested sections.
    pub(crate) fn write_info(self, arguments: &[&str], body: &mut Vec<u8>) {
        let InfoTemplate(sections) = &self.fleet.info;
        for section in sections.iter().filter(|section| section.is_requested(arguments)) {
            if !body.is_empty() {
                body.extend(b"\r\n");
            }
            section.parts.iter().for_each(|part| self.write_part(part, body));
        }
    }

    fn write_part(self, part: &Part, body: &mut Vec<u8>) {
        let seconds = self.seconds + AGE.as_secs();
        let written = match part {
            Part::Text(text) => body.write_all(text.as_bytes()),
            Part::Moving { captured, per_second } => {
                let value = captured + self.number as u64 * 17 + seconds * per_second;
                write!(body, "{value}")
            }
            Part::RunId => body.write_all(id(self.number, PROCESS).as_bytes()),
            Part::Replication => self.write_replication(body),
            Part::CommandStats => self.write_command_stats(body),
        };
        written.expect("writing to memory cannot fail");
    }

    fn write_replication(self, body: &mut Vec<u8>) -> std::io::Result<()> {
        let (nodes, port, master) = (self.fleet.nodes, self.fleet.port, self.master());
        let offset = 1_000_000_000 + master as u64 * 1000 + self.seconds * 997;
        if master == self.number {
            let replicas = self.fleet.shape.replicas(self.number, nodes);
            write!(body, "role:master\r\nconnected_slaves:{}\r\n", replicas.len())?;
            for (index, replica) in replicas.enumerate() {
                let ip = address(replica);
                write!(
                    body,
                    "slave{index}:ip={ip},port={port},state=online,offset={offset},lag=0\r\n"
                )?;
            }
        } else {
            write!(
                body,
                "role:slave\r\nmaster_host:{}\r\nmaster_port:{port}\r\nmaster_link_status:up\r\n\
                 master_last_io_seconds_ago:0\r\nmaster_sync_in_progress:0\r\n\
                 slave_read_repl_offset:{offset}\r\nslave_repl_offset:{offset}\r\n\
                 slave_priority:100\r\nslave_read_only:1\r\nreplica_announced:1\r\n\
                 connected_slaves:0\r\n",
                address(master)
            )?;
        }
        write!(
            body,
            "master_failover_state:no-failover\r\nmaster_replid:{}\r\nmaster_replid2:{:040}\r\n\
             master_repl_offset:{offset}\r\nsecond_repl_offset:-1\r\nrepl_backlog_active:1\r\n\
             repl_backlog_size:1048576\r\nrepl_backlog_first_byte_offset:{}\r\n\
             repl_backlog_histlen:1000001\r\n",
            id(master, REPLICATION),
            0,
            offset - 1_000_000
        )
    }

    fn write_command_stats(self, body: &mut Vec<u8>) -> std::io::Result<()> {
        for (command, factor) in COMMANDS.iter().zip(1u64..) {
            let calls = factor * (1000 + self.number as u64 + self.seconds * 10);
            write!(
                body,
                "cmdstat_{command}:calls={calls},usec={},usec_per_call=3.00,rejected_calls=0,\
                 failed_calls=0\r\n",
                calls * 3
            )?;
        }
        Ok(())
    }
}
