//! INFO replication: role, replication ID, offset, replicas and the link to the master.

use std::time::Duration;

use crate::names::{NameKind, bounded_name};
use crate::{Fields, ParseIssue, key_values};

/// Role that a node claims. The crate `topology` decides which master is the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// `role:master`.
    Master,
    /// `role:slave`.
    Replica,
    /// A Sentinel. It reports no role in INFO, but `redis_mode:sentinel`.
    Sentinel,
}

/// Fields of INFO replication.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Replication {
    /// Claimed role. INFO replication: `role`; for a Sentinel INFO server: `redis_mode`.
    pub role: Option<Role>,
    /// ID of the replication history that the data belongs to. INFO replication: `master_replid`.
    pub replid: Option<Box<str>>,
    /// ID of the previous history, set by a promotion. INFO replication: `master_replid2`, `None`
    /// if all zeros.
    pub replid2: Option<Box<str>>,
    /// Replication offset, bytes. INFO replication: `master_repl_offset`.
    pub offset: Option<u64>,
    /// Offset up to which `replid2` is valid, bytes. INFO replication: `second_repl_offset`, `None`
    /// if -1.
    pub second_offset: Option<u64>,
    /// Number of connected replicas. INFO replication: `connected_slaves`.
    pub connected_replicas: Option<u64>,
    /// Number of replicas that acknowledge in time. INFO replication: `min_slaves_good_slaves`;
    /// absent unless `min-replicas-to-write` is configured.
    pub good_replicas: Option<u64>,
    /// Replication link to the master. `None` unless the node is a replica.
    pub link: Option<Link>,
    /// Connected replicas, one entry for each address. INFO replication: `slaveN`.
    pub attached: Vec<AttachedReplica>,
}

/// A connected replica as its upstream reports it. INFO replication: `slaveN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachedReplica {
    /// Announced address, or the address of the connection if none is announced.
    pub ip: Box<str>,
    /// Announced port.
    pub port: u16,
    /// `online`, or a stage of a full resync: `wait_bgsave`, `send_bulk`.
    pub state: Box<str>,
    /// Acknowledged replication offset, bytes.
    pub offset: u64,
    /// Time since the last acknowledgement, whole seconds; 0 while the replica is not online.
    /// `None` if it is more than 30 years: some servers let the number overflow.
    pub lag: Option<Duration>,
}

/// Maximum number of replicas that are kept of one node.
const MAX_ATTACHED: usize = 256;

/// Replication link of a replica to its master.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Host of the master, as configured on the replica. INFO replication: `master_host`.
    pub master_host: Option<Box<str>>,
    /// Port of the master. INFO replication: `master_port`.
    pub master_port: Option<u16>,
    /// State of the link. INFO replication: `master_link_status` and
    /// `master_link_down_since_seconds`.
    pub status: Option<LinkStatus>,
    /// Time since the master last sent data, whole seconds. INFO replication:
    /// `master_last_io_seconds_ago`; `None` while the link is down.
    pub last_io: Option<Duration>,
    /// A full resync is running. INFO replication: `master_sync_in_progress`.
    pub syncing: Option<bool>,
    /// The replica refuses writes. INFO replication: `slave_read_only`.
    pub read_only: Option<bool>,
}

/// State of a replication link, as the replica reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkStatus {
    /// Connected and in sync.
    Up,
    /// Not connected, or in a full resync. Contains the time since the link went down; `None` if
    /// it was never up.
    Down(Option<Duration>),
}

impl Replication {
    pub(crate) fn read(fields: &Fields, mode: Option<&str>, issues: &mut Vec<ParseIssue>) -> Self {
        let role = match fields.get("role") {
            Some("master") => Some(Role::Master),
            Some("slave" | "replica") => Some(Role::Replica),
            None if mode == Some("sentinel") => Some(Role::Sentinel),
            Some("sentinel") => Some(Role::Sentinel),
            None => None,
            Some(other) => {
                issues.push(ParseIssue::new("INFO replication: role", other));
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
            attached: attached_replicas(fields),
            link: (role == Some(Role::Replica)).then(|| Link::read(fields, issues)),
        }
    }
}

impl Link {
    fn read(fields: &Fields, issues: &mut Vec<ParseIssue>) -> Self {
        let status = match fields.get("master_link_status") {
            Some("up") => Some(LinkStatus::Up),
            Some("down") => Some(LinkStatus::Down(down_since(fields))),
            None => None,
            Some(other) => {
                issues.push(ParseIssue::new("INFO replication: master_link_status", other));
                None
            }
        };
        Link {
            master_host: fields
                .get("master_host")
                .and_then(|host| bounded_name(NameKind::Host, host)),
            master_port: fields.get("master_port").and_then(|port| port.parse().ok()),
            status,
            last_io: fields.count("master_last_io_seconds_ago").map(Duration::from_secs),
            syncing: fields.flag("master_sync_in_progress"),
            read_only: fields.flag("slave_read_only"),
        }
    }
}

impl AttachedReplica {
    /// Returns a rank that orders several entries for one replica: the highest is the current one.
    ///
    /// Entries that are online rank above the others, then the offset decides.
    pub fn liveness(&self) -> impl Ord {
        (&*self.state == "online", self.offset)
    }

    fn parse(line: &str) -> Option<Self> {
        Some(AttachedReplica {
            ip: bounded_name(NameKind::Host, key_values::get(line, "ip")?)
                .filter(|ip| !ip.is_empty())?,
            port: key_values::parse(line, "port")?,
            state: key_values::label_value(key_values::get(line, "state")?)?,
            offset: key_values::parse(line, "offset")?,
            lag: key_values::parse(line, "lag")
                .filter(|seconds| *seconds < UNIX_TIME)
                .map(Duration::from_secs),
        })
    }
}

impl Role {
    /// Returns the value of the label `role`.
    pub const fn label(self) -> &'static str {
        match self {
            Role::Master => "master",
            Role::Replica => "replica",
            Role::Sentinel => "sentinel",
        }
    }

    /// Returns the role with this label.
    pub fn from_label(label: &str) -> Option<Self> {
        Role::ALL.into_iter().find(|role| role.label() == label)
    }

    /// Every role.
    pub const ALL: [Role; 3] = [Role::Master, Role::Replica, Role::Sentinel];
}

/// Returns the connected replicas, one entry for each address.
///
/// The server lists a replica twice if it reconnects before the old connection times out.
fn attached_replicas(fields: &Fields) -> Vec<AttachedReplica> {
    let mut replicas: Vec<AttachedReplica> = Vec::new();
    for replica in key_values::numbered(fields, "slave", MAX_ATTACHED)
        .into_iter()
        .filter_map(|(_, line)| AttachedReplica::parse(line))
    {
        let same_address =
            |other: &&mut AttachedReplica| (&other.ip, other.port) == (&replica.ip, replica.port);
        match replicas.iter_mut().find(same_address) {
            Some(other) if other.liveness() < replica.liveness() => *other = replica,
            Some(_) => {}
            None => replicas.push(replica),
        }
    }
    replicas
}

/// Seconds that are no duration but a Unix time or a negative number without a sign: more than 30
/// years.
const UNIX_TIME: u64 = 1_000_000_000;

/// Returns the time since the link went down; `None` if it was never up.
///
/// Servers report -1 for a link that was never up, but Redis 5.0 and 6.0 report the current Unix
/// time.
fn down_since(fields: &Fields) -> Option<Duration> {
    fields
        .count("master_link_down_since_seconds")
        .filter(|seconds| *seconds < UNIX_TIME)
        .map(Duration::from_secs)
}

/// Returns the text if it is a replication ID: 40 hexadecimal digits, not all zeros.
fn replication_id(text: &str) -> Option<Box<str>> {
    let is_id = text.len() == 40
        && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        && text.bytes().any(|byte| byte != b'0');
    is_id.then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overflow_is_no_lag_of_a_replica() {
        let lag = |lag: &str| {
            let line = format!("ip=10.0.0.2,port=6379,state=online,offset=7,lag={lag}");
            AttachedReplica::parse(&line).expect("a replica").lag
        };
        assert_eq!(lag("3"), Some(Duration::from_secs(3)));
        assert_eq!(lag("18446744073709551615"), None);
        assert_eq!(lag("-1"), None);
    }
}
