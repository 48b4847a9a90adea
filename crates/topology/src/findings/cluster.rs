//! Conditions of a cluster as a whole.

use super::{FindingKind, Found, Severity, Value, text};

use crate::model::cluster::ClusterView;

impl Found<'_> {
    pub(super) fn of_cluster(&mut self, cluster: &ClusterView) {
        use FindingKind as DeploymentKind;
        let number = |number: u64| Value::Number(number as f64);
        let counts =
            || vec![("masters", number(cluster.masters as u64)), ("ok", number(cluster.ok as u64))];
        let doubtful = self.names(&cluster.doubtful);
        if cluster.working() == Some(false) {
            let mut evidence = counts();
            evidence.extend([("why", text("majority")), ("nodes", doubtful)]);
            self.add(DeploymentKind::RedisClusterDown, Severity::Critical, None, evidence);
        } else if !cluster.doubtful.is_empty() {
            // One that is cut off says so alone.
            let mut evidence = counts();
            evidence.extend([("why", text("minority")), ("nodes", doubtful)]);
            self.add(DeploymentKind::RedisClusterDown, Severity::Warning, None, evidence);
        }
        if let Some(uncovered) = cluster.uncovered.filter(|uncovered| *uncovered > 0) {
            self.add(
                DeploymentKind::RedisClusterSlotsUncovered,
                Severity::Critical,
                None,
                vec![("slots", number(uncovered))],
            );
        }
        if !cluster.conflicting.is_empty() {
            let evidence = vec![
                ("slots", number(cluster.conflicts)),
                ("nodes", self.names(&cluster.conflicting)),
            ];
            self.add(DeploymentKind::RedisClusterSlotConflict, Severity::Critical, None, evidence);
        }
    }
}
