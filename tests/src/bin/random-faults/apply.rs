//! Applies operations to the running processes, and repairs everything in the end.

use std::time::Duration;

use crate::operation::{Act, Data, HostId, NodeId, Operation};
use crate::plan::Kind;
use crate::server::{ProcessState, ServerProcess};
use crate::world::World;

/// Time from the rotation of a password to the reload of the exporter.
const RELOAD_DELAY: Duration = Duration::from_secs(6);

/// Password that no node accepts.
const WRONG_PASSWORD: &str = "wrong-password";

/// Result of an operation, for the report of a history.
type Outcome = Result<(), String>;

impl World {
    /// Applies an operation. Returns the reason if it has no effect.
    pub(crate) fn apply(&mut self, operation: &Operation) -> Outcome {
        let outcome = self.apply_operation(operation);
        self.operations += 1;
        let now = self.now();
        for (deployment, act) in operation.acts() {
            self.deployments[deployment].acts.insert(act, now);
        }
        outcome
    }

    fn apply_operation(&mut self, operation: &Operation) -> Outcome {
        match operation {
            Operation::Kill(node) => self.node_mut(*node).kill(),
            Operation::Start(node, data) => self.node_mut(*node).revive(*data),
            Operation::Restart(node, data) => {
                self.node_mut(*node).kill();
                self.node_mut(*node).revive(*data);
            }
            Operation::Freeze(node) => self.node_mut(*node).freeze(),
            Operation::Continue(node) => self.node_mut(*node).thaw(),
            Operation::FillDisk(node) => self.node_mut(*node).fill_disk(),
            Operation::FreeDisk(node) => self.node_mut(*node).free_disk(),
            Operation::SlowFsync(node) => self.node(*node).faults().slow_fsync(),
            Operation::FailFsync(node) => self.node(*node).faults().fail_fsync(),
            Operation::EndDiskFaults(node) => self.node(*node).faults().clear_faults(),
            Operation::KillSentinel(sentinel) => self.sentinels[*sentinel].kill(),
            Operation::StartSentinel(sentinel) => self.sentinels[*sentinel].revive(Data::Kept),
            Operation::FreezeSentinel(sentinel) => self.sentinels[*sentinel].freeze(),
            Operation::ContinueSentinel(sentinel) => self.sentinels[*sentinel].thaw(),
            Operation::MoveClient { deployment, client, node } => {
                return self.deployments[*deployment].move_client(*client, *node);
            }
            Operation::ToggleName(node) => {
                let listed = &mut self.deployments[node.deployment].listed[node.node];
                *listed = !*listed;
                self.write_dns_records();
            }
            Operation::Reload => self.reload_exporter(),
            Operation::RestartExporter { keeps_state } => self.restart_exporter(*keeps_state),
            Operation::RotatePassword(deployment) => return self.rotate_password(*deployment),
            Operation::CutOneWay(..)
            | Operation::Cut(..)
            | Operation::Lose { .. }
            | Operation::Isolate(_)
            | Operation::Split(_)
            | Operation::Heal => return self.apply_to_network(operation),
            _ => return self.command(operation),
        }
        Ok(())
    }

    fn apply_to_network(&mut self, operation: &Operation) -> Outcome {
        match operation {
            Operation::CutOneWay(from, to) => self.mesh.lose(*from, *to, 100),
            Operation::Cut(one, other) => self.lose_both_ways(*one, *other, 100),
            Operation::Lose { between, and, percent } => {
                self.lose_both_ways(*between, *and, *percent)
            }
            Operation::Isolate(host) => {
                let others = self.mesh.hosts();
                others.into_iter().try_for_each(|other| self.lose_both_ways(*host, other, 100))
            }
            Operation::Split(side) => {
                let hosts = self.mesh.hosts();
                let others = hosts.iter().filter(|host| **host != HostId::Exporter);
                for other in others.filter(|host| !side.contains(host)) {
                    for host in side {
                        self.lose_both_ways(*host, *other, 100)?;
                    }
                }
                Ok(())
            }
            _ => self.mesh.heal(),
        }
    }

    fn lose_both_ways(&mut self, one: HostId, other: HostId, percent: u8) -> Outcome {
        self.mesh.lose(one, other, percent)?;
        self.mesh.lose(other, one, percent)
    }

    /// Sends the command of an operation to a server, as an operator does.
    fn command(&self, operation: &Operation) -> Outcome {
        match operation {
            Operation::Promote(node) => self.send(*node, &["REPLICAOF", "NO", "ONE"]),
            Operation::Follow { node, master } => self.follow(*node, *master),
            Operation::Failover(node) => self.send(*node, &["FAILOVER"]),
            Operation::FailoverTo { node, replica } => {
                let (host, port) = self.address(*replica);
                self.send(*node, &["FAILOVER", "TO", host, port])
            }
            Operation::AbortFailover(node) => self.send(*node, &["FAILOVER", "ABORT"]),
            Operation::ClusterFailover(node, way) => {
                self.send(*node, &[&["CLUSTER", "FAILOVER"], way.arguments()].concat())
            }
            Operation::Forget { on, node } => {
                self.send(*on, &["CLUSTER", "FORGET", &self.cluster_id(*node)?])
            }
            Operation::Meet { on, node } => {
                let (host, port) = self.address(*node);
                self.send(*on, &["CLUSTER", "MEET", host, port])
            }
            Operation::StartMigration { from, to, slot } => {
                let (slot, source, target) =
                    (slot.to_string(), self.cluster_id(*from)?, self.cluster_id(*to)?);
                self.send(*to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source])?;
                self.send(*from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target])
            }
            Operation::Configure(node, parameter) => {
                self.send(*node, &["CONFIG", "SET", parameter.name, parameter.value])
            }
            Operation::PauseClients(node, seconds) => {
                let milliseconds = (seconds * 1000).to_string();
                // Before 6.2 there is only a pause of all commands.
                self.send(*node, &["CLIENT", "PAUSE", &milliseconds, "WRITE"])
                    .or_else(|_| self.send(*node, &["CLIENT", "PAUSE", &milliseconds]))
            }
            Operation::SentinelFailover { sentinel, deployment } => {
                self.send_to_sentinel(*sentinel, *deployment, "FAILOVER")
            }
            Operation::SetSentinelPassword { sentinel, deployment, is_right } => {
                self.set_sentinel_password(*sentinel, *deployment, *is_right)
            }
            Operation::SentinelReset { sentinel, deployment } => {
                self.send_to_sentinel(*sentinel, *deployment, "RESET")
            }
            Operation::SentinelRemove { sentinel, deployment } => {
                self.send_to_sentinel(*sentinel, *deployment, "REMOVE")
            }
            other => Err(format!("{other:?} is no command")),
        }
    }

    fn follow(&self, node: NodeId, master: NodeId) -> Outcome {
        let is_cluster = self.deployments[node.deployment].plan.kind == Kind::Cluster;
        if is_cluster && node.deployment == master.deployment {
            return self.send(node, &["CLUSTER", "REPLICATE", &self.cluster_id(master)?]);
        }
        let (host, port) = self.address(master);
        self.send(node, &["REPLICAOF", host, port])
    }

    /// Returns the host and the port of a node.
    fn address(&self, node: NodeId) -> (&str, &str) {
        let address = &self.deployments[node.deployment].addresses[node.node][0];
        address.split_once(':').expect("host:port")
    }

    fn cluster_id(&self, node: NodeId) -> Result<String, String> {
        let reply = self.node(node).execute(&["CLUSTER", "MYID"]);
        reply.map(|reply| reply.concat()).ok_or_else(|| format!("{node:?} does not reply"))
    }

    fn send(&self, node: NodeId, command: &[&str]) -> Outcome {
        check_reply(self.node(node).execute(command))
    }

    fn send_to_sentinel(&self, sentinel: usize, deployment: usize, command: &str) -> Outcome {
        let name = self.plan.deployments[deployment].name;
        check_reply(self.sentinels[sentinel].execute(&["SENTINEL", command, name]))
    }

    /// Gives a Sentinel a wrong password for the nodes of a deployment, or the right one. Sentinels
    /// before 7.0 use it only for new connections, so these are closed.
    fn set_sentinel_password(&self, sentinel: usize, deployment: usize, is_right: bool) -> Outcome {
        let running = &self.deployments[deployment];
        let password = running.password.as_deref().filter(|_| is_right).unwrap_or(WRONG_PASSWORD);
        let set = ["SENTINEL", "SET", running.plan.name, "auth-pass", password];
        check_reply(self.sentinels[sentinel].execute(&set))?;
        for node in &running.nodes {
            node.execute(&["CLIENT", "KILL", "TYPE", "normal"]);
        }
        Ok(())
    }

    /// Sets another password on all nodes that run, and starts the clients again with it.
    fn rotate_password(&mut self, deployment: usize) -> Outcome {
        let now = self.now();
        let running = &mut self.deployments[deployment];
        let password = format!("password-{}", now.as_millis());
        for node in &mut running.nodes {
            set_password(node, &password);
        }
        running.password = Some(password);
        running.restart_clients(&self.mesh, &self.clock)?;
        self.reload_at = Some(now + RELOAD_DELAY);
        Ok(())
    }

    /// Ends all faults, as an operator does who knows the truth: starts what is dead, continues
    /// what is frozen, restores all settings, and makes all nodes follow the right master.
    pub(crate) fn recover(&mut self) -> Outcome {
        self.mesh.heal()?;
        self.operations += 1;
        let now = self.now();
        for deployment in &mut self.deployments {
            deployment.acts.extend([(Act::Replicaof, now), (Act::Start, now)]);
        }
        for sentinel in &mut self.sentinels {
            sentinel.is_alive();
            sentinel.thaw();
            sentinel.revive(Data::Kept);
        }
        for id in self.node_ids() {
            let password = self.deployments[id.deployment].password.clone();
            let node = self.node_mut(id);
            node.faults().clear_faults();
            node.free_disk();
            node.is_alive();
            node.thaw();
            if node.state == ProcessState::Dead {
                // It starts with the password in its configuration file.
                node.revive(Data::Kept);
            }
            if let Some(password) = password {
                wait_briefly(|| node.execute(&["PING"]).is_some());
                set_password(node, &password);
            }
        }
        self.restore_settings();
        for step in &self.plan.steps {
            if let Operation::SetSentinelPassword { sentinel, deployment, .. } = step.operation {
                // A Sentinel that forgot the master gets the password with SENTINEL MONITOR.
                let _ = self.set_sentinel_password(sentinel, deployment, true);
            }
        }
        for deployment in &mut self.deployments {
            deployment.listed.iter_mut().for_each(|listed| *listed = true);
        }
        self.write_dns_records();
        self.reload_exporter();
        for deployment in 0..self.deployments.len() {
            match self.deployments[deployment].plan.kind {
                Kind::Cluster => self.rejoin_cluster(deployment),
                Kind::Sentinel => {
                    let named = self.named_by_sentinels(deployment);
                    self.follow_master(deployment, named.unwrap_or_default());
                    self.monitor_again(deployment);
                }
                Kind::Static | Kind::Dns => {
                    let master = self.node_with_most_keys(deployment);
                    self.follow_master(deployment, master);
                    for client in 0..self.plan.deployments[deployment].clients {
                        self.deployments[deployment].move_client(client, master)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Sets the healthy value of every parameter that an operation changed, and ends pauses.
    fn restore_settings(&self) {
        for id in self.node_ids() {
            let node = self.node(id);
            wait_briefly(|| node.info().is_some());
            for step in &self.plan.steps {
                match &step.operation {
                    Operation::Configure(changed, parameter) if *changed == id => {
                        node.execute(&["CONFIG", "SET", parameter.name, parameter.healthy]);
                    }
                    Operation::FailFsync(changed) if *changed == id => {
                        reopen_append_only_file(node);
                    }
                    _ => {}
                }
            }
            // Unknown before 6.2, where the pause ends by itself and there is no failover.
            node.execute(&["CLIENT", "UNPAUSE"]);
            node.execute(&["FAILOVER", "ABORT"]);
        }
    }

    fn named_by_sentinels(&self, deployment: usize) -> Option<usize> {
        let name = self.plan.deployments[deployment].name;
        let mut votes = vec![0; self.deployments[deployment].nodes.len()];
        for sentinel in &self.sentinels {
            wait_briefly(|| sentinel.execute(&["PING"]).is_some());
            let named = sentinel.execute(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name]);
            let node =
                named.and_then(|named| self.deployments[deployment].node_at(&named.join(":")));
            if let Some(node) = node {
                votes[node] += 1;
            }
        }
        let (node, count) = votes.into_iter().enumerate().max_by_key(|(_, count)| *count)?;
        (count > 0).then_some(node)
    }

    /// Returns the node with the most keys, and a master rather than its replica.
    fn node_with_most_keys(&self, deployment: usize) -> usize {
        let nodes = self.deployments[deployment].nodes.iter().enumerate();
        let keys = |node: &ServerProcess| {
            let reply = node.execute(&["DBSIZE"]).unwrap_or_default().concat();
            reply.parse::<u64>().unwrap_or_default()
        };
        let is_master = |node: &ServerProcess| node.info().is_some_and(|info| info.is_master());
        let best = nodes.rev().max_by_key(|(_, node)| (keys(node), is_master(node)));
        best.map_or(0, |(index, _)| index)
    }

    fn follow_master(&self, deployment: usize, master: usize) {
        let master = NodeId { deployment, node: master };
        let info = self.node(master).info().unwrap_or_default();
        if !info.is_master() {
            self.node(master).execute(&["REPLICAOF", "NO", "ONE"]);
        }
        let addresses = &self.deployments[deployment].addresses[master.node];
        for node in 0..self.deployments[deployment].nodes.len() {
            let id = NodeId { deployment, node };
            let followed = self.node(id).info().and_then(|info| info.master_address());
            let is_right = followed.is_some_and(|address| addresses.contains(&address));
            if id != master && !is_right {
                // A node that does not reply is repaired by nobody, as in practice.
                let _ = self.follow(id, master);
            }
        }
    }

    fn monitor_again(&self, deployment: usize) {
        let master = self.named_by_sentinels(deployment).unwrap_or_default();
        let address = &self.deployments[deployment].addresses[master][0];
        for sentinel in 0..self.sentinels.len() {
            let name = self.plan.deployments[deployment].name;
            let named = self.sentinels[sentinel]
                .execute(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name])
                .unwrap_or_default();
            if named.len() != 2 {
                self.monitor(sentinel, deployment, address);
            }
        }
    }

    /// Ends half-finished migrations, and makes all nodes of a cluster meet.
    fn rejoin_cluster(&self, deployment: usize) {
        for step in &self.plan.steps {
            if let Operation::StartMigration { from, to, slot } = &step.operation {
                for node in [from, to] {
                    self.node(*node).execute(&["CLUSTER", "SETSLOT", &slot.to_string(), "STABLE"]);
                }
            }
        }
        for node in 1..self.deployments[deployment].nodes.len() {
            let (host, port) = self.address(NodeId { deployment, node });
            let first = NodeId { deployment, node: 0 };
            // It stays outside if the first node does not reply.
            let _ = self.send(first, &["CLUSTER", "MEET", host, port]);
        }
    }
}

/// Ends the refusal of writes after a failed fsync. Without writes, the server does not try another
/// fsync, so it would refuse them until its restart.
fn reopen_append_only_file(node: &ServerProcess) {
    let parameter = node.execute(&["CONFIG", "GET", "appendonly"]);
    if parameter.is_some_and(|parameter| parameter.last().is_some_and(|value| value == "yes")) {
        node.execute(&["CONFIG", "SET", "appendonly", "no"]);
        node.execute(&["CONFIG", "SET", "appendonly", "yes"]);
    }
}

/// Makes a node that replies require another password.
fn set_password(node: &mut ServerProcess, password: &str) {
    node.execute(&["CONFIG", "SET", "masterauth", password]);
    let reply = node.execute(&["CONFIG", "SET", "requirepass", password]);
    if reply.is_some_and(|reply| reply == ["OK"]) {
        node.password = Some(password.to_owned());
    }
}

fn check_reply(reply: Option<Vec<String>>) -> Outcome {
    match reply {
        None => Err("no reply".to_owned()),
        Some(reply) if reply.first().is_some_and(|text| text.starts_with('-')) => {
            Err(reply[0].clone())
        }
        Some(_) => Ok(()),
    }
}

/// Waits until a condition holds, but not longer than some seconds.
fn wait_briefly(mut holds: impl FnMut() -> bool) {
    for _ in 0..40 {
        if holds() {
            return;
        }
        tests::pause(Duration::from_millis(100));
    }
}
