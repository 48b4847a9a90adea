//! Everything that runs in a history: the network, the servers, the clients and the exporter.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tests::{Daemon, Prometheus, Signal, Stopwatch, eventually};

use crate::deployment::RunningDeployment;
use crate::mesh::Mesh;
use crate::operation::{HostId, NodeId};
use crate::plan::{Kind, Plan};
use crate::server::{SENTINEL_PORT, ServerProcess, wait_until};

/// Port of the exporter.
const EXPORTER_PORT: u16 = 9121;

/// Silence after which a Sentinel considers a node down.
const DOWN_AFTER: Duration = Duration::from_secs(3);

/// The Sentinel option `failover-timeout`.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(10);

/// Rules whose durations exceed this wait only so long in a history.
const LONGEST_RULE: Duration = Duration::from_secs(60);

/// Running processes of a history.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) clock: Arc<Stopwatch>,
    pub(crate) deployments: Vec<RunningDeployment>,
    pub(crate) sentinels: Vec<ServerProcess>,
    /// Time at which the exporter is reloaded with new passwords.
    pub(crate) reload_at: Option<Duration>,
    /// Number of operations so far.
    pub(crate) operations: u64,
    exporter: Option<Daemon>,
    /// Time at which the exporter started, since the start of the history.
    pub(crate) exporter_started: Duration,
    pub(crate) prometheus: Prometheus,
    /// Contains the state file and the recordings of the exporter.
    directory: TempDir,
    /// Last, so that it is removed after all processes.
    pub(crate) mesh: Mesh,
}

impl World {
    /// Starts everything. `number` tells the histories apart that run at the same time.
    pub(crate) fn start(plan: &Plan, number: usize) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mesh = Mesh::new(number, &hosts(plan))?;
        let mut deployments = Vec::new();
        for (index, deployment) in plan.deployments.iter().enumerate() {
            deployments.push(RunningDeployment::start(index, deployment, &mesh)?);
        }
        let sentinels = start_sentinels(plan, &mesh, &deployments)?;
        let addresses = sentinel_addresses(plan, &mesh);
        // The history starts when everything runs.
        let clock = Arc::new(Stopwatch::start());
        for deployment in &mut deployments {
            deployment.start_clients(&mesh, &addresses, &clock)?;
        }
        let exporter = mesh.host(HostId::Exporter);
        let address = format!("{}:{EXPORTER_PORT}", exporter.host);
        let mut world = World {
            plan: plan.clone(),
            clock,
            deployments,
            sentinels,
            reload_at: None,
            operations: 0,
            exporter: None,
            exporter_started: Duration::ZERO,
            prometheus: Prometheus::with_rules(&address, LONGEST_RULE),
            directory,
            mesh,
        };
        world.start_exporter();
        let daemon = world.exporter();
        eventually(Duration::from_secs(20), "rolecall is ready", || {
            (daemon.get("/-/ready", "").status == 200).then_some(())
        });
        Ok(world)
    }

    /// Returns the time since the start of the history.
    pub(crate) fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Returns the running exporter.
    pub(crate) fn exporter(&self) -> &Daemon {
        self.exporter.as_ref().expect("the exporter runs")
    }

    /// Returns a data node.
    pub(crate) fn node(&self, id: NodeId) -> &ServerProcess {
        &self.deployments[id.deployment].nodes[id.node]
    }

    /// Returns a data node.
    pub(crate) fn node_mut(&mut self, id: NodeId) -> &mut ServerProcess {
        &mut self.deployments[id.deployment].nodes[id.node]
    }

    /// Returns all data nodes.
    pub(crate) fn node_ids(&self) -> Vec<NodeId> {
        let deployments = self.deployments.iter();
        deployments
            .flat_map(|deployment| (0..deployment.nodes.len()).map(|node| deployment.id(node)))
            .collect()
    }

    /// Returns the configuration of the exporter.
    pub(crate) fn configuration(&self) -> String {
        let addresses = sentinel_addresses(&self.plan, &self.mesh);
        let sections = self
            .deployments
            .iter()
            .map(|deployment| deployment.configuration(&self.mesh, &addresses))
            .collect::<String>();
        if self.plan.saves_state {
            format!("state_file = '{}'\n{sections}", self.state_file().display())
        } else {
            sections
        }
    }

    fn state_file(&self) -> PathBuf {
        self.directory.path().join("state.json")
    }

    /// Returns the directory in which the exporter records its rounds.
    pub(crate) fn recordings(&self) -> PathBuf {
        self.directory.path().join("rounds")
    }

    fn start_exporter(&mut self) {
        self.write_dns_records();
        let recordings = self.recordings();
        std::fs::create_dir_all(&recordings).expect("cannot create a directory");
        let daemon = Daemon::on_host_at(
            self.mesh.host(HostId::Exporter),
            &self.configuration(),
            EXPORTER_PORT,
            &["--debug.record-rounds", &recordings.display().to_string()],
        );
        self.exporter = Some(daemon);
        self.exporter_started = self.now();
    }

    /// Stops the exporter with SIGTERM and starts it again, with its state file or without it.
    pub(crate) fn restart_exporter(&mut self, keeps_state: bool) {
        if let Some(mut daemon) = self.exporter.take() {
            daemon.signal(Signal::Term);
            daemon.end(Duration::from_secs(20));
        }
        if !keeps_state {
            // It does not exist if nothing was saved yet.
            let _ = std::fs::remove_file(self.state_file());
        }
        self.start_exporter();
    }

    /// Makes the exporter reload its configuration with the current passwords.
    pub(crate) fn reload_exporter(&mut self) {
        self.exporter().reload(&self.configuration());
        self.reload_at = None;
    }

    /// Writes the DNS names of the deployments to the `hosts` file of the exporter.
    pub(crate) fn write_dns_records(&self) {
        let host = self.mesh.host(HostId::Exporter);
        let namespace = host.namespace.as_deref().unwrap_or_default();
        let records = self.deployments.iter().map(RunningDeployment::dns_records);
        let text = format!("127.0.0.1 localhost\n{}", records.collect::<String>());
        let directory = PathBuf::from("/etc/netns").join(namespace);
        // `ip netns exec` mounts this file, so it must be overwritten and not replaced.
        std::fs::create_dir_all(&directory)
            .and_then(|()| std::fs::write(directory.join("hosts"), text))
            .expect("cannot write the hosts file");
    }

    /// Makes a Sentinel monitor the master of a deployment at an address.
    pub(crate) fn monitor(&self, sentinel: usize, deployment: usize, master: &str) {
        let name = self.plan.deployments[deployment].name;
        let (host, port) = master.split_once(':').expect("host:port");
        let quorum = quorum(&self.plan).to_string();
        let server = &self.sentinels[sentinel];
        server.execute(&["SENTINEL", "MONITOR", name, host, port, &quorum]);
        let (down_after, timeout) =
            (DOWN_AFTER.as_millis().to_string(), FAILOVER_TIMEOUT.as_millis().to_string());
        server.execute(&["SENTINEL", "SET", name, "down-after-milliseconds", &down_after]);
        server.execute(&["SENTINEL", "SET", name, "failover-timeout", &timeout]);
        if let Some(password) = &self.deployments[deployment].password {
            server.execute(&["SENTINEL", "SET", name, "auth-pass", password]);
        }
    }
}

/// Returns all hosts of a history.
fn hosts(plan: &Plan) -> Vec<HostId> {
    let mut hosts = vec![HostId::Exporter];
    for (deployment, deployment_plan) in plan.deployments.iter().enumerate() {
        let nodes = 0..deployment_plan.nodes.len();
        hosts.extend(nodes.map(|node| HostId::Node(NodeId { deployment, node })));
        let clients = 0..deployment_plan.clients;
        hosts.extend(clients.map(|client| HostId::Client(deployment, client)));
    }
    hosts.extend((0..plan.sentinels).map(HostId::Sentinel));
    hosts
}

fn sentinel_addresses(plan: &Plan, mesh: &Mesh) -> Vec<String> {
    let sentinels = (0..plan.sentinels).map(|sentinel| mesh.host(HostId::Sentinel(sentinel)));
    sentinels.map(|host| format!("{}:{SENTINEL_PORT}", host.host)).collect()
}

/// Returns the number of Sentinels that must agree that a master is down.
fn quorum(plan: &Plan) -> usize {
    plan.sentinels / 2 + 1
}

/// Returns the lines with which a Sentinel monitors a deployment.
fn monitor_options(deployment: &RunningDeployment, quorum: usize) -> String {
    let (name, address) = (deployment.plan.name, &deployment.addresses[0][0]);
    let master = address.replace(':', " ");
    let (down_after, timeout) = (DOWN_AFTER.as_millis(), FAILOVER_TIMEOUT.as_millis());
    let password = deployment.password.as_ref();
    let password = password.map(|password| format!("sentinel auth-pass {name} {password}\n"));
    let password = password.unwrap_or_default();
    format!(
        "sentinel monitor {name} {master} {quorum}\n\
         sentinel down-after-milliseconds {name} {down_after}\n\
         sentinel failover-timeout {name} {timeout}\n{password}"
    )
}

fn start_sentinels(
    plan: &Plan,
    mesh: &Mesh,
    deployments: &[RunningDeployment],
) -> Result<Vec<ServerProcess>, String> {
    let mut sentinels = Vec::new();
    for sentinel in 0..plan.sentinels {
        let host = mesh.host(HostId::Sentinel(sentinel));
        let monitored = deployments.iter().filter(|own| own.plan.kind == Kind::Sentinel);
        let monitored: String =
            monitored.map(|deployment| monitor_options(deployment, quorum(plan))).collect();
        let text = format!("port {SENTINEL_PORT}\nbind {} 127.0.0.1\n{monitored}", host.host);
        let server = ServerProcess::start(plan.sentinel_version, true, host, &text, None, false)?;
        sentinels.push(server);
    }
    for deployment in deployments.iter().filter(|own| own.plan.kind == Kind::Sentinel) {
        let name = deployment.plan.name;
        // Sentinels find only the replicas that the master itself lists.
        let listed = deployment.plan.nodes.iter().filter(|node| node.upstream == Some(0)).count();
        let expected = [("num-other-sentinels", plan.sentinels - 1), ("num-slaves", listed)];
        let knows_all = |sentinel: &ServerProcess| {
            let master = sentinel.table(&["SENTINEL", "MASTER", name]).and_then(|mut it| it.pop());
            expected.iter().all(|(field, count)| {
                master.as_ref().and_then(|master| master.get(*field)) == Some(&count.to_string())
            })
        };
        wait_until(Duration::from_secs(60), "all Sentinels know all nodes", || {
            sentinels.iter().all(knows_all)
        });
    }
    Ok(sentinels)
}
