//! Comparison of lost writes at the end of a history.

use std::collections::BTreeSet;

use super::{Fault, Rule};
use crate::client::{Outcome, WriteLog};
use crate::operation::{Data, HostId, Operation};
use crate::plan::{DeploymentPlan, Persistence, Plan};
use crate::world::World;

/// Writes of a deployment in the whole history.
#[derive(Debug, Clone, Default)]
pub(crate) struct WritesOfHistory {
    /// Writes that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Acknowledged writes that the final primary does not have.
    pub(crate) lost: u64,
    /// Writes without a reply that the final primary does not have: a server may have executed
    /// them.
    pub(crate) unknown: u64,
}

/// Reads all keys back from the final masters, and returns what became of the writes of a
/// deployment; `None` if a key cannot be read.
pub(crate) fn read_back(world: &World, index: usize) -> Option<WritesOfHistory> {
    let deployment = &world.deployments[index];
    let mut keys = BTreeSet::new();
    for node in &deployment.nodes {
        let info = node.info()?;
        if info.is_master() {
            let pattern = format!("{}:*", deployment.plan.name);
            keys.extend(node.execute(&["KEYS", &pattern])?);
        }
    }
    let mut writes = WritesOfHistory::default();
    for client in deployment.all_clients() {
        let WriteLog { writes: outcomes, .. } = client.log();
        for (number, write) in outcomes {
            let is_present = keys.contains(&format!("{}{number}", client.settings.prefix));
            match write.outcome {
                Outcome::Acknowledged => {
                    writes.acknowledged += 1;
                    writes.lost += u64::from(!is_present);
                }
                Outcome::Hung => writes.unknown += u64::from(!is_present),
                Outcome::Refused(_) => {}
            }
        }
    }
    Some(writes)
}

/// Compares the lost writes that Rolecall counted in a deployment with the real ones. `is_final`
/// tells that the repaired deployment has the primary that Rolecall stated last.
pub(crate) fn compare_losses(
    world: &World,
    index: usize,
    counted: u64,
    is_final: bool,
) -> (Option<WritesOfHistory>, Option<Fault>) {
    let plan = &world.plan.deployments[index];
    let Some(writes) = read_back(world, index) else { return (None, None) };
    let has_foreign_data = |operation: &Operation| match operation {
        Operation::Follow { node, master } => {
            node.deployment != master.deployment && node.deployment == index
        }
        _ => false,
    };
    if !is_final || world.plan.steps.iter().any(|step| has_foreign_data(&step.operation)) {
        return (Some(writes), None);
    }
    // A second of writes between two samples, and the error of the interpolation.
    let clients = u64::try_from(plan.clients).unwrap_or(u64::MAX);
    let per_second = u64::from(plan.write_rate) * clients;
    let most = writes.lost + writes.unknown;
    let slack = per_second * 3 + most / 20;
    let sees_all = are_comparable(&world.plan, plan, index)
        && world.plan.steps.iter().all(|step| !hides_writes(&step.operation));
    let too_many = counted > most + slack;
    let too_few = sees_all && counted + slack < writes.lost;
    let fault = (too_many || too_few).then(|| Fault {
        at: world.now(),
        rule: Rule::LostWrites,
        subject: (index, 0),
        text: format!(
            "{counted} lost writes are counted in {}; {} acknowledged writes are lost, and {} \
             without a reply",
            plan.name, writes.lost, writes.unknown
        ),
        expectation: None,
        round_at: None,
    });
    (Some(writes), fault)
}

/// Returns true if writes are lost only because a master that has them loses its role, and not
/// because a restart loses data, and if the server does not reset its counter of changes: each RDB
/// file does, and Rolecall then states a lower bound.
fn are_comparable(plan: &Plan, deployment: &DeploymentPlan, index: usize) -> bool {
    let loses_data = |operation: &Operation| match operation {
        Operation::Kill(node) | Operation::Freeze(node) => {
            node.deployment == index && deployment.nodes[node.node].persistence != Persistence::Aof
        }
        Operation::Start(node, data) | Operation::Restart(node, data) => {
            node.deployment == index
                && (*data != Data::Kept
                    || deployment.nodes[node.node].persistence != Persistence::Aof)
        }
        // The counter starts at 0.
        Operation::RestartExporter { .. } => true,
        // Writes to a replica that accepts them are no writes of the deployment.
        Operation::Configure(node, parameter) => {
            node.deployment == index && ["slave-read-only", "appendonly"].contains(&parameter.name)
        }
        Operation::FailFsync(node) | Operation::FillDisk(node) => node.deployment == index,
        _ => false,
    };
    !deployment.nodes.iter().any(|node| node.persistence == Persistence::Rdb)
        && !plan.steps.iter().any(|step| loses_data(&step.operation))
}

/// Returns true if an operation keeps Rolecall from seeing writes.
fn hides_writes(operation: &Operation) -> bool {
    let is_exporter = |host: &HostId| *host == HostId::Exporter;
    match operation {
        Operation::CutOneWay(one, other)
        | Operation::Cut(one, other)
        | Operation::Lose { between: one, and: other, .. } => {
            is_exporter(one) || is_exporter(other)
        }
        Operation::Isolate(_)
        | Operation::Kill(_)
        | Operation::Restart(..)
        | Operation::Freeze(_)
        | Operation::RotatePassword(_)
        | Operation::PauseClients(..)
        | Operation::Configure(..)
        | Operation::ToggleName(_) => true,
        _ => false,
    }
}
