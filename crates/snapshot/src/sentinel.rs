//! What a Sentinel says of the masters it watches, of their replicas, and of the other Sentinels.

use std::sync::Arc;
use std::time::Duration;

use crate::{Fields, Reply, Role, list};

/// The summary of one master. INFO sentinel: `masterN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterSummary {
    /// The name that clients ask for.
    pub name: Box<str>,
    /// `ok`, `sdown` or `odown`.
    pub status: Box<str>,
    /// Where it is, as this Sentinel believes.
    pub address: Box<str>,
    /// Replicas known, those that are gone included.
    pub replicas: u64,
    /// Sentinels known, this one included.
    pub sentinels: u64,
}

/// What a Sentinel says of all masters that it watches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SentinelReport {
    /// Sorted by name.
    masters: Vec<MasterReport>,
}

/// What a Sentinel says of one master that it watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterReport {
    /// The master itself. SENTINEL MASTERS.
    pub master: WatchedMaster,
    /// Its replicas, as last read. SENTINEL REPLICAS.
    pub replicas: Option<Arc<[WatchedMaster]>>,
    /// The other Sentinels, as last read. SENTINEL SENTINELS.
    pub sentinels: Option<Arc<[WatchedMaster]>>,
    /// Whether a failover could be agreed on, as last read. SENTINEL CKQUORUM.
    pub quorum: Option<Quorum>,
}

/// One process as a Sentinel sees it: a master, a replica, or another Sentinel. What was not said is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchedMaster {
    /// Of a master the name that clients ask for; of a replica its address; of a Sentinel its id.
    pub name: Box<str>,
    /// Address or host name.
    pub ip: Box<str>,
    /// Port.
    pub port: u16,
    /// Its run id; empty when it was never reached.
    pub run_id: Box<str>,
    /// Whether the Sentinel holds it to be there.
    pub held: MasterState,
    /// It is being replaced.
    pub failing_over: bool,
    /// For how long the Sentinel has held it to be down. `s-down-time`.
    pub down_for: Option<Duration>,
    /// What it said of its own role. `role-reported`.
    pub role_reported: Option<Role>,
    /// Time since it last answered a PING as it should. `last-ok-ping-reply`.
    pub answered_before: Option<Duration>,
    /// What only a master has.
    pub settings: Option<MasterSettings>,
    /// Host and port of the master that a replica follows.
    pub follows: Option<(Box<str>, u16)>,
}

/// Whether a Sentinel holds a process to be there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum MasterState {
    /// It does.
    #[default]
    Up,
    /// It does not, for itself.
    SubjectivelyDown,
    /// Nor do as many others as must agree.
    ObjectivelyDown,
}

/// What a Sentinel says of a master alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MasterSettings {
    /// The epoch of the configuration: a failover raises it. `config-epoch`.
    pub epoch: u64,
    /// Sentinels that must agree that it is down. `quorum`.
    pub quorum: u64,
    /// Replicas known, those that are gone included. `num-slaves`.
    pub replicas: u64,
    /// Other Sentinels known, those that are gone included. `num-other-sentinels`.
    pub others: u64,
    /// How long it must be silent to be held down. `down-after-milliseconds`.
    pub down_after: Duration,
    /// `failover-timeout`.
    pub failover_timeout: Duration,
    /// Replicas that are given the new master at a time. `parallel-syncs`.
    pub parallel_syncs: u64,
}

/// Whether the Sentinels that can be reached suffice for a failover. SENTINEL CKQUORUM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorum {
    /// They do.
    pub ok: bool,
    /// Sentinels that can be reached, this one included.
    pub usable: Option<u64>,
}

/// The most processes that are kept of one list.
const MAX_WATCHED: usize = 1024;

pub(crate) fn read(fields: &Fields) -> Vec<MasterSummary> {
    let summary = |(_, line)| {
        Some(MasterSummary {
            name: list::name(list::get(line, "name")?)?,
            status: list::name(list::get(line, "status")?)?,
            address: list::name(list::get(line, "address")?)?,
            replicas: list::parse(line, "slaves")?,
            sentinels: list::parse(line, "sentinels")?,
        })
    };
    list::numbered(fields, "master", MAX_WATCHED).into_iter().filter_map(summary).collect()
}

// === impl SentinelReport ===

impl SentinelReport {
    /// Puts together what was said of each master.
    pub fn new(mut masters: Vec<MasterReport>) -> Self {
        masters.sort_by(|a, b| a.master.name.cmp(&b.master.name));
        SentinelReport { masters }
    }

    /// What is said of one master; `None` when the Sentinel does not watch it.
    pub fn of(&self, name: &str) -> Option<&MasterReport> {
        let place = self.masters.binary_search_by(|report| (*report.master.name).cmp(name)).ok()?;
        Some(&self.masters[place])
    }

    /// What is said of each master, sorted by name.
    pub fn masters(&self) -> &[MasterReport] {
        &self.masters
    }
}

// === impl Watched ===

impl WatchedMaster {
    /// Reads a reply to SENTINEL MASTERS, REPLICAS or SENTINELS. What it does not understand is left out.
    pub fn parse_list(reply: &Reply) -> Vec<Self> {
        reply.items().iter().take(MAX_WATCHED).filter_map(Self::parse).collect()
    }

    /// Reads a reply to SENTINEL MASTER.
    pub fn parse(reply: &Reply) -> Option<Self> {
        Self::from_pairs(
            reply.pairs().filter_map(|(name, value)| Some((name.text()?, value.text()?))),
        )
    }

    /// Reads names and values. `None` without an address.
    pub fn from_pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Option<Self> {
        let (mut watched, mut settings, mut is_master) =
            (WatchedMaster::default(), MasterSettings::default(), false);
        let (mut host, mut port) = (None, None);
        let number = |text: &str| text.parse().ok();
        let millis = |text: &str| number(text).map(Duration::from_millis);
        for (name, value) in pairs {
            match name {
                "name" => watched.name = value.into(),
                "ip" => watched.ip = value.into(),
                "port" => watched.port = value.parse().ok()?,
                "runid" => watched.run_id = value.into(),
                "flags" => {
                    watched.flag(value);
                    is_master = value.split(',').any(|flag| flag == "master");
                }
                "s-down-time" => watched.down_for = millis(value),
                "last-ok-ping-reply" => watched.answered_before = millis(value),
                "role-reported" => {
                    watched.role_reported = match value {
                        "master" => Some(Role::Master),
                        "slave" => Some(Role::Replica),
                        _ => None,
                    }
                }
                "config-epoch" => settings.epoch = number(value)?,
                "quorum" => settings.quorum = number(value)?,
                "num-slaves" => settings.replicas = number(value)?,
                "num-other-sentinels" => settings.others = number(value)?,
                "down-after-milliseconds" => {
                    settings.down_after = millis(value).unwrap_or_default();
                }
                "failover-timeout" => settings.failover_timeout = millis(value).unwrap_or_default(),
                "parallel-syncs" => settings.parallel_syncs = number(value).unwrap_or_default(),
                "master-host" => host = Some(value),
                "master-port" => port = value.parse().ok(),
                _ => {}
            }
        }
        // A replica that was never reached names no master.
        watched.follows = host
            .zip(port)
            .filter(|(host, port)| *host != "?" && *port > 0)
            .map(|(host, port)| (host.into(), port));
        watched.settings = is_master.then_some(settings);
        (!watched.ip.is_empty() && watched.port > 0).then_some(watched)
    }

    fn flag(&mut self, flags: &str) {
        for flag in flags.split(',') {
            match flag {
                "s_down" => self.held = self.held.max(MasterState::SubjectivelyDown),
                "o_down" => self.held = MasterState::ObjectivelyDown,
                "failover_in_progress" => self.failing_over = true,
                _ => {}
            }
        }
    }

    /// The Sentinel holds it to be down.
    pub fn down(&self) -> bool {
        self.held != MasterState::Up
    }
}

// === impl Held ===

impl MasterState {
    /// Every value, as INFO writes it.
    pub const LABELS: [&str; 3] = [
        MasterState::Up.label(),
        MasterState::SubjectivelyDown.label(),
        MasterState::ObjectivelyDown.label(),
    ];

    /// As INFO writes it: `ok`, `sdown` or `odown`.
    pub const fn label(self) -> &'static str {
        match self {
            MasterState::Up => "ok",
            MasterState::SubjectivelyDown => "sdown",
            MasterState::ObjectivelyDown => "odown",
        }
    }
}

// === impl Quorum ===

impl Quorum {
    /// Reads a reply to SENTINEL CKQUORUM. `None` when it says neither.
    pub fn parse(reply: &Reply) -> Option<Self> {
        let usable = |text: &str| text.split(' ').nth(1)?.parse().ok();
        match reply {
            Reply::Text(text) if text.starts_with("OK") => {
                Some(Quorum { ok: true, usable: usable(text) })
            }
            Reply::Error(error) if error.code == "NOQUORUM" => {
                Some(Quorum { ok: false, usable: usable(&error.text) })
            }
            _ => None,
        }
    }
}
