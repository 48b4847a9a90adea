//! Operations: faults, commands of operators, and repairs; and how a seed draws them.

use std::fmt;

use fastrand::Rng;

use crate::plan::{DeploymentPlan, Kind, Plan};

/// Data node: the index of its deployment, and its index there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId {
    pub(crate) deployment: usize,
    pub(crate) node: usize,
}

impl fmt::Debug for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.n{}", ["orders", "carts"][self.deployment], self.node)
    }
}

/// Host of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HostId {
    Node(NodeId),
    Sentinel(usize),
    /// Host of a client: the index of its deployment, and its index there.
    Client(usize, usize),
    Exporter,
}

/// Data with which a server starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Data {
    /// The files that it had when it ended.
    Kept,
    /// An empty directory.
    Deleted,
    /// The files that it had at the start of the history.
    Old,
}

/// Way of CLUSTER FAILOVER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClusterFailover {
    /// The master takes part.
    Planned,
    /// The other masters agree.
    Forced,
    /// Nobody is asked.
    Takeover,
}

impl ClusterFailover {
    /// Returns the arguments after CLUSTER FAILOVER.
    pub(crate) const fn arguments(self) -> &'static [&'static str] {
        match self {
            ClusterFailover::Planned => &[],
            ClusterFailover::Forced => &["FORCE"],
            ClusterFailover::Takeover => &["TAKEOVER"],
        }
    }
}

/// Parameter that an operator changes with CONFIG SET, and its value during the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) value: &'static str,
    /// Value after the recovery.
    pub(crate) healthy: &'static str,
}

/// With priority 0, Sentinels do not promote a replica.
pub(crate) const PRIORITY_0: Parameter =
    Parameter { name: "slave-priority", value: "0", healthy: "100" };

/// Parameters that matter for roles, writes and durability.
const PARAMETERS: [Parameter; 8] = [
    Parameter { name: "maxmemory", value: "100kb", healthy: "0" },
    Parameter { name: "min-slaves-to-write", value: "5", healthy: "0" },
    Parameter { name: "slave-read-only", value: "no", healthy: "yes" },
    PRIORITY_0,
    Parameter { name: "repl-backlog-ttl", value: "5", healthy: "3600" },
    Parameter { name: "repl-timeout", value: "5", healthy: "20" },
    Parameter { name: "maxclients", value: "10", healthy: "1000" },
    Parameter { name: "appendonly", value: "no", healthy: "no" },
];

/// Operation of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    Kill(NodeId),
    Start(NodeId, Data),
    Restart(NodeId, Data),
    Freeze(NodeId),
    Continue(NodeId),
    /// REPLICAOF NO ONE.
    Promote(NodeId),
    /// REPLICAOF, or CLUSTER REPLICATE in a cluster. Both nodes may be the same or belong to
    /// different deployments.
    Follow {
        node: NodeId,
        master: NodeId,
    },
    /// FAILOVER on a master.
    Failover(NodeId),
    /// FAILOVER TO on a master, without TIMEOUT: it pauses writes until the replica replies.
    FailoverTo {
        node: NodeId,
        replica: NodeId,
    },
    /// FAILOVER ABORT.
    AbortFailover(NodeId),
    ClusterFailover(NodeId, ClusterFailover),
    /// CLUSTER FORGET on one node.
    Forget {
        on: NodeId,
        node: NodeId,
    },
    /// CLUSTER MEET with a node that was forgotten, or with a node of another cluster.
    Meet {
        on: NodeId,
        node: NodeId,
    },
    /// Marks a slot as migrating and importing, and does not finish the migration.
    StartMigration {
        from: NodeId,
        to: NodeId,
        slot: u16,
    },
    KillSentinel(usize),
    StartSentinel(usize),
    FreezeSentinel(usize),
    ContinueSentinel(usize),
    /// SENTINEL FAILOVER for a deployment.
    SentinelFailover {
        sentinel: usize,
        deployment: usize,
    },
    SentinelReset {
        sentinel: usize,
        deployment: usize,
    },
    /// SENTINEL REMOVE, followed by SENTINEL MONITOR after the recovery.
    SentinelRemove {
        sentinel: usize,
        deployment: usize,
    },
    /// Gives a Sentinel a wrong password for the nodes, or the right one again.
    SetSentinelPassword {
        sentinel: usize,
        deployment: usize,
        is_right: bool,
    },
    Configure(NodeId, Parameter),
    /// CLIENT PAUSE for seconds.
    PauseClients(NodeId, u32),
    /// Sets another password on all nodes, and reloads the exporter with it some seconds later.
    RotatePassword(usize),
    FillDisk(NodeId),
    FreeDisk(NodeId),
    SlowFsync(NodeId),
    FailFsync(NodeId),
    EndDiskFaults(NodeId),
    /// Loses all packets from one host to another.
    CutOneWay(HostId, HostId),
    /// Loses all packets between two hosts.
    Cut(HostId, HostId),
    /// Loses a part of the packets between two hosts.
    Lose {
        between: HostId,
        and: HostId,
        percent: u8,
    },
    /// Loses all packets between a host and all others.
    Isolate(HostId),
    /// Separates these hosts from all others, except from the exporter.
    Split(Vec<HostId>),
    /// Ends all faults of the network.
    Heal,
    /// An operator moves a client to another node.
    MoveClient {
        deployment: usize,
        client: usize,
        node: usize,
    },
    /// The DNS name no longer lists the address of a node, or lists it again.
    ToggleName(NodeId),
    Reload,
    RestartExporter {
        keeps_state: bool,
    },
}

/// Act that may change the primary of a deployment or its data, or make servers refuse passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Act {
    /// REPLICAOF by an operator.
    Replicaof,
    /// FAILOVER by an operator.
    Failover,
    /// Start of a server.
    Start,
    /// Connection with a master of another deployment.
    Foreign,
    /// Connection of a replica of another deployment.
    Visited,
    /// Rotation of the password of the nodes.
    Password,
}

impl Act {
    /// Acts after which servers and clients of another deployment may connect to the nodes.
    pub(crate) const MEETINGS: [Act; 2] = [Act::Foreign, Act::Visited];
}

impl Operation {
    /// Returns the acts of the operation, and the deployments that each may change by itself.
    pub(crate) fn acts(&self) -> Vec<(usize, Act)> {
        match self {
            Operation::Follow { node, master } if node.deployment != master.deployment => {
                vec![
                    (node.deployment, Act::Replicaof),
                    (node.deployment, Act::Foreign),
                    (master.deployment, Act::Visited),
                ]
            }
            Operation::Promote(node) | Operation::Follow { node, .. } => {
                vec![(node.deployment, Act::Replicaof)]
            }
            Operation::Meet { on, node } if on.deployment != node.deployment => {
                vec![(on.deployment, Act::Foreign), (node.deployment, Act::Foreign)]
            }
            Operation::Failover(node) | Operation::FailoverTo { node, .. } => {
                vec![(node.deployment, Act::Failover)]
            }
            Operation::Start(node, _) | Operation::Restart(node, _) => {
                vec![(node.deployment, Act::Start)]
            }
            Operation::RotatePassword(deployment) => vec![(*deployment, Act::Password)],
            _ => Vec::new(),
        }
    }
}

/// Draws operations, and remembers what they did, so that a dead server is started and a frozen one
/// continued.
pub(crate) struct OperationDrawer<'a> {
    plan: &'a Plan,
    stopped: Vec<NodeId>,
    frozen: Vec<NodeId>,
    stopped_sentinels: Vec<usize>,
    frozen_sentinels: Vec<usize>,
    /// Sentinels with a wrong password.
    refused_sentinels: Vec<usize>,
    forgotten: Vec<NodeId>,
    has_network_fault: bool,
}

impl<'a> OperationDrawer<'a> {
    pub(crate) fn new(plan: &'a Plan) -> Self {
        OperationDrawer {
            plan,
            stopped: Vec::new(),
            frozen: Vec::new(),
            stopped_sentinels: Vec::new(),
            frozen_sentinels: Vec::new(),
            refused_sentinels: Vec::new(),
            forgotten: Vec::new(),
            has_network_fault: false,
        }
    }

    /// Draws an operation.
    pub(crate) fn draw(&mut self, random: &mut Rng) -> Operation {
        let deployments = self.plan.deployments.len();
        let deployment = if random.u8(..4) > 0 { 0 } else { random.usize(..deployments) };
        let plan = &self.plan.deployments[deployment];
        let node = NodeId { deployment, node: random.usize(..plan.nodes.len()) };
        match random.u8(..100) {
            0..30 => self.draw_process(node, random),
            30..52 => self.draw_command(plan, node, random),
            52..62 if plan.kind == Kind::Sentinel => self.draw_sentinel(deployment, random),
            52..80 => self.draw_network(random),
            80..88 => draw_disk(plan, node, random),
            88..93 => draw_configuration(plan, node, random),
            93..95 if plan.kind == Kind::Dns => Operation::ToggleName(node),
            93..97 => Operation::MoveClient {
                deployment,
                client: random.usize(..plan.clients),
                node: node.node,
            },
            97 => Operation::Reload,
            _ => Operation::RestartExporter { keeps_state: random.bool() },
        }
    }

    fn draw_process(&mut self, node: NodeId, random: &mut Rng) -> Operation {
        let data = match random.u8(..6) {
            0..4 => Data::Kept,
            4 => Data::Deleted,
            _ => Data::Old,
        };
        if take(&mut self.stopped, node) {
            return Operation::Start(node, data);
        }
        if take(&mut self.frozen, node) {
            return Operation::Continue(node);
        }
        match random.u8(..10) {
            0..5 => {
                self.stopped.push(node);
                Operation::Kill(node)
            }
            5..7 => Operation::Restart(node, data),
            _ => {
                self.frozen.push(node);
                Operation::Freeze(node)
            }
        }
    }

    fn draw_command(&mut self, plan: &DeploymentPlan, node: NodeId, random: &mut Rng) -> Operation {
        let other = NodeId { node: random.usize(..plan.nodes.len()), ..node };
        if plan.kind == Kind::Cluster {
            let ways =
                [ClusterFailover::Planned, ClusterFailover::Forced, ClusterFailover::Takeover];
            let way = random.choice(ways);
            return match random.u8(..10) {
                0..4 => Operation::ClusterFailover(node, way.expect("there are ways")),
                4..6 => Operation::Follow { node, master: other },
                6..8 if node != other => {
                    let slot = random.u16(..16_384);
                    Operation::StartMigration { from: node, to: other, slot }
                }
                _ if take(&mut self.forgotten, node) => Operation::Meet { on: other, node },
                _ => {
                    self.forgotten.push(node);
                    Operation::Forget { on: other, node }
                }
            };
        }
        match random.u8(..12) {
            0..3 => Operation::Promote(node),
            3..7 => Operation::Follow { node, master: other },
            7 if self.plan.deployments.len() > 1 => {
                let master = NodeId { deployment: 1 - node.deployment, node: 0 };
                Operation::Follow { node, master }
            }
            8 => Operation::FailoverTo { node, replica: other },
            9 => Operation::AbortFailover(node),
            _ => Operation::Failover(node),
        }
    }

    fn draw_sentinel(&mut self, deployment: usize, random: &mut Rng) -> Operation {
        let sentinel = random.usize(..self.plan.sentinels);
        if take(&mut self.stopped_sentinels, sentinel) {
            return Operation::StartSentinel(sentinel);
        }
        if take(&mut self.frozen_sentinels, sentinel) {
            return Operation::ContinueSentinel(sentinel);
        }
        match random.u8(..12) {
            10.. if self.plan.deployments[deployment].has_password => {
                let is_right = take(&mut self.refused_sentinels, sentinel);
                if !is_right {
                    self.refused_sentinels.push(sentinel);
                }
                Operation::SetSentinelPassword { sentinel, deployment, is_right }
            }
            0..4 | 10.. => Operation::SentinelFailover { sentinel, deployment },
            4..6 => {
                self.stopped_sentinels.push(sentinel);
                Operation::KillSentinel(sentinel)
            }
            6..8 => {
                self.frozen_sentinels.push(sentinel);
                Operation::FreezeSentinel(sentinel)
            }
            8 => Operation::SentinelReset { sentinel, deployment },
            _ => Operation::SentinelRemove { sentinel, deployment },
        }
    }

    fn draw_network(&mut self, random: &mut Rng) -> Operation {
        if std::mem::take(&mut self.has_network_fault) && random.bool() {
            return Operation::Heal;
        }
        self.has_network_fault = true;
        let hosts = self.hosts();
        let one = random.choice(&hosts).copied().expect("there are hosts");
        let other = random.choice(&hosts).copied().expect("there are hosts");
        // The view of the exporter matters most.
        let other = if random.u8(..3) == 0 { HostId::Exporter } else { other };
        match random.u8(..10) {
            0..2 if one != other => Operation::CutOneWay(one, other),
            2..5 if one != other => Operation::Cut(one, other),
            5 if one != other => {
                let percent = random.choice([5, 30, 80]).expect("there are values");
                Operation::Lose { between: one, and: other, percent }
            }
            6 => Operation::Isolate(one),
            _ => Operation::Split(hosts.into_iter().filter(|_| random.bool()).collect()),
        }
    }

    /// Returns all hosts.
    fn hosts(&self) -> Vec<HostId> {
        let mut hosts = Vec::new();
        for (deployment, plan) in self.plan.deployments.iter().enumerate() {
            hosts.extend(
                (0..plan.nodes.len()).map(|node| HostId::Node(NodeId { deployment, node })),
            );
            hosts.extend((0..plan.clients).map(|client| HostId::Client(deployment, client)));
        }
        hosts.extend((0..self.plan.sentinels).map(HostId::Sentinel));
        hosts
    }
}

fn draw_disk(plan: &DeploymentPlan, node: NodeId, random: &mut Rng) -> Operation {
    let has_disk = plan.nodes[node.node].has_small_disk;
    match random.u8(..6) {
        0..2 if has_disk => Operation::FillDisk(node),
        2 if has_disk => Operation::FreeDisk(node),
        0..2 => Operation::SlowFsync(node),
        3 => Operation::FailFsync(node),
        _ => Operation::EndDiskFaults(node),
    }
}

fn draw_configuration(plan: &DeploymentPlan, node: NodeId, random: &mut Rng) -> Operation {
    match random.u8(..10) {
        0..6 => Operation::Configure(node, *random.choice(&PARAMETERS).expect("there are some")),
        6..8 => Operation::PauseClients(node, random.u32(2..40)),
        _ if plan.has_password && plan.kind == Kind::Static => {
            Operation::RotatePassword(node.deployment)
        }
        _ => Operation::PauseClients(node, 3),
    }
}

/// Removes a value from a list, and returns true if it was there.
fn take<T: PartialEq + Copy>(list: &mut Vec<T>, value: T) -> bool {
    let length = list.len();
    list.retain(|listed| *listed != value);
    list.len() < length
}
