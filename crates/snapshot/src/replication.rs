//! INFO replication: role, replication ID, offset, replicas and the link to the master.

use std::time::Duration;

use crate::layout::NumberedField;
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
    /// Claimed role. INFO replication: `role`; for a Sentinel INFO server: `redis_mode`. `None` if
    /// the server reports no role, or one that Rolecall does not know.
    pub role: Option<Role>,
    /// Claimed role that Rolecall does not know, for example `active-replica` of KeyDB. INFO
    /// replication: `role`, at most 64 bytes.
    pub unknown_role: Option<Box<str>>,
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
    /// Replication link of a node whose role is not known. No verdict about the topology uses it,
    /// because such a node may accept writes. Of several masters, the state of the worst link.
    pub link_of_unknown_role: Option<Link>,
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
    /// `online`, or a stage of a full resync: `wait_bgsave`, `send_bulk`. Dragonfly has other
    /// names. `None` if the server does not report it (Kvrocks, Pika).
    pub state: Option<Box<str>>,
    /// Acknowledged replication offset, bytes. `None` if the server does not report it (Dragonfly,
    /// Pika).
    pub offset: Option<u64>,
    /// Time since the last acknowledgement, whole seconds; 0 while the replica is not online.
    /// `None` if it is more than 30 years, because some servers let the number overflow, and if the
    /// server reports no state or no offset: such servers count records instead of seconds.
    pub lag: Option<Duration>,
}

/// Maximum number of replicas that are kept of one node.
const MAX_ATTACHED: usize = 256;

/// Maximum number of masters of one node whose links are read.
const MAX_MASTERS: usize = 16;

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
        let (role, unknown_role) = match fields.get("role") {
            Some("master") => (Some(Role::Master), None),
            Some("slave" | "replica") => (Some(Role::Replica), None),
            None if mode == Some("sentinel") => (Some(Role::Sentinel), None),
            Some("sentinel") => (Some(Role::Sentinel), None),
            None => (None, None),
            Some(other) => {
                issues.push(ParseIssue::new("INFO replication: role", other));
                (None, key_values::label_value(other))
            }
        };
        let has_link = || fields.get("master_link_status").is_some();
        Replication {
            role,
            unknown_role,
            replid: fields.get("master_replid").and_then(replication_id),
            replid2: fields.get("master_replid2").and_then(replication_id),
            offset: fields.count("master_repl_offset"),
            second_offset: fields.count("second_repl_offset"),
            connected_replicas: fields.count("connected_slaves"),
            good_replicas: fields.count("min_slaves_good_slaves"),
            attached: attached_replicas(fields),
            link_of_unknown_role: (role.is_none() && has_link()).then(|| {
                let link = Link::read(fields, issues);
                Link { status: worst_status(fields).or(link.status), ..link }
            }),
            link: (role == Some(Role::Replica)).then(|| Link::read(fields, issues)),
        }
    }

    /// Returns the replication link, also of a node whose role is not known.
    pub fn any_link(&self) -> Option<&Link> {
        self.link.as_ref().or(self.link_of_unknown_role.as_ref())
    }
}

/// Returns the state of the links to several masters: down if one of them is down. `None` if no
/// link is down.
///
/// KeyDB numbers the fields of the second and later masters: `master_1_link_status`.
fn worst_status(fields: &Fields) -> Option<LinkStatus> {
    let numbers = (1..MAX_MASTERS).map(|number| format!("master_{number}_link_"));
    let prefixes: Vec<String> = ["master_link_".to_owned()].into_iter().chain(numbers).collect();
    let is_down = |prefix: &&String| fields.get(&format!("{prefix}status")) == Some("down");
    let down: Vec<_> = prefixes.iter().filter(is_down).collect();
    if down.is_empty() && fields.get("master_global_link_status") != Some("down") {
        return None;
    }
    let since = |prefix: &&String| down_since(fields, &format!("{prefix}down_since_seconds"));
    Some(LinkStatus::Down(down.iter().filter_map(since).max()))
}

impl Link {
    fn read(fields: &Fields, issues: &mut Vec<ParseIssue>) -> Self {
        let status = match fields.get("master_link_status") {
            Some("up") => Some(LinkStatus::Up),
            Some("down") => {
                Some(LinkStatus::Down(down_since(fields, "master_link_down_since_seconds")))
            }
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
        (self.is_online() == Some(true), self.offset)
    }

    /// Returns true if the replica receives the replication stream, and false during a full resync;
    /// `None` if the server does not report the state.
    ///
    /// ```
    /// use snapshot::NodeSnapshot;
    ///
    /// let reply = "role:master\nslave0:ip=10.0.0.2,port=6379,state=wait_bgsave,offset=0,lag=0\n";
    /// let node = NodeSnapshot::from_info(reply).expect("a reply to INFO");
    /// assert_eq!(node.replication.attached[0].is_online(), Some(false));
    /// ```
    pub fn is_online(&self) -> Option<bool> {
        // Dragonfly calls the state `stable_sync`.
        self.state.as_deref().map(|state| matches!(state, "online" | "stable_sync"))
    }

    fn parse(line: &str) -> Option<Self> {
        let state = key_values::get(line, "state").and_then(key_values::label_value);
        let offset = key_values::parse(line, "offset");
        let has_seconds = state.is_some() && offset.is_some();
        Some(AttachedReplica {
            ip: bounded_name(NameKind::Host, key_values::get(line, "ip")?)
                .filter(|ip| !ip.is_empty())?,
            port: key_values::parse(line, "port")?,
            lag: key_values::parse(line, "lag")
                .filter(|seconds| has_seconds && *seconds < UNIX_TIME)
                .map(Duration::from_secs),
            state,
            offset,
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
    let lines = fields.numbered(NumberedField::Replica).take(MAX_ATTACHED);
    for replica in lines.filter_map(|(_, line)| AttachedReplica::parse(line)) {
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
fn down_since(fields: &Fields, name: &str) -> Option<Duration> {
    fields.count(name).filter(|seconds| *seconds < UNIX_TIME).map(Duration::from_secs)
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

    /// Returns the state, offset and lag of a replica.
    fn replica(line: &str) -> (Option<String>, Option<u64>, Option<u64>) {
        let replica = AttachedReplica::parse(line).expect(line);
        let lag = replica.lag.map(|lag| lag.as_secs());
        (replica.state.map(Into::into), replica.offset, lag)
    }

    #[test]
    fn replica_lines_of_other_systems_yield_what_they_contain() {
        let kvrocks = "ip=10.0.0.2,port=6666,offset=120,lag=4";
        assert_eq!(replica(kvrocks), (None, Some(120), None), "the lag counts records");
        let dragonfly = "ip=10.0.0.2,port=6380,state=stable_sync,lag=4";
        assert_eq!(replica(dragonfly), (Some("stable_sync".to_owned()), None, None));
        assert_eq!(AttachedReplica::parse(dragonfly).expect("a replica").is_online(), Some(true));
        let pika = "ip=10.0.0.2,port=9221,conn_fd=131,lag=(db0:0)";
        assert_eq!(replica(pika), (None, None, None));
        assert_eq!(AttachedReplica::parse(pika).expect("a replica").is_online(), None);
        assert_eq!(AttachedReplica::parse("state=online,offset=1,lag=0"), None, "no address");
    }

    /// Parses the fields of INFO replication.
    fn read(text: &str) -> Replication {
        Replication::read(&Fields::parse(text), None, &mut Vec::new())
    }

    #[test]
    fn link_of_an_active_replica_is_read() {
        let active = |rest: &str| {
            read(&format!("role:active-replica\nmaster_host:b\nmaster_port:6379\n{rest}"))
        };
        let down = active("master_link_status:down\nmaster_link_down_since_seconds:400\n");
        assert_eq!((down.role, down.unknown_role.as_deref()), (None, Some("active-replica")));
        assert_eq!(down.link, None, "its upstream is no evidence about the topology");
        let status = |replication: &Replication| replication.any_link().expect("a link").status;
        assert_eq!(status(&down), Some(LinkStatus::Down(Some(Duration::from_secs(400)))));
        let up = active("master_link_status:up\nmaster_global_link_status:up\n");
        assert_eq!(status(&up), Some(LinkStatus::Up));
    }

    #[test]
    fn one_lost_link_to_several_masters_is_a_lost_link() {
        let several = |second: &str| {
            let text = format!(
                "role:active-replica\nmaster_global_link_status:{second}\nconnected_masters:1\n\
                 master_host:b\nmaster_link_status:up\n\
                 master_1_host:c\nmaster_1_link_status:{second}\n\
                 master_1_link_down_since_seconds:7\n"
            );
            read(&text).any_link().expect("a link").status
        };
        assert_eq!(several("up"), Some(LinkStatus::Up));
        assert_eq!(several("down"), Some(LinkStatus::Down(Some(Duration::from_secs(7)))));
        let text = "role:multi\nmaster_global_link_status:down\nmaster_link_status:up\n";
        let link = read(text).link_of_unknown_role.expect("a link");
        assert_eq!(link.status, Some(LinkStatus::Down(None)), "the link that is down is unknown");
    }

    #[test]
    fn node_without_a_known_role_or_link_has_none() {
        let replication = read("connected_slaves:0\n");
        assert_eq!((replication.role, replication.unknown_role.as_deref()), (None, None));
        assert_eq!(replication.any_link(), None);
    }
}
