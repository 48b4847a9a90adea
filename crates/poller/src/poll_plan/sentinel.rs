//! Commands to read from a Sentinel in addition to INFO.
//!
//! Every poll reads the list of masters. The replicas, Sentinels and quorum of the masters that are
//! polled by a deployment are read with a slower cadence.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use snapshot::{LeftOut, MasterReport, Quorum, Reply, SentinelEntry, SentinelList, SentinelReport};
use tokio::time::Instant;

use super::command::PollCommand;
use super::replies::{Batch, RefusedCommand};
use super::source::{OperandAccess, Source};

/// Time between two reads of the details of one master, unless a Sentinel event concerns it.
const CADENCE: Duration = Duration::from_secs(10);

/// Largest number of masters whose details one poll reads. The others follow with the next polls.
const MAX_MASTERS_PER_POLL: usize = 64;

/// Names of the masters whose details are read.
pub(crate) type MasterNames = Arc<[Arc<str>]>;

/// Schedule and last data of one Sentinel.
pub(super) struct SentinelPlan {
    requested: MasterNames,
    masters: Source<SentinelList>,
    replicas: Source<()>,
    sentinels: Source<()>,
    quorum: Source<()>,
    details: BTreeMap<Arc<str>, MasterDetails>,
    /// Time at which the last batch was sent.
    sent_at: Option<Instant>,
    /// Time at which the list of masters was last requested.
    masters_sent_at: Option<Instant>,
    /// Number of masters whose details the current poll has read.
    read_in_poll: usize,
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
    /// Entries that were left out of both lists.
    left_out: [LeftOut; 2],
    /// Time at which these data were last requested.
    sent_at: Option<Instant>,
    /// Error replies to each of the commands with this master.
    access: [OperandAccess; 3],
}

/// Command for details of one master.
#[derive(Debug, Clone, Copy)]
enum Detail {
    Replicas,
    Sentinels,
    Quorum,
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
            read_in_poll: 0,
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
        masters.into_iter().chain(self.due_by_master(now, MAX_MASTERS_PER_POLL)).collect()
    }

    /// Returns the commands of a later batch of the poll: for the details of masters that are due
    /// since its first batch.
    pub(super) fn due_later(&self, now: Instant) -> Vec<PollCommand> {
        self.due_by_master(now, MAX_MASTERS_PER_POLL.saturating_sub(self.read_in_poll))
    }

    /// Returns the commands for the details of at most `limit` masters that are due. Those that
    /// were never read go first, and then those that were read the longest time ago.
    fn due_by_master(&self, now: Instant, limit: usize) -> Vec<PollCommand> {
        let mut due: Vec<_> = self
            .details
            .iter()
            .filter(|(_, details)| details.next_at.is_none_or(|next_at| next_at <= now))
            .map(|(name, details)| (details.sent_at, self.commands(name, details, now)))
            .filter(|(_, commands)| !commands.is_empty())
            .collect();
        due.sort_by_key(|(sent_at, _)| *sent_at);
        due.into_iter().take(limit).flat_map(|(_, commands)| commands).collect()
    }

    /// Returns the commands for the details of one master that the Sentinel does not refuse.
    fn commands(&self, name: &Arc<str>, details: &MasterDetails, now: Instant) -> Vec<PollCommand> {
        let commands = [
            (&self.replicas, PollCommand::SentinelReplicas as fn(Arc<str>) -> PollCommand),
            (&self.sentinels, PollCommand::SentinelSentinels),
            (&self.quorum, PollCommand::SentinelQuorum),
        ];
        commands
            .into_iter()
            .zip(details.access)
            .filter(|((source, _), access)| source.is_due(now) && access.is_due(now))
            .map(|((_, command), _)| command(Arc::clone(name)))
            .collect()
    }

    /// Records that the replies to the first batch of a poll arrived.
    pub(super) fn begin_poll(&mut self) {
        self.read_in_poll = 0;
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
            let list = || reply.error().is_none().then(|| SentinelList::parse(reply));
            match command {
                PollCommand::SentinelMasters => {
                    refused.extend(self.masters.update(reply, now));
                    self.masters.last = list();
                    self.masters_sent_at = self.sent_at;
                    self.update_details();
                }
                PollCommand::SentinelReplicas(name) => {
                    refused.extend(self.update_access(Detail::Replicas, name, reply, now));
                    let (list, details) = (list(), self.details_read(name, now));
                    details.left_out[0] = left_out(list.as_ref());
                    details.replicas = list.map(|list| list.entries.into());
                }
                PollCommand::SentinelSentinels(name) => {
                    refused.extend(self.update_access(Detail::Sentinels, name, reply, now));
                    let (list, details) = (list(), self.details_read(name, now));
                    details.left_out[1] = left_out(list.as_ref());
                    details.sentinels = list.map(|list| list.entries.into());
                }
                PollCommand::SentinelQuorum(name) => {
                    // The error of a missing quorum is a valid reply.
                    let quorum = Quorum::parse(reply);
                    if quorum.is_none() {
                        refused.extend(self.update_access(Detail::Quorum, name, reply, now));
                    }
                    let details = self.details_read(name, now);
                    if quorum.is_some() {
                        details.access[Detail::Quorum as usize] = OperandAccess::default();
                    }
                    details.quorum = quorum;
                }
                _ => {}
            }
        }
        refused
    }

    /// Updates the permission to send one of the commands for details of masters. Returns the
    /// command if it was refused for the first time: for all masters, or for this one while it is
    /// granted for the others.
    fn update_access(
        &mut self,
        command: Detail,
        name: &Arc<str>,
        reply: &Reply<'_>,
        now: Instant,
    ) -> Option<RefusedCommand> {
        let is_refused = |details: &MasterDetails| details.access[command as usize].is_refused();
        let is_first = !self.details.values().any(is_refused);
        let details = self.details.entry(Arc::clone(name)).or_default();
        let access = &mut details.access[command as usize];
        let source = match command {
            Detail::Replicas => &mut self.replicas,
            Detail::Sentinels => &mut self.sentinels,
            Detail::Quorum => &mut self.quorum,
        };
        let refused = source.update_operand(reply, access, now)?;
        if !access.is_refused() {
            return Some(refused);
        }
        // One line is enough, however many masters a Sentinel lists.
        let detail = format!("master {name}: {}", refused.detail);
        is_first.then_some(RefusedCommand { detail, ..refused })
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
        let SentinelList { entries, left_out } = self.masters.last.as_ref()?;
        let lists = self.details.iter().map(|(name, details)| {
            let [replicas, sentinels] = details.left_out;
            (Box::from(&**name), replicas.plus(sentinels))
        });
        let report = SentinelReport::new(entries.iter().map(master_report).collect());
        Some(Arc::new(report.with_left_out(*left_out, lists)))
    }

    /// Adds entries for requested masters that the Sentinel lists, and removes outdated ones.
    fn update_details(&mut self) {
        let Some(SentinelList { entries: masters, .. }) = &self.masters.last else { return };
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
                let access = details.access;
                *details =
                    MasterDetails { identity: Some(identity), access, ..MasterDetails::default() };
            }
        }
    }

    /// Returns the entry of a master whose details were just read, and schedules the next read.
    fn details_read(&mut self, name: &Arc<str>, now: Instant) -> &mut MasterDetails {
        let details = self.details.entry(Arc::clone(name)).or_default();
        if details.sent_at.is_none() || details.sent_at != self.sent_at {
            self.read_in_poll += 1;
        }
        details.next_at = Some(now + CADENCE);
        details.sent_at = self.sent_at;
        details
    }
}

/// Returns the entries that were left out of a list.
fn left_out(list: Option<&SentinelList>) -> LeftOut {
    list.map_or_else(LeftOut::default, |list| list.left_out)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use snapshot::ServerError;

    use super::*;
    use crate::clock::Clock;

    const SECOND: Duration = Duration::from_secs(1);

    /// A modelled Sentinel that lists these masters, and refuses the details of one of them.
    struct Sentinel {
        plan: SentinelPlan,
        now: Instant,
        masters: MasterNames,
        unreadable: &'static str,
        /// Error reply to the commands for the details of the unreadable master.
        error: &'static str,
        /// Names of the commands that were logged as refused.
        refused: Vec<&'static str>,
    }

    impl Sentinel {
        fn start(masters: impl IntoIterator<Item = String>) -> Self {
            let masters: MasterNames = masters.into_iter().map(Into::into).collect();
            let mut plan = SentinelPlan::new();
            plan.request(&masters, &[]);
            let now = Clock::start().now();
            let refused = Vec::new();
            let (unreadable, error) = ("", "ERR invalid name");
            Sentinel { plan, now, masters, unreadable, error, refused }
        }

        /// Polls the Sentinel a second later. Returns the masters of each command.
        fn poll(&mut self) -> Vec<Arc<str>> {
            self.now += SECOND;
            let first = self.plan.due(self.now);
            self.plan.record_sending(self.now);
            self.plan.begin_poll();
            let mut read = self.reply(&first);
            let later = self.plan.due_later(self.now);
            read.extend(self.reply(&later));
            read
        }

        fn reply(&mut self, commands: &[PollCommand]) -> Vec<Arc<str>> {
            let text = |text: &str| Reply::Text(text.to_owned().into());
            let entry = |name: &Arc<str>| {
                let pairs = ["name", &**name, "ip", "10.0.0.1", "port", "1", "flags", "master"];
                Reply::Array(pairs.into_iter().map(text).collect())
            };
            let mut read = Vec::new();
            let mut replies = Vec::new();
            for command in commands {
                let (name, reply) = match command {
                    PollCommand::SentinelReplicas(name) | PollCommand::SentinelSentinels(name) => {
                        (name, Reply::Array(Vec::new()))
                    }
                    PollCommand::SentinelQuorum(name) => (name, text("OK 3 usable Sentinels")),
                    _ => {
                        replies.push(Reply::Array(self.masters.iter().map(entry).collect()));
                        continue;
                    }
                };
                read.push(Arc::clone(name));
                let is_readable = **name != *self.unreadable;
                let error = || Reply::Error(ServerError::new(self.error));
                replies.push(if is_readable { reply } else { error() });
            }
            let batch = Batch { commands, replies: &replies };
            let refused = self.plan.update(batch, self.now);
            self.refused.extend(refused.iter().map(|refused| refused.command));
            read
        }

        /// Polls once a second, and returns the number of commands for one master.
        fn sent_within(&mut self, seconds: u32, master: &str) -> usize {
            (0..seconds).flat_map(|_| self.poll()).filter(|name| **name == *master).count()
        }
    }

    #[test]
    fn one_unreadable_master_disables_no_other_one() {
        let mut sentinel = Sentinel::start(["a", "b", "c"].map(str::to_owned));
        sentinel.unreadable = "b";
        let names = ["SENTINEL REPLICAS", "SENTINEL SENTINELS", "SENTINEL CKQUORUM"];
        assert_eq!(sentinel.sent_within(300, "b"), 2 * 3, "the errors count as a refusal");
        assert_eq!(sentinel.refused, names, "each command is logged once");
        assert_eq!(sentinel.sent_within(60, "c"), 6 * 3, "the others are read every 10 seconds");
        assert_eq!(sentinel.sent_within(600, "b"), 2 * 3, "it is tried every five minutes");
        assert_eq!(sentinel.refused, names);
        let report = sentinel.plan.report().expect("a report");
        let has_lists = |name: &str| {
            let master = report.master(name).expect("a master");
            [master.replicas.is_some(), master.sentinels.is_some(), master.quorum.is_some()]
        };
        assert_eq!((has_lists("a"), has_lists("b")), ([true; 3], [false; 3]));

        sentinel.unreadable = "";
        sentinel.sent_within(310, "b");
        assert_eq!(sentinel.sent_within(60, "b"), 6 * 3, "it is readable again");
    }

    #[test]
    fn missing_permission_concerns_all_masters() {
        let mut sentinel = Sentinel::start(["a", "b"].map(str::to_owned));
        (sentinel.unreadable, sentinel.error) = ("b", "NOPERM no permission");
        sentinel.poll();
        assert_eq!(sentinel.refused.len(), 3);
        assert_eq!(sentinel.sent_within(600, "a"), 0);
    }

    #[test]
    fn masters_are_read_in_turn_and_few_in_one_poll() {
        let mut sentinel = Sentinel::start((0..300).map(|number| format!("{number:03}")));
        let mut read = BTreeSet::new();
        for poll in 1..=5 {
            let names: BTreeSet<_> = sentinel.poll().into_iter().collect();
            assert!(names.len() <= MAX_MASTERS_PER_POLL, "{poll}: {}", names.len());
            read.extend(names);
            assert_eq!(read.len(), (poll * MAX_MASTERS_PER_POLL).min(300), "{poll}");
        }
        // An event about the masters that were read does not delay the others.
        let mut sentinel = Sentinel::start((0..300).map(|number| format!("{number:03}")));
        let mut read = BTreeSet::new();
        for _ in 1..=5 {
            let masters = Arc::clone(&sentinel.masters);
            sentinel.plan.request(&masters, &masters[..100]);
            read.extend(sentinel.poll());
        }
        assert_eq!(read.len(), 300);
    }
}
