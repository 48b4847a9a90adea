//! Contact with the nodes of all deployments, and the verdict that follows from it.
//!
//! The verdict reads all nodes of all deployments, and each round may change it. Counts, which each
//! round updates, show in constant time that the exporter cannot be cut off: this is so in nearly
//! every round. While they do not show it, as during a large outage, the cost is limited by a
//! [`Budget`].

use std::collections::BTreeMap;

use super::contact::DeploymentContact;
use super::verdict::{self, MIN_DEPLOYMENTS};

/// Contact with the nodes of all deployments.
#[derive(Debug, Default)]
pub(super) struct FleetContact {
    /// Last contact with the nodes of each deployment, by the ID of its reporter.
    deployments: BTreeMap<u64, DeploymentContact>,
    /// Counts of all deployments.
    counts: Counts,
    budget: Budget,
    /// Last verdict.
    is_cut_off: bool,
    /// True if the contact changed after the last verdict.
    is_stale: bool,
}

/// Counts of nodes and deployments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    nodes: usize,
    /// Nodes that replied to their last poll.
    replying: usize,
    /// Deployments with more silent nodes than replying ones.
    mostly_silent: usize,
    /// Other deployments with a replying node.
    mostly_replying: usize,
}

impl FleetContact {
    /// Replaces the contact with the nodes of one deployment.
    pub(super) fn report(&mut self, id: u64, contact: &DeploymentContact) {
        if self.deployments.get(&id) != Some(contact) {
            self.counts.add(Counts::of(contact));
            if let Some(before) = self.deployments.insert(id, contact.clone()) {
                self.counts.subtract(Counts::of(&before));
            }
            self.is_stale = true;
        }
        self.budget.earn(contact.nodes.len(), self.counts.nodes);
    }

    /// Removes a deployment. This never begins a period in which the exporter is cut off.
    pub(super) fn remove(&mut self, id: u64) {
        if let Some(contact) = self.deployments.remove(&id) {
            self.budget.earn(contact.nodes.len(), self.counts.nodes);
            self.counts.subtract(Counts::of(&contact));
            self.is_stale |= self.is_cut_off;
        }
    }

    /// Returns true if the exporter is cut off. The verdict may be that of an earlier report,
    /// unless the counts decide it or the budget is sufficient.
    pub(super) fn is_cut_off(&mut self) -> bool {
        if !self.counts.permit_cut_off() {
            (self.is_cut_off, self.is_stale) = (false, false);
        } else if self.is_stale && self.budget.spend(self.counts.nodes) {
            (self.is_cut_off, self.is_stale) = (self.verdict(), false);
        }
        self.is_cut_off
    }

    /// Reads all nodes and returns the verdict.
    fn verdict(&self) -> bool {
        verdict::is_cut_off(&self.deployments.values().collect::<Vec<_>>())
    }
}

impl Counts {
    /// Returns the counts of one deployment.
    fn of(contact: &DeploymentContact) -> Self {
        let replying = contact.nodes.iter().filter(|node| node.is_replying()).count();
        let silent = contact.nodes.iter().filter(|node| node.silence().is_some()).count();
        let is_mostly_silent = silent > replying;
        Counts {
            nodes: contact.nodes.len(),
            replying,
            mostly_silent: usize::from(is_mostly_silent),
            mostly_replying: usize::from(!is_mostly_silent && replying > 0),
        }
    }

    fn add(&mut self, other: Counts) {
        self.nodes += other.nodes;
        self.replying += other.replying;
        self.mostly_silent += other.mostly_silent;
        self.mostly_replying += other.mostly_replying;
    }

    fn subtract(&mut self, other: Counts) {
        self.nodes -= other.nodes;
        self.replying -= other.replying;
        self.mostly_silent -= other.mostly_silent;
        self.mostly_replying -= other.mostly_replying;
    }

    /// Returns false if [`verdict::is_cut_off`] cannot be true.
    ///
    /// The verdict counts some of the silent nodes, those that fell silent together, and compares
    /// them with at least all replying nodes. So a deployment that lost most of its nodes is among
    /// `mostly_silent`, and each of `mostly_replying` is a deployment that did not.
    fn permit_cut_off(self) -> bool {
        let most =
            self.mostly_silent >= MIN_DEPLOYMENTS && self.mostly_silent > self.mostly_replying;
        let all = self.mostly_silent > 0 && self.replying == 0;
        most || all
    }
}

/// Number of nodes that may be read for each reported one.
const READ_PER_REPORTED: usize = 64;

/// Number of nodes that verdicts may read.
///
/// A reported node adds [`READ_PER_REPORTED`]. So the cost of a round depends only on its own
/// nodes, and the verdict may be missing for the last reports, at most those of a 64th of all
/// nodes. Without it, ten thousand deployments that fall silent would cause ten thousand verdicts
/// about all nodes.
#[derive(Debug, Default)]
struct Budget(usize);

impl Budget {
    /// Adds the budget of a report about this number of nodes, up to that for one verdict about
    /// `all` nodes.
    fn earn(&mut self, reported: usize, all: usize) {
        let earned = reported.max(1).saturating_mul(READ_PER_REPORTED);
        self.0 = self.0.saturating_add(earned).min(all.max(earned));
    }

    /// Takes the budget for a verdict about `all` nodes. Returns false if it is not sufficient.
    fn spend(&mut self, all: usize) -> bool {
        let left = self.0.checked_sub(all);
        self.0 = left.unwrap_or(self.0);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use snapshot::Reason;

    use super::*;
    use crate::blindness::contact::NodeContact;

    /// Returns a deployment of one node, which failed for this reason.
    fn failing(host: u8, reason: Reason) -> DeploymentContact {
        let nodes = vec![NodeContact::failing(host, reason, Duration::from_secs(100))];
        DeploymentContact { window: Duration::from_secs(3), nodes }
    }

    #[test]
    fn a_late_verdict_follows_with_the_next_reports() {
        let mut fleet = FleetContact::default();
        for host in 0..200 {
            fleet.report(host.into(), &failing(host, Reason::Timeout));
        }
        assert!(fleet.is_cut_off());
        // A host that refuses a connection does not reply, so the counts do not decide.
        let mut late = 0;
        for host in 0..150 {
            fleet.report(host.into(), &failing(host, Reason::Refused));
            let exact = fleet.verdict();
            assert_eq!(exact, host < 99, "{host}");
            late += usize::from(fleet.is_cut_off() != exact);
        }
        assert!(!fleet.is_cut_off() && late <= 200 / READ_PER_REPORTED, "{late} are late");
    }

    #[test]
    fn an_unchanged_report_permits_a_late_verdict() {
        let mut fleet = FleetContact::default();
        for host in 0..200 {
            fleet.report(host.into(), &failing(host, Reason::Timeout));
        }
        assert!(fleet.is_cut_off());
        for host in 0..100 {
            fleet.report(host.into(), &failing(host, Reason::Refused));
        }
        assert!(!fleet.is_cut_off());
        fleet.report(99, &failing(99, Reason::Timeout));
        assert!(!fleet.is_cut_off(), "the budget is spent");
        for _ in 0..200 / READ_PER_REPORTED {
            fleet.report(199, &failing(199, Reason::Timeout));
        }
        assert!(fleet.is_cut_off());
    }

    #[test]
    fn a_budget_permits_64_nodes_for_each_reported_one() {
        let (mut budget, mut read) = (Budget::default(), 0);
        for _ in 0..10_000 {
            budget.earn(3, 30_000);
            read += if budget.spend(30_000) { 30_000 } else { 0 };
        }
        let limit = 10_000 * 3 * READ_PER_REPORTED;
        assert!((limit * 9 / 10..=limit).contains(&read), "{read}");
        let mut full = Budget::default();
        (0..1000).for_each(|_| full.earn(3, 30_000));
        assert!(full.spend(30_000) && !full.spend(30_000), "the budget is limited");
    }
}
