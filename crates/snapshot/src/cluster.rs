//! What a cluster node says of the cluster: CLUSTER INFO, NODES and SHARDS.

use crate::Reply;

/// What one node knows of the cluster: a reply to CLUSTER NODES.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterMap {
    /// Every node that it knows, itself included.
    pub nodes: Vec<ClusterNode>,
}

/// One node in CLUSTER NODES.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterNode {
    /// Its name for ever.
    pub id: Box<str>,
    /// Where clients reach it; empty when unknown.
    pub host: Box<str>,
    /// The port for clients.
    pub port: u16,
    /// Its announced host name (7.0 and later).
    pub hostname: Option<Box<str>>,
    /// `myself`, `master`, `slave`, `fail?`, `fail`, `handshake`, `noaddr`.
    pub flags: Vec<Box<str>>,
    /// The id of its master, of a replica.
    pub master: Option<Box<str>>,
    /// Its configuration epoch.
    pub epoch: u64,
    /// The link to it stands.
    pub connected: bool,
    /// Slots it serves, first and last of each range.
    pub slots: Vec<(u16, u16)>,
    /// Slots it gives away or takes in, as written.
    pub migrating: usize,
}

/// One shard in CLUSTER SHARDS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Slots it serves, first and last of each range.
    pub slots: Vec<(u16, u16)>,
    /// Its nodes.
    pub nodes: Vec<ShardNode>,
}

/// One node of a shard in CLUSTER SHARDS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardNode {
    /// Its name for ever.
    pub id: Box<str>,
    /// Where clients reach it.
    pub endpoint: Option<Box<str>>,
    /// Its address.
    pub ip: Box<str>,
    /// The port for clients, the one for TLS if there is no other.
    pub port: u16,
    /// Its announced host name.
    pub hostname: Option<Box<str>>,
    /// It is the shard's master.
    pub is_master: bool,
    /// Replication stream it has, bytes.
    pub offset: u64,
    /// `online`, `loading` or `failed`.
    pub health: Box<str>,
}

/// The most nodes that are kept; clusters have at most some 1,000.
const MAX_NODES: usize = 4096;

/// The most slot ranges that are kept of one node.
const MAX_RANGES: usize = 16_384;

impl ClusterMap {
    /// Reads a CLUSTER NODES reply. Lines it does not understand are left out.
    pub fn parse(text: &str) -> Self {
        ClusterMap { nodes: ClusterNode::parse_list(text) }
    }

    /// The node that answered.
    pub fn myself(&self) -> Option<&ClusterNode> {
        self.nodes.iter().find(|node| node.is("myself"))
    }
}

impl ClusterNode {
    /// Reads a CLUSTER NODES reply. Lines it does not understand are left out.
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
        let epoch = words.nth(2)?.parse().ok()?;
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
            epoch,
            connected,
            slots,
            migrating,
        })
    }

    /// Whether a flag is set.
    pub fn is(&self, flag: &str) -> bool {
        self.flags.iter().any(|found| **found == *flag)
    }
}

impl Shard {
    /// Reads a CLUSTER SHARDS reply. What it does not understand is left out.
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

/// `host:port@busport,hostname,...`, the last parts where there are any.
fn address(word: &str) -> (&str, Option<Box<str>>) {
    let mut parts = word.split(',');
    let address = parts.next().unwrap_or_default();
    let hostname =
        parts.next().filter(|name| !name.is_empty() && !name.contains('=')).map(Into::into);
    (address.split('@').next().unwrap_or_default(), hostname)
}

/// `5` or `5-10`.
fn range(word: &str) -> Option<(u16, u16)> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    Some((first.parse().ok()?, last.parse().ok()?))
}
