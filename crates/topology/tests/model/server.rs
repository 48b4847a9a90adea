//! Model of a server: its process, its data and its replication link.

/// Time in milliseconds since the start of a history.
pub(crate) type Millis = u64;

/// Bytes that one write adds to the replication stream.
const WRITE_BYTES: u64 = 100;

/// Bytes of a ping in the replication stream.
const PING_BYTES: u64 = 14;

/// Time between two connection attempts of a replica.
const RETRY: Millis = 1000;

/// State of a server process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProcessState {
    Running,
    /// Stopped by SIGSTOP.
    Frozen,
    Dead,
}

/// Role of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Master,
    /// Replica of the server with this number.
    Replica(usize),
}

/// Properties that the servers of a deployment have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Version {
    /// Redis 7.0 or later. A demoted server keeps its replicas, a replica that lost its link
    /// connects again at once, and a restarted master remembers its history.
    pub(crate) is_modern: bool,
    /// The data is in an append-only file, otherwise in an RDB file.
    pub(crate) has_aof: bool,
}

/// Replication link of a replica to its master.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Link {
    pub(crate) up: bool,
    /// Process to which the link leads.
    pub(crate) run: u32,
    pub(crate) connected_at: Millis,
    /// Time of the last data from the master.
    pub(crate) last_io: Millis,
    /// Time of the last acknowledgement that the master received.
    pub(crate) acknowledged: Millis,
    /// The master closed the connection, and the replica has not noticed.
    pub(crate) closed: bool,
    pub(crate) down_since: Option<Millis>,
    /// Time of the next connection attempt.
    pub(crate) retry_at: Millis,
}

/// Writes of clients since a server last synchronized with a master.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reign {
    /// Numbers of the writes, ascending.
    pub(crate) writes: Vec<u32>,
    /// The server restarted without its data.
    pub(crate) lost_data: bool,
}

/// Result of a connection to a master.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resync {
    Full,
    /// The stream continues. The master may have another history than before.
    Partial {
        is_new_history: bool,
    },
}

/// A server.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) version: Version,
    pub(crate) state: ProcessState,
    /// Number of the process: the run ID.
    pub(crate) run: u32,
    pub(crate) started: Millis,
    pub(crate) role: Role,
    /// Replication ID.
    pub(crate) history: u32,
    /// Previous replication ID, and the first offset that does not belong to it.
    pub(crate) previous: Option<(u32, u64)>,
    pub(crate) offset: u64,
    /// Offset from which on the backlog has the stream.
    backlog_from: u64,
    /// Times at which the offset of a master grew, with the new offset.
    pub(crate) growth: Vec<(Millis, u64)>,
    /// Numbers of the writes in the data, ascending.
    pub(crate) writes: Vec<u32>,
    pub(crate) reign: Reign,
    /// The `rdb_changes_since_last_save` field of INFO.
    pub(crate) changes: u64,
    pub(crate) last_save: Millis,
    pub(crate) link: Link,
    last_ping: Millis,
}

impl Server {
    pub(crate) fn new(version: Version, run: u32, role: Role, history: u32) -> Self {
        Server {
            version,
            state: ProcessState::Running,
            run,
            started: 0,
            role,
            history,
            previous: None,
            offset: 0,
            backlog_from: 0,
            growth: Vec::new(),
            writes: Vec::new(),
            reign: Reign::default(),
            changes: 0,
            last_save: 0,
            link: Link::default(),
            last_ping: 0,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.state == ProcessState::Running
    }

    pub(crate) fn is_master(&self) -> bool {
        self.role == Role::Master
    }

    /// Executes a write of a client.
    pub(crate) fn write(&mut self, id: u32, now: Millis) {
        self.grow(WRITE_BYTES, now);
        self.writes.push(id);
        self.reign.writes.push(id);
        self.changes += 1;
    }

    /// Sends the periodic ping to the replicas.
    pub(crate) fn ping(&mut self, now: Millis) {
        if now >= self.last_ping + 10_000 {
            self.last_ping = now;
            self.grow(PING_BYTES, now);
        }
    }

    fn grow(&mut self, bytes: u64, now: Millis) {
        self.offset += bytes;
        match self.growth.last_mut() {
            Some(last) if last.0 == now => last.1 = self.offset,
            _ => self.growth.push((now, self.offset)),
        }
    }

    pub(crate) fn kill(&mut self) {
        self.state = ProcessState::Dead;
    }

    /// Starts the process again, with or without its data. The role is in the configuration file.
    pub(crate) fn restart(&mut self, run: u32, history: u32, with_data: bool, now: Millis) {
        let mut server = Server {
            started: now,
            last_save: now,
            reign: std::mem::take(&mut self.reign),
            ..Server::new(self.version, run, self.role, history)
        };
        if with_data {
            server.writes = std::mem::take(&mut self.writes);
        } else {
            server.reign.lost_data = true;
        }
        if with_data && self.version.has_aof {
            // Loaded commands count as changes. The file has no replication ID.
            server.changes = server.writes.len() as u64;
        } else if with_data && !self.is_master() {
            (server.history, server.previous) = (self.history, self.previous);
            server.offset = self.offset;
        } else if with_data && self.version.is_modern {
            server.previous = Some((self.history, self.offset + 1));
            server.offset = self.offset;
        }
        server.backlog_from = server.offset;
        server.link.retry_at = now + RETRY;
        *self = server;
    }

    /// Loses the replication link.
    pub(crate) fn drop_link(&mut self, now: Millis) {
        if self.link.up {
            let delay = if self.version.is_modern { 0 } else { RETRY };
            self.link = Link { down_since: Some(now), retry_at: now + delay, ..Link::default() };
        }
    }

    /// Plans the next connection attempt.
    pub(crate) fn retry_later(&mut self, now: Millis) {
        self.link.retry_at = now + RETRY;
    }

    /// Applies the stream of the master over a link that is up.
    pub(crate) fn apply(&mut self, master: &Server, now: Millis) {
        // A replica without a link keeps those of its own replicas alive with empty lines.
        let keeps_alive = !master.is_master() && !master.link.up;
        if master.offset > self.offset || keeps_alive {
            self.link.last_io = now;
        }
        self.link.acknowledged = now;
        let new = master.writes.get(self.writes.len()..).unwrap_or_default();
        self.changes += new.len() as u64;
        self.writes.extend_from_slice(new);
        self.offset = self.offset.max(master.offset);
    }

    /// Connects to the master: continues its stream if possible, otherwise copies its data.
    pub(crate) fn synchronize(&mut self, master: &Server, now: Millis) -> Resync {
        let is_same = self.history == master.history && self.offset <= master.offset;
        let is_before =
            master.previous.is_some_and(|(id, until)| id == self.history && self.offset < until);
        let is_partial = (is_same || is_before)
            && self.offset >= master.backlog_from
            && master.writes.starts_with(&self.writes);
        let is_new_history = self.history != master.history;
        self.reign = Reign::default();
        if !is_partial {
            self.writes.clone_from(&master.writes);
            self.offset = master.offset;
            self.backlog_from = master.offset;
            (self.history, self.previous) = (master.history, None);
        } else if is_new_history {
            self.previous = Some((self.history, self.offset + 1));
            self.history = master.history;
        }
        self.link =
            Link { up: true, run: master.run, connected_at: now, last_io: now, ..Link::default() };
        self.apply(master, now);
        if is_partial { Resync::Partial { is_new_history } } else { Resync::Full }
    }
}

/// Executes REPLICAOF NO ONE on a server. Its replicas must learn the new replication ID.
pub(crate) fn promote(servers: &mut [Server], index: usize, new_history: u32, now: Millis) {
    let server = &mut servers[index];
    if server.is_master() {
        return;
    }
    server.role = Role::Master;
    server.previous = Some((server.history, server.offset + 1));
    server.history = new_history;
    server.link = Link::default();
    server.growth.clear();
    disconnect_replicas(servers, index, now);
}

/// Executes REPLICAOF on a server.
pub(crate) fn follow(servers: &mut [Server], index: usize, master: usize, now: Millis) {
    let server = &mut servers[index];
    if server.role == Role::Replica(master) {
        return;
    }
    server.role = Role::Replica(master);
    server.growth.clear();
    server.link = Link { down_since: Some(now), retry_at: now, ..Link::default() };
    if !server.version.is_modern {
        disconnect_replicas(servers, index, now);
    }
}

/// Closes the links of the replicas of a server.
pub(crate) fn disconnect_replicas(servers: &mut [Server], index: usize, now: Millis) {
    for server in servers.iter_mut().filter(|server| server.role == Role::Replica(index)) {
        if server.is_running() {
            server.drop_link(now);
        } else {
            server.link.closed = true;
        }
    }
}
