//! Masters, replicas and other Sentinels, as a Sentinel reports them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::layout::NumberedField;
use crate::names::{NameKind, bounded_name, is_bounded};
use crate::{Fields, Reply, Role, key_values};

/// Summary of a master that a Sentinel monitors. INFO sentinel: `masterN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterSummary {
    /// Name of the master in the configuration of the Sentinel.
    pub name: Box<str>,
    /// State of the master: `ok`, `sdown` or `odown`.
    pub status: Box<str>,
    /// Address of the master as this Sentinel knows it: `host:port`.
    pub address: Box<str>,
    /// Number of known replicas, including those that no longer exist.
    pub replicas: u64,
    /// Number of known Sentinels, including this one.
    pub sentinels: u64,
}

/// Details of all masters that a Sentinel monitors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SentinelReport {
    /// Sorted by name.
    masters: Vec<MasterReport>,
    /// Masters that were left out.
    left_out: LeftOut,
    /// Replicas and Sentinels that were left out, by the name of their master.
    left_out_of: BTreeMap<Box<str>, LeftOut>,
}

/// A parsed reply to SENTINEL MASTERS, REPLICAS or SENTINELS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SentinelList {
    /// The entries, up to the limit.
    pub entries: Vec<SentinelEntry>,
    /// Entries that were left out.
    pub left_out: LeftOut,
}

/// Numbers of entries that were left out of a list, other than malformed ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Entries beyond the limit.
    pub excess: usize,
    /// Entries with a name that is too long.
    pub long_names: usize,
}

/// Details of one master that a Sentinel monitors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterReport {
    /// The master. SENTINEL MASTERS.
    pub master: SentinelEntry,
    /// Replicas of the master, as last read. SENTINEL REPLICAS.
    pub replicas: Option<Arc<[SentinelEntry]>>,
    /// Other Sentinels of the master, as last read. SENTINEL SENTINELS.
    pub sentinels: Option<Arc<[SentinelEntry]>>,
    /// Result of the quorum check, as last read. SENTINEL CKQUORUM.
    pub quorum: Option<Quorum>,
    /// Time between the request for these lists and the request for the master. The lists are read
    /// less often.
    pub lists_age: Duration,
}

/// A master, a replica or another Sentinel, as a Sentinel reports it.
///
/// An entry of SENTINEL MASTERS, REPLICAS or SENTINELS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SentinelEntry {
    /// Configured name of a master, `host:port` of a replica, or ID of a Sentinel. `name`.
    pub name: Box<str>,
    /// IP address or host name. `ip`.
    pub ip: Box<str>,
    /// Port. `port`.
    pub port: u16,
    /// Run ID; empty if the Sentinel never reached the process. `runid`.
    pub run_id: Box<str>,
    /// State as this Sentinel sees it: ok, sdown or odown. `flags`.
    pub down_state: DownState,
    /// A failover of this master is running. `flags`.
    pub failing_over: bool,
    /// Time since the process became subjectively down. `s-down-time`; `None` if it is up.
    pub down_for: Option<Duration>,
    /// Role that the process reported to the Sentinel. `role-reported`.
    pub role_reported: Option<Role>,
    /// Time since the last valid reply to PING. `last-ok-ping-reply`.
    pub last_ok_ping: Option<Duration>,
    /// Time since the last reply to PING, valid or not. `last-ping-reply`.
    pub last_ping_reply: Option<Duration>,
    /// The Sentinel has no connection to the process. `flags`.
    pub disconnected: bool,
    /// Settings and counts of a master; `None` for replicas and Sentinels.
    pub settings: Option<MasterSettings>,
    /// Host and port of the master that a replica follows. `master-host` and `master-port`; `None`
    /// if the Sentinel never reached the replica.
    pub follows: Option<(Box<str>, u16)>,
    /// Properties of a replica that decide if the Sentinel would promote it; `None` for masters and
    /// Sentinels.
    pub promotion: Option<PromotionProperties>,
}

/// Properties of a replica that decide if a Sentinel would promote it, as the replica reported them
/// to the Sentinel. An entry of SENTINEL REPLICAS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PromotionProperties {
    /// Priority: a replica with 0 is never promoted, and lower ones come first. `slave-priority`.
    pub priority: u64,
    /// Replication offset, bytes. `slave-repl-offset`.
    pub offset: u64,
    /// Time since the link to the master went down; zero while it is up, and on a replica from
    /// Redis 6.2 on whose link was never up. `master-link-down-time`.
    pub link_down_for: Duration,
    /// Time since the replica last replied to INFO, huge if it never did. `info-refresh`.
    pub info_age: Duration,
}

/// State of a process, as a Sentinel sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum DownState {
    /// Neither subjectively nor objectively down: `ok`.
    #[default]
    Up,
    /// This Sentinel gets no valid replies, or a master has reported to be a replica, or has been
    /// loading, for too long: `sdown`.
    SubjectivelyDown,
    /// So it is for as many Sentinels as the quorum requires: `odown`. Only for masters.
    ObjectivelyDown,
}

/// Settings and counts of a master. An entry of SENTINEL MASTERS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MasterSettings {
    /// Configuration epoch, which each failover increases. `config-epoch`.
    pub epoch: u64,
    /// Number of Sentinels that must agree that the master is down. `quorum`.
    pub quorum: u64,
    /// Number of known replicas, including those that no longer exist. `num-slaves`.
    pub replicas: u64,
    /// Number of other known Sentinels, including those that no longer exist.
    /// `num-other-sentinels`.
    pub other_sentinels: u64,
    /// Silence after which the Sentinel marks the master as subjectively down.
    /// `down-after-milliseconds`.
    pub down_after: Duration,
    /// Time limit of the steps of a failover. `failover-timeout`.
    pub failover_timeout: Duration,
    /// Number of replicas that are reconfigured at the same time during a failover.
    /// `parallel-syncs`.
    pub parallel_syncs: u64,
}

/// Result of SENTINEL CKQUORUM.
///
/// ```
/// use snapshot::{Quorum, Reply};
///
/// let text = "OK 3 usable Sentinels. Quorum and failover authorization can be reached";
/// let quorum = Quorum::parse(&Reply::Text(text.into()));
/// assert_eq!(quorum, Some(Quorum { ok: true, usable: Some(3) }));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorum {
    /// The reachable Sentinels suffice for quorum and majority.
    pub ok: bool,
    /// Number of reachable Sentinels, including this one.
    pub usable: Option<u64>,
}

/// Maximum number of entries that are kept of one list.
const MAX_ENTRIES: usize = 1024;

pub(crate) fn read(fields: &Fields) -> Vec<MasterSummary> {
    let value = |line, name, kind| {
        bounded_name(kind, key_values::get(line, name)?).filter(|value| !value.is_empty())
    };
    let summary = |(_, line)| {
        Some(MasterSummary {
            name: value(line, "name", NameKind::Master)?,
            status: value(line, "status", NameKind::LabelValue)?,
            address: value(line, "address", NameKind::Address)?,
            replicas: key_values::parse(line, "slaves")?,
            sentinels: key_values::parse(line, "sentinels")?,
        })
    };
    fields.numbered(NumberedField::Master).take(MAX_ENTRIES).filter_map(summary).collect()
}

impl SentinelReport {
    /// Returns a report about these masters.
    pub fn new(mut masters: Vec<MasterReport>) -> Self {
        masters.sort_by(|a, b| a.master.name.cmp(&b.master.name));
        SentinelReport { masters, ..SentinelReport::default() }
    }

    /// Adds the numbers of masters that were left out, and those of the replicas and Sentinels of
    /// each master.
    #[must_use]
    pub fn with_left_out(
        mut self,
        masters: LeftOut,
        lists: impl IntoIterator<Item = (Box<str>, LeftOut)>,
    ) -> Self {
        self.left_out = masters;
        self.left_out_of = lists.into_iter().filter(|(_, left_out)| !left_out.is_empty()).collect();
        self
    }

    /// Returns the numbers of masters that were left out.
    pub fn left_out(&self) -> LeftOut {
        self.left_out
    }

    /// Returns the numbers of replicas and Sentinels of a master that were left out.
    pub fn left_out_of(&self, master: &str) -> LeftOut {
        self.left_out_of.get(master).copied().unwrap_or_default()
    }

    /// Returns the details of one master; `None` if the Sentinel does not monitor it.
    pub fn master(&self, name: &str) -> Option<&MasterReport> {
        let index = self.masters.binary_search_by(|report| (*report.master.name).cmp(name)).ok()?;
        Some(&self.masters[index])
    }

    /// Returns the details of every master, sorted by name.
    pub fn masters(&self) -> &[MasterReport] {
        &self.masters
    }
}

impl SentinelList {
    /// Parses the reply to SENTINEL MASTERS, REPLICAS or SENTINELS. Skips malformed entries.
    pub fn parse(reply: &Reply) -> Self {
        let items = reply.items();
        let mut list = SentinelList::default();
        list.left_out.excess = items.len().saturating_sub(MAX_ENTRIES);
        for item in items.iter().take(MAX_ENTRIES) {
            match SentinelEntry::read(texts(item)) {
                Ok(entry) => list.entries.push(entry),
                Err(SkippedEntry::LongName) => list.left_out.long_names += 1,
                Err(SkippedEntry::Malformed) => {}
            }
        }
        list
    }
}

impl LeftOut {
    /// Returns true if nothing was left out.
    pub fn is_empty(self) -> bool {
        self == LeftOut::default()
    }

    /// Returns the sums of both numbers.
    #[must_use]
    pub fn plus(self, other: LeftOut) -> Self {
        LeftOut {
            excess: self.excess + other.excess,
            long_names: self.long_names + other.long_names,
        }
    }
}

/// Returns the names and values of an entry.
fn texts<'a>(reply: &'a Reply<'_>) -> impl Iterator<Item = (&'a str, &'a str)> {
    reply.pairs().filter_map(|(name, value)| Some((name.text()?, value.text()?)))
}

/// Reasons for which an entry is left out.
enum SkippedEntry {
    Malformed,
    LongName,
}

impl SentinelEntry {
    /// Parses the reply to SENTINEL MASTER, or one entry of a list.
    pub fn parse(reply: &Reply) -> Option<Self> {
        Self::from_pairs(texts(reply))
    }

    /// Parses alternating names and values. Returns `None` if host or port is missing, a number is
    /// malformed, or a name is too long.
    ///
    /// ```
    /// use snapshot::{DownState, SentinelEntry};
    ///
    /// let pairs = [("ip", "10.0.0.5"), ("port", "6379"), ("flags", "s_down,slave")];
    /// let replica = SentinelEntry::from_pairs(pairs.into_iter()).expect("an address");
    /// assert_eq!(replica.down_state, DownState::SubjectivelyDown);
    /// assert!(replica.settings.is_none());
    /// ```
    pub fn from_pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Option<Self> {
        Self::read(pairs).ok()
    }

    fn read<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, SkippedEntry> {
        let (mut entry, mut settings, mut is_master) =
            (SentinelEntry::default(), MasterSettings::default(), false);
        let (mut host, mut port) = (None, None);
        let (mut promotion, mut is_replica) = (PromotionProperties::default(), false);
        let millis = |text: &str| text.parse().ok().map(Duration::from_millis);
        let number = |text: &str| text.parse().map_err(|_| SkippedEntry::Malformed);
        let name_of = |kind, text| bounded_name(kind, text).ok_or(SkippedEntry::LongName);
        for (name, value) in pairs {
            match name {
                "name" => entry.name = name_of(NameKind::Address, value)?,
                "ip" => entry.ip = name_of(NameKind::Host, value)?,
                "port" => entry.port = value.parse().map_err(|_| SkippedEntry::Malformed)?,
                "runid" => entry.run_id = name_of(NameKind::RunId, value)?,
                "flags" => {
                    entry.apply_flags(value);
                    is_master = value.split(',').any(|flag| flag == "master");
                }
                "s-down-time" => entry.down_for = millis(value),
                "last-ok-ping-reply" => entry.last_ok_ping = millis(value),
                "last-ping-reply" => entry.last_ping_reply = millis(value),
                "role-reported" => {
                    entry.role_reported = match value {
                        "master" => Some(Role::Master),
                        "slave" => Some(Role::Replica),
                        _ => None,
                    }
                }
                "config-epoch" => settings.epoch = number(value)?,
                "quorum" => settings.quorum = number(value)?,
                "num-slaves" => settings.replicas = number(value)?,
                "num-other-sentinels" => settings.other_sentinels = number(value)?,
                "down-after-milliseconds" => {
                    settings.down_after = millis(value).unwrap_or_default();
                }
                "failover-timeout" => settings.failover_timeout = millis(value).unwrap_or_default(),
                "parallel-syncs" => settings.parallel_syncs = number(value).unwrap_or_default(),
                "slave-priority" => {
                    (promotion.priority, is_replica) = (number(value)?, true);
                }
                "slave-repl-offset" => promotion.offset = number(value).unwrap_or_default(),
                // A link that was never up has a negative time from 6.2 on.
                "master-link-down-time" => {
                    promotion.link_down_for = millis(value).unwrap_or_default();
                }
                "info-refresh" => promotion.info_age = millis(value).unwrap_or_default(),
                "master-host" => host = Some(value),
                "master-port" => port = value.parse().ok(),
                _ => {}
            }
        }
        // A Sentinel writes `?` and 0 for a replica that it never reached.
        entry.follows = host
            .zip(port)
            .filter(|(host, port)| *host != "?" && *port > 0)
            .and_then(|(host, port)| Some((bounded_name(NameKind::Host, host)?, port)));
        if is_master && !is_bounded(NameKind::Master, &entry.name) {
            return Err(SkippedEntry::LongName);
        }
        entry.settings = is_master.then_some(settings);
        entry.promotion = is_replica.then_some(promotion);
        let has_address = !entry.ip.is_empty() && entry.port > 0;
        has_address.then_some(entry).ok_or(SkippedEntry::Malformed)
    }

    /// Returns names and values from which [`SentinelEntry::from_pairs`] parses the same entry.
    ///
    /// ```
    /// use snapshot::SentinelEntry;
    ///
    /// let pairs = [("ip", "10.0.0.5"), ("port", "6379"), ("flags", "s_down,slave")];
    /// let replica = SentinelEntry::from_pairs(pairs.into_iter()).expect("an address");
    /// let pairs = replica.pairs();
    /// assert!(pairs.contains(&("flags", "s_down".to_owned())));
    /// let pairs = pairs.iter().map(|(name, value)| (*name, value.as_str()));
    /// assert_eq!(SentinelEntry::from_pairs(pairs), Some(replica));
    /// ```
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = vec![
            ("name", self.name.to_string()),
            ("ip", self.ip.to_string()),
            ("port", self.port.to_string()),
            ("runid", self.run_id.to_string()),
            ("flags", self.flags().join(",")),
        ];
        let mut add_millis = |name, value: Option<Duration>| {
            pairs.extend(value.map(|value| (name, value.as_millis().to_string())));
        };
        add_millis("s-down-time", self.down_for);
        add_millis("last-ok-ping-reply", self.last_ok_ping);
        add_millis("last-ping-reply", self.last_ping_reply);
        let role = match self.role_reported {
            Some(Role::Master) => Some("master"),
            Some(Role::Replica) => Some("slave"),
            Some(Role::Sentinel) | None => None,
        };
        pairs.extend(role.map(|role| ("role-reported", role.to_owned())));
        if let Some((host, port)) = &self.follows {
            pairs.extend([("master-host", host.to_string()), ("master-port", port.to_string())]);
        }
        let millis = |duration: Duration| duration.as_millis().to_string();
        if let Some(promotion) = &self.promotion {
            pairs.extend([
                ("slave-priority", promotion.priority.to_string()),
                ("slave-repl-offset", promotion.offset.to_string()),
                ("master-link-down-time", millis(promotion.link_down_for)),
                ("info-refresh", millis(promotion.info_age)),
            ]);
        }
        if let Some(settings) = &self.settings {
            pairs.extend([
                ("config-epoch", settings.epoch.to_string()),
                ("quorum", settings.quorum.to_string()),
                ("num-slaves", settings.replicas.to_string()),
                ("num-other-sentinels", settings.other_sentinels.to_string()),
                ("down-after-milliseconds", millis(settings.down_after)),
                ("failover-timeout", millis(settings.failover_timeout)),
                ("parallel-syncs", settings.parallel_syncs.to_string()),
            ]);
        }
        pairs
    }

    /// Returns the flags that [`SentinelEntry::from_pairs`] reads.
    fn flags(&self) -> Vec<&'static str> {
        let down = match self.down_state {
            DownState::Up => None,
            DownState::SubjectivelyDown => Some("s_down"),
            DownState::ObjectivelyDown => Some("o_down"),
        };
        [
            down,
            self.settings.is_some().then_some("master"),
            self.failing_over.then_some("failover_in_progress"),
            self.disconnected.then_some("disconnected"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn apply_flags(&mut self, flags: &str) {
        for flag in flags.split(',') {
            match flag {
                "s_down" => self.down_state = self.down_state.max(DownState::SubjectivelyDown),
                "o_down" => self.down_state = DownState::ObjectivelyDown,
                "failover_in_progress" => self.failing_over = true,
                "disconnected" => self.disconnected = true,
                _ => {}
            }
        }
    }

    /// Returns whether the process is subjectively or objectively down.
    pub fn down(&self) -> bool {
        self.down_state != DownState::Up
    }
}

impl DownState {
    /// The labels of all states.
    pub const LABELS: [&str; 3] = [
        DownState::Up.label(),
        DownState::SubjectivelyDown.label(),
        DownState::ObjectivelyDown.label(),
    ];

    /// Returns `ok`, `sdown` or `odown`, as in INFO sentinel.
    pub const fn label(self) -> &'static str {
        match self {
            DownState::Up => "ok",
            DownState::SubjectivelyDown => "sdown",
            DownState::ObjectivelyDown => "odown",
        }
    }
}

impl Quorum {
    /// Parses the reply to SENTINEL CKQUORUM. Returns `None` unless it is `OK` or `NOQUORUM`.
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

    /// Returns the first words of a reply from which the same result is parsed.
    ///
    /// ```
    /// use snapshot::Quorum;
    ///
    /// assert_eq!(Quorum { ok: true, usable: Some(3) }.text(), "OK 3");
    /// assert_eq!(Quorum { ok: false, usable: None }.text(), "NOQUORUM");
    /// ```
    pub fn text(self) -> String {
        let code = if self.ok { "OK" } else { "NOQUORUM" };
        self.usable.map_or_else(|| code.to_owned(), |usable| format!("{code} {usable}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_are_left_out_are_counted() {
        let entry = |name: &str| {
            let pairs = ["name", name, "ip", "10.0.0.1", "port", "1", "flags", "master"];
            Reply::Array(pairs.map(|text| Reply::Text(text.to_owned().into())).into())
        };
        let long = "m".repeat(300);
        let mut items: Vec<_> = (0..1100).map(|number| entry(&number.to_string())).collect();
        items[0] = entry(&long);
        items[1] = Reply::Integer(1);
        let list = SentinelList::parse(&Reply::Array(items));
        let left_out = LeftOut { excess: 1100 - MAX_ENTRIES, long_names: 1 };
        assert_eq!((list.entries.len(), list.left_out), (MAX_ENTRIES - 2, left_out));
        let of_lists = [("a".into(), left_out), ("b".into(), LeftOut::default())];
        let report = SentinelReport::new(Vec::new()).with_left_out(left_out, of_lists);
        assert_eq!((report.left_out(), report.left_out_of("a")), (left_out, left_out));
        assert!(report.left_out_of("b").is_empty() && report.left_out_of("c").is_empty());
    }
}
