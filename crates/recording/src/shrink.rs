//! Shrinking: smaller recordings that give the same verdict.

use std::collections::BTreeSet;
use std::sync::Arc;

use snapshot::{Fields, MasterReport, NodeSnapshot, SentinelReport};
use topology::{Deployment, NodeIndex, NodeKind, NodeReply, PollOutcome};

use crate::expectation::{Expectation, Judgement, Verdict};
use crate::recording::{RecordedRound, Recording};
use crate::time::wall_nanos;

/// A recording that was shrunk.
#[derive(Debug, Clone)]
pub struct Shrunk {
    /// The smallest recording that was found.
    pub recording: Recording,
    /// Replays that this took.
    pub replays: usize,
}

/// Returns a smaller recording that violates an expectation in the same way; the recording itself
/// if it does not violate it. Uses at most `limit` replays, and always gives the same result.
///
/// Removes rounds, then nodes, then parts of replies and lines of INFO, as long as the replay gives
/// the same wrong verdict. Dropped rounds are not counted in [`Recording::dropped`].
pub fn shrink(recording: &Recording, expectation: &Expectation, limit: usize) -> Shrunk {
    let expectations = std::slice::from_ref(expectation);
    let violation = |recording: &Recording| match recording.judge(expectations).pop() {
        Some(Judgement::Violated { found }) => Some(class(&expectation.verdict, found)),
        _ => None,
    };
    let Some(original) = violation(recording) else {
        return Shrunk { recording: recording.clone(), replays: 1 };
    };
    let keeps = |candidate: &Recording| violation(candidate).as_ref() == Some(&original);
    let kept: BTreeSet<_> = expectation.at.into_iter().collect();
    let mut shrunk = shrink_while(recording, &kept, limit.saturating_sub(1), keeps);
    shrunk.replays += 1;
    shrunk
}

/// Returns what a smaller recording must share with the original one: the verdict, but not the
/// exact number of lost writes.
fn class(verdict: &Verdict, found: String) -> String {
    match verdict {
        Verdict::LostWrites { from, .. } => {
            let number = found.split(' ').next().and_then(|number| number.parse::<u64>().ok());
            if number < Some(*from) { "fewer" } else { "more" }.to_owned()
        }
        _ => found,
    }
}

/// Returns a smaller recording for which a condition holds, as it must for the recording itself.
/// `kept` has the wall times (nanoseconds since the Unix epoch) of rounds that must remain, in
/// addition to the last one. Evaluates the condition at most `limit` times.
pub fn shrink_while(
    recording: &Recording,
    kept: &BTreeSet<u64>,
    limit: usize,
    condition: impl FnMut(&Recording) -> bool,
) -> Shrunk {
    let mut search = Search { best: recording.clone(), condition, replays: 0, limit };
    loop {
        let before = size(&search.best);
        search.drop_rounds(kept);
        search.drop_nodes();
        search.drop_parts();
        search.drop_lines();
        if search.is_over() || size(&search.best) >= before {
            return Shrunk { recording: search.best, replays: search.replays };
        }
    }
}

fn size(recording: &Recording) -> usize {
    recording.text().len()
}

struct Search<F> {
    /// The smallest recording so far.
    best: Recording,
    condition: F,
    replays: usize,
    limit: usize,
}

impl<F: FnMut(&Recording) -> bool> Search<F> {
    /// Makes a candidate the best recording if the condition holds for it.
    fn accept(&mut self, candidate: Recording) -> bool {
        if self.is_over() {
            return false;
        }
        self.replays += 1;
        let accepted = (self.condition)(&candidate);
        if accepted {
            self.best = candidate;
        }
        accepted
    }

    /// Returns true if no replay is left.
    fn is_over(&self) -> bool {
        self.replays >= self.limit
    }

    /// Removes as many items as possible: halves first, then quarters, down to single items.
    /// `remove` returns the best recording without these items.
    fn remove_items<T: Clone>(
        &mut self,
        mut items: Vec<T>,
        remove: impl Fn(&Recording, &[T]) -> Option<Recording>,
    ) {
        let mut length = items.len();
        while length > 0 {
            let mut start = 0;
            while start < items.len() && !self.is_over() {
                let end = (start + length).min(items.len());
                let candidate = remove(&self.best, &items[start..end]);
                if candidate.is_some_and(|candidate| self.accept(candidate)) {
                    items.drain(start..end);
                } else {
                    start = end;
                }
            }
            length /= 2;
        }
    }

    fn drop_rounds(&mut self, kept: &BTreeSet<u64>) {
        let last = self.best.rounds.last().map(|recorded| recorded.round.at);
        let times: Vec<_> = self.best.rounds.iter().map(|recorded| recorded.round.now).collect();
        let is_kept = |recorded: &RecordedRound| {
            Some(recorded.round.at) == last || kept.contains(&wall_nanos(recorded.round.at))
        };
        self.remove_items(times, |best, times| {
            let is_dropped = |recorded: &RecordedRound| {
                times.contains(&recorded.round.now) && !is_kept(recorded)
            };
            best.rounds.iter().any(is_dropped).then(|| {
                let mut best = best.clone();
                best.rounds.retain(|recorded| !is_dropped(recorded));
                best
            })
        });
    }

    fn drop_nodes(&mut self) {
        let configured = self.best.header.deployment.nodes.values();
        let mut addresses: BTreeSet<String> = configured.map(|node| node.address.clone()).collect();
        for recorded in &self.best.rounds {
            addresses.extend(recorded.members.iter().filter(|member| !member.is_empty()).cloned());
        }
        for address in addresses {
            if self.is_over() {
                return;
            }
            let removed = without_node(&self.best, &address);
            if !self.accept(removed) {
                let silent = with_pending(&self.best, &address);
                if let Some(silent) = silent {
                    self.accept(silent);
                }
            }
        }
    }

    fn drop_parts(&mut self) {
        let mut smallest = size(&self.best);
        for drop_part in PARTS {
            if self.is_over() {
                return;
            }
            let mut candidate = self.best.clone();
            candidate.rounds.iter_mut().for_each(drop_part);
            let size = size(&candidate);
            if size < smallest && self.accept(candidate) {
                smallest = size;
            }
        }
        if self.best.header.restored.is_some() {
            let mut candidate = self.best.clone();
            candidate.header.restored = None;
            self.accept(candidate);
        }
    }

    fn drop_lines(&mut self) {
        let mut names = BTreeSet::new();
        for recorded in &mut self.best.clone().rounds {
            for_each_reply(recorded, |reply| {
                let errors = reply.snapshot.errors.lines().into_iter().map(|(name, _)| name);
                let lines = reply.snapshot.fields.lines().map(|(name, _)| name.to_owned());
                names.extend(lines.chain(errors));
                if let Some(cluster) = &reply.snapshot.cluster {
                    names.extend(cluster.lines().map(|(name, _)| name.to_owned()));
                }
            });
        }
        self.remove_items(names.into_iter().collect(), without_lines);
    }
}

/// Parts of a round that may not matter.
const PARTS: [fn(&mut RecordedRound); 18] = [
    |recorded| edit_snapshots(recorded, |snapshot| snapshot.slowlog = None),
    |recorded| edit_snapshots(recorded, |snapshot| snapshot.latencies = None),
    |recorded| edit_snapshots(recorded, |snapshot| snapshot.commands = None),
    |recorded| for_each_reply(recorded, |reply| reply.clients = None),
    |recorded| for_each_reply(recorded, |reply| reply.own_errors.clear()),
    |recorded| for_each_reply(recorded, |reply| reply.certificate_expiry = None),
    |recorded| for_each_reply(recorded, |reply| reply.peer = None),
    |recorded| edit_snapshots(recorded, |snapshot| snapshot.config = None),
    |recorded| recorded.round.details = topology::NodeVec::default(),
    |recorded| recorded.round.disks = topology::NodeVec::default(),
    |recorded| recorded.round.messages.clear(),
    |recorded| recorded.round.checks.clear(),
    |recorded| recorded.round.host_names = Arc::default(),
    |recorded| recorded.round.shared.clear(),
    |recorded| edit_reports(recorded, |report| report.replicas = None),
    |recorded| edit_reports(recorded, |report| report.sentinels = None),
    |recorded| edit_reports(recorded, |report| report.quorum = None),
    |recorded| edit_snapshots(recorded, |snapshot| snapshot.cluster = None),
];

fn for_each_reply(recorded: &mut RecordedRound, mut edit: impl FnMut(&mut NodeReply)) {
    for (_, outcome) in recorded.round.outcomes.iter_mut() {
        if let PollOutcome::Answered(reply) = outcome {
            edit(reply);
        }
    }
}

fn edit_snapshots(recorded: &mut RecordedRound, edit: impl Fn(&mut NodeSnapshot)) {
    for_each_reply(recorded, |reply| edit(Arc::make_mut(&mut reply.snapshot)));
}

fn edit_reports(recorded: &mut RecordedRound, edit: impl Fn(&mut MasterReport)) {
    edit_snapshots(recorded, |snapshot| {
        if let Some(report) = &snapshot.sentinel {
            let mut masters = report.masters().to_vec();
            masters.iter_mut().for_each(&edit);
            snapshot.sentinel = Some(Arc::new(SentinelReport::new(masters)));
        }
    });
}

/// Returns the recording without lines of INFO and CLUSTER INFO; `None` if some reply would be none
/// any longer.
fn without_lines(recording: &Recording, names: &[String]) -> Option<Recording> {
    let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let mut recording = recording.clone();
    let mut is_valid = true;
    for recorded in &mut recording.rounds {
        for_each_reply(recorded, |reply| match snapshot_without(&reply.snapshot, &names) {
            Some(snapshot) => reply.snapshot = Arc::new(snapshot),
            None => is_valid = false,
        });
    }
    is_valid.then_some(recording)
}

fn snapshot_without(snapshot: &NodeSnapshot, names: &BTreeSet<&str>) -> Option<NodeSnapshot> {
    let mut text = text_without(&snapshot.fields, names);
    for (name, value) in snapshot.errors.lines() {
        if !names.contains(name.as_str()) {
            // A heading has no value.
            let colon = if name.starts_with('#') { "" } else { ":" };
            text.extend([name.as_str(), colon, &value, "\r\n"]);
        }
    }
    let info = NodeSnapshot::from_info(&text)?;
    let NodeSnapshot { sentinel, commands, latencies, cluster, map, slowlog, config, .. } =
        snapshot.clone();
    let cluster = cluster.map(|fields| Arc::new(Fields::parse(&text_without(&fields, names))));
    Some(NodeSnapshot { sentinel, commands, latencies, cluster, map, slowlog, config, ..info })
}

/// Returns the lines with other names.
fn text_without(fields: &Fields, names: &BTreeSet<&str>) -> String {
    let kept = fields.lines().filter(|(name, _)| !names.contains(name));
    kept.flat_map(|(name, value)| [name, ":", value, "\r\n"]).collect()
}

/// Returns the recording without a node: neither configured nor polled.
fn without_node(recording: &Recording, address: &str) -> Recording {
    let mut recording = recording.clone();
    recording.header.deployment =
        Arc::new(deployment_without(&recording.header.deployment, address));
    for recorded in &mut recording.rounds {
        let kept: Vec<_> = (0..recorded.members.len())
            .filter(|position| recorded.members[*position] != address)
            .map(NodeIndex::new)
            .collect();
        if kept.len() == recorded.members.len() {
            continue;
        }
        let round = &mut recorded.round;
        round.outcomes = kept.iter().map(|index| round.outcomes[*index].clone()).collect();
        round.details =
            kept.iter().map(|index| round.details.get(*index).cloned().flatten()).collect();
        round.contacts =
            kept.iter().map(|index| round.contacts.get(*index).copied().flatten()).collect();
        round.disks = kept.iter().map(|index| round.disks.get(*index).copied().flatten()).collect();
        let kept_indices: Vec<_> = kept.iter().copied().map(Some).collect();
        round.shared = round.shared_among(&kept_indices);
        recorded.members = kept.iter().map(|index| recorded.members[index.get()].clone()).collect();
    }
    recording
}

fn deployment_without(deployment: &Deployment, address: &str) -> Deployment {
    let labels = deployment.labels.get(1..).unwrap_or_default();
    let mut smaller = Deployment::new(
        deployment.name.as_str(),
        deployment.kind,
        labels,
        deployment.interval,
        deployment.down_after,
    );
    for node in deployment.nodes.values().filter(|node| node.address != address) {
        let (name, address) = (node.name.as_str(), node.address.as_str());
        match node.kind {
            NodeKind::Sentinel { shown } => smaller.add_sentinel(name, address, shown),
            NodeKind::Data | NodeKind::Vacant => smaller.add(name, address, node.expected_role),
        }
    }
    for (other, known) in deployment.other_addresses() {
        // The aliases of the node are left out with it.
        smaller.alias(other, known);
    }
    smaller.expect = deployment.expect;
    smaller.endpoints.clone_from(&deployment.endpoints);
    smaller.discovery.clone_from(&deployment.discovery);
    smaller
}

/// Returns the recording with a node that is never polled; `None` if it never is.
fn with_pending(recording: &Recording, address: &str) -> Option<Recording> {
    let mut recording = recording.clone();
    let mut has_changed = false;
    for recorded in &mut recording.rounds {
        for (index, outcome) in recorded.round.outcomes.iter_mut() {
            if recorded.members[index.get()] == address && !matches!(outcome, PollOutcome::Pending)
            {
                *outcome = PollOutcome::Pending;
                has_changed = true;
            }
        }
    }
    has_changed.then_some(recording)
}
