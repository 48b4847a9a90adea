//! Model of the network between servers, Sentinels, clients and the exporter.

/// A host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Host {
    Server(usize),
    Sentinel(usize),
    Client(usize),
    Exporter,
}

/// The network. A partition separates two sides; the exporter may lose contact with more hosts.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    partition: Option<Partition>,
    /// Servers that the exporter cannot reach.
    pub(crate) hidden_servers: Vec<bool>,
    /// Sentinels that the exporter cannot reach.
    pub(crate) hidden_sentinels: Vec<bool>,
}

/// Separation of the hosts into two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Partition {
    /// The side of each host: a bit.
    pub(crate) sides: u16,
    /// Hosts of side 1 still connect to those of side 0, as through a firewall.
    pub(crate) one_way: bool,
}

impl Network {
    pub(crate) fn new(servers: usize, sentinels: usize) -> Self {
        Network {
            partition: None,
            hidden_servers: vec![false; servers],
            hidden_sentinels: vec![false; sentinels],
        }
    }

    pub(crate) fn cut(&mut self, partition: Partition) {
        self.partition = Some(partition);
    }

    pub(crate) fn heal(&mut self) {
        self.partition = None;
    }

    /// Returns true if nothing is cut off.
    pub(crate) fn is_whole(&self) -> bool {
        let mut hidden = self.hidden_servers.iter().chain(&self.hidden_sentinels);
        self.partition.is_none() && !hidden.any(|hidden| *hidden)
    }

    /// Returns true if one host can connect to another one.
    pub(crate) fn connects(&self, from: Host, to: Host) -> bool {
        if from == Host::Exporter {
            return match to {
                Host::Server(index) => !self.hidden_servers[index],
                Host::Sentinel(index) => !self.hidden_sentinels[index],
                Host::Client(_) | Host::Exporter => true,
            };
        }
        let Some(partition) = self.partition else { return true };
        let (from, to) = (partition.side(from), partition.side(to));
        from == to || (partition.one_way && from)
    }
}

impl Partition {
    fn side(self, host: Host) -> bool {
        let bit = match host {
            Host::Server(index) => index,
            Host::Sentinel(index) => 8 + index,
            Host::Client(index) => 12 + index,
            Host::Exporter => 15,
        };
        self.sides >> bit & 1 == 1
    }
}
