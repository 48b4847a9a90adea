//! Comparison of the primary, of outages, loops and orphans.

use super::{Comparison, Rule, is_down};
use crate::network::Host;
use crate::server::{ProcessState, Role, Server};
use crate::world::World;
use topology::LinkState;

impl Comparison<'_> {
    pub(super) fn compare_primary(&mut self) {
        let masters = self.masters();
        if let Some(primary) = self.certain_primary() {
            self.compare_certain(primary, &masters);
            for server in 0..self.world.servers.len() {
                self.compare_orphan(server, primary);
            }
        }
        let related = masters
            .iter()
            .any(|a| masters.iter().any(|b| a != b && are_related(self.world, *a, *b)));
        let is_reported = !self.shard.split_brain.masters.is_empty();
        let are_known = masters.iter().all(|master| self.node(*master).is_some());
        if related && are_known {
            self.check(Rule::SplitBrain, 0, is_reported, || {
                format!("{masters:?} are masters of one history, no split brain")
            });
        }
        self.compare_outage(&masters);
        self.compare_loop();
        self.compare_healthy();
    }

    /// Compares the undisputed primary.
    fn compare_certain(&mut self, primary: usize, masters: &[usize]) {
        let world = self.world;
        let server = &world.servers[primary];
        if self.replies(primary) {
            self.check(Rule::PrimaryIsMaster, primary, server.is_master(), || {
                format!("the primary {primary} replies as {:?}", server.role)
            });
        }
        if let Some(named) = self.named_by_sentinels()
            && masters.contains(&named)
        {
            self.check(Rule::PrimaryOfSentinels, primary, named == primary, || {
                format!("the Sentinels name {named}, the verdict {primary} is undisputed")
            });
        } else if world.sentinels.all.is_empty()
            && let Some(used) = self.in_use(masters)
        {
            self.check(Rule::PrimaryInUse, primary, used == primary, || {
                format!("clients and replicas use {used}, {primary} is undisputed")
            });
        }
        let takes_writes = is_written(world, primary);
        let writable = self.shard.writable;
        if self.replies(primary) && takes_writes {
            self.check(Rule::Writable, primary, writable != Some(false), || {
                format!("the primary {primary} takes writes, but writable is {writable:?}")
            });
        }
        let runs = server.is_running();
        self.check(Rule::NotWritable, primary, runs || writable != Some(true), || {
            format!("the primary {primary} is {:?}, but writable", server.state)
        });
    }

    /// Returns the server that all Sentinels which run name, if they are a majority that the
    /// exporter and the server can reach.
    fn named_by_sentinels(&self) -> Option<usize> {
        let world = self.world;
        let seen: Vec<_> = (world.sentinels.all.iter().enumerate())
            .filter(|(index, sentinel)| {
                sentinel.is_running()
                    && world.network.connects(Host::Exporter, Host::Sentinel(*index))
            })
            .collect();
        let (_, first) = seen.first()?;
        let master = first.master;
        let agrees = seen
            .iter()
            .all(|(_, sentinel)| sentinel.master == master && !sentinel.is_down(master, world.now));
        (agrees && seen.len() * 2 > world.sentinels.all.len()).then_some(master)
    }

    /// Returns the only master that clients write to and replicas follow.
    fn in_use(&self, masters: &[usize]) -> Option<usize> {
        let world = self.world;
        let written: Vec<_> =
            masters.iter().copied().filter(|server| is_written(world, *server)).collect();
        let [used] = written[..] else { return None };
        let follows = |server: &Server, master| server.role == Role::Replica(master);
        let replicas = || world.servers.iter().filter(|server| server.is_running());
        let others = replicas()
            .any(|server| masters.iter().any(|master| *master != used && follows(server, *master)));
        (!others && replicas().any(|server| follows(server, used) && server.link.up))
            .then_some(used)
    }

    fn compare_orphan(&mut self, server: usize, primary: usize) {
        let world = self.world;
        let Role::Replica(upstream) = world.servers[server].role else { return };
        let Some(node) = self.node(server).filter(|_| self.replies(server)) else { return };
        let orphan = node.orphan;
        let (link, above) = (&world.servers[server].link, &world.servers[upstream]);
        let is_linked = link.up && link.run == above.run && above.is_running();
        if upstream == primary && is_linked && self.replies(primary) {
            self.check(Rule::NoOrphan, server, orphan.is_none(), || {
                format!("{server} follows the primary {primary}, but is an orphan: {orphan:?}")
            });
        }
        // Of a node that never replied it is not known that it ran.
        let is_dead = above.state != ProcessState::Running && self.answered[upstream];
        let is_stale = self.replies(upstream) && above.is_master() && upstream != primary;
        if self.node(upstream).is_some() && self.replies(primary) && (is_dead || is_stale) {
            self.check(Rule::Orphan, server, orphan.is_some(), || {
                format!("{server} follows {upstream}, which is {:?}, but is no orphan", above.state)
            });
        }
    }

    fn compare_outage(&mut self, masters: &[usize]) {
        let why = self.shard.no_primary.why;
        // A master without any relation to the last primary is not accepted as its successor,
        // unless the last primary follows it.
        let last = self.shard.last_primary.and_then(|last| self.server_of(last));
        let follows = |last: usize, master: usize| {
            self.world.sentinels.all.is_empty()
                && self.replies(last)
                && self.world.servers[last].role == Role::Replica(master)
        };
        let is_candidate = |master: &usize| {
            let is_accepted = |last| self.are_related(*master, last) || follows(last, *master);
            self.node(*master).is_some() && last.is_none_or(is_accepted)
        };
        if masters.iter().any(is_candidate) {
            self.check(Rule::HasPrimary, 0, why.is_none(), || {
                format!("{masters:?} reply as masters, but no primary: {why:?}")
            });
        }
        let servers = &self.world.servers;
        let any_master = servers.iter().any(|server| server.is_running() && server.is_master());
        // A silent node whose state is not decided may be unreachable only for the exporter.
        let are_decided = (0..servers.len()).all(|server| {
            let node = self.node(server).filter(|_| self.is_seen(server));
            node.is_some_and(|node| servers[server].is_running() || is_down(node.presence))
        });
        if !any_master && are_decided {
            self.check(Rule::HasNoPrimary, 0, why.is_some(), || {
                "no server is a master, but that is not reported".to_owned()
            });
        }
    }

    fn compare_loop(&mut self) {
        let servers = 0..self.world.servers.len();
        let looping: Vec<_> = servers
            .clone()
            .filter(|server| self.replies(*server) && self.world.is_in_loop(*server))
            .collect();
        let all_reply =
            servers.clone().all(|server| self.replies(server) && self.node(server).is_some());
        let is_reported = !self.shard.replication_loop.is_empty();
        if all_reply {
            self.check(Rule::Loop, 0, looping.is_empty() != is_reported, || {
                format!("servers in a loop: {looping:?}, reported: {is_reported}")
            });
        }
    }

    fn compare_healthy(&mut self) {
        let Some(master) = self.world.healthy_master() else { return };
        let shard = self.shard;
        let mut wrong = Vec::new();
        let mut expect = |holds: bool, what: &'static str| {
            if !holds {
                wrong.push(what);
            }
        };
        expect(self.certain_primary() == Some(master), "the primary");
        expect(shard.masters.len() == 1 && shard.stale_masters.is_empty(), "masters");
        expect(shard.split_brain.masters.is_empty(), "a split brain");
        expect(shard.lost_writes.diverging.is_empty(), "diverging writes");
        expect(shard.no_primary.why.is_none(), "no primary");
        expect(shard.replication_loop.is_empty(), "a loop");
        expect(shard.replicas == self.world.servers.len() - 1, "replicas");
        expect(shard.writable == Some(true), "writable");
        for server in 0..self.world.servers.len() {
            let is_well = self.node(server).is_some_and(|node| {
                let is_connected = server == master || node.link.state == Some(LinkState::Up);
                node.up() == Some(true) && node.orphan.is_none() && is_connected
            });
            expect(is_well, "a node");
        }
        self.check(Rule::Healthy, 0, wrong.is_empty(), || {
            format!("everything follows {master}, but wrong: {wrong:?}")
        });
    }
}

/// Returns true if a client has just written to a server.
fn is_written(world: &World, server: usize) -> bool {
    world.written_at[server].is_some_and(|at| world.now < at + 500)
}

/// Returns true if one server continues the present history of the other.
fn are_related(world: &World, a: usize, b: usize) -> bool {
    let continues = |new: &Server, old: &Server| {
        new.history == old.history || new.previous.is_some_and(|(id, _)| id == old.history)
    };
    let (a, b) = (&world.servers[a], &world.servers[b]);
    continues(a, b) || continues(b, a)
}
