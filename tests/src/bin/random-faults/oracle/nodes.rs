//! Comparison of node states.

use std::time::Duration;

use super::{Comparison, Fact, Rule, Subject};
use crate::plan::Kind;
use crate::server::ProcessState;

/// Time for which a witness must have reached a node, so that its last statement is not older than
/// the failure: the longest interval between two pings, their delay, and the whole seconds of INFO.
const WITNESSED: Duration = Duration::from_secs(18);

impl Comparison<'_> {
    pub(super) fn compare_nodes(&mut self) {
        let truth = self.truth;
        let reads_any = truth
            .deployments
            .iter()
            .any(|deployment| (0..deployment.nodes.len()).any(|node| deployment.is_readable(node)));
        for (index, deployment) in truth.deployments.iter().enumerate() {
            for node in 0..deployment.nodes.len() {
                self.compare_node((index, node), reads_any);
            }
        }
    }

    fn compare_node(&mut self, subject: Subject, reads_any: bool) {
        let deployment = &self.truth.deployments[subject.0];
        let node = &deployment.nodes[subject.1];
        let is_readable = deployment.is_readable(subject.1);
        self.lasts(Fact::Readable, subject, is_readable);
        self.remember_process(subject, is_readable);
        let observed = self.observed.deployment(deployment.name);
        let Some(stated) =
            observed.and_then(|observed| observed.node(&deployment.addresses[subject.1]))
        else {
            return;
        };
        let state = stated.state.as_str();
        let describe = || format!("{} of {} is {state}", stated.name, deployment.name);
        if is_readable {
            self.check(Rule::RepliesUp, subject, state == "up", || {
                format!("{}, but it replies ({:?})", describe(), stated.down_reason)
            });
        }
        if state == "up" {
            self.oracle.seen_up.insert(subject, self.truth.exporter_started);
        }
        let was_seen = self.oracle.seen_up.get(&subject) == Some(&self.truth.exporter_started);
        if node.state != ProcessState::Running {
            // A cut-off exporter does not know, nor does one that has not reached the node yet.
            let is_right = state == "down" || (state == "unknown" && !(reads_any && was_seen));
            self.check(Rule::GoneDown, subject, is_right, || {
                format!(
                    "{}, but its process is {:?}: {:?}",
                    describe(),
                    node.state,
                    stated.witnesses
                )
            });
        }
        self.compare_unreachable(subject, state == "down", &describe());
    }

    /// Checks that a node which runs, and which only Rolecall cannot reach, does not become down.
    fn compare_unreachable(&mut self, subject: Subject, stated_down: bool, text: &str) {
        let deployment = &self.truth.deployments[subject.0];
        let node = &deployment.nodes[subject.1];
        let is_same_process = node.info.as_ref().is_some_and(|info| {
            let known = self.oracle.read_processes.get(&subject);
            known.is_some_and(|(run_id, replid)| {
                info.get("run_id") == Some(run_id) && info.get("master_replid") == Some(replid)
            })
        });
        let has_witness = node.is_witnessed && is_same_process;
        let witnessed = self.lasts(Fact::Witnessed, subject, has_witness);
        let down = self.lasts(Fact::StatedDown, subject, stated_down);
        if node.loss == 100
            && deployment.kind != Kind::Cluster
            && let Some(witnessed) = witnessed
            && witnessed > WITNESSED
        {
            // A node that was down before may stay so until Rolecall reaches it.
            let began = down.is_some_and(|down| down < Duration::from_secs(1));
            self.check(Rule::AliveNotDown, subject, !began, || {
                format!("{text}, but it runs, and a peer has reached it for {witnessed:?}")
            });
        }
    }

    fn remember_process(&mut self, subject: Subject, is_readable: bool) {
        let info = self.truth.deployments[subject.0].info(subject.1).filter(|_| is_readable);
        if let Some(info) = info
            && let (Some(run_id), Some(replid)) = (info.get("run_id"), info.get("master_replid"))
        {
            let process = (run_id.to_owned(), replid.to_owned());
            self.oracle.read_processes.insert(subject, process);
        }
    }
}
