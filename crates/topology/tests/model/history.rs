//! One random history: operations drawn from a seed, and one round of polls per second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use topology::{
    Deployment, DeploymentKind, DeploymentTracker, Discovery, Monotonic, NodeNameTemplate,
    PollOutcome, Round,
};

use crate::operations::{Operation, Step, recover};
use crate::oracle::{Fault, Oracle};
use crate::replies::{self, MASTER, address, sentinel_address};
use crate::world::{TICK, World};

const SECOND: Duration = Duration::from_secs(1);

/// Seconds before the first operation.
const HEALTHY: u64 = 15;

/// Seconds with operations.
const FAULTY: u64 = 90;

/// Seconds after the recovery.
const RECOVERED: u64 = 45;

/// A random history.
pub(crate) struct History {
    world: World,
    tracker: DeploymentTracker,
    oracle: Oracle,
    steps: Vec<Step>,
}

impl History {
    pub(crate) fn new(seed: u64) -> Self {
        let world = World::new(fastrand::Rng::with_seed(seed));
        let tracker = DeploymentTracker::new(Arc::new(deployment(&world)));
        History { world, tracker, oracle: Oracle::default(), steps: Vec::new() }
    }

    /// Runs the history until its end or the first fault.
    pub(crate) fn run(&mut self) -> Option<Fault> {
        let mut next = HEALTHY + self.world.random.u64(0..10);
        let longest_gap = [2, 6, 15, 40][self.world.random.usize(0..4)];
        for second in 1..=HEALTHY + FAULTY + RECOVERED {
            if second == next && second < HEALTHY + FAULTY {
                let operation = Operation::draw(&mut self.world);
                self.steps.push(Step { at: second, operation });
                operation.apply(&mut self.world);
                next = second + 1 + self.world.random.u64(0..longest_gap);
            }
            if second == HEALTHY + FAULTY {
                recover(&mut self.world, 0);
            }
            let fault = self.round();
            if fault.is_some() {
                return fault;
            }
        }
        None
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub(crate) fn comparisons(&self) -> u64 {
        self.oracle.comparisons
    }

    /// Advances the world by one second and polls each node at a random moment of it.
    fn round(&mut self) -> Option<Fault> {
        let view = self.tracker.view();
        let mut outcomes = vec![PollOutcome::Pending; view.nodes.len()];
        let steps = 1000 / TICK;
        let moments: Vec<_> = outcomes.iter().map(|_| self.world.random.u64(0..steps)).collect();
        for step in 0..steps {
            self.world.advance();
            for (index, node) in view.nodes.iter() {
                if moments[index.get()] == step {
                    outcomes[index.get()] = replies::poll(&self.world, index, node);
                }
            }
        }
        let now = Monotonic::from_start(Duration::from_millis(self.world.now));
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(self.world.now);
        let result = self.tracker.observe(&Round::new(at, now, outcomes));
        self.oracle.compare(&self.world, &result.view)
    }
}

fn deployment(world: &World) -> Deployment {
    let sentinels = world.sentinels.all.len();
    let kind = if sentinels > 0 { DeploymentKind::Sentinel } else { DeploymentKind::Static };
    let mut deployment = Deployment::new("orders", kind, &[], SECOND, SECOND * 3);
    for sentinel in 0..sentinels {
        deployment.add_sentinel(format!("s{sentinel}"), sentinel_address(sentinel), true);
    }
    if sentinels > 0 {
        deployment.discovery = Some(Discovery {
            master: MASTER.to_owned(),
            names: NodeNameTemplate::new("{host}:{port}").expect("a template"),
            address_map: BTreeMap::default(),
            ghost_after: SECOND * 600,
            forget_after: SECOND * 10,
        });
    } else {
        for server in 0..world.servers.len() {
            deployment.add(format!("n{server}"), address(server), None);
        }
    }
    deployment
}
