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
    /// The side of each server, Sentinel and client during a partition.
    partition: Option<Sides>,
    /// Servers that the exporter cannot reach.
    pub(crate) hidden_servers: Vec<bool>,
    /// Sentinels that the exporter cannot reach.
    pub(crate) hidden_sentinels: Vec<bool>,
}

#[derive(Debug, Clone)]
pub(crate) struct Sides {
    pub(crate) servers: Vec<bool>,
    pub(crate) sentinels: Vec<bool>,
    pub(crate) clients: Vec<bool>,
}

impl Network {
    pub(crate) fn new(servers: usize, sentinels: usize) -> Self {
        Network {
            partition: None,
            hidden_servers: vec![false; servers],
            hidden_sentinels: vec![false; sentinels],
        }
    }

    pub(crate) fn cut(&mut self, sides: Sides) {
        self.partition = Some(sides);
    }

    pub(crate) fn heal(&mut self) {
        self.partition = None;
    }

    /// Returns true if two hosts reach each other.
    pub(crate) fn connects(&self, a: Host, b: Host) -> bool {
        if a == Host::Exporter || b == Host::Exporter {
            let other = if a == Host::Exporter { b } else { a };
            return match other {
                Host::Server(index) => !self.hidden_servers[index],
                Host::Sentinel(index) => !self.hidden_sentinels[index],
                Host::Client(_) | Host::Exporter => true,
            };
        }
        self.side(a) == self.side(b)
    }

    fn side(&self, host: Host) -> Option<bool> {
        let sides = self.partition.as_ref()?;
        match host {
            Host::Server(index) => Some(sides.servers[index]),
            Host::Sentinel(index) => Some(sides.sentinels[index]),
            Host::Client(index) => Some(sides.clients[index]),
            Host::Exporter => None,
        }
    }
}
