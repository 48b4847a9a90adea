//! Running deployment: its data nodes and its clients.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tests::{Certificate, Stopwatch};

use crate::client::{Client, ClientSettings, Target};
use crate::mesh::Mesh;
use crate::operation::{Act, HostId, NodeId};
use crate::plan::{DeploymentPlan, Kind, NodePlan, Persistence};
use crate::server::{PORT, ServerProcess, wait_until};

/// Longest wait for replicas to synchronise, or for the nodes of a cluster to agree.
const START_LIMIT: Duration = Duration::from_secs(40);

/// First password of deployments that have one.
const PASSWORD: &str = "first-password";

/// Running deployment.
pub(crate) struct RunningDeployment {
    pub(crate) plan: DeploymentPlan,
    /// Index in the history.
    pub(crate) index: usize,
    pub(crate) nodes: Vec<ServerProcess>,
    /// Addresses of each node, `host:port`.
    pub(crate) addresses: Vec<[String; 2]>,
    /// The clients, each with its number as its index.
    pub(crate) clients: Vec<Client>,
    /// Clients that others with the same number replaced.
    pub(crate) former_clients: Vec<Client>,
    /// Password that clients, the exporter and Sentinels use.
    pub(crate) password: Option<String>,
    pub(crate) certificate: Option<Certificate>,
    /// Time of the last act of each kind.
    pub(crate) acts: BTreeMap<Act, Duration>,
    /// Nodes whose address the DNS name lists.
    pub(crate) listed: Vec<bool>,
    /// Contains the files with the targets of clients.
    directory: TempDir,
}

impl RunningDeployment {
    /// Starts the data nodes, and waits until all replicas are synchronised.
    pub(crate) fn start(index: usize, plan: &DeploymentPlan, mesh: &Mesh) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let certificate =
            plan.has_tls.then(|| Certificate::create(directory.path())).transpose()?;
        let addresses = (0..plan.nodes.len()).map(|node| {
            let id = HostId::Node(NodeId { deployment: index, node });
            mesh.addresses(id).map(|address| format!("{address}:{PORT}"))
        });
        let mut deployment = RunningDeployment {
            plan: plan.clone(),
            index,
            nodes: Vec::new(),
            addresses: addresses.collect(),
            clients: Vec::new(),
            former_clients: Vec::new(),
            password: plan.has_password.then(|| PASSWORD.to_owned()),
            certificate,
            acts: BTreeMap::new(),
            listed: vec![true; plan.nodes.len()],
            directory,
        };
        for (node, node_plan) in plan.nodes.iter().enumerate() {
            let host = mesh.host(HostId::Node(NodeId { deployment: index, node }));
            let options = deployment.options(node, node_plan);
            let server = ServerProcess::start(
                node_plan.version,
                false,
                host,
                &options,
                deployment.password.clone(),
                node_plan.has_small_disk,
            )?;
            deployment.nodes.push(server);
        }
        if plan.kind == Kind::Cluster {
            deployment.create_cluster()?;
        }
        wait_until(START_LIMIT, "all replicas are synchronised", || deployment.is_synchronized());
        Ok(deployment)
    }

    /// Returns the configuration of a node.
    fn options(&self, node: usize, plan: &NodePlan) -> String {
        let [first, second] = &self.addresses[node];
        let host = |address: &str| address.trim_end_matches(&format!(":{PORT}")).to_owned();
        let mut text = format!(
            "bind {} {} 127.0.0.1\nrepl-diskless-sync-delay 0\nrepl-timeout 20\n\
             repl-ping-slave-period {}\n",
            host(first),
            host(second),
            self.plan.ping_period,
        );
        let mut add = |line: std::fmt::Arguments<'_>| {
            writeln!(text, "{line}").expect("writing to a string cannot fail");
        };
        match &self.certificate {
            Some(certificate) => {
                let (cert, key, authority) =
                    (&certificate.chain, &certificate.key, &certificate.authority);
                add(format_args!("port 0\ntls-port {PORT}\ntls-replication yes"));
                add(format_args!("tls-cert-file {}", cert.display()));
                add(format_args!("tls-key-file {}", key.display()));
                add(format_args!("tls-ca-cert-file {}", authority.display()));
                add(format_args!("tls-auth-clients no"));
            }
            None => add(format_args!("port {PORT}")),
        }
        match plan.persistence {
            Persistence::None => add(format_args!("save \"\"")),
            Persistence::Aof => add(format_args!("save \"\"\nappendonly yes")),
            Persistence::Rdb => add(format_args!("save 1 1")),
        }
        if let Some(password) = &self.password {
            add(format_args!("requirepass {password}\nmasterauth {password}"));
        }
        if self.plan.kind == Kind::Cluster {
            add(format_args!("cluster-enabled yes\ncluster-node-timeout 3000"));
        } else if let Some(upstream) = plan.upstream {
            let [first, second] = &self.addresses[upstream];
            let address = if self.plan.announces_other_address && plan.upstream != Some(0) {
                second
            } else {
                first
            };
            add(format_args!("replicaof {}", address.replace(':', " ")));
        }
        if self.plan.announces_other_address {
            add(format_args!("replica-announce-ip {}", host(second)));
        }
        text
    }

    fn create_cluster(&self) -> Result<(), String> {
        let addresses = self.addresses.iter().map(|[first, _]| first.as_str());
        let replicas = (self.plan.nodes.len() / self.plan.masters - 1).to_string();
        let mut command = Command::new("redis-cli");
        if let Some(password) = &self.password {
            command.args(["--no-auth-warning", "-a", password]);
        }
        let output = command
            .args(["--cluster", "create"])
            .args(addresses)
            .args(["--cluster-replicas", &replicas, "--cluster-yes"])
            .output()
            .map_err(|error| format!("cannot run redis-cli: {error}"))?;
        let error = || {
            format!("cannot create the cluster: {}", String::from_utf8_lossy(&output.stdout).trim())
        };
        output.status.success().then_some(()).ok_or_else(error)
    }

    /// Returns true if all replicas are linked to their masters and have all data.
    fn is_synchronized(&self) -> bool {
        let states: Vec<_> = self.nodes.iter().map(ServerProcess::info).collect();
        let replicas = states.iter().flatten().filter(|state| !state.is_master());
        let expected = self.plan.nodes.len() - self.plan.masters;
        let has_cluster = |node: &ServerProcess| {
            self.plan.kind != Kind::Cluster
                || node
                    .execute(&["CLUSTER", "INFO"])
                    .is_some_and(|reply| reply.concat().contains("cluster_state:ok"))
        };
        replicas.filter(|state| state.is_linked()).count() == expected
            && self.nodes.iter().all(has_cluster)
    }

    /// Starts the clients.
    pub(crate) fn start_clients(
        &mut self,
        mesh: &Mesh,
        sentinels: &[String],
        clock: &Arc<Stopwatch>,
    ) -> Result<(), String> {
        for client in 0..self.plan.clients {
            let target = match self.plan.kind {
                Kind::Static | Kind::Dns => {
                    self.move_client(client, 0)?;
                    Target::Direct(self.target_file(client))
                }
                Kind::Sentinel => Target::Sentinels(sentinels.to_vec(), self.plan.name.to_owned()),
                Kind::Cluster => {
                    Target::Cluster(self.addresses.iter().map(|[first, _]| first.clone()).collect())
                }
            };
            let settings = ClientSettings {
                target,
                password: self.password.clone(),
                certificate: self.certificate.as_ref().map(|files| files.authority.clone()),
                prefix: format!("{}:{client}:", self.plan.name),
                rate: self.plan.write_rate,
            };
            let host = mesh.host(HostId::Client(self.index, client));
            self.clients.push(Client::start(host, settings, clock)?);
        }
        let clients = &self.clients;
        wait_until(START_LIMIT, "all clients write", || {
            clients.iter().all(|client| client.log().last_acknowledged.is_some())
        });
        Ok(())
    }

    /// Starts all clients again with the current password and other keys.
    pub(crate) fn restart_clients(
        &mut self,
        mesh: &Mesh,
        clock: &Arc<Stopwatch>,
    ) -> Result<(), String> {
        for (number, client) in self.clients.iter_mut().enumerate() {
            let mut settings = client.settings.clone();
            settings.password.clone_from(&self.password);
            settings.prefix += "again:";
            let host = mesh.host(HostId::Client(self.index, number));
            let mut former = std::mem::replace(client, Client::start(host, settings, clock)?);
            former.stop();
            self.former_clients.push(former);
        }
        Ok(())
    }

    /// Returns all clients of the history: the current ones and those before them.
    pub(crate) fn all_clients(&self) -> impl Iterator<Item = &Client> {
        self.clients.iter().chain(&self.former_clients)
    }

    fn target_file(&self, client: usize) -> PathBuf {
        self.directory.path().join(format!("target-{client}"))
    }

    /// Makes a client write to a node. Clients that ask Sentinels or a cluster ignore it.
    pub(crate) fn move_client(&self, client: usize, node: usize) -> Result<(), String> {
        let address = self.addresses[node][0].replace(':', " ");
        let (file, new) = (self.target_file(client), self.directory.path().join("new"));
        std::fs::write(&new, address)
            .and_then(|()| std::fs::rename(&new, &file))
            .map_err(|error| format!("cannot write {}: {error}", file.display()))
    }

    /// Returns the node with an address; `None` if it belongs to no node.
    pub(crate) fn node_at(&self, address: &str) -> Option<usize> {
        self.addresses.iter().position(|addresses| addresses.iter().any(|own| own == address))
    }

    /// Returns the section of the configuration of the exporter.
    pub(crate) fn configuration(&self, mesh: &Mesh, sentinels: &[String]) -> String {
        let name = self.plan.name;
        let scheme = if self.certificate.is_some() { "rediss" } else { "redis" };
        let urls = |addresses: &mut dyn Iterator<Item = &String>| {
            addresses.map(|address| format!("'redis://{address}'")).collect::<Vec<_>>().join(", ")
        };
        let nodes = match self.plan.kind {
            Kind::Static => {
                let nodes = self.addresses.iter().enumerate().map(|(node, [address, _])| {
                    format!("{{ url = '{scheme}://{address}', name = 'n{node}' }}")
                });
                format!("nodes = [{}]\n", nodes.collect::<Vec<_>>().join(", "))
            }
            Kind::Sentinel => {
                let list = urls(&mut sentinels.iter());
                format!("sentinels = [{list}]\nmaster_name = '{name}'\n")
            }
            Kind::Cluster => {
                let list = urls(&mut self.addresses.iter().take(2).map(|[first, _]| first));
                format!("cluster = [{list}]\n")
            }
            Kind::Dns => format!("dns = ['redis://{name}.test:{PORT}']\ncadence.dns = '2s'\n"),
        };
        let trust = match self.plan.kind {
            Kind::Static => String::new(),
            _ => format!("trust = ['{}']\n", mesh.cidr()),
        };
        let password = self.password.iter().map(|password| format!("password = '{password}'\n"));
        let tls = self.certificate.iter().map(Certificate::profile);
        let access: String = password.chain(tls).collect();
        format!("[[deployment]]\nname = '{name}'\n{nodes}{trust}{access}")
    }

    /// Returns the lines of `/etc/hosts` for its DNS name.
    pub(crate) fn dns_records(&self) -> String {
        let listed = self.addresses.iter().zip(&self.listed).filter(|(_, listed)| **listed);
        let line = |[first, _]: &[String; 2]| {
            format!("{} {}.test\n", first.trim_end_matches(&format!(":{PORT}")), self.plan.name)
        };
        if self.plan.kind == Kind::Dns {
            listed.map(|(addresses, _)| line(addresses)).collect()
        } else {
            String::new()
        }
    }

    /// Returns the identity of a node.
    pub(crate) fn id(&self, node: usize) -> NodeId {
        NodeId { deployment: self.index, node }
    }
}
