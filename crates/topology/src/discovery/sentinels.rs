//! Reports of the Sentinels of a deployment, and the master that their majority names.

use std::collections::{HashMap, HashSet};

use snapshot::{DownState, LeftOut, MasterReport, Role, SentinelEntry};

use crate::discovery::addresses::AddressIndex;
use crate::discovery::ghosts::find_ghosts;
use crate::discovery::sources::master_report;
use crate::model::deployment::{Deployment, DeploymentKind, address};
use crate::model::excess::{Excess, LimitKind};
use crate::model::node::NodeView;
use crate::model::node_index::{NodeIndex, NodeVec};
use crate::model::node_names::is_address;
use crate::model::sentinels::{CannotReach, Majority, SentinelStatement, SentinelsView};

/// Collects the reports of the Sentinels; `None` for a deployment without Sentinels.
pub(crate) fn collect_reports(
    nodes: &NodeVec<NodeView>,
    deployment: &Deployment,
    addresses: &AddressIndex,
) -> Option<SentinelsView> {
    let discovery =
        deployment.discovery.as_ref().filter(|_| deployment.kind == DeploymentKind::Sentinel)?;
    let reports: Vec<_> = deployment
        .sentinels()
        .filter_map(|index| Some((index, master_report(&nodes[index], discovery)?)))
        .collect();
    let statements: Vec<_> = reports
        .iter()
        .map(|(sentinel, report)| {
            let tilt = is_tilted(&nodes[*sentinel]);
            SentinelStatement { tilt, ..statement(*sentinel, report, deployment, addresses) }
        })
        .collect();
    let masters = || reports.iter().map(|(_, report)| *report);
    let duplicates = duplicate_sentinels(nodes, deployment);
    Some(SentinelsView {
        majority: majority(&statements, &duplicates, deployment.sentinels().count()),
        statements,
        listed: masters().any(|report| report.replicas.is_some()),
        without_master: deployment
            .sentinels()
            .filter(|index| is_stranger(&nodes[*index], &discovery.master))
            .collect(),
        dissenters: Vec::new(),
        cannot_reach: CannotReach::default(),
        ghosts: find_ghosts(nodes, deployment, addresses),
        self_replicating: self_replicating(masters()),
        mixed: mixed_addresses(masters()),
    })
}

/// Returns what Sentinels list and Rolecall leaves out. Sentinels list the same things, so the
/// largest number of each kind counts.
pub(crate) fn list_excess(nodes: &NodeVec<NodeView>, deployment: &Deployment) -> Excess {
    let discovery =
        deployment.discovery.as_ref().filter(|_| deployment.kind == DeploymentKind::Sentinel);
    let mut excess = Excess::default();
    let Some(discovery) = discovery else { return excess };
    let reports: Vec<_> = deployment
        .sentinels()
        .filter_map(|index| nodes[index].snapshot()?.sentinel.as_ref())
        .map(|report| (report.left_out(), report.left_out_of(&discovery.master)))
        .collect();
    let largest = |count: fn(&(LeftOut, LeftOut)) -> usize| {
        reports.iter().map(count).max().unwrap_or_default() as u64
    };
    excess.add(LimitKind::Masters, largest(|(masters, _)| masters.excess));
    excess.add(LimitKind::Nodes, largest(|(_, lists)| lists.excess));
    excess.add(LimitKind::Names, largest(|(masters, lists)| masters.plus(*lists).long_names));
    excess
}

fn statement(
    sentinel: NodeIndex,
    report: &MasterReport,
    deployment: &Deployment,
    addresses: &AddressIndex,
) -> SentinelStatement {
    let master = &report.master;
    let address = address(&master.ip, master.port);
    let settings = master.settings.clone().unwrap_or_default();
    SentinelStatement {
        sentinel,
        node: addresses.node_at(deployment, &address),
        address,
        epoch: settings.epoch,
        state: master.down_state,
        failing_over: master.failing_over,
        last_ping_reply: master.last_ping_reply,
        tilt: false,
        role_mismatch: master.role_reported == Some(Role::Replica),
        quorum: report.quorum,
        needed: settings.quorum,
        known: settings.other_sentinels.saturating_add(1),
        usable: report.sentinels.as_deref().map(|others| 1 + count_usable(others)),
        replicas: settings.replicas,
        usable_replicas: report.replicas.as_deref().map(count_usable),
        down_after: settings.down_after,
        failover_timeout: settings.failover_timeout,
    }
}

fn is_tilted(sentinel: &NodeView) -> bool {
    sentinel.snapshot().is_some_and(|snapshot| snapshot.fields.flag("sentinel_tilt") == Some(true))
}

/// Returns the number of instances that a Sentinel does not consider down.
fn count_usable(watched: &[SentinelEntry]) -> u64 {
    watched.iter().filter(|watched| !watched.down()).count() as u64
}

/// Returns true if a Sentinel reports its masters, and this one is not among them.
fn is_stranger(node: &NodeView, master: &str) -> bool {
    node.snapshot()
        .and_then(|snapshot| snapshot.sentinel.as_ref())
        .is_some_and(|report| report.master(master).is_none())
}

/// Returns the Sentinels that are the process of an earlier one: a process that is configured
/// twice has one vote.
fn duplicate_sentinels(nodes: &NodeVec<NodeView>, deployment: &Deployment) -> Vec<NodeIndex> {
    let mut seen = HashSet::new();
    deployment
        .sentinels()
        .filter(|index| nodes[*index].run_id().is_some_and(|run_id| !seen.insert(run_id)))
        .collect()
}

/// Votes for one master.
#[derive(Default)]
struct Votes {
    count: usize,
    /// Votes of Sentinels that report the master as down.
    down: usize,
}

/// Returns the master that a majority of the configured Sentinels names, among the statements at
/// the highest epoch. A Sentinel that does not reply has no vote but counts as configured. A node
/// may have several addresses, so votes are counted by node where the node is known.
fn majority(
    statements: &[SentinelStatement],
    duplicates: &[NodeIndex],
    configured: usize,
) -> Option<Majority> {
    let epoch = statements.iter().map(|statement| statement.epoch).max()?;
    let mut votes: HashMap<(Option<NodeIndex>, &str), Votes> = HashMap::new();
    let votes_count = |statement: &&SentinelStatement| {
        statement.epoch == epoch && !duplicates.contains(&statement.sentinel)
    };
    for statement in statements.iter().filter(votes_count) {
        let address = if statement.node.is_some() { "" } else { &statement.address };
        let votes = votes.entry((statement.node, address)).or_default();
        votes.count += 1;
        votes.down += usize::from(statement.state != DownState::Up);
    }
    let ((node, address), Votes { count, down }) =
        votes.into_iter().find(|(_, votes)| votes.count * 2 > configured - duplicates.len())?;
    let names_it = |statement: &&SentinelStatement| {
        statement.node == node && (node.is_some() || statement.address == address)
    };
    let address = statements.iter().find(names_it)?.address.clone();
    Some(Majority { address, node, epoch, count, down: down * 2 > count })
}

/// Returns the addresses of replicas that are listed as replicas of themselves, and of masters
/// that are listed among their own replicas.
fn self_replicating<'a>(reports: impl Iterator<Item = &'a MasterReport>) -> Vec<String> {
    let mut addresses = Vec::new();
    for report in reports {
        let is_master = |replica: &SentinelEntry| {
            let same = !replica.run_id.is_empty() && replica.run_id == report.master.run_id;
            same || (&replica.ip, replica.port) == (&report.master.ip, report.master.port)
        };
        let follows_itself = |replica: &SentinelEntry| {
            replica
                .follows
                .as_ref()
                .is_some_and(|(host, port)| (host, *port) == (&replica.ip, replica.port))
        };
        let listed = report.replicas.iter().flat_map(|list| list.iter());
        addresses.extend(
            listed
                .filter(|replica| is_master(replica) || follows_itself(replica))
                .map(|replica| address(&replica.ip, replica.port)),
        );
    }
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Returns the smaller group of listed addresses: those with host names, or those with IP
/// addresses. Empty if the lists do not mix both.
fn mixed_addresses<'a>(reports: impl Iterator<Item = &'a MasterReport>) -> Vec<String> {
    let (mut names, mut addresses) = (Vec::new(), Vec::new());
    for report in reports {
        let listed = report.replicas.iter().flat_map(|list| list.iter()).chain([&report.master]);
        for node in listed {
            let group = if is_address(&node.ip) { &mut addresses } else { &mut names };
            group.push(address(&node.ip, node.port));
        }
    }
    let mut smaller = if names.len() < addresses.len() { names } else { addresses };
    smaller.sort_unstable();
    smaller.dedup();
    smaller
}
