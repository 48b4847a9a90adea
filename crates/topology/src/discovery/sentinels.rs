//! Fact: what the Sentinels of a deployment say of it, and whether they agree with one another and with the nodes.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use snapshot::{DownState, MasterReport, Quorum, Role, SentinelEntry};

use crate::discovery::addresses::AddressIndex;
use crate::discovery::membership::{Ghosts, report};
use crate::model::deployment::{Deployment, DeploymentKind, address};
use crate::model::node_names::is_address;
use crate::model::view::NodeView;

/// What the Sentinels of a deployment say of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SentinelsView {
    /// What each says that answers and watches the master, in the order of the configuration.
    pub said: Vec<SentinelStatement>,
    /// Some of them listed the replicas too, once: the nodes are known.
    pub(crate) listed: bool,
    /// The node that most of the configured Sentinels take for the master, of those at the highest epoch.
    pub majority: Option<Majority>,
    /// Places of the Sentinels that answer, and know no master of that name.
    pub strangers: Vec<usize>,
    /// Places of the Sentinels that name another node than the acting primary.
    pub dissenters: Vec<usize>,
    /// What is listed and long gone.
    pub ghosts: Ghosts,
    /// Addresses of nodes that a Sentinel lists as replicas of themselves.
    pub self_replicating: Vec<String>,
    /// Host names and raw addresses are mixed in what is listed: those that are fewer.
    pub mixed: Vec<String>,
}

/// What one Sentinel says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentinelStatement {
    /// The place of the Sentinel.
    pub sentinel: usize,
    /// Where the master is.
    pub address: String,
    /// The place of the node that is there.
    pub node: Option<usize>,
    /// The epoch of that configuration.
    pub epoch: u64,
    /// Whether it holds the master to be there.
    pub held: DownState,
    /// It is being replaced.
    pub failing_over: bool,
    /// The master reports that it is a replica.
    pub role_mismatch: bool,
    /// Whether a failover could be agreed on.
    pub quorum: Option<Quorum>,
    /// Sentinels that must agree that the master is down.
    pub needed: u64,
    /// Sentinels that it knows, itself and those that are gone included.
    pub known: u64,
    /// Those of them that it holds to be there.
    pub usable: Option<u64>,
    /// Replicas that it knows, those that are gone included.
    pub replicas: u64,
    /// Those of them that it holds to be there.
    pub usable_replicas: Option<u64>,
    /// How long the master must be silent to be held down.
    pub down_after: Duration,
    /// Its setting `failover-timeout`.
    pub failover_timeout: Duration,
}

/// What most Sentinels say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Majority {
    /// Where the master is.
    pub address: String,
    /// The place of the node that is there.
    pub node: Option<usize>,
    /// At which epoch.
    pub epoch: u64,
    /// Sentinels that say so.
    pub count: usize,
    /// Most of them hold it to be down.
    pub down: bool,
}

/// Why Sentinels are in disagreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disagreement {
    /// Most of them name another node than the acting primary.
    Majority,
    /// The node that they name reports that it is a replica.
    RoleReported,
    /// A minority names another node than the acting primary.
    Dissenter,
}

impl Disagreement {
    /// The value of `why` in findings.
    pub const fn label(self) -> &'static str {
        match self {
            Disagreement::Majority => "majority",
            Disagreement::RoleReported => "role_reported",
            Disagreement::Dissenter => "dissenter",
        }
    }
}

impl SentinelsView {
    /// What the Sentinels say; `None` of a deployment that has none.
    pub(crate) fn hear(
        nodes: &[NodeView],
        deployment: &Deployment,
        indices: &AddressIndex,
    ) -> Option<Self> {
        let discovery = deployment
            .discovery
            .as_ref()
            .filter(|_| deployment.kind == DeploymentKind::Sentinel)?;
        let reports: Vec<_> = deployment
            .sentinels()
            .filter_map(|index| Some((index, report(&nodes[index], discovery)?)))
            .collect();
        let said: Vec<_> = reports
            .iter()
            .map(|(index, report)| SentinelStatement::of(*index, report, deployment, indices))
            .collect();
        Some(SentinelsView {
            majority: majority(
                &said,
                &duplicate_processes(nodes, deployment),
                deployment.sentinels().count(),
            ),
            said,
            listed: reports.iter().any(|(_, report)| report.replicas.is_some()),
            strangers: deployment
                .sentinels()
                .filter(|index| is_stranger(&nodes[*index], &discovery.master))
                .collect(),
            dissenters: Vec::new(),
            ghosts: Ghosts::find(nodes, deployment, indices),
            self_replicating: self_replicating(&reports),
            mixed: mixed(&reports),
        })
    }

    /// Compares what they say with the acting primary, once that is known.
    pub(crate) fn compare(&mut self, primary: Option<usize>) {
        let dissents = |said: &&SentinelStatement| primary.is_some() && said.node != primary;
        self.dissenters = self.said.iter().filter(dissents).map(|said| said.sentinel).collect();
    }

    /// The majority names another node than the acting primary.
    pub fn majority_against(&self, primary: Option<usize>) -> bool {
        primary.is_some() && self.majority.as_ref().is_some_and(|majority| majority.node != primary)
    }

    /// Whether they disagree, and in which way; the worst of several.
    pub fn disagreement(&self, primary: Option<usize>) -> Option<Disagreement> {
        if self.majority_against(primary) {
            return Some(Disagreement::Majority);
        }
        let mismatched = self.said.iter().filter(|said| said.role_mismatch).count();
        if mismatched * 2 > self.said.len() {
            return Some(Disagreement::RoleReported);
        }
        (!self.dissenters.is_empty()).then_some(Disagreement::Dissenter)
    }

    /// Most of those that answer say that no failover could be agreed on.
    pub fn quorum_lost(&self) -> bool {
        let told = |ok: bool| {
            self.said
                .iter()
                .filter(|said| said.quorum.is_some_and(|quorum| quorum.ok == ok))
                .count()
        };
        told(false) > told(true)
    }

    /// The node that most of them take for the master and do not hold to be down.
    pub(crate) fn named(&self) -> Option<usize> {
        self.majority.as_ref().filter(|majority| !majority.down)?.node
    }
}

impl SentinelStatement {
    fn of(
        sentinel: usize,
        report: &MasterReport,
        deployment: &Deployment,
        indices: &AddressIndex,
    ) -> Self {
        let master = &report.master;
        let address = address(&master.ip, master.port);
        let settings = master.settings.clone().unwrap_or_default();
        SentinelStatement {
            sentinel,
            node: indices.at(deployment, &address),
            address,
            epoch: settings.epoch,
            held: master.down_state,
            failing_over: master.failing_over,
            role_mismatch: master.role_reported == Some(Role::Replica),
            quorum: report.quorum,
            needed: settings.quorum,
            known: settings.other_sentinels + 1,
            usable: report.sentinels.as_deref().map(|others| 1 + there(others)),
            replicas: settings.replicas,
            usable_replicas: report.replicas.as_deref().map(there),
            down_after: settings.down_after,
            failover_timeout: settings.failover_timeout,
        }
    }
}

/// How many of these a Sentinel holds to be there.
fn there(watched: &[SentinelEntry]) -> u64 {
    watched.iter().filter(|watched| !watched.down()).count() as u64
}

/// It says what it watches, and that is not this master.
fn is_stranger(node: &NodeView, master: &str) -> bool {
    node.snapshot()
        .and_then(|snapshot| snapshot.sentinel.as_ref())
        .is_some_and(|report| report.master(master).is_none())
}

/// Sentinels that are another one's process: listed twice, it has one vote.
fn duplicate_processes(nodes: &[NodeView], deployment: &Deployment) -> Vec<usize> {
    let run_id = |index: usize| {
        nodes[index].snapshot().and_then(|snapshot| snapshot.identity.run_id.as_deref())
    };
    let mut seen = HashSet::new();
    deployment
        .sentinels()
        .filter(|index| run_id(*index).is_some_and(|run_id| !seen.insert(run_id)))
        .collect()
}

/// What most of the configured Sentinels say, of those at the highest epoch. One that does not answer has no vote, and still counts. Nodes
/// may be known by several addresses, so what counts is the node, where there is one.
fn majority(
    said: &[SentinelStatement],
    duplicate_processes: &[usize],
    configured: usize,
) -> Option<Majority> {
    let epoch = said.iter().map(|said| said.epoch).max()?;
    let mut votes: HashMap<(Option<usize>, &str), (usize, usize)> = HashMap::new();
    for said in said
        .iter()
        .filter(|said| said.epoch == epoch && !duplicate_processes.contains(&said.sentinel))
    {
        let address = if said.node.is_some() { "" } else { &said.address };
        let (count, down) = votes.entry((said.node, address)).or_default();
        *count += 1;
        *down += usize::from(said.held != DownState::Up);
    }
    let ((node, address), (count, down)) = votes
        .into_iter()
        .find(|(_, (count, _))| count * 2 > configured - duplicate_processes.len())?;
    let address = said
        .iter()
        .find(|said| said.node == node && (node.is_some() || said.address == address))?
        .address
        .clone();
    Some(Majority { address, node, epoch, count, down: down * 2 > count })
}

/// Replicas that are listed as following themselves, and masters that are listed among their own replicas.
fn self_replicating(reports: &[(usize, &MasterReport)]) -> Vec<String> {
    let mut found = Vec::new();
    for (_, report) in reports {
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
        found.extend(
            listed
                .filter(|replica| is_master(replica) || follows_itself(replica))
                .map(|replica| address(&replica.ip, replica.port)),
        );
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Where some nodes are listed by name and some by address: those that are fewer.
fn mixed(reports: &[(usize, &MasterReport)]) -> Vec<String> {
    let (mut names, mut addresses) = (Vec::new(), Vec::new());
    for (_, report) in reports {
        let listed = report.replicas.iter().flat_map(|list| list.iter()).chain([&report.master]);
        for node in listed {
            let kind = if is_address(&node.ip) { &mut addresses } else { &mut names };
            kind.push(address(&node.ip, node.port));
        }
    }
    let mut fewer = if names.len() < addresses.len() { names } else { addresses };
    fewer.sort_unstable();
    fewer.dedup();
    fewer
}
