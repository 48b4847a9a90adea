//! Limits of the things that servers list, and the things that exceed them.

/// Limits of the things that servers list, as configured. Rolecall leaves out the excess.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Number of data nodes of a deployment, as far as they are discovered.
    pub nodes: usize,
    /// Number of deployments of all masters that a group of Sentinels lists.
    pub masters: usize,
    /// Number of data nodes of these deployments together. The masters are never left out.
    pub group_nodes: usize,
    /// Number of connections to discovered nodes at one address, over all deployments.
    pub connections: usize,
    /// Number of values that a label of a node has over time, if the server chooses them.
    pub label_values: usize,
}

/// Kind of a limit. The values of the label `limit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKind {
    /// Nodes that Sentinels, cluster maps or DNS names list.
    Nodes,
    /// Masters that Sentinels list.
    Masters,
    /// Nodes of the deployments of all masters of a group of Sentinels together.
    GroupNodes,
    /// Nodes without a connection, because their address has too many.
    Connections,
    /// Values of labels.
    LabelValues,
    /// Entries of replies with a name that is too long.
    Names,
}

/// Numbers of things that exceed a limit, so that they were left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Excess([u64; LimitKind::ALL.len()]);

impl Limits {
    /// Limits that no deployment reaches unless a server is faulty or hostile. Redis Cluster works
    /// with up to 1,000 nodes, and Redis 8 has about 450 commands and subcommands.
    pub const DEFAULT: Limits =
        Limits { nodes: 1024, masters: 500, group_nodes: 2048, connections: 32, label_values: 512 };

    /// The largest values that can be configured. Parsers keep no more.
    pub const LARGEST: Limits = Limits {
        nodes: 4096,
        masters: 1024,
        group_nodes: 16_384,
        connections: 1024,
        label_values: 1024,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Limits::DEFAULT
    }
}

impl LimitKind {
    /// Every kind.
    pub const ALL: [LimitKind; 6] = [
        LimitKind::Nodes,
        LimitKind::Masters,
        LimitKind::GroupNodes,
        LimitKind::Connections,
        LimitKind::LabelValues,
        LimitKind::Names,
    ];

    /// Returns the value of the label `limit`.
    pub const fn label(self) -> &'static str {
        match self {
            LimitKind::Nodes => "nodes",
            LimitKind::Masters => "masters",
            LimitKind::GroupNodes => "group_nodes",
            LimitKind::Connections => "connections",
            LimitKind::LabelValues => "label_values",
            LimitKind::Names => "names",
        }
    }
}

impl Excess {
    /// Returns the numbers by kind.
    pub fn iter(&self) -> impl Iterator<Item = (LimitKind, u64)> {
        LimitKind::ALL.into_iter().zip(self.0)
    }

    /// Returns the number of one kind.
    pub fn get(&self, kind: LimitKind) -> u64 {
        self.0[kind as usize]
    }

    /// Adds things that exceed a limit.
    pub fn add(&mut self, kind: LimitKind, count: u64) {
        let sum = &mut self.0[kind as usize];
        *sum = sum.saturating_add(count);
    }

    /// Returns the sum of both numbers of each kind.
    #[must_use]
    pub fn plus(mut self, other: Excess) -> Self {
        for (kind, count) in other.iter() {
            self.add(kind, count);
        }
        self
    }

    /// Returns true if nothing exceeds a limit.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|count| *count == 0)
    }
}
