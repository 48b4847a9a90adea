//! CLUSTER NODES and CLUSTER SHARDS: the cluster as one of its nodes reports it.

use crate::Reply;

/// A parsed reply to CLUSTER NODES.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterMap {
    /// Every known node, including the one that replied.
    pub nodes: Vec<ClusterNode>,
}

/// A line of CLUSTER NODES.
///
/// ```
/// use snapshot::ClusterMap;
///
/// let line = "07c37df 10.0.0.5:6379@16379 myself,master - 0 1426238317239 4 connected 0-5460";
/// let map = ClusterMap::parse(line);
/// let node = map.myself().expect("a line with the flag `myself`");
/// assert_eq!((&*node.host, node.port, node.epoch), ("10.0.0.5", 6379, 4));
/// assert_eq!(node.slots, [(0, 5460)]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterNode {
    /// Node ID, 40 hexadecimal digits. It never changes.
    pub id: Box<str>,
    /// Host for clients; empty if unknown.
    pub host: Box<str>,
    /// Port for clients.
    pub port: u16,
    /// Announced host name (7.0 and later).
    pub hostname: Option<Box<str>>,
    /// Flags: `myself`, `master`, `slave`, `fail?`, `fail`, `handshake`, `noaddr`.
    pub flags: Vec<Box<str>>,
    /// Node ID of the master; `None` unless the node is a replica.
    pub master: Option<Box<str>>,
    /// Unix time of the last pong, milliseconds, by the clock of the node that replied; `None` if
    /// there was none.
    pub pong_received: Option<u64>,
    /// Configuration epoch.
    pub epoch: u64,
    /// The cluster bus link to the node is connected.
    pub connected: bool,
    /// Served slots: first and last slot of each range.
    pub slots: Vec<(u16, u16)>,
    /// Number of slots that are being migrated from or to this node.
    pub migrating: usize,
}

/// A shard in CLUSTER SHARDS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Served slots: first and last slot of each range. CLUSTER SHARDS: `slots`.
    pub slots: Vec<(u16, u16)>,
    /// Nodes of the shard. CLUSTER SHARDS: `nodes`.
    pub nodes: Vec<ShardNode>,
}

/// A node of a shard in CLUSTER SHARDS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardNode {
    /// Node ID. CLUSTER SHARDS: `id`.
    pub id: Box<str>,
    /// Host for clients. CLUSTER SHARDS: `endpoint`.
    pub endpoint: Option<Box<str>>,
    /// IP address. CLUSTER SHARDS: `ip`.
    pub ip: Box<str>,
    /// Port for clients. CLUSTER SHARDS: `port`, otherwise `tls-port`.
    pub port: u16,
    /// Announced host name. CLUSTER SHARDS: `hostname`.
    pub hostname: Option<Box<str>>,
    /// The node is a master. CLUSTER SHARDS: `role`.
    pub is_master: bool,
    /// Replication offset, bytes. CLUSTER SHARDS: `replication-offset`.
    pub offset: u64,
    /// `online`, `loading` or `failed`. CLUSTER SHARDS: `health`.
    pub health: Box<str>,
}

/// Maximum number of nodes that are kept. Clusters have at most about 1,000.
const MAX_NODES: usize = 4096;

/// Maximum number of slot ranges that are kept of one node.
const MAX_RANGES: usize = 16_384;

impl ClusterMap {
    /// Parses the reply to CLUSTER NODES. Skips lines that are malformed.
    pub fn parse(text: &str) -> Self {
        ClusterMap { nodes: ClusterNode::parse_list(text) }
    }

    /// Returns the node that replied, if the reply lists it.
    pub fn myself(&self) -> Option<&ClusterNode> {
        self.nodes.iter().find(|node| node.is("myself"))
    }
}

impl ClusterNode {
    /// Parses the reply to CLUSTER NODES. Skips lines that are malformed.
    pub fn parse_list(text: &str) -> Vec<Self> {
        text.lines().filter_map(Self::parse).take(MAX_NODES).collect()
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let id = words.next().filter(|id| !id.is_empty())?.into();
        let (address, hostname) = address(words.next()?);
        let (host, port) = address.rsplit_once(':')?;
        let flags = words.next()?.split(',').map(Into::into).collect();
        let master = words.next().filter(|master| *master != "-").map(Into::into);
        let pong_received = words.nth(1)?.parse().ok().filter(|time| *time > 0);
        let epoch = words.next()?.parse().ok()?;
        let connected = words.next()? == "connected";
        let (mut slots, mut migrating) = (Vec::new(), 0);
        for word in words.take(MAX_RANGES) {
            match range(word) {
                Some(range) => slots.push(range),
                None => migrating += usize::from(word.starts_with('[')),
            }
        }
        Some(ClusterNode {
            id,
            host: host.into(),
            port: port.parse().ok()?,
            hostname,
            flags,
            master,
            pong_received,
            epoch,
            connected,
            slots,
            migrating,
        })
    }

    /// Returns a line of CLUSTER NODES from which the same node is parsed.
    ///
    /// Parts that the parser skips have placeholders: port 0 of the cluster bus, time 0 of the last
    /// ping, `[-]` for each slot in migration.
    ///
    /// ```
    /// use snapshot::ClusterMap;
    ///
    /// let map = ClusterMap::parse("07c37df 10.0.0.5:6379@16379,h slave e7d 5 142 4 connected");
    /// let line = map.nodes[0].line();
    /// assert_eq!(line, "07c37df 10.0.0.5:6379@0,h slave e7d 0 142 4 connected");
    /// ```
    pub fn line(&self) -> String {
        let hostname = self.hostname.as_ref().map(|name| format!(",{name}")).unwrap_or_default();
        let range = |(first, last): &(u16, u16)| {
            if first == last { format!(" {first}") } else { format!(" {first}-{last}") }
        };
        format!(
            "{} {}:{}@0{hostname} {} {} 0 {} {} {}{}{}",
            self.id,
            self.host,
            self.port,
            self.flags.join(","),
            self.master.as_deref().unwrap_or("-"),
            self.pong_received.unwrap_or_default(),
            self.epoch,
            if self.connected { "connected" } else { "disconnected" },
            self.slots.iter().map(range).collect::<String>(),
            " [-]".repeat(self.migrating)
        )
    }

    /// Returns whether a flag is set.
    pub fn is(&self, flag: &str) -> bool {
        self.flags.iter().any(|other| **other == *flag)
    }
}

impl Shard {
    /// Parses the reply to CLUSTER SHARDS. Skips shards and nodes that are malformed.
    pub fn parse_list(reply: &Reply) -> Vec<Self> {
        reply.items().iter().take(MAX_NODES).filter_map(Self::parse).collect()
    }

    fn parse(reply: &Reply) -> Option<Self> {
        let bounds: Vec<u16> = reply
            .get("slots")?
            .items()
            .iter()
            .take(MAX_RANGES)
            .filter_map(|slot| slot.integer()?.try_into().ok())
            .collect();
        let nodes = reply
            .get("nodes")?
            .items()
            .iter()
            .take(MAX_NODES)
            .filter_map(ShardNode::parse)
            .collect();
        Some(Shard {
            slots: bounds.chunks_exact(2).map(|bounds| (bounds[0], bounds[1])).collect(),
            nodes,
        })
    }
}

impl ShardNode {
    fn parse(reply: &Reply) -> Option<Self> {
        let text = |name| reply.get(name)?.text().map(Into::into);
        let port = reply.get("port").or_else(|| reply.get("tls-port"))?.integer()?;
        Some(ShardNode {
            id: text("id")?,
            endpoint: text("endpoint"),
            ip: text("ip")?,
            port: port.try_into().ok()?,
            hostname: reply
                .get("hostname")
                .and_then(Reply::text)
                .filter(|name| !name.is_empty())
                .map(Into::into),
            is_master: reply.get("role")?.text()? == "master",
            offset: reply.get("replication-offset")?.integer()?.try_into().ok()?,
            health: text("health")?,
        })
    }
}

/// Splits `host:port@busport[,hostname[,...]]` into `host:port` and host name.
fn address(word: &str) -> (&str, Option<Box<str>>) {
    let mut parts = word.split(',');
    let address = parts.next().unwrap_or_default();
    let hostname =
        parts.next().filter(|name| !name.is_empty() && !name.contains('=')).map(Into::into);
    (address.split('@').next().unwrap_or_default(), hostname)
}

/// Parses a range of slots: `5` or `5-10`.
fn range(word: &str) -> Option<(u16, u16)> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    Some((first.parse().ok()?, last.parse().ok()?))
}
