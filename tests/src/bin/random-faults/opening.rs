//! Openings: sequences of operations with which some histories begin, since chance rarely draws
//! them. Each gives a rule of the oracle something to decide.

use std::time::Duration;

use fastrand::Rng;

use crate::operation::{HostId, NodeId, Operation, PRIORITY_0};
use crate::plan::{DeploymentPlan, Kind, Step};

/// Time before the first operation: a witness must have reached every node for some time.
const BEFORE: Duration = Duration::from_secs(20);

/// Operations and the end of an opening.
#[derive(Debug, Default)]
pub(crate) struct Opening {
    pub(crate) steps: Vec<Step>,
    /// Time at which random operations may begin.
    pub(crate) until: Duration,
}

impl Opening {
    /// Draws an opening of the first deployment; `None` in some histories.
    pub(crate) fn draw(plans: &[DeploymentPlan], random: &mut Rng) -> Option<Self> {
        let mut opening = Opening { until: BEFORE, ..Opening::default() };
        let plan = &plans[0];
        let has_two_clusters = plans.iter().filter(|plan| plan.kind == Kind::Cluster).count() == 2;
        match (random.u8(..8), plan.kind) {
            (0, _) => opening.cut_node_from_exporter(plan, random),
            (1, Kind::Sentinel) => opening.cut_primary_from_sentinels(plan, random),
            (1, Kind::Static | Kind::Dns) => opening.replace_primary(plan, random),
            (2 | 3, Kind::Sentinel) => opening.kill_primary(plan, random),
            (4, Kind::Sentinel) if plan.has_password => opening.refuse_sentinels(random),
            (2 | 5, Kind::Static | Kind::Dns | Kind::Sentinel) => {
                opening.fail_over_to_hanging_replica(plan, random);
            }
            (4.., Kind::Cluster) if has_two_clusters => opening.merge_clusters(random),
            _ => return None,
        }
        Some(opening)
    }

    /// Makes the exporter lose one node for as long as the network may need to show who is right.
    fn cut_node_from_exporter(&mut self, plan: &DeploymentPlan, random: &mut Rng) {
        let node = host(random.usize(..plan.nodes.len()));
        self.add(match random.u8(..3) {
            0 => Operation::CutOneWay(node, HostId::Exporter),
            1 => Operation::CutOneWay(HostId::Exporter, node),
            _ => Operation::Cut(node, HostId::Exporter),
        });
        self.wait(random, 25, 35);
    }

    /// Cuts the primary, its client and some replicas off from the Sentinels, which promote one of
    /// the other replicas. Writes to the old primary are lost in the end.
    fn cut_primary_from_sentinels(&mut self, plan: &DeploymentPlan, random: &mut Rng) {
        let replicas = plan.nodes.len() - 1;
        let on_its_side = random.usize(..replicas);
        let side = (0..=on_its_side).map(host).chain([HostId::Client(0, 0)]);
        self.add(Operation::Split(side.collect()));
        self.wait(random, 35, 45);
        self.add(Operation::Heal);
        self.wait(random, 12, 15);
    }

    /// Promotes a replica, moves the clients to it, and makes the other nodes follow it: too late
    /// for the writes to the old primary in the meantime.
    fn replace_primary(&mut self, plan: &DeploymentPlan, random: &mut Rng) {
        let promoted = random.usize(1..plan.nodes.len());
        self.add(Operation::Promote(id(promoted)));
        self.wait(random, 3, 12);
        for client in 0..plan.clients {
            self.add(Operation::MoveClient { deployment: 0, client, node: promoted });
            self.wait(random, 1, 8);
        }
        for node in (0..plan.nodes.len()).filter(|node| *node != promoted) {
            self.add(Operation::Follow { node: id(node), master: id(promoted) });
        }
        self.wait(random, 12, 15);
    }

    /// Excludes some replicas from failovers, and kills the primary. A history with this opening
    /// shows if the stated readiness for a failover was right.
    fn kill_primary(&mut self, plan: &DeploymentPlan, random: &mut Rng) {
        let excludes_all = random.u8(..3) == 0;
        for node in 1..plan.nodes.len() {
            if excludes_all || random.bool() {
                self.add(Operation::Configure(id(node), PRIORITY_0));
            }
        }
        self.wait(random, 12, 14);
        self.add(Operation::Kill(id(0)));
        self.wait(random, 43, 45);
    }

    /// Gives some Sentinels a wrong password.
    fn refuse_sentinels(&mut self, random: &mut Rng) {
        for sentinel in 0..random.usize(1..=3) {
            let operation =
                Operation::SetSentinelPassword { sentinel, deployment: 0, is_right: false };
            self.add(operation);
        }
        self.wait(random, 30, 40);
    }

    /// Freezes a replica, and makes the primary fail over to it. Writes hang meanwhile.
    fn fail_over_to_hanging_replica(&mut self, plan: &DeploymentPlan, random: &mut Rng) {
        let replica = id(random.usize(1..plan.nodes.len()));
        self.add(Operation::Freeze(replica));
        self.wait(random, 1, 3);
        self.add(Operation::FailoverTo { node: id(0), replica });
        self.wait(random, 30, 40);
        if random.bool() {
            self.add(Operation::AbortFailover(id(0)));
        }
        self.add(Operation::Continue(replica));
        self.wait(random, 5, 10);
    }

    /// Merges two clusters. Slots of both change their owners, and keys are lost.
    fn merge_clusters(&mut self, random: &mut Rng) {
        let node = NodeId { deployment: 1, node: random.usize(..3) };
        self.add(Operation::Meet { on: id(random.usize(..3)), node });
        self.wait(random, 40, 45);
    }

    fn add(&mut self, operation: Operation) {
        self.steps.push(Step { at: self.until, operation });
    }

    /// Delays the next operation by some seconds.
    fn wait(&mut self, random: &mut Rng, shortest: u64, longest: u64) {
        self.until += Duration::from_secs(random.u64(shortest..=longest));
    }
}

/// Returns a node of the first deployment.
fn id(node: usize) -> NodeId {
    NodeId { deployment: 0, node }
}

fn host(node: usize) -> HostId {
    HostId::Node(id(node))
}
