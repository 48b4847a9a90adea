//! Model of a server: its process, its data and its replication link.

/// Time in milliseconds since the start of a history.
pub(crate) type Millis = u64;

/// Bytes that one write adds to the replication stream.
const WRITE_BYTES: u64 = 100;

/// Bytes of a ping in the replication stream.
const PING_BYTES: u64 = 14;

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

/// An acknowledged write and the replication offset after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) id: u32,
    pub(crate) offset: u64,
}

/// Replication link of a replica to its master.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Link {
    pub(crate) up: bool,
    /// Process to which the link leads.
    pub(crate) run: u32,
    /// Time of the last data from the master.
    pub(crate) last_io: Millis,
    pub(crate) down_since: Option<Millis>,
    /// Time of the next connection attempt.
    pub(crate) retry_at: Millis,
}

/// A server.
#[derive(Debug, Clone)]
pub(crate) struct Server {
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
    pub(crate) writes: Vec<Write>,
    /// The `rdb_changes_since_last_save` field of INFO.
    pub(crate) changes: u64,
    pub(crate) last_save: Millis,
    pub(crate) link: Link,
    /// Executed REPLICAOF commands.
    pub(crate) replicaof_commands: u64,
    /// Time at which the server last became a master, and its role before that.
    pub(crate) master_since: Millis,
    last_ping: Millis,
}

impl Server {
    pub(crate) fn new(run: u32, role: Role, history: u32) -> Self {
        Server {
            state: ProcessState::Running,
            run,
            started: 0,
            role,
            history,
            previous: None,
            offset: 0,
            writes: Vec::new(),
            changes: 0,
            last_save: 0,
            link: Link::default(),
            replicaof_commands: 0,
            master_since: 0,
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
    pub(crate) fn write(&mut self, id: u32) {
        self.offset += WRITE_BYTES;
        self.writes.push(Write { id, offset: self.offset });
        self.changes += 1;
    }

    /// Sends the periodic ping to the replicas.
    pub(crate) fn ping(&mut self, now: Millis) {
        if now >= self.last_ping + 10_000 {
            self.last_ping = now;
            self.offset += PING_BYTES;
        }
    }

    /// Executes REPLICAOF NO ONE.
    pub(crate) fn promote(&mut self, new_history: u32, now: Millis) {
        self.replicaof_commands += 1;
        if self.is_master() {
            return;
        }
        self.role = Role::Master;
        self.master_since = now;
        self.previous = Some((self.history, self.offset + 1));
        self.history = new_history;
        self.link = Link::default();
    }

    /// Executes REPLICAOF.
    pub(crate) fn follow(&mut self, master: usize, now: Millis) {
        self.replicaof_commands += 1;
        if self.role == Role::Replica(master) {
            return;
        }
        self.role = Role::Replica(master);
        self.link = Link { down_since: Some(now), retry_at: now, ..Link::default() };
    }

    pub(crate) fn kill(&mut self) {
        self.state = ProcessState::Dead;
    }

    /// Starts the process again, with or without its data. A new process has a new history.
    pub(crate) fn restart(&mut self, run: u32, history: u32, with_data: bool, now: Millis) {
        let (role, mut writes) = (self.role, std::mem::take(&mut self.writes));
        let mut offset = self.offset;
        if !with_data {
            writes.clear();
            offset = 0;
        }
        *self = Server { started: now, writes, offset, ..Server::new(run, role, history) };
        self.last_save = now;
        self.master_since = now;
        if !self.is_master() {
            self.link = Link { down_since: None, retry_at: now + 1000, ..Link::default() };
        }
    }

    /// Loses the replication link.
    pub(crate) fn drop_link(&mut self, now: Millis) {
        if self.link.up {
            self.link = Link { down_since: Some(now), retry_at: now + 1000, ..Link::default() };
        }
    }

    /// Returns true if the master has the history of this replica.
    pub(crate) fn continues(&self, master: &Server) -> bool {
        master.history == self.history || master.previous.is_some_and(|(id, _)| id == self.history)
    }

    /// Applies the stream of the master over a link that is up.
    pub(crate) fn apply(&mut self, master: &Server, now: Millis) {
        let known = self.writes.len();
        if master.offset > self.offset {
            self.link.last_io = now;
        }
        let new = master.writes.get(known..).unwrap_or_default();
        self.changes += new.len() as u64;
        self.writes.extend_from_slice(new);
        self.offset = master.offset;
        if self.history != master.history {
            (self.history, self.previous) = (master.history, master.previous);
        }
    }

    /// Connects to the master: continues its stream if possible, otherwise copies its data.
    /// Returns true after a full resync.
    pub(crate) fn synchronize(&mut self, master: &Server, now: Millis) -> bool {
        let same = self.history == master.history && self.offset <= master.offset;
        let before =
            master.previous.is_some_and(|(id, until)| id == self.history && self.offset < until);
        let is_partial = (same || before) && self.has_prefix_of(master);
        if !is_partial {
            self.writes.clone_from(&master.writes);
            self.offset = master.offset;
            (self.history, self.previous) = (master.history, None);
        }
        self.link = Link { up: true, run: master.run, last_io: now, ..Link::default() };
        self.apply(master, now);
        !is_partial
    }

    /// Returns true if the data is a prefix of that of the master.
    fn has_prefix_of(&self, master: &Server) -> bool {
        master.writes.starts_with(&self.writes)
    }
}
