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
    /// Slots that are being migrated from or to this node. Only the line of the node that replied
    /// has them.
    pub open_slots: Vec<OpenSlot>,
}

/// A slot that is being migrated from one node to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSlot {
    /// The slot.
    pub slot: u16,
    /// Direction, as seen by the node that reports it.
    pub direction: SlotDirection,
    /// Node ID of the other node.
    pub peer: Box<str>,
}

/// Direction of a slot migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotDirection {
    /// Away from the node that reports it: `[93->-id]`.
    Migrating,
    /// To the node that reports it: `[93-<-id]`.
    Importing,
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
        let (mut slots, mut open_slots) = (Vec::new(), Vec::new());
        for word in words.take(MAX_RANGES) {
            match range(word) {
                Some(range) => slots.push(range),
                None => open_slots.extend(OpenSlot::parse(word)),
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
            open_slots,
        })
    }

    /// Returns a line of CLUSTER NODES from which the same node is parsed.
    ///
    /// Parts that the parser skips have placeholders: port 0 of the cluster bus, time 0 of the last
    /// ping.
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
            self.open_slots.iter().map(OpenSlot::word).collect::<String>()
        )
    }

    /// Returns whether a flag is set.
    pub fn is(&self, flag: &str) -> bool {
        self.flags.iter().any(|other| **other == *flag)
    }
}

impl OpenSlot {
    /// Parses `[93->-id]` or `[93-<-id]`.
    fn parse(word: &str) -> Option<Self> {
        let inner = word.strip_prefix('[')?.strip_suffix(']')?;
        let open = |mark: &str, direction: SlotDirection| {
            let (slot, peer) = inner.split_once(mark)?;
            Some(OpenSlot { slot: slot.parse().ok()?, direction, peer: peer.into() })
        };
        open("->-", SlotDirection::Migrating).or_else(|| open("-<-", SlotDirection::Importing))
    }

    /// Returns the word of CLUSTER NODES after a space.
    fn word(&self) -> String {
        let mark = match self.direction {
            SlotDirection::Migrating => "->-",
            SlotDirection::Importing => "-<-",
        };
        format!(" [{}{mark}{}]", self.slot, self.peer)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_slots_are_parsed_and_written() {
        let line = "07c 10.0.0.5:6379@0 myself,master - 0 0 4 connected 0-92 [93->-e7d] [94-<-a1]";
        let map = ClusterMap::parse(line);
        let open = |slot, direction, peer: &str| OpenSlot { slot, direction, peer: peer.into() };
        assert_eq!(
            map.nodes[0].open_slots,
            [open(93, SlotDirection::Migrating, "e7d"), open(94, SlotDirection::Importing, "a1")]
        );
        assert_eq!(map.nodes[0].line(), line);
    }

    #[test]
    fn malformed_open_slots_are_skipped() {
        let line = "07c 10.0.0.5:6379@0 myself,master - 0 0 4 connected 0-92 [-] [x->-e7d] [93";
        let map = ClusterMap::parse(line);
        assert_eq!(
            (map.nodes[0].slots.as_slice(), map.nodes[0].open_slots.len()),
            (&[(0, 92)][..], 0)
        );
    }
}
