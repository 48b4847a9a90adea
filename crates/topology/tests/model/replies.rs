//! Replies of the model to the exporter: one round of polls.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use snapshot::{MasterReport, NodeSnapshot, Quorum, Reason, SentinelEntry, SentinelReport};
use topology::{NodeIndex, NodeKind, NodeReply, NodeView, PollOutcome};

use crate::network::Host;
use crate::server::{Millis, ProcessState, Role, Server};
use crate::world::World;

/// Name of the master in the configuration of the Sentinels.
pub(crate) const MASTER: &str = "mymaster";

/// Returns the address of a server.
pub(crate) fn address(server: usize) -> String {
    format!("10.0.0.{server}:6379")
}

/// Returns the server at an address.
pub(crate) fn server_at(address: &str) -> Option<usize> {
    address.strip_prefix("10.0.0.")?.strip_suffix(":6379")?.parse().ok()
}

/// Returns the address of a Sentinel.
pub(crate) fn sentinel_address(sentinel: usize) -> String {
    format!("10.0.1.{sentinel}:26379")
}

/// Returns the outcome of a poll of one node.
pub(crate) fn poll(world: &World, index: NodeIndex, node: &NodeView) -> PollOutcome {
    match node.node.kind {
        NodeKind::Sentinel { .. } => poll_sentinel(world, index.get()),
        NodeKind::Data => match server_at(&node.node.address) {
            Some(server) => poll_server(world, server),
            None => PollOutcome::Failed(Reason::Dns),
        },
        NodeKind::Vacant => PollOutcome::Pending,
    }
}

fn poll_server(world: &World, index: usize) -> PollOutcome {
    let server = &world.servers[index];
    if !world.network.connects(Host::Exporter, Host::Server(index)) {
        return PollOutcome::Missed(Reason::Timeout);
    }
    match server.state {
        ProcessState::Frozen => PollOutcome::Missed(Reason::Timeout),
        ProcessState::Dead => PollOutcome::Failed(Reason::Refused),
        ProcessState::Running => {
            let info = info(world, index);
            answered(NodeSnapshot::from_info(&info).expect("an INFO reply"))
        }
    }
}

fn answered(snapshot: NodeSnapshot) -> PollOutcome {
    PollOutcome::Answered(NodeReply::new(snapshot, Duration::ZERO, SystemTime::UNIX_EPOCH))
}

/// Returns the INFO reply of a server.
fn info(world: &World, index: usize) -> String {
    let server = &world.servers[index];
    let seconds = |since: Millis| (world.now - since) / 1000;
    let role = match server.role {
        Role::Master => "role:master\n".to_owned(),
        Role::Replica(master) => replica_fields(world, server, master),
    };
    let previous = server
        .previous
        .map(|(id, until)| {
            format!("master_replid2:{}\nsecond_repl_offset:{until}\n", history_id(id))
        })
        .unwrap_or_default();
    format!(
        "run_id:{}\nuptime_in_seconds:{}\ntcp_port:6379\n{role}{previous}master_replid:{}\n\
         master_repl_offset:{}\n{}rdb_changes_since_last_save:{}\nrdb_last_save_time:{}\n\
         loading:0\naof_enabled:{}\nrdb_last_bgsave_status:ok\n\
         db0:keys={},expires=0,avg_ttl=0\n",
        run_id(server.run),
        // The first processes ran before the history.
        seconds(server.started) + if server.started == 0 { 1000 } else { 0 },
        history_id(server.history),
        server.offset,
        attached(world, index),
        server.changes,
        1000 + server.last_save / 1000,
        u8::from(world.has_aof),
        server.writes.len(),
    )
}

fn replica_fields(world: &World, server: &Server, master: usize) -> String {
    let (host, port) = ("10.0.0.", 6379);
    let link = &server.link;
    let seconds = |since: Millis| (world.now - since) / 1000;
    let status = if link.up {
        format!(
            "master_link_status:up\nmaster_last_io_seconds_ago:{}\n\
             master_sync_in_progress:0\n",
            seconds(link.last_io)
        )
    } else {
        let since = link.down_since.map_or(-1, |since| i64::try_from(seconds(since)).unwrap_or(0));
        format!(
            "master_link_status:down\nmaster_last_io_seconds_ago:-1\n\
             master_sync_in_progress:0\nmaster_link_down_since_seconds:{since}\n"
        )
    };
    format!(
        "role:slave\nmaster_host:{host}{master}\nmaster_port:{port}\n{status}slave_read_only:1\n"
    )
}

/// Returns the lines about the connected replicas of a server.
fn attached(world: &World, index: usize) -> String {
    let mut lines = String::new();
    let replicas = world.servers.iter().enumerate().filter(|(_, replica)| {
        replica.role == Role::Replica(index)
            && replica.link.up
            && replica.link.run == world.servers[index].run
            && replica.state != ProcessState::Dead
    });
    for (number, (replica, server)) in replicas.enumerate() {
        let reached = world.network.connects(Host::Server(index), Host::Server(replica));
        let is_current = reached && server.is_running();
        let lag = if is_current { 0 } else { (world.now - server.link.last_io) / 1000 };
        lines += &format!(
            "slave{number}:ip=10.0.0.{replica},port=6379,state=online,offset={},lag={lag}\n",
            server.offset
        );
    }
    lines
}

fn run_id(run: u32) -> String {
    format!("{run:040x}")
}

fn history_id(id: u32) -> String {
    format!("{id:040x}")
}

fn poll_sentinel(world: &World, index: usize) -> PollOutcome {
    let sentinel = &world.sentinels.all[index];
    let reached = world.network.connects(Host::Exporter, Host::Sentinel(index));
    match sentinel.state {
        _ if !reached => return PollOutcome::Missed(Reason::Timeout),
        ProcessState::Frozen => return PollOutcome::Missed(Reason::Timeout),
        ProcessState::Dead => return PollOutcome::Failed(Reason::Refused),
        ProcessState::Running => {}
    }
    let servers = 0..world.servers.len();
    let replicas: Vec<_> = servers
        .filter(|server| *server != sentinel.master)
        .map(|server| entry(world, index, server))
        .collect();
    let usable = (0..world.sentinels.all.len())
        .filter(|peer| {
            world.sentinels.all[*peer].state == ProcessState::Running
                && world.network.connects(Host::Sentinel(index), Host::Sentinel(*peer))
        })
        .count();
    let quorum = Quorum { ok: usable * 2 > world.sentinels.all.len(), usable: Some(usable as u64) };
    let report = MasterReport {
        lists_age: Duration::ZERO,
        master: entry(world, index, sentinel.master),
        replicas: Some(replicas.into()),
        sentinels: Some(Arc::new([])),
        quorum: Some(quorum),
    };
    let info = format!("run_id:s{index}\nredis_mode:sentinel\nuptime_in_seconds:1000\n");
    let snapshot = NodeSnapshot::from_info(&info).expect("an INFO reply");
    answered(NodeSnapshot {
        sentinel: Some(Arc::new(SentinelReport::new(vec![report]))),
        ..snapshot
    })
}

/// Returns the entry of a server in the lists of a Sentinel.
fn entry(world: &World, index: usize, server: usize) -> SentinelEntry {
    let sentinel = &world.sentinels.all[index];
    let watched = &sentinel.servers[server];
    let silence = (world.now - watched.replied_at).to_string();
    let is_down = sentinel.is_down(server, world.now);
    let is_master = server == sentinel.master;
    let role = if is_master { "master" } else { "slave" };
    let flags = if is_down { format!("{role},s_down") } else { role.to_owned() };
    let down_for =
        (world.now - watched.replied_at).saturating_sub(crate::sentinels::DOWN_AFTER).to_string();
    let address = address(server);
    let (host, port) = address.split_once(':').expect("host:port");
    let (run_id, epoch) = (run_id(watched.run), sentinel.epoch.to_string());
    let others = (world.sentinels.all.len() - 1).to_string();
    let replicas = (world.servers.len() - 1).to_string();
    let upstream = match watched.role {
        Role::Master => "?".to_owned(),
        Role::Replica(master) => format!("10.0.0.{master}"),
    };
    let reported = if watched.role == Role::Master { "master" } else { "slave" };
    let mut pairs = vec![
        ("name", if is_master { MASTER } else { &address }),
        ("ip", host),
        ("port", port),
        ("runid", &run_id),
        ("flags", &flags),
        ("role-reported", reported),
        ("last-ping-reply", &silence),
        ("last-ok-ping-reply", &silence),
    ];
    if is_down {
        pairs.push(("s-down-time", &down_for));
    }
    if is_master {
        pairs.extend([
            ("config-epoch", &*epoch),
            ("quorum", "2"),
            ("num-other-sentinels", &*others),
            ("num-slaves", &*replicas),
            ("down-after-milliseconds", "3000"),
            ("failover-timeout", "6000"),
            ("parallel-syncs", "1"),
        ]);
    } else {
        pairs.extend([("master-host", &*upstream), ("master-port", "6379")]);
    }
    SentinelEntry::from_pairs(pairs.into_iter()).expect("an entry")
}
