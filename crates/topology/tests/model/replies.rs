//! Replies of the model to the exporter, and the exporter's memory of them.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use snapshot::{MasterReport, NodeSnapshot, Quorum, Reason, SentinelEntry, SentinelReport};
use topology::{FailedContact, Monotonic, NodeKind, NodeReply, NodeView, PollOutcome};

use crate::network::Host;
use crate::sentinels::{DOWN_AFTER, QUORUM};
use crate::server::{Millis, ProcessState, Role, Server};
use crate::world::World;

/// Name of the master in the configuration of the Sentinels.
pub(crate) const MASTER: &str = "mymaster";

/// Time between two reads of the lists of a Sentinel.
const LISTS_CADENCE: Millis = 10_000;

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

/// A server at the moment of its reply.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Polled {
    pub(crate) run: u32,
    pub(crate) offset: u64,
    pub(crate) history: u32,
    pub(crate) previous: Option<(u32, u64)>,
    pub(crate) role: Role,
    pub(crate) link_up: bool,
    /// Time since the last data over the link.
    pub(crate) link_silence: Millis,
    pub(crate) was_linked: bool,
    /// Number of writes in its data.
    pub(crate) writes: usize,
    /// Number of all acknowledged writes.
    pub(crate) acknowledged: u32,
}

/// The polls of the exporter.
#[derive(Debug, Default)]
pub(crate) struct Polls {
    /// The servers that replied in this round.
    pub(crate) polled: Vec<Option<Polled>>,
    /// The lists of the Sentinels are needed at once.
    pub(crate) needs_lists: bool,
    /// Start of the exporter.
    started: Millis,
    servers: Vec<Option<FailedContact>>,
    sentinels: Vec<Option<FailedContact>>,
    lists: Vec<Option<Lists>>,
    /// INFO replies of the Sentinels.
    sentinel_infos: Vec<NodeSnapshot>,
    text: String,
}

/// Lists that a Sentinel last returned.
#[derive(Debug, Clone)]
struct Lists {
    read_at: Millis,
    /// Master and epoch at that time.
    of: (usize, u64),
    replicas: Arc<[SentinelEntry]>,
    quorum: Quorum,
}

impl Polls {
    pub(crate) fn new(world: &World) -> Self {
        let (servers, sentinels) = (world.servers.len(), world.sentinels.all.len());
        let sentinel_info = |index: usize| {
            let info = format!("run_id:s{index}\nredis_mode:sentinel\nuptime_in_seconds:1000\n");
            NodeSnapshot::from_info(&info).expect("an INFO reply")
        };
        Polls {
            started: world.now,
            polled: vec![None; servers],
            servers: vec![None; servers],
            sentinels: vec![None; sentinels],
            lists: vec![None; sentinels],
            sentinel_infos: (0..sentinels).map(sentinel_info).collect(),
            ..Polls::default()
        }
    }

    /// Returns the time on the clock of the exporter.
    pub(crate) fn monotonic(&self, world: &World) -> Monotonic {
        Monotonic::from_start(Duration::from_millis(world.now - self.started))
    }

    /// Returns the outcome of a poll of one node, and the failed contact with it.
    pub(crate) fn poll(
        &mut self,
        world: &World,
        node: &NodeView,
        sentinel: usize,
    ) -> (PollOutcome, Option<FailedContact>) {
        let server = server_at(&node.node.address);
        let (host, state) = match (node.node.kind, server) {
            (NodeKind::Sentinel { .. }, _) => {
                (Host::Sentinel(sentinel), world.sentinels.all[sentinel].state)
            }
            (NodeKind::Data, Some(server)) => (Host::Server(server), world.servers[server].state),
            _ => return (PollOutcome::Pending, None),
        };
        let is_reached = world.network.connects(Host::Exporter, host);
        let now = self.monotonic(world);
        let contact = match host {
            Host::Server(server) => &mut self.servers[server],
            _ => &mut self.sentinels[sentinel],
        };
        if state == ProcessState::Running && is_reached {
            *contact = None;
            let snapshot = match host {
                Host::Server(server) => self.info(world, server),
                _ => self.report(world, sentinel),
            };
            let reply = NodeReply::new(snapshot, Duration::ZERO, SystemTime::UNIX_EPOCH);
            let requested = Some(now);
            return (PollOutcome::Answered(NodeReply { requested, ..reply }), None);
        }
        if let Host::Sentinel(sentinel) = host {
            self.lists[sentinel] = None;
        }
        let failed = contact.get_or_insert(FailedContact { since: now, refused: 0 });
        if state == ProcessState::Dead && is_reached {
            failed.refused += 1;
            (PollOutcome::Failed(Reason::Refused), *contact)
        } else {
            failed.refused = 0;
            (PollOutcome::Missed(Reason::Timeout), *contact)
        }
    }

    /// Returns the INFO reply of a server.
    fn info(&mut self, world: &World, index: usize) -> NodeSnapshot {
        let server = &world.servers[index];
        let link = &server.link;
        self.polled[index] = Some(Polled {
            run: server.run,
            offset: server.offset,
            history: server.history,
            previous: server.previous,
            role: server.role,
            link_up: link.up,
            link_silence: world.now - link.last_io,
            was_linked: link.down_since.is_some(),
            writes: server.writes.len(),
            acknowledged: world.acknowledged,
        });
        self.text.clear();
        write_info(&mut self.text, world, index).expect("a string takes all text");
        NodeSnapshot::from_info(&self.text).expect("an INFO reply")
    }

    /// Returns the reply of a Sentinel. Its lists are read less often than the master.
    fn report(&mut self, world: &World, index: usize) -> NodeSnapshot {
        let sentinel = &world.sentinels.all[index];
        let of = (sentinel.master, sentinel.epoch);
        let known = self.lists[index].take().filter(|lists| {
            !self.needs_lists && lists.of == of && world.now < lists.read_at + LISTS_CADENCE
        });
        let lists = known.unwrap_or_else(|| {
            let listed = sentinel.servers.iter().enumerate();
            let replicas = listed
                .filter(|(server, watched)| *server != sentinel.master && watched.listed)
                .map(|(server, _)| entry(world, index, server));
            let usable = world.sentinels.peers(index, &world.network).count();
            let ok = usable >= QUORUM && usable * 2 > sentinel.voters();
            Lists {
                read_at: world.now,
                of,
                replicas: replicas.collect(),
                quorum: Quorum { ok, usable: Some(usable as u64) },
            }
        });
        let report = MasterReport {
            lists_age: Duration::from_millis(world.now - lists.read_at),
            master: entry(world, index, sentinel.master),
            replicas: Some(Arc::clone(&lists.replicas)),
            sentinels: Some(Arc::new([])),
            quorum: Some(lists.quorum),
        };
        self.lists[index] = Some(lists);
        let snapshot = self.sentinel_infos[index].clone();
        NodeSnapshot { sentinel: Some(Arc::new(SentinelReport::new(vec![report]))), ..snapshot }
    }
}

/// Writes the INFO reply of a server.
fn write_info(text: &mut String, world: &World, index: usize) -> std::fmt::Result {
    let server = &world.servers[index];
    let seconds = |since: Millis| (world.now - since) / 1000;
    // The first processes ran before the history.
    let earlier = if server.started == 0 { 1000 } else { 0 };
    write!(
        text,
        "run_id:{:x}\nuptime_in_seconds:{}\ntcp_port:6379\n",
        server.run,
        seconds(server.started) + earlier
    )?;
    match server.role {
        Role::Master => text.push_str("role:master\n"),
        Role::Replica(master) => write_link(text, server, master, world.now)?,
    }
    if let Some((id, until)) = server.previous {
        write!(text, "master_replid2:{id:040x}\nsecond_repl_offset:{until}\n")?;
    }
    write!(text, "master_replid:{:040x}\nmaster_repl_offset:{}\n", server.history, server.offset)?;
    write_replicas(text, world, index)?;
    write!(
        text,
        "rdb_changes_since_last_save:{}\nrdb_last_save_time:{}\nloading:0\naof_enabled:{}\n\
         rdb_last_bgsave_status:ok\ndb0:keys={},expires=0,avg_ttl=0\n",
        server.changes,
        1000 + server.last_save / 1000,
        u8::from(server.version.has_aof),
        server.writes.len(),
    )
}

/// Writes the lines about the link of a replica to its master.
fn write_link(text: &mut String, server: &Server, master: usize, now: Millis) -> std::fmt::Result {
    let link = &server.link;
    write!(text, "role:slave\nmaster_host:10.0.0.{master}\nmaster_port:6379\n")?;
    if link.up {
        let silence = (now - link.last_io) / 1000;
        write!(text, "master_link_status:up\nmaster_last_io_seconds_ago:{silence}\n")?;
    } else {
        text.push_str("master_link_status:down\nmaster_last_io_seconds_ago:-1\n");
        match link.down_since {
            Some(since) => {
                writeln!(text, "master_link_down_since_seconds:{}", (now - since) / 1000)?;
            }
            None => text.push_str("master_link_down_since_seconds:-1\n"),
        }
    }
    text.push_str("master_sync_in_progress:0\nslave_read_only:1\n");
    Ok(())
}

/// Writes the lines about the connected replicas of a server.
fn write_replicas(text: &mut String, world: &World, index: usize) -> std::fmt::Result {
    let replicas = world.servers.iter().enumerate().filter(|(_, replica)| {
        let link = &replica.link;
        replica.role == Role::Replica(index)
            && link.up
            && !link.closed
            && link.run == world.servers[index].run
            && replica.state != ProcessState::Dead
    });
    for (number, (replica, server)) in replicas.enumerate() {
        let lag = (world.now - server.link.acknowledged) / 1000;
        writeln!(
            text,
            "slave{number}:ip=10.0.0.{replica},port=6379,state=online,offset={},lag={lag}",
            server.offset
        )?;
    }
    Ok(())
}

/// Returns the entry of a server in the lists of a Sentinel.
fn entry(world: &World, index: usize, server: usize) -> SentinelEntry {
    let sentinel = &world.sentinels.all[index];
    let watched = &sentinel.servers[server];
    let silence = world.now - watched.replied_at;
    let down_for = sentinel.down_for(server, world.now).map(|millis| millis.to_string());
    let is_master = server == sentinel.master;
    let mut flags = if is_master { "master" } else { "slave" }.to_owned();
    if down_for.is_some() {
        flags.push_str(",s_down");
    }
    if silence > DOWN_AFTER / 2 || world.servers[server].state == ProcessState::Dead {
        flags.push_str(",disconnected");
    }
    let (silence, epoch) = (silence.to_string(), sentinel.epoch.to_string());
    let (name, ip) = (address(server), format!("10.0.0.{server}"));
    let run_id = watched.run.map(|run| format!("{run:x}")).unwrap_or_default();
    let (others, replicas) =
        ((sentinel.voters() - 1).to_string(), (world.servers.len() - 1).to_string());
    let (reported, upstream) = match watched.role {
        Role::Master => ("master", "?".to_owned()),
        Role::Replica(master) => ("slave", format!("10.0.0.{master}")),
    };
    let mut pairs = vec![
        ("name", if is_master { MASTER } else { &name }),
        ("ip", &*ip),
        ("port", "6379"),
        ("runid", &*run_id),
        ("flags", &*flags),
        ("role-reported", reported),
        ("last-ping-reply", &*silence),
        ("last-ok-ping-reply", &*silence),
    ];
    pairs.extend(down_for.as_deref().map(|down_for| ("s-down-time", down_for)));
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
