//! CLUSTER NODES and CLUSTER SHARDS: the cluster as one of its nodes reports it.

use std::cmp::Reverse;

use crate::Reply;
use crate::names::{NameKind, bounded_name};
use crate::slots::{SLOTS, SlotSet, merge};

/// A parsed reply to CLUSTER NODES.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterMap {
    /// Every known node, including the one that replied, up to the limit.
    pub nodes: Vec<ClusterNode>,
    /// Number of lines that were left out because there are too many.
    pub excess_nodes: usize,
    /// Number of lines that were left out because a name in them is too long.
    pub long_names: usize,
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
    /// Served slots: first and last slot of each range, disjoint and in ascending order. A slot
    /// that several nodes other than the one that replied claim belongs to that with the highest
    /// epoch.
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

/// Maximum number of slot ranges that are read of one node.
const MAX_RANGES: usize = SLOTS as usize;

/// Maximum number of flags that are kept of one node. Servers know ten.
const MAX_FLAGS: usize = 16;

/// Reasons for which a line is left out.
enum SkippedLine {
    Malformed,
    LongName,
}

impl ClusterMap {
    /// Parses the reply to CLUSTER NODES. Skips lines that are malformed or have a name that is too
    /// long.
    pub fn parse(text: &str) -> Self {
        let (mut map, mut open) = (ClusterMap::default(), 0);
        for line in text.lines() {
            if map.nodes.len() == MAX_NODES {
                map.excess_nodes += 1;
                continue;
            }
            match ClusterNode::parse(line, &mut open) {
                Ok(node) => map.nodes.push(node),
                Err(SkippedLine::LongName) => map.long_names += 1,
                Err(SkippedLine::Malformed) => {}
            }
        }
        map.assign_slots();
        map
    }

    /// Assigns each slot that several other nodes claim to one of them, so that they have at most
    /// as many slots as a cluster. The maps of servers have no such slots. The node that replied
    /// keeps its own claims: they are its view of itself.
    fn assign_slots(&mut self) {
        let own = self.nodes.iter().position(|node| node.is("myself"));
        let others = self.nodes.iter_mut().enumerate().filter(|(at, _)| Some(*at) != own);
        let mut others: Vec<_> = others.map(|(_, node)| node).collect();
        others.sort_by_key(|node| Reverse(node.epoch));
        let mut taken = SlotSet::default();
        for node in others {
            let claimed = std::mem::take(&mut node.slots);
            for range in claimed {
                taken.claim(range, &mut node.slots);
            }
        }
    }

    /// Returns the node that replied, if the reply lists it.
    pub fn myself(&self) -> Option<&ClusterNode> {
        self.nodes.iter().find(|node| node.is("myself"))
    }
}

impl ClusterNode {
    /// Parses a line. `open` is the number of open slots so far.
    fn parse(line: &str, open: &mut usize) -> Result<Self, SkippedLine> {
        let mut words = line.split(' ');
        let columns = Columns::read(&mut words).ok_or(SkippedLine::Malformed)?;
        let mut node = columns.node().ok_or(SkippedLine::LongName)?;
        for word in words.take(MAX_RANGES) {
            match range(word) {
                Some(range) => node.slots.push(range),
                None if *open < usize::from(SLOTS) => {
                    let slot = OpenSlot::parse(word);
                    *open += usize::from(slot.is_some());
                    node.open_slots.extend(slot);
                }
                None => {}
            }
        }
        merge(&mut node.slots);
        node.slots.shrink_to_fit();
        Ok(node)
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

/// The columns of a line before the slots.
struct Columns<'a> {
    id: &'a str,
    host: &'a str,
    port: u16,
    hostname: Option<&'a str>,
    flags: &'a str,
    master: Option<&'a str>,
    pong_received: Option<u64>,
    epoch: u64,
    connected: bool,
}

impl<'a> Columns<'a> {
    fn read(words: &mut impl Iterator<Item = &'a str>) -> Option<Self> {
        let id = words.next().filter(|id| !id.is_empty())?;
        let (address, hostname) = address(words.next()?);
        let (host, port) = address.rsplit_once(':')?;
        Some(Columns {
            id,
            host,
            port: port.parse().ok()?,
            hostname,
            flags: words.next()?,
            master: words.next().filter(|master| *master != "-"),
            pong_received: words.nth(1)?.parse().ok().filter(|time| *time > 0),
            epoch: words.next()?.parse().ok()?,
            connected: words.next()? == "connected",
        })
    }

    /// Returns the node without its slots; `None` if a name is too long.
    fn node(self) -> Option<ClusterNode> {
        let id = |text| bounded_name(NameKind::ClusterId, text);
        let host = |text| bounded_name(NameKind::Host, text);
        Some(ClusterNode {
            id: id(self.id)?,
            host: host(self.host)?,
            port: self.port,
            hostname: self.hostname.map(host).map_or(Some(None), |name| name.map(Some))?,
            flags: self
                .flags
                .split(',')
                .filter(|flag| !flag.is_empty())
                .filter_map(|flag| bounded_name(NameKind::ClusterFlag, flag))
                .take(MAX_FLAGS)
                .collect(),
            master: self.master.map(id).map_or(Some(None), |id| id.map(Some))?,
            pong_received: self.pong_received,
            epoch: self.epoch,
            connected: self.connected,
            slots: Vec::new(),
            open_slots: Vec::new(),
        })
    }
}

impl OpenSlot {
    /// Parses `[93->-id]` or `[93-<-id]`.
    fn parse(word: &str) -> Option<Self> {
        let inner = word.strip_prefix('[')?.strip_suffix(']')?;
        let open = |mark: &str, direction: SlotDirection| {
            let (slot, peer) = inner.split_once(mark)?;
            let slot = slot.parse().ok().filter(|slot| *slot < SLOTS)?;
            Some(OpenSlot { slot, direction, peer: bounded_name(NameKind::ClusterId, peer)? })
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
            .take(2 * MAX_RANGES)
            .filter_map(|slot| slot.integer()?.try_into().ok())
            .collect();
        let nodes = reply
            .get("nodes")?
            .items()
            .iter()
            .take(MAX_NODES)
            .filter_map(ShardNode::parse)
            .collect();
        let mut slots: Vec<_> = bounds
            .chunks_exact(2)
            .map(|bounds| (bounds[0], bounds[1]))
            .filter(|(first, last)| first <= last && *last < SLOTS)
            .collect();
        merge(&mut slots);
        Some(Shard { slots, nodes })
    }
}

impl ShardNode {
    fn parse(reply: &Reply) -> Option<Self> {
        let text = |name, kind| bounded_name(kind, reply.get(name)?.text()?);
        let port = reply.get("port").or_else(|| reply.get("tls-port"))?.integer()?;
        Some(ShardNode {
            id: text("id", NameKind::ClusterId)?,
            endpoint: text("endpoint", NameKind::Host),
            ip: text("ip", NameKind::Host)?,
            port: port.try_into().ok()?,
            hostname: text("hostname", NameKind::Host).filter(|name| !name.is_empty()),
            is_master: reply.get("role")?.text()? == "master",
            offset: reply.get("replication-offset")?.integer()?.try_into().ok()?,
            health: text("health", NameKind::LabelValue)?,
        })
    }
}

/// Splits `host:port@busport[,hostname[,...]]` into `host:port` and host name.
fn address(word: &str) -> (&str, Option<&str>) {
    let mut parts = word.split(',');
    let address = parts.next().unwrap_or_default();
    let hostname = parts.next().filter(|name| !name.is_empty() && !name.contains('='));
    (address.split('@').next().unwrap_or_default(), hostname)
}

/// Parses a range of slots: `5` or `5-10`.
fn range(word: &str) -> Option<(u16, u16)> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && last < SLOTS).then_some((first, last))
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

    fn line(id: usize, slots: &str) -> String {
        format!("id{id} 10.0.0.5:{id}@0 master - 0 0 4 connected {slots}\n")
    }

    #[test]
    fn overlapping_ranges_are_merged_while_parsing() {
        let map = ClusterMap::parse(&line(1, "5-9 0-3 4 7-20 19 30-29 16384 0-70000"));
        assert_eq!(map.nodes[0].slots, [(0, 20)]);
    }

    #[test]
    fn the_slots_of_a_map_are_at_most_16384() {
        let ranges = "0-16383 ".repeat(20_000);
        let text: String = (1..=20).map(|id| line(id, &ranges)).collect();
        let map = ClusterMap::parse(&text);
        let slots: Vec<_> = map.nodes.iter().map(|node| node.slots.as_slice()).collect();
        assert_eq!((slots.len(), slots[0]), (20, &[(0, 16_383)][..]));
        assert!(slots[1..].iter().all(|slots| slots.is_empty()));
        let open = "[5->-id7] ".repeat(20_000);
        let map = ClusterMap::parse(&(1..=3).map(|id| line(id, &open)).collect::<String>());
        let open: usize = map.nodes.iter().map(|node| node.open_slots.len()).sum();
        assert_eq!(open, 16_384);
    }

    #[test]
    fn a_slot_that_two_lines_claim_has_the_higher_epoch() {
        let map = ClusterMap::parse(
            "a 10.0.0.5:1@0 myself,master - 0 0 4 connected 0-100\n\
             b 10.0.0.5:2@0 master - 0 0 3 connected 50-150\n\
             c 10.0.0.5:3@0 master - 0 0 5 connected 40-99 200\n",
        );
        let slots: Vec<_> = map.nodes.iter().map(|node| node.slots.as_slice()).collect();
        assert_eq!(slots, [&[(0, 100)][..], &[(100, 150)], &[(40, 99), (200, 200)]]);
    }

    #[test]
    fn lines_with_long_names_are_left_out_and_counted() {
        let long = "h".repeat(1 << 20);
        let text = [
            line(1, "0-9"),
            format!("{long} 10.0.0.5:1@0 master - 0 0 4 connected 10\n"),
            format!("id2 {long}:1@0 master - 0 0 4 connected 11\n"),
            format!("id3 10.0.0.6:1@0,{long} master - 0 0 4 connected 12\n"),
            format!("id4 10.0.0.7:1@0 slave {long} 0 0 4 connected\n"),
            format!("id5 10.0.0.8:1@0 master,{long} - 0 0 4 connected 13\n"),
        ];
        let map = ClusterMap::parse(&text.concat());
        let ids: Vec<_> = map.nodes.iter().map(|node| &*node.id).collect();
        assert_eq!((ids, map.long_names), (vec!["id1", "id5"], 4));
        assert_eq!(map.nodes[1].flags, ["master".into()]);
        let text: String = (0..5000).map(|id| line(id, "")).collect();
        let map = ClusterMap::parse(&text);
        assert_eq!((map.nodes.len(), map.excess_nodes), (4096, 904));
    }

    #[test]
    fn empty_flags_are_left_out() {
        let map = ClusterMap::parse("07c 10.0.0.5:1@0 ,master,, - 0 0 4 connected\n");
        assert_eq!(map.nodes[0].flags, ["master".into()]);
        let line = map.nodes[0].line().replace("master", "");
        assert_eq!(ClusterMap::parse(&line).nodes[0].flags, []);
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
