//! The replication section of INFO: what the server claims to be, and its link to its master.

use std::time::Duration;

use crate::{Fields, Issue, list};

/// What a node claims to be. A claim: which master is the primary is for `topology` to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// `role:master`.
    Master,
    /// `role:slave`.
    Replica,
    /// A Sentinel process; it reports no role.
    Sentinel,
}

/// The replication section of INFO.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Replication {
    /// INFO replication: `role`; a Sentinel is known by its mode.
    pub role: Option<Role>,
    /// The history that this node's data belongs to. INFO replication: `master_replid`.
    pub replid: Option<Box<str>>,
    /// The history it belonged to before, if it took over. INFO replication: `master_replid2`, `None` when all zeros.
    pub replid2: Option<Box<str>>,
    /// Bytes of replication stream produced or applied. INFO replication: `master_repl_offset`.
    pub offset: Option<u64>,
    /// Offset up to which `replid2` holds, bytes. INFO replication: `second_repl_offset`, `None` when -1.
    pub second_offset: Option<u64>,
    /// Replicas attached to this node. INFO replication: `connected_slaves`.
    pub connected_replicas: Option<u64>,
    /// Replicas that acknowledge in time; only where a minimum is configured. INFO replication: `min_slaves_good_slaves`.
    pub good_replicas: Option<u64>,
    /// The link to the master; only on replicas.
    pub link: Option<Link>,
    /// The replicas as this node sees them. INFO replication: `slaveN`.
    pub attached: Vec<Attached>,
}

/// A replica as its master sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// Address it announces or connects from.
    pub ip: Box<str>,
    /// Port it announces.
    pub port: u16,
    /// `online`, or a step on the way there: `wait_bgsave`, `send_bulk`.
    pub state: Box<str>,
    /// Replication stream it acknowledged, bytes.
    pub offset: u64,
    /// Age of its last acknowledgement, whole seconds; 0 while it is not online. On 5.0 and later.
    pub lag: Option<Duration>,
}

/// The most replicas that are kept of one node.
const MAX_ATTACHED: usize = 256;

/// A replica's link to its master.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Address of the master as configured in the replica. INFO replication: `master_host`.
    pub master_host: Option<Box<str>>,
    /// INFO replication: `master_port`.
    pub master_port: Option<u16>,
    /// INFO replication: `master_link_status` with `master_link_down_since_seconds`.
    pub status: Option<LinkStatus>,
    /// Time since the master last sent anything; absent while the link is down. INFO replication: `master_last_io_seconds_ago`.
    pub last_io: Option<Duration>,
    /// A synchronisation is under way. INFO replication: `master_sync_in_progress`.
    pub syncing: Option<bool>,
    /// The replica refuses writes. INFO replication: `slave_read_only`.
    pub read_only: Option<bool>,
}

/// Whether the link to the master stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkStatus {
    /// Connected and synchronised.
    Up,
    /// Down since that long ago; `None` when it was never up.
    Down(Option<Duration>),
}

impl Replication {
    pub(crate) fn read(fields: &Fields, mode: Option<&str>, issues: &mut Vec<Issue>) -> Self {
        let role = match fields.get("role") {
            Some("master") => Some(Role::Master),
            Some("slave" | "replica") => Some(Role::Replica),
            None if mode == Some("sentinel") => Some(Role::Sentinel),
            Some("sentinel") => Some(Role::Sentinel),
            None => None,
            Some(other) => {
                issues.push(Issue::new("INFO replication: role", other));
                None
            }
        };
        Replication {
            role,
            replid: fields.get("master_replid").and_then(replication_id),
            replid2: fields.get("master_replid2").and_then(replication_id),
            offset: fields.count("master_repl_offset"),
            second_offset: fields.count("second_repl_offset"),
            connected_replicas: fields.count("connected_slaves"),
            good_replicas: fields.count("min_slaves_good_slaves"),
            attached: attached(fields),
            link: (role == Some(Role::Replica)).then(|| Link::read(fields, issues)),
        }
    }
}

impl Link {
    fn read(fields: &Fields, issues: &mut Vec<Issue>) -> Self {
        let status = match fields.get("master_link_status") {
            Some("up") => Some(LinkStatus::Up),
            Some("down") => Some(LinkStatus::Down(down_since(fields))),
            None => None,
            Some(other) => {
                issues.push(Issue::new("INFO replication: master_link_status", other));
                None
            }
        };
        Link {
            master_host: fields.get("master_host").map(Into::into),
            master_port: fields.get("master_port").and_then(|port| port.parse().ok()),
            status,
            last_io: fields.count("master_last_io_seconds_ago").map(Duration::from_secs),
            syncing: fields.flag("master_sync_in_progress"),
            read_only: fields.flag("slave_read_only"),
        }
    }
}

impl Attached {
    /// Of two lines about one replica the one with more of this is true.
    pub fn liveness(&self) -> impl Ord {
        (&*self.state == "online", self.offset)
    }

    fn parse(line: &str) -> Option<Self> {
        Some(Attached {
            ip: list::name(list::get(line, "ip")?)?,
            port: list::parse(line, "port")?,
            state: list::name(list::get(line, "state")?)?,
            offset: list::parse(line, "offset")?,
            lag: list::parse(line, "lag").map(Duration::from_secs),
        })
    }
}

impl Role {
    /// The value of the label `role`.
    pub const fn label(self) -> &'static str {
        match self {
            Role::Master => "master",
            Role::Replica => "replica",
            Role::Sentinel => "sentinel",
        }
    }

    /// Every role.
    pub const ALL: [Role; 3] = [Role::Master, Role::Replica, Role::Sentinel];
}

/// The replicas, one entry for each address: while an old connection has not timed out a replica is listed twice.
fn attached(fields: &Fields) -> Vec<Attached> {
    let mut found: Vec<Attached> = Vec::new();
    for replica in list::numbered(fields, "slave", MAX_ATTACHED)
        .into_iter()
        .filter_map(|(_, line)| Attached::parse(line))
    {
        match found.iter_mut().find(|other| (&other.ip, other.port) == (&replica.ip, replica.port))
        {
            Some(other) if other.liveness() < replica.liveness() => *other = replica,
            Some(_) => {}
            None => found.push(replica),
        }
    }
    found
}

/// A link that was never up shows -1, but on 5.0 and 6.0 the Unix time: no server is down for 30 years.
fn down_since(fields: &Fields) -> Option<Duration> {
    const UNIX_TIME: u64 = 1_000_000_000;
    fields
        .count("master_link_down_since_seconds")
        .filter(|seconds| *seconds < UNIX_TIME)
        .map(Duration::from_secs)
}

/// A replication id is 40 hexadecimal digits; all zeros mean none.
fn replication_id(text: &str) -> Option<Box<str>> {
    let is_id = text.len() == 40
        && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        && text.bytes().any(|byte| byte != b'0');
    is_id.then(|| text.into())
}
