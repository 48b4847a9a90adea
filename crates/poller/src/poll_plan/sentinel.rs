//! What to read from a Sentinel beside INFO: all masters each time, and at a slower pace what belongs to those that are of interest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::poll_plan::PollCommand;
use crate::poll_plan::source::{Access, Source};
use snapshot::{MasterReport, Quorum, Reply, SentinelEntry, SentinelReport};
use tokio::time::Instant;

/// Time between two readings of what belongs to one master, unless an event asks for it.
const CADENCE: Duration = Duration::from_secs(10);

/// The masters that are of interest, by name.
pub(crate) type WatchedMasters = Arc<[Arc<str>]>;

/// What was read from a Sentinel, and what is due.
pub(super) struct SentinelPlan {
    interest: WatchedMasters,
    masters: Source<Vec<SentinelEntry>>,
    replicas: Source<()>,
    sentinels: Source<()>,
    quorum: Source<()>,
    details: BTreeMap<Arc<str>, Detail>,
}

/// What belongs to one master.
#[derive(Default)]
struct Detail {
    due: Option<Instant>,
    /// Where the master was when they were read, and at which epoch: another master has other replicas.
    of: Option<(Box<str>, u16, u64)>,
    replicas: Option<Arc<[SentinelEntry]>>,
    sentinels: Option<Arc<[SentinelEntry]>>,
    quorum: Option<Quorum>,
}

impl SentinelPlan {
    pub(super) fn new() -> Self {
        SentinelPlan {
            interest: WatchedMasters::default(),
            masters: Source::new("SENTINEL MASTERS", Duration::ZERO),
            replicas: Source::new("SENTINEL REPLICAS", Duration::ZERO),
            sentinels: Source::new("SENTINEL SENTINELS", Duration::ZERO),
            quorum: Source::new("SENTINEL CKQUORUM", Duration::ZERO),
            details: BTreeMap::new(),
        }
    }

    /// These masters are of interest from here on; what belongs to the urgent ones is due at once.
    pub(super) fn want(&mut self, interest: &WatchedMasters, urgent: &[Arc<str>]) {
        if !Arc::ptr_eq(&self.interest, interest) {
            self.interest = Arc::clone(interest);
            self.details.retain(|name, _| interest.contains(name));
        }
        for name in urgent {
            if let Some(detail) = self.details.get_mut(name) {
                detail.due = None;
            }
        }
    }

    /// What to read now. Only masters that the Sentinel knows are asked for, since others would be errors.
    pub(super) fn due(&self, now: Instant) -> Vec<PollCommand> {
        let mut due = Vec::new();
        if self.masters.is_due(now) {
            due.push(PollCommand::Masters);
        }
        due.extend(self.details_due(now));
        due
    }

    /// What belongs to masters, and is due now.
    pub(super) fn details_due(&self, now: Instant) -> impl Iterator<Item = PollCommand> {
        let details =
            self.details.iter().filter(move |(_, detail)| detail.due.is_none_or(|due| due <= now));
        details.flat_map(move |(name, _)| {
            let of = [
                (&self.replicas, PollCommand::Replicas as fn(Arc<str>) -> PollCommand),
                (&self.sentinels, PollCommand::Sentinels),
                (&self.quorum, PollCommand::Quorum),
            ];
            of.into_iter()
                .filter(move |(source, _)| source.is_due(now))
                .map(|(_, reading)| reading(Arc::clone(name)))
                .collect::<Vec<_>>()
        })
    }

    /// There is a new connection: what was read before is not what the Sentinel says now.
    pub(super) fn connected(&mut self) {
        self.masters.last = None;
    }

    /// Another process answers, which may grant what the one before refused.
    pub(super) fn restarted(&mut self) {
        *self = SentinelPlan { interest: Arc::clone(&self.interest), ..SentinelPlan::new() };
    }

    /// The Sentinel does not tell us what it watches.
    pub(super) fn refused(&self) -> bool {
        self.masters.access == Access::Refused
    }

    /// Takes up the replies to a batch; gives what was refused for the first time.
    pub(super) fn take(
        &mut self,
        readings: &[PollCommand],
        replies: &[Reply],
        now: Instant,
    ) -> Vec<(&'static str, String)> {
        let mut refused = Vec::new();
        for (reading, reply) in readings.iter().zip(replies) {
            let list = || reply.error().is_none().then(|| SentinelEntry::parse_list(reply).into());
            match reading {
                PollCommand::Masters => {
                    refused.extend(self.masters.meet(reply, now));
                    self.masters.last =
                        reply.error().is_none().then(|| SentinelEntry::parse_list(reply));
                    self.know();
                }
                PollCommand::Replicas(name) => {
                    refused.extend(self.replicas.meet(reply, now));
                    self.detail(name, now).replicas = list();
                }
                PollCommand::Sentinels(name) => {
                    refused.extend(self.sentinels.meet(reply, now));
                    self.detail(name, now).sentinels = list();
                }
                PollCommand::Quorum(name) => {
                    // That there is none is an answer.
                    let quorum = Quorum::parse(reply);
                    if quorum.is_none() {
                        refused.extend(self.quorum.meet(reply, now));
                    }
                    self.detail(name, now).quorum = quorum;
                }
                _ => {}
            }
        }
        refused
    }

    /// What the Sentinel says, as last read.
    pub(super) fn report(&self) -> Option<Arc<SentinelReport>> {
        let of = |master: &SentinelEntry| {
            let detail = self.details.get(&*master.name);
            MasterReport {
                replicas: detail.and_then(|detail| detail.replicas.clone()),
                sentinels: detail.and_then(|detail| detail.sentinels.clone()),
                quorum: detail.and_then(|detail| detail.quorum),
                master: master.clone(),
            }
        };
        let masters = self.masters.last.as_ref()?;
        Some(Arc::new(SentinelReport::new(masters.iter().map(of).collect())))
    }

    /// There is something to know about the masters that are of interest and that the Sentinel knows.
    fn know(&mut self) {
        let Some(masters) = &self.masters.last else { return };
        self.details.retain(|name, _| masters.iter().any(|master| *master.name == **name));
        for name in self.interest.iter() {
            let Some(master) = masters.iter().find(|master| *master.name == **name) else {
                continue;
            };
            let of = (
                master.ip.clone(),
                master.port,
                master.settings.as_ref().map_or(0, |settings| settings.epoch),
            );
            let detail = self.details.entry(Arc::clone(name)).or_default();
            if detail.of.as_ref() != Some(&of) {
                *detail = Detail { of: Some(of), ..Detail::default() };
            }
        }
    }

    fn detail(&mut self, name: &Arc<str>, now: Instant) -> &mut Detail {
        let detail = self.details.entry(Arc::clone(name)).or_default();
        detail.due = Some(now + CADENCE);
        detail
    }
}
