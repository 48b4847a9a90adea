//! Commands to read from a Sentinel in addition to INFO.
//!
//! Every poll reads the list of masters. The replicas, Sentinels and quorum of the masters that are
//! polled by a deployment are read with a slower cadence.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use snapshot::{MasterReport, Quorum, SentinelEntry, SentinelReport};
use tokio::time::Instant;

use super::command::PollCommand;
use super::replies::{Batch, RefusedCommand};
use super::source::Source;

/// Time between two reads of the details of one master, unless a Sentinel event concerns it.
const CADENCE: Duration = Duration::from_secs(10);

/// Names of the masters whose details are read.
pub(crate) type MasterNames = Arc<[Arc<str>]>;

/// Schedule and last data of one Sentinel.
pub(super) struct SentinelPlan {
    requested: MasterNames,
    masters: Source<Vec<SentinelEntry>>,
    replicas: Source<()>,
    sentinels: Source<()>,
    quorum: Source<()>,
    details: BTreeMap<Arc<str>, MasterDetails>,
    /// Time at which the last batch was sent.
    sent_at: Option<Instant>,
    /// Time at which the list of masters was last requested.
    masters_sent_at: Option<Instant>,
}

/// Details of one master, and the time of their next read.
#[derive(Default)]
struct MasterDetails {
    /// Time of the next read; `None` is at once.
    next_at: Option<Instant>,
    /// Master that the details belong to. Another master has other replicas.
    identity: Option<MasterIdentity>,
    replicas: Option<Arc<[SentinelEntry]>>,
    sentinels: Option<Arc<[SentinelEntry]>>,
    quorum: Option<Quorum>,
    /// Time at which these data were last requested.
    sent_at: Option<Instant>,
    /// Error replies in a row: to SENTINEL REPLICAS, SENTINELS and CKQUORUM.
    errors: [u32; 3],
}

/// Address and configuration epoch of a master.
#[derive(Debug, PartialEq, Eq)]
struct MasterIdentity {
    ip: Box<str>,
    port: u16,
    epoch: u64,
}

impl SentinelPlan {
    pub(super) fn new() -> Self {
        SentinelPlan {
            requested: MasterNames::default(),
            masters: Source::new("SENTINEL MASTERS", Duration::ZERO),
            replicas: Source::new("SENTINEL REPLICAS", Duration::ZERO),
            sentinels: Source::new("SENTINEL SENTINELS", Duration::ZERO),
            quorum: Source::new("SENTINEL CKQUORUM", Duration::ZERO),
            details: BTreeMap::new(),
            sent_at: None,
            masters_sent_at: None,
        }
    }

    /// Requests the details of these masters; of the urgent ones at once.
    pub(super) fn request(&mut self, masters: &MasterNames, urgent: &[Arc<str>]) {
        if !Arc::ptr_eq(&self.requested, masters) {
            self.requested = Arc::clone(masters);
            self.details.retain(|name, _| masters.contains(name));
        }
        for name in urgent {
            if let Some(details) = self.details.get_mut(name) {
                details.next_at = None;
            }
        }
    }

    /// Returns the commands that are due. Only masters that the Sentinel lists are read, because
    /// others would cause errors.
    pub(super) fn due(&self, now: Instant) -> Vec<PollCommand> {
        let masters = self.masters.is_due(now).then_some(PollCommand::SentinelMasters);
        masters.into_iter().chain(self.due_by_master(now)).collect()
    }

    /// Returns the commands for the details of masters that are due.
    pub(super) fn due_by_master(&self, now: Instant) -> impl Iterator<Item = PollCommand> {
        let due = self
            .details
            .iter()
            .filter(move |(_, details)| details.next_at.is_none_or(|next_at| next_at <= now));
        due.flat_map(move |(name, _)| {
            let commands = [
                (&self.replicas, PollCommand::SentinelReplicas as fn(Arc<str>) -> PollCommand),
                (&self.sentinels, PollCommand::SentinelSentinels),
                (&self.quorum, PollCommand::SentinelQuorum),
            ];
            commands
                .into_iter()
                .filter(move |(source, _)| source.is_due(now))
                .map(|(_, command)| command(Arc::clone(name)))
                .collect::<Vec<_>>()
        })
    }

    /// Records the time at which a batch is sent.
    pub(super) fn record_sending(&mut self, now: Instant) {
        self.sent_at = Some(now);
    }

    /// Discards the list of masters after a new connection: it may be outdated.
    pub(super) fn connected(&mut self) {
        self.masters.last = None;
    }

    /// Resets the plan for a new process, which may grant commands that the previous one refused.
    pub(super) fn reset(&mut self) {
        *self = SentinelPlan { requested: Arc::clone(&self.requested), ..SentinelPlan::new() };
    }

    /// Returns true if the Sentinel refuses SENTINEL MASTERS.
    pub(super) fn is_refused(&self, now: Instant) -> bool {
        self.masters.is_refused(now)
    }

    /// Updates the plan from a batch. Returns the commands that were refused for the first time.
    pub(super) fn update(&mut self, batch: Batch<'_>, now: Instant) -> Vec<RefusedCommand> {
        let mut refused = Vec::new();
        for (command, reply) in batch.commands.iter().zip(batch.replies) {
            let list = || reply.error().is_none().then(|| SentinelEntry::parse_list(reply));
            match command {
                PollCommand::SentinelMasters => {
                    refused.extend(self.masters.update(reply, now));
                    self.masters.last = list();
                    self.masters_sent_at = self.sent_at;
                    self.update_details();
                }
                PollCommand::SentinelReplicas(name) => {
                    let [mut count, ..] = self.details_read(name, now).errors;
                    refused.extend(self.replicas.update_counting(reply, now, &mut count));
                    let details = self.details_read(name, now);
                    details.errors[0] = count;
                    details.replicas = list().map(Into::into);
                }
                PollCommand::SentinelSentinels(name) => {
                    let [_, mut count, _] = self.details_read(name, now).errors;
                    refused.extend(self.sentinels.update_counting(reply, now, &mut count));
                    let details = self.details_read(name, now);
                    details.errors[1] = count;
                    details.sentinels = list().map(Into::into);
                }
                PollCommand::SentinelQuorum(name) => {
                    // The error of a missing quorum is a valid reply.
                    let quorum = Quorum::parse(reply);
                    let [.., mut count] = self.details_read(name, now).errors;
                    if quorum.is_none() {
                        refused.extend(self.quorum.update_counting(reply, now, &mut count));
                    }
                    let details = self.details_read(name, now);
                    details.errors[2] = if quorum.is_some() { 0 } else { count };
                    details.quorum = quorum;
                }
                _ => {}
            }
        }
        refused
    }

    /// Returns the last data of all masters; `None` if their list was not read on this connection.
    pub(super) fn report(&self) -> Option<Arc<SentinelReport>> {
        let master_report = |master: &SentinelEntry| {
            let details = self.details.get(&*master.name);
            MasterReport {
                replicas: details.and_then(|details| details.replicas.clone()),
                sentinels: details.and_then(|details| details.sentinels.clone()),
                quorum: details.and_then(|details| details.quorum),
                lists_age: details
                    .and_then(|details| details.sent_at)
                    .zip(self.masters_sent_at)
                    .map(|(lists, masters)| masters.saturating_duration_since(lists))
                    .unwrap_or_default(),
                master: master.clone(),
            }
        };
        let masters = self.masters.last.as_ref()?;
        Some(Arc::new(SentinelReport::new(masters.iter().map(master_report).collect())))
    }

    /// Adds entries for requested masters that the Sentinel lists, and removes outdated ones.
    fn update_details(&mut self) {
        let Some(masters) = &self.masters.last else { return };
        self.details.retain(|name, _| masters.iter().any(|master| *master.name == **name));
        for name in self.requested.iter() {
            let Some(master) = masters.iter().find(|master| *master.name == **name) else {
                continue;
            };
            let identity = MasterIdentity {
                ip: master.ip.clone(),
                port: master.port,
                epoch: master.settings.as_ref().map_or(0, |settings| settings.epoch),
            };
            let details = self.details.entry(Arc::clone(name)).or_default();
            if details.identity.as_ref() != Some(&identity) {
                *details = MasterDetails { identity: Some(identity), ..MasterDetails::default() };
            }
        }
    }

    /// Returns the entry of a master whose details were just read, and schedules the next read.
    fn details_read(&mut self, name: &Arc<str>, now: Instant) -> &mut MasterDetails {
        let details = self.details.entry(Arc::clone(name)).or_default();
        details.next_at = Some(now + CADENCE);
        details.sent_at = self.sent_at;
        details
    }
}
