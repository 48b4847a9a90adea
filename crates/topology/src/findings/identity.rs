//! Findings about foreign masters, and about nodes of several deployments.

use std::collections::BTreeMap;

use super::FindingsCollector;
use crate::model::finding::evidence::{
    DatasetReplacedEvidence, NodeSharedEvidence, ReplacementReason,
};
use crate::model::finding::{Evidence, Severity};
use crate::model::identity::SharedNode;
use crate::model::node::Upstream;
use crate::model::node_index::NodeIndex;

impl FindingsCollector<'_> {
    /// Checks for masters that joined the cluster with slots and keys of their own.
    pub(super) fn check_foreign_masters(&mut self) {
        let masters = self.names(&self.view.foreign_masters.recent);
        if masters.is_empty() {
            return;
        }
        let reason = ReplacementReason::ForeignMasters;
        let evidence = DatasetReplacedEvidence { reason, replaced: None, masters };
        self.add(Severity::Critical, None, Evidence::RedisDatasetReplaced(evidence));
    }

    /// Checks for nodes whose processes are nodes of other deployments, too.
    pub(super) fn check_shared_nodes(&mut self) {
        let view = self.view;
        let mut nodes: BTreeMap<NodeIndex, Vec<&SharedNode>> = BTreeMap::new();
        for shared in &view.shared {
            nodes.entry(shared.node).or_default().push(shared);
        }
        for (index, with) in nodes {
            let Some(node) = view.nodes.get(index).filter(|node| node.shown()) else { continue };
            let is_migrating = with.iter().all(|shared| view.is_migrating(shared));
            let severity = if is_migrating { Severity::Info } else { Severity::Warning };
            let evidence = NodeSharedEvidence {
                deployments: with.iter().map(|shared| shared.deployment.clone()).collect(),
                role: node.role(),
                master: match &node.upstream {
                    Upstream::Nothing => None,
                    Upstream::Node(upstream) => Some(view.name(*upstream).to_owned()),
                    Upstream::Unknown(address) => Some(address.clone()),
                },
            };
            self.add(severity, Some(node), Evidence::RolecallNodeShared(evidence));
        }
    }
}
