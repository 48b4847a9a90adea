//! Conditions that are logged once per episode, however often they change.

use std::time::Duration;

use topology::evidence::SentinelConfigEvidence;
use topology::{DeploymentView, Evidence, LimitKind, Severity};
use tracing::{info, warn};

/// Time without the condition after which an episode ends.
const ENDS_AFTER: Duration = Duration::from_secs(60);

/// Episode of a condition. It ends when the condition has not held for a minute.
#[derive(Debug, Clone, Copy, Default)]
struct Episode {
    /// Time since the start of the exporter at which the condition last held.
    last: Option<Duration>,
}

/// Begin or end of an episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Began,
    Ended,
}

/// Episodes of one deployment.
#[derive(Debug, Default)]
pub(crate) struct Episodes {
    slow: Episode,
    limits: [Episode; LimitKind::ALL.len()],
    unknown_master: Episode,
}

impl Episode {
    /// Records if the condition holds. Returns the change of the episode.
    fn observe(&mut self, holds: bool, now: Duration) -> Option<Change> {
        if holds {
            return self.last.replace(now).is_none().then_some(Change::Began);
        }
        let ended = self.last.is_some_and(|last| now.saturating_sub(last) >= ENDS_AFTER);
        ended.then(|| {
            self.last = None;
            Change::Ended
        })
    }
}

impl Episodes {
    /// Records how long the computation of a round took. Returns true if that is too long. Logs the
    /// begin and the end of an episode.
    pub(crate) fn observe_computation(
        &mut self,
        deployment: &str,
        took: Duration,
        interval: Duration,
        now: Duration,
    ) -> bool {
        let is_slow = took * 10 > interval;
        let seconds = took.as_secs_f64();
        match self.slow.observe(is_slow, now) {
            Some(Change::Began) => {
                warn!(
                    deployment,
                    seconds, "computing the round took longer than a tenth of the interval"
                );
            }
            Some(Change::Ended) => info!(deployment, seconds, "rounds are computed fast again"),
            None => {}
        }
        is_slow
    }

    /// Logs the begin and the end of a time in which Sentinels do not monitor the master.
    pub(crate) fn observe_master(&mut self, view: &DeploymentView, now: Duration) {
        let deployment = &view.deployment.name;
        let found = unknown_master(view);
        match (self.unknown_master.observe(found.is_some(), now), found) {
            (Some(Change::Began), Some(evidence)) => {
                let SentinelConfigEvidence { sentinels, master_name, monitored, .. } = evidence;
                let (sentinels, monitored) = (sentinels.join(", "), monitored.join(", "));
                warn!(
                    deployment,
                    sentinels, monitored, master_name, "Sentinels do not monitor the master"
                );
            }
            (Some(Change::Ended), _) => info!(deployment, "Sentinels monitor the master again"),
            _ => {}
        }
    }

    /// Logs the begin and the end of an excess.
    pub(crate) fn observe_excess(&mut self, view: &DeploymentView, now: Duration) {
        let deployment = &view.deployment.name;
        for ((kind, excess), episode) in view.excess.iter().zip(&mut self.limits) {
            let limit = kind.label();
            match episode.observe(excess > 0, now) {
                Some(Change::Began) => {
                    warn!(deployment, limit, excess, "limit exceeded, leaving out the excess");
                }
                Some(Change::Ended) => info!(deployment, limit, "limit no longer exceeded"),
                None => {}
            }
        }
    }
}

/// Returns the evidence that Sentinels do not monitor the master, unless it may be a short
/// contradiction.
fn unknown_master(view: &DeploymentView) -> Option<&SentinelConfigEvidence> {
    let mut findings = view.findings.iter().filter(|finding| finding.severity != Severity::Info);
    findings.find_map(|finding| match &finding.evidence {
        Evidence::RedisSentinelMisconfigured(evidence) if !evidence.sentinels.is_empty() => {
            Some(evidence)
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_episode_begins_and_ends_once() {
        let mut episode = Episode::default();
        let seconds = Duration::from_secs;
        assert_eq!(episode.observe(false, seconds(1)), None);
        assert_eq!(episode.observe(true, seconds(2)), Some(Change::Began));
        let changes: Vec<_> =
            (3..100).filter_map(|at| episode.observe(at % 7 == 0, seconds(at))).collect();
        assert_eq!(changes, [], "a flapping condition is one episode");
        assert_eq!(episode.observe(false, seconds(157)), None);
        assert_eq!(episode.observe(false, seconds(158)), Some(Change::Ended));
        assert_eq!(episode.observe(false, seconds(159)), None);
    }

    #[test]
    fn a_round_is_slow_beyond_a_tenth_of_the_interval() {
        let mut episodes = Episodes::default();
        let second = Duration::from_secs(1);
        let mut is_slow = |millis| {
            episodes.observe_computation("x", Duration::from_millis(millis), second, second)
        };
        assert!(!is_slow(100) && is_slow(101));
    }
}
