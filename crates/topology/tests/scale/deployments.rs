//! Synthetic deployments of any size, whose servers reply in each round.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use snapshot::{ClusterMap, Fields, NodeSnapshot};
use topology::{
    Deployment, DeploymentKind, DeploymentTracker, DeploymentView, Discovery, Monotonic,
    NodeNameTemplate, NodeReply, PollOutcome, ReadRequest, Round,
};

const SECOND: Duration = Duration::from_secs(1);

/// Number of slots of a cluster.
const SLOTS: usize = 16384;

/// A deployment whose servers all reply. Their counters and offsets rise each second.
pub(crate) struct SyntheticDeployment {
    tracker: DeploymentTracker,
    /// The servers by their addresses.
    servers: HashMap<String, usize>,
    /// Shards of the cluster; `None` for independent masters.
    shards: Option<usize>,
    second: u64,
    /// Replies that the last round requested.
    requests: Vec<ReadRequest>,
}

impl SyntheticDeployment {
    /// Creates a static deployment of masters that share no history.
    pub(crate) fn of_masters(count: usize) -> Self {
        let mut deployment =
            Deployment::new("masters", DeploymentKind::Static, &[], SECOND, SECOND * 3);
        for server in 0..count {
            deployment.add(format!("master{server}"), address(server), None);
        }
        Self::new(deployment, count, None)
    }

    /// Creates a cluster of masters with one replica each, one of which is configured.
    pub(crate) fn of_shards(shards: usize) -> Self {
        let mut deployment =
            Deployment::new("cluster", DeploymentKind::Cluster, &[], SECOND, SECOND * 3);
        deployment.add(address(0), address(0), None);
        deployment.discovery = Some(Discovery {
            master: String::new(),
            names: NodeNameTemplate::default(),
            address_map: BTreeMap::new(),
            ghost_after: SECOND * 20,
            forget_after: SECOND * 10,
        });
        Self::new(deployment, 2 * shards, Some(shards))
    }

    fn new(deployment: Deployment, servers: usize, shards: Option<usize>) -> Self {
        SyntheticDeployment {
            tracker: DeploymentTracker::new(Arc::new(deployment)),
            servers: (0..servers).map(|server| (address(server), server)).collect(),
            shards,
            second: 0,
            requests: Vec::new(),
        }
    }

    /// Returns the number of servers.
    pub(crate) fn len(&self) -> usize {
        self.servers.len()
    }

    /// Returns the state after the last round.
    pub(crate) fn view(&self) -> Arc<DeploymentView> {
        self.tracker.view()
    }

    /// Polls all known nodes.
    pub(crate) fn poll(&mut self) -> Round {
        self.second += 1;
        let view = self.tracker.view();
        let outcomes = view.nodes.iter().map(|(index, node)| {
            let with_map = self.requests.contains(&ReadRequest::ClusterMap(index));
            self.reply(self.servers[&node.node.address], with_map)
        });
        let now = SECOND * u32::try_from(self.second).expect("few rounds");
        let at = SystemTime::UNIX_EPOCH + now;
        Round::new(at, Monotonic::from_start(now), outcomes.collect())
    }

    /// Processes one round.
    pub(crate) fn observe(&mut self, round: &Round) {
        self.requests = self.tracker.observe(round).requests;
    }

    fn reply(&self, server: usize, with_map: bool) -> PollOutcome {
        let mut snapshot = NodeSnapshot::from_info(&self.info(server)).expect("an INFO reply");
        if let Some(shards) = self.shards {
            let info = format!(
                "cluster_state:ok\ncluster_slots_assigned:{SLOTS}\ncluster_slots_ok:{SLOTS}\n\
                 cluster_known_nodes:{}\ncluster_current_epoch:{shards}\ncluster_my_epoch:{}\n",
                self.len(),
                server % shards + 1
            );
            snapshot.cluster = Some(Arc::new(Fields::parse(&info)));
            snapshot.map =
                with_map.then(|| Arc::new(ClusterMap::parse(&self.cluster_map(server, shards))));
        }
        let at = SystemTime::UNIX_EPOCH + SECOND * u32::try_from(self.second).unwrap_or(u32::MAX);
        PollOutcome::Answered(NodeReply::new(snapshot, Duration::ZERO, at))
    }

    /// Returns the reply of a server to INFO.
    fn info(&self, server: usize) -> String {
        let second = self.second;
        let primary = self.shards.map_or(server, |shards| server % shards);
        let (offset, changes) = (second * 1000, second * 10);
        let role = if primary == server {
            "role:master\nconnected_slaves:0\n".to_owned()
        } else {
            let (host, port) = location(primary);
            format!(
                "role:slave\nmaster_host:{host}\nmaster_port:{port}\nmaster_link_status:up\n\
                 master_last_io_seconds_ago:0\nmaster_sync_in_progress:0\nslave_read_only:1\n\
                 slave_priority:100\n"
            )
        };
        format!(
            "redis_version:7.0.15\nrun_id:{server:040x}\nprocess_id:{server}\n\
             uptime_in_seconds:{}\ntcp_port:6379\nused_memory:1000000\nmaxmemory:0\n\
             maxmemory_policy:noeviction\nloading:0\nrdb_changes_since_last_save:{changes}\n\
             rdb_bgsave_in_progress:0\nrdb_last_save_time:1\nrdb_last_bgsave_status:ok\n\
             aof_enabled:0\ntotal_commands_processed:{second}\nevicted_keys:0\nsync_full:1\n\
             sync_partial_ok:0\ntotal_error_replies:3\n{role}\
             master_replid:{:040x}\nmaster_repl_offset:{offset}\nsecond_repl_offset:-1\n\
             errorstat_ERR:count=3\ncluster_enabled:{}\ndb0:keys=100,expires=0,avg_ttl=0\n",
            1000 + second,
            primary + 0x00ab_0000,
            u8::from(self.shards.is_some())
        )
    }

    /// Returns the reply of a server to CLUSTER NODES.
    fn cluster_map(&self, of: usize, shards: usize) -> String {
        let mut map = String::new();
        for server in 0..self.len() {
            let primary = server % shards;
            let myself = if server == of { "myself," } else { "" };
            let (role, slots) = if server == primary {
                let (first, end) = (primary * SLOTS / shards, (primary + 1) * SLOTS / shards);
                ("master -".to_owned(), format!("{first}-{}", end - 1))
            } else {
                (format!("slave {primary:040x}"), String::new())
            };
            writeln!(
                map,
                "{server:040x} {}@16379 {myself}{role} 0 0 {} connected {slots}",
                address(server),
                primary + 1
            )
            .expect("to a string");
        }
        map
    }
}

/// Returns the host and the port of a server.
fn location(server: usize) -> (String, u16) {
    (format!("10.0.{}.{}", server / 250, server % 250 + 1), 6379)
}

fn address(server: usize) -> String {
    let (host, port) = location(server);
    format!("{host}:{port}")
}
