//! Cost of a round in large deployments: it is proportional to the number of nodes.
//!
//! Time is no measure in a test. Allocations and memory are: observations that are kept for each
//! pair of nodes grow with the square of their number.

mod deployments;

use allocation_counter::measure;
use deployments::SyntheticDeployment;
use topology::FindingKind;

/// Rounds in which a deployment is discovered and becomes steady.
const SETTLING: usize = 8;

/// Rounds that are measured then.
const MEASURED: usize = 6;

/// Allocations and memory of the rounds of one deployment.
#[derive(Debug)]
struct Cost {
    /// Allocations for each node in each steady round.
    allocations: f64,
    /// Memory for each node after the last round, without the replies.
    bytes: f64,
}

impl Cost {
    fn of(deployment: &mut SyntheticDeployment) -> Self {
        let (mut replies, mut bytes, mut allocations) = (Vec::new(), 0, 0);
        for number in 0..SETTLING + MEASURED {
            let round = deployment.poll();
            let observed = measure(|| deployment.observe(&round));
            bytes += observed.bytes_current;
            if number >= SETTLING {
                allocations += observed.count_total;
            }
            // The memory of replies that a round replaces is not freed, so that it does not count.
            replies.push(round);
        }
        let nodes = deployment.len() as f64;
        Cost {
            allocations: allocations as f64 / (nodes * MEASURED as f64),
            bytes: bytes as f64 / nodes,
        }
    }

    /// Checks that a deployment of four times the size costs the same for each node.
    fn assert_linear(&self, larger: &Cost) {
        let costs = format!("{self:?} and {larger:?}");
        assert!(larger.allocations < self.allocations * 1.1, "{costs}");
        assert!(larger.bytes < self.bytes * 1.1, "{costs}");
    }
}

#[test]
fn independent_masters_cost_the_same_each() {
    let [small, large] = [250, 1000].map(|masters| {
        let mut deployment = SyntheticDeployment::of_masters(masters);
        let cost = Cost::of(&mut deployment);
        let view = deployment.view();
        let kinds: Vec<_> = view.findings.iter().map(|finding| finding.kind).collect();
        assert_eq!(kinds, [FindingKind::RolecallUnrelatedMasters]);
        assert_eq!(view.shards[0].unrelated_masters.len(), masters);
        cost
    });
    small.assert_linear(&large);
    assert!(large.allocations < 17.0 && large.bytes < 6000.0, "{large:?}");
}

#[test]
fn nodes_of_a_cluster_cost_the_same_each() {
    let [small, large] = [125, 500].map(|shards| {
        let mut deployment = SyntheticDeployment::of_shards(shards);
        let cost = Cost::of(&mut deployment);
        let view = deployment.view();
        assert_eq!((view.shards.len(), view.findings.len()), (shards, 0));
        assert!(view.shards.iter().all(|shard| shard.primary.is_some() && shard.replicas == 1));
        cost
    });
    small.assert_linear(&large);
    assert!(large.allocations < 65.0 && large.bytes < 17_000.0, "{large:?}");
}
