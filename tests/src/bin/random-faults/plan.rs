//! History that a seed draws: its deployments and its operations.

use std::time::Duration;

use fastrand::Rng;

use crate::opening::Opening;
use crate::operation::{Operation, OperationDrawer};

/// Kind of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// All nodes are configured.
    Static,
    /// Sentinels list the nodes.
    Sentinel,
    /// Redis Cluster.
    Cluster,
    /// A DNS name lists the nodes.
    Dns,
}

impl Kind {
    /// Every kind.
    const ALL: [Kind; 4] = [Kind::Static, Kind::Sentinel, Kind::Cluster, Kind::Dns];

    /// Returns the name in reports and arguments.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Kind::Static => "static",
            Kind::Sentinel => "sentinel",
            Kind::Cluster => "cluster",
            Kind::Dns => "dns",
        }
    }
}

/// History that a seed draws.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The seed.
    pub(crate) seed: u64,
    /// The deployments. The first one is the subject of most operations.
    pub(crate) deployments: Vec<DeploymentPlan>,
    /// Number of Sentinels, which all Sentinel deployments share.
    pub(crate) sentinels: usize,
    /// Version of the Sentinels.
    pub(crate) sentinel_version: &'static str,
    /// The exporter has a state file.
    pub(crate) saves_state: bool,
    /// The operations, in order of time.
    pub(crate) steps: Vec<Step>,
    /// Time from the start of the history to the recovery.
    pub(crate) recovery_at: Duration,
}

/// Deployment of a history.
#[derive(Debug, Clone)]
pub(crate) struct DeploymentPlan {
    /// Its name in the configuration, and the master name of its Sentinels.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) nodes: Vec<NodePlan>,
    /// Number of masters: 1 except in a cluster.
    pub(crate) masters: usize,
    /// The nodes require a password.
    pub(crate) has_password: bool,
    /// The nodes accept only TLS connections.
    pub(crate) has_tls: bool,
    /// The nodes announce a second address of their hosts.
    pub(crate) announces_other_address: bool,
    /// Interval of the pings from a master to its replicas, seconds.
    pub(crate) ping_period: u32,
    /// Number of clients, each on a host of its own.
    pub(crate) clients: usize,
    /// Writes per second of each client.
    pub(crate) write_rate: u32,
}

/// Data node of a deployment.
#[derive(Debug, Clone)]
pub(crate) struct NodePlan {
    /// One of the [`tests::VERSIONS`].
    pub(crate) version: &'static str,
    /// Index of the node that it replicates from at first; `None` for a master.
    pub(crate) upstream: Option<usize>,
    pub(crate) persistence: Persistence,
    /// Its data is on a small disk of its own, which an operation can fill.
    pub(crate) has_small_disk: bool,
}

/// Persistence of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// No persistence: a restart loses all data.
    None,
    /// Append-only file with an fsync per second.
    Aof,
    /// RDB file after each second with a change.
    Rdb,
}

/// Operation at a time.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// Time since the start of the history.
    pub(crate) at: Duration,
    pub(crate) operation: Operation,
}

/// Choice of what a seed may draw.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Choice {
    /// The only kind of the first deployment; any if absent.
    pub(crate) kind: Option<Kind>,
    /// The only version of all servers; any if absent.
    pub(crate) version: Option<&'static str>,
}

/// Time before the first operation.
const HEALTHY: Duration = Duration::from_secs(10);

impl Plan {
    /// Draws a history in which operations happen for a duration.
    pub(crate) fn draw(seed: u64, choice: Choice, faulty: Duration) -> Self {
        let mut random = Rng::with_seed(seed);
        let kind = random.choice(Kind::ALL).expect("there are kinds");
        let kind = choice.kind.unwrap_or(kind);
        let mut version = |random: &mut Rng| {
            let drawn = random.choice(tests::VERSIONS).expect("there are versions");
            choice.version.unwrap_or(drawn)
        };
        let first = DeploymentPlan::draw("orders", kind, &mut random, &mut version);
        let mut deployments = vec![first];
        if random.u8(..4) == 0 {
            let kinds = match kind {
                Kind::Cluster => [Kind::Static, Kind::Sentinel, Kind::Cluster].as_slice(),
                _ => &[Kind::Static, Kind::Sentinel],
            };
            let kind = *random.choice(kinds).expect("there are kinds");
            deployments.push(DeploymentPlan::draw("carts", kind, &mut random, &mut version));
        }
        let has_sentinels = deployments.iter().any(|plan| plan.kind == Kind::Sentinel);
        let count = random.choice([3, 3, 3, 5]).expect("there are counts");
        if let Some(version) = choice.version {
            // No upgrade.
            for node in deployments.iter_mut().flat_map(|plan| &mut plan.nodes) {
                node.version = version;
            }
        }
        let mut plan = Plan {
            seed,
            deployments,
            sentinels: if has_sentinels { count } else { 0 },
            sentinel_version: version(&mut random),
            saves_state: random.bool(),
            steps: Vec::new(),
            recovery_at: HEALTHY + faulty,
        };
        plan.steps = plan.draw_steps(&mut random);
        plan
    }

    /// Draws the operations. The gaps between them are short in some histories and long in others;
    /// some operations happen at the same time. Nothing else happens in half of the histories with
    /// an opening.
    fn draw_steps(&self, random: &mut Rng) -> Vec<Step> {
        let (mut steps, mut at) = (Vec::new(), HEALTHY);
        if let Some(opening) = Opening::draw(&self.deployments, random) {
            (steps, at) = (opening.steps, opening.until);
            if random.bool() {
                return steps;
            }
        }
        let longest_gap = random.choice([3.0, 8.0, 20.0]).expect("there are gaps");
        let mut drawer = OperationDrawer::new(self);
        while at < self.recovery_at {
            let operation = drawer.draw(random);
            steps.push(Step { at, operation });
            if random.u8(..5) > 0 {
                at += Duration::from_secs_f64(0.5 + random.f64() * longest_gap);
            }
        }
        steps
    }
}

impl DeploymentPlan {
    fn draw(
        name: &'static str,
        kind: Kind,
        random: &mut Rng,
        version: &mut impl FnMut(&mut Rng) -> &'static str,
    ) -> Self {
        let is_first = name == "orders";
        let masters = if kind == Kind::Cluster { 3 } else { 1 };
        let count = match kind {
            Kind::Cluster if is_first => 3 * random.usize(2..=3),
            Kind::Cluster => 3,
            _ if is_first => random.usize(2..=5),
            _ => random.usize(2..=3),
        };
        let is_chain = kind != Kind::Cluster && count > 3 && random.u8(..3) == 0;
        let versions = draw_versions(random, version);
        let persistence = draw_persistence(random);
        let nodes = (0..count).map(|index| {
            // The masters have the older version, as during an upgrade.
            let version = versions[usize::from(index >= masters && random.bool())];
            let upstream = match index {
                _ if index < masters => None,
                3 if is_chain => Some(2),
                _ => Some(index % masters),
            };
            let persistence =
                if random.u8(..4) == 0 { draw_persistence(random) } else { persistence };
            NodePlan { version, upstream, persistence, has_small_disk: random.u8(..4) == 0 }
        });
        let mut nodes: Vec<_> = nodes.collect();
        // An older replica cannot load the data set of a newer one.
        if is_chain && nodes[2].version == versions[1] {
            nodes[3].version = versions[1];
        }
        // The other servers of the testbed are built without TLS.
        let supports_tls = nodes.iter().all(|node: &NodePlan| node.version == "redis-7.0.15");
        DeploymentPlan {
            name,
            kind,
            nodes,
            masters,
            has_password: random.bool(),
            has_tls: kind == Kind::Static && random.bool() && supports_tls,
            announces_other_address: kind == Kind::Sentinel && random.u8(..4) == 0,
            ping_period: random.choice([1, 3, 10]).expect("there are periods"),
            clients: if is_first { random.usize(1..=2) } else { 1 },
            write_rate: random.choice([2, 10, 30]).expect("there are rates"),
        }
    }
}

/// Older and newer versions that replicate from each other in this direction.
const UPGRADES: [[&str; 2]; 4] = [
    ["redis-5.0.6", "redis-6.2.14"],
    ["redis-6.2.14", "redis-7.0.15"],
    ["redis-7.0.15", "redis-8.2.3"],
    ["redis-7.0.15", "valkey-9.1.2"],
];

/// Draws the versions of a deployment: one of masters, and one that replicas may have.
fn draw_versions(
    random: &mut Rng,
    version: &mut impl FnMut(&mut Rng) -> &'static str,
) -> [&'static str; 2] {
    let common = version(random);
    let upgrades: Vec<_> = UPGRADES.into_iter().filter(|[old, _]| *old == common).collect();
    let upgrade = random.choice(upgrades).filter(|_| random.u8(..4) == 0);
    upgrade.unwrap_or([common; 2])
}

fn draw_persistence(random: &mut Rng) -> Persistence {
    random
        .choice([Persistence::None, Persistence::Aof, Persistence::Rdb])
        .expect("there are choices")
}
