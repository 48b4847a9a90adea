//! One history: operations on the model, and one round of polls per second.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use topology::{
    Deployment, DeploymentKind, DeploymentTracker, Discovery, NodeKind, NodeNameTemplate,
    PollOutcome, ReadRequest, Round,
};

use crate::operations::{Operation, Step, at, recover};
use crate::oracle::{Fault, Oracle};
use crate::replies::{MASTER, Polls, address, sentinel_address};
use crate::world::{TICK, World};

const SECOND: Duration = Duration::from_secs(1);

/// Seconds before the first operation.
const HEALTHY: u64 = 10;

/// The longest time with operations, seconds.
const FAULTY: u64 = 60;

/// Seconds after the recovery.
const RECOVERED: u64 = 30;

/// A history.
pub(crate) struct History {
    world: World,
    polls: Polls,
    tracker: DeploymentTracker,
    pub(crate) oracle: Oracle,
    /// The moments of the polls.
    moments: fastrand::Rng,
    /// Operations to come, or the source of them.
    source: Source,
    pub(crate) steps: Vec<Step>,
    /// Second of the recovery.
    recovery: u64,
}

/// Source of operations.
enum Source {
    Random { random: fastrand::Rng, next: u64, longest_gap: u64 },
    List(VecDeque<Step>),
}

impl History {
    /// Creates a history with random operations.
    pub(crate) fn random(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(!seed);
        let longest_gap = [1, 3, 6, 15, 40][random.usize(0..5)];
        let next = HEALTHY + random.u64(0..5);
        History::new(seed, Source::Random { random, next, longest_gap })
    }

    /// Creates the history of a seed with other operations.
    pub(crate) fn of(seed: u64, steps: &[Step]) -> Self {
        History::new(seed, Source::List(steps.iter().copied().collect()))
    }

    fn new(seed: u64, source: Source) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let (moments, recovery) = (random.fork(), HEALTHY + 15 + random.u64(0..FAULTY - 15));
        let world = World::new(random);
        History {
            tracker: DeploymentTracker::new(Arc::new(deployment(&world))),
            polls: Polls::new(&world),
            oracle: Oracle::new(&world),
            world,
            moments,
            source,
            steps: Vec::new(),
            recovery,
        }
    }

    /// Runs the history until its end or the first fault.
    pub(crate) fn run(&mut self) -> Option<Fault> {
        let mut second = 0;
        while second < self.recovery + RECOVERED {
            second += 1;
            if second == self.recovery {
                recover(&mut self.world);
            }
            while let Some(operation) = self.next_operation(second) {
                self.steps.push(at(second, operation));
                operation.apply(&mut self.world);
                if let Operation::RestartExporter { with_state, downtime } = operation {
                    second += self.restart_exporter(with_state, downtime);
                }
            }
            let fault = self.round();
            if fault.is_some() {
                return fault;
            }
        }
        self.oracle.end(&self.world, &self.tracker.view())
    }

    /// Returns the next operation of a second.
    fn next_operation(&mut self, second: u64) -> Option<Operation> {
        match &mut self.source {
            Source::List(steps) => {
                steps.front().filter(|step| step.at <= second)?;
                steps.pop_front().map(|step| step.operation)
            }
            Source::Random { random, next, longest_gap } => {
                if *next > second || second >= self.recovery {
                    return None;
                }
                *next = second + random.u64(0..=*longest_gap);
                Some(Operation::draw(&self.world, random))
            }
        }
    }

    /// Replaces the tracker, as another exporter that starts after some seconds. Returns the
    /// seconds that passed, which stay before the recovery.
    fn restart_exporter(&mut self, with_state: bool, downtime: u64) -> u64 {
        let passed = downtime.min(self.recovery.saturating_sub(self.world.now / 1000 + 2));
        let state = self.tracker.saved_state();
        self.tracker = DeploymentTracker::new(Arc::new(deployment(&self.world)));
        if with_state {
            self.tracker.restore(state, SECOND * u32::try_from(passed).unwrap_or_default());
        }
        for _ in 0..passed * 1000 / TICK {
            self.world.advance();
        }
        self.polls = Polls::new(&self.world);
        self.oracle.restart(with_state);
        passed
    }

    /// Advances the world by one second and polls each node at a random moment of it.
    fn round(&mut self) -> Option<Fault> {
        let view = self.tracker.view();
        let count = view.nodes.len();
        let mut outcomes = vec![PollOutcome::Pending; count];
        let mut contacts = vec![None; count];
        let steps = 1000 / TICK;
        let moments: Vec<_> = (0..count).map(|_| self.moments.u64(0..steps)).collect();
        self.polls.polled.fill(None);
        for step in 0..steps {
            self.world.advance();
            for (index, node) in view.nodes.iter() {
                let index = index.get();
                if moments[index] == step && node.node.kind != NodeKind::Vacant {
                    let polled = self.polls.poll(&self.world, node, index);
                    (outcomes[index], contacts[index]) = polled;
                }
            }
        }
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(self.world.now);
        let mut round = Round::new(at, self.polls.monotonic(&self.world), outcomes);
        round.contacts = contacts.into();
        let result = self.tracker.observe(&round);
        self.polls.needs_lists = result.requests.contains(&ReadRequest::SentinelLists);
        self.oracle.compare(&self.world, &self.polls, &result.view)
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

#[test]
fn the_oracle_finds_a_view_that_is_outdated() {
    let mut history = History::of(0, &[]);
    for _ in 0..HEALTHY {
        assert_eq!(history.round(), None);
    }
    let view = history.tracker.view();
    Operation::Kill(0).apply(&mut history.world);
    history.polls.polled.fill(None);
    let mut compare = || history.oracle.compare(&history.world, &history.polls, &view);
    let rules: Vec<_> = (0..40).filter_map(|_| compare()).map(|fault| fault.rule).collect();
    assert!(rules.contains(&crate::oracle::Rule::GoneDown), "{rules:?}");
}
