//! Evidence as named values, for JSON documents, pages and `diagnose`. The only place that knows
//! the names, the order and the rounding of the values.

use std::time::Duration;

use super::evidence::{
    AmbiguousNodeEvidence, AofBloatedEvidence, AofDisabledEvidence, AofFailingEvidence,
    AofRewriteEvidence, BgsaveEvidence, ClusterDownEvidence, DatasetReplacedEvidence,
    EmptiedPrimaryEvidence, EndpointEvidence, FailoverEvidence, IdentifiedPrimary, LoadingEvidence,
    LostWritesEvidence, MemoryEvidence, MisroutedWritesEvidence, NeverReachedEvidence, NoEvidence,
    NoPrimaryEvidence, NodeDownEvidence, NodeSharedEvidence, NotEnoughReplicasEvidence,
    OpenSlotsEvidence, OrphanEvidence, ReplicaCountEvidence, ReplicaEvidence,
    ReplicationLagEvidence, ReplicationLinkEvidence, ReplicationLoopEvidence, RoleEvidence,
    SentinelCannotReachEvidence, SentinelConfigEvidence, SentinelDisagreementEvidence,
    SentinelDownEvidence, SentinelGhostsEvidence, SentinelQuorumEvidence, SentinelTiltEvidence,
    SlotConflictEvidence, SplitBrainEvidence, StaleClientsEvidence, TopologyCommandEvidence,
    UncoveredSlotsEvidence, UnknownRoleEvidence, UnreachableEvidence, UnrelatedMastersEvidence,
    WitnessEvidence, WritableReplicaEvidence, WritesBlockedEvidence,
};

use crate::limits::TILT_LASTS;
use crate::model::endpoint::EndpointTarget;
use crate::model::misrouted::MisroutedClients;
use crate::model::pause::PauseCause;
use crate::model::shard::{Cause, ChangeCount};

/// A value of the evidence.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number, in the unit that its name ends with.
    Number(f64),
    /// A label from a closed set, the name of a node, or a bounded text from a client.
    Text(String),
    /// Several texts.
    List(Vec<String>),
}

/// Evidence that can be displayed.
pub(super) trait EvidenceValues {
    /// Returns the values in display order.
    fn values(&self) -> Vec<(&'static str, Value)>;
}

/// A list of named values under construction.
#[derive(Default)]
struct Values(Vec<(&'static str, Value)>);

impl Values {
    fn number(mut self, name: &'static str, number: f64) -> Self {
        self.0.push((name, Value::Number(number)));
        self
    }

    /// Adds a duration in seconds, rounded to a tenth.
    fn seconds(self, name: &'static str, duration: Duration) -> Self {
        self.number(name, tenths(duration.as_secs_f64()))
    }

    fn text(mut self, name: &'static str, text: &str) -> Self {
        self.0.push((name, Value::Text(text.to_owned())));
        self
    }

    fn list(
        mut self,
        name: &'static str,
        items: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Self {
        let items = items.into_iter().map(|item| item.as_ref().to_owned()).collect();
        self.0.push((name, Value::List(items)));
        self
    }

    /// Adds a list, unless it is empty.
    fn known_list(self, name: &'static str, items: &[impl AsRef<str>]) -> Self {
        if items.is_empty() { self } else { self.list(name, items) }
    }

    /// Adds a number, if it is known.
    fn known_number(self, name: &'static str, number: Option<f64>) -> Self {
        match number {
            Some(number) => self.number(name, number),
            None => self,
        }
    }

    /// Adds a count, if it is known.
    fn known_count(self, name: &'static str, count: Option<u64>) -> Self {
        self.known_number(name, count.map(|count| count as f64))
    }

    /// Adds a text, if it is known.
    fn known_text(self, name: &'static str, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    /// Adds the primary and the evidence that identifies it, if it is known.
    fn primary(self, primary: Option<&IdentifiedPrimary>) -> Self {
        match primary {
            Some(primary) => {
                self.text("primary", &primary.node).text("by", primary.evidence.label())
            }
            None => self,
        }
    }

    /// Adds a number of lost changes and its bounds. Without the upper one, the number is the lower
    /// one.
    fn changes(self, changes: ChangeCount) -> Self {
        let ChangeCount { low, about, high, at_least } = changes;
        self.number("unreplicated_writes", about as f64)
            .number("unreplicated_writes_min", low as f64)
            .known_count("unreplicated_writes_max", (!at_least).then_some(high))
    }

    /// Adds the number of clients under this name, their libraries, and the busiest of them.
    fn clients(self, count: &'static str, clients: &MisroutedClients) -> Self {
        self.number(count, clients.total as f64)
            .list("libraries", &clients.versions)
            .list("clients", &clients.busiest)
    }
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

impl EvidenceValues for NoEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Vec::new()
    }
}

impl EvidenceValues for NodeDownEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default()
            .text("reason", self.reason.label())
            .seconds("seconds", self.silence)
            .known_text("last_role", self.last_role.map(snapshot::Role::label))
            .known_text("appendfsync", self.appendfsync.as_deref())
            .known_text("password", self.password_missing.then_some("missing"))
            .0
    }
}

impl EvidenceValues for UnreachableEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default()
            .text("reason", self.reason.label())
            .seconds("seconds", self.silence)
            .known_text("last_role", self.last_role.map(snapshot::Role::label))
            .list("witnesses", self.witnesses.iter().map(WitnessEvidence::text))
            .known_text("unmapped", self.unmapped.as_deref())
            .0
    }
}

impl WitnessEvidence {
    /// Returns the witness as text: `replica b, 0.4 s ago`.
    fn text(&self) -> String {
        let peer = self.peer.as_ref().map(|peer| format!(" {peer}")).unwrap_or_default();
        format!("{}{peer}, {} s ago", self.kind.label(), tenths(self.age.as_secs_f64()))
    }
}

impl EvidenceValues for NeverReachedEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        let reasons =
            self.reasons.iter().map(|(reason, count)| format!("{} {count}", reason.label()));
        Values::default()
            .list("nodes", &self.nodes)
            .number("replied", self.replied as f64)
            .list("reasons", reasons)
            .0
    }
}

impl EvidenceValues for SentinelDownEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default().text("reason", self.reason.label()).seconds("seconds", self.silence).0
    }
}

impl EvidenceValues for AofFailingEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default()
            .known_text("role", self.role.map(snapshot::Role::label))
            .known_count("aof_buffer_length", self.buffered)
            .known_text("appendfsync", self.appendfsync.as_deref())
            .0
    }
}

impl EvidenceValues for AofRewriteEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default().text("aof_last_bgrewrite_status", "err").0
    }
}

impl EvidenceValues for AofBloatedEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default()
            .number("aof_current_size", self.current)
            .number("rewrite_due_at", self.due)
            .0
    }
}

impl EvidenceValues for AofDisabledEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default().known_text("role", self.role.map(snapshot::Role::label)).0
    }
}

impl EvidenceValues for BgsaveEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default().text("blocks_writes", if self.blocks_writes { "yes" } else { "no" }).0
    }
}

impl EvidenceValues for LoadingEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default().known_number("eta_seconds", self.eta_seconds).0
    }
}

impl EvidenceValues for MemoryEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default().number("used_memory", self.used).number("maxmemory", self.limit).0
    }
}

impl EvidenceValues for NotEnoughReplicasEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default().known_count("good_replicas", self.good_replicas).0
    }
}

impl EvidenceValues for RoleEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default().text("role", self.role.label()).text("expected", self.expected.label()).0
    }
}

impl EvidenceValues for ReplicaEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default().known_text("master", self.master.as_deref()).0
    }
}

impl EvidenceValues for ReplicationLinkEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default()
            .text("state", self.state.label())
            .known_text("master", self.master.as_deref())
            .0
    }
}

impl EvidenceValues for OrphanEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default()
            .text("why", self.reason.label())
            .known_text("master", self.master.as_deref())
            .0
    }
}

impl EvidenceValues for ReplicationLagEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default().known_count("bytes", self.bytes).seconds("seconds", self.behind).0
    }
}

impl EvidenceValues for WritableReplicaEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default().number("slave_read_only", 0.0).0
    }
}

impl EvidenceValues for MisroutedWritesEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        let values = Values::default()
            .text("why", self.reason.label())
            .number("per_second", tenths(self.per_second))
            .seconds("seconds", self.lasted)
            .list("commands", &self.commands);
        let values = match &self.writers {
            Some(writers) => values.clients("misrouted_clients", writers),
            None => values,
        };
        values.known_count("connected_clients", self.too_many_clients).0
    }
}

impl EvidenceValues for StaleClientsEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default()
            .clients("stale_clients", &self.clients)
            .seconds("demoted_seconds_ago", self.demoted_ago)
            .0
    }
}

impl EvidenceValues for UnrelatedMastersEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default().list("masters", &self.masters).list("unrelated", &self.unrelated).0
    }
}

impl EvidenceValues for EmptiedPrimaryEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default()
            .primary(self.primary.as_ref())
            .number("keys_before", self.keys_before as f64)
            .0
    }
}

impl EvidenceValues for DatasetReplacedEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        let mut values = Values::default().text("why", self.reason.label());
        if let Some(replaced) = &self.replaced {
            values = values
                .text("replaced", &replaced.node)
                .text("from", &replaced.from)
                .number("keys_before", replaced.keys_before as f64)
                .number("keys_after", replaced.keys_after as f64);
        }
        values.known_list("masters", &self.masters).0
    }
}

impl EvidenceValues for NodeSharedEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default()
            .list("deployments", &self.deployments)
            .known_text("role", self.role.map(snapshot::Role::label))
            .known_text("master", self.master.as_deref())
            .0
    }
}

impl EvidenceValues for AmbiguousNodeEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default().number("servers", self.servers as f64).0
    }
}

impl EvidenceValues for UnknownRoleEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default()
            .known_text("role", self.role.as_deref())
            .known_text("master", self.master.as_deref())
            .0
    }
}

impl EvidenceValues for SplitBrainEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        let missing: Vec<_> = self.missing.iter().map(|evidence| evidence.label()).collect();
        Values::default()
            .list("masters", &self.masters)
            .list("stale", &self.stale)
            .primary(self.primary.as_ref())
            .known_list("witnesses", &self.witnesses)
            .known_list("missing", &missing)
            .seconds("seconds", self.lasted)
            .list("taking_writes", &self.taking_writes)
            .known_text("cause", self.cause.map(Cause::label))
            .known_list("diverging_writes", &self.diverging)
            .number("unreplicated_writes", self.unreplicated_writes as f64)
            .known_count("unreplicated_bytes", self.unreplicated_bytes)
            .0
    }
}

impl EvidenceValues for LostWritesEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default()
            .changes(self.changes)
            .list("stale", &self.stale)
            .known_list("primary_again", &self.primary_again)
            .primary(self.primary.as_ref())
            .0
    }
}

impl EvidenceValues for ReplicationLoopEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default()
            .list("nodes", &self.nodes)
            .known_text("last_primary", self.last_primary.as_deref())
            .0
    }
}

impl EvidenceValues for NoPrimaryEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default()
            .text("why", self.reason.label())
            .known_text("last_primary", self.last_primary.as_deref())
            .seconds("seconds", self.lasted)
            .0
    }
}

impl EvidenceValues for WritesBlockedEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default()
            .text("primary", &self.primary)
            .list("reasons", self.reasons.iter().map(|reason| reason.label()))
            .known_list("importing_slots", &slot_list(&self.importing_slots))
            .known_text("paused_by", self.paused_by.map(PauseCause::label))
            .0
    }
}

/// Maximum number of slots that are listed.
const LISTED_SLOTS: usize = 20;

/// Returns the first slots as texts.
fn slot_list(slots: &[u16]) -> Vec<String> {
    slots.iter().take(LISTED_SLOTS).map(u16::to_string).collect()
}

impl EvidenceValues for OpenSlotsEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default()
            .number("slots", self.slots.len() as f64)
            .list("open_slots", slot_list(&self.slots))
            .list("migrating", &self.migrating)
            .list("importing", &self.importing)
            .seconds("seconds", self.open_for)
            .0
    }
}

impl EvidenceValues for TopologyCommandEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default()
            .text("command", self.command)
            .seconds("seconds_ago", self.ago)
            .known_count("blocked_clients", self.blocked_clients)
            .0
    }
}

impl EvidenceValues for SentinelCannotReachEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default()
            .text("primary", &self.primary)
            .list("why", self.reasons.iter().map(|reason| reason.label()))
            .list("sentinels", &self.sentinels)
            .number("known", self.known as f64)
            .known_list("error_codes", &self.error_codes)
            .seconds("seconds", self.lasted)
            .0
    }
}

impl EvidenceValues for ReplicaCountEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default()
            .number("replicas", self.replicas as f64)
            .number("expected", self.expected as f64)
            .0
    }
}

impl EvidenceValues for ClusterDownEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default()
            .number("masters", self.masters as f64)
            .number("ok", self.ok as f64)
            .text("why", self.reported_by.label())
            .list("nodes", &self.nodes)
            .0
    }
}

impl EvidenceValues for UncoveredSlotsEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default().number("slots", self.slots as f64).0
    }
}

impl EvidenceValues for SlotConflictEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default().number("slots", self.slots as f64).list("nodes", &self.nodes).0
    }
}

impl EvidenceValues for SentinelDisagreementEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default()
            .text("why", self.reason.label())
            .known_text("primary", self.primary.as_deref())
            .list("named", &self.named)
            .list("sentinels", &self.sentinels)
            .known_count("epoch", self.epoch)
            .seconds("seconds", self.lasted)
            .0
    }
}

impl EvidenceValues for SentinelQuorumEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default()
            .list("sentinels", &self.sentinels)
            .known_count("usable", self.usable)
            .known_count("quorum", self.quorum)
            .known_count("known", self.known)
            .seconds("seconds", self.lasted)
            .0
    }
}

impl EvidenceValues for SentinelGhostsEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        Values::default().list("replicas", &self.replicas).list("sentinels", &self.sentinels).0
    }
}

impl EvidenceValues for SentinelConfigEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        let values = Values::default()
            .list("why", self.errors.iter().map(|error| error.label()))
            .list("nodes", &self.nodes);
        if self.sentinels.is_empty() {
            values.0
        } else {
            values
                .list("sentinels", &self.sentinels)
                .text("master_name", &self.master_name)
                .list("monitored", &self.monitored)
                .number("monitored_total", self.monitored_total as f64)
                .0
        }
    }
}

impl EvidenceValues for SentinelTiltEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        let left = self.since_seconds.map(|since| (TILT_LASTS.as_secs_f64() - since).max(0.0));
        Values::default()
            .known_number("seconds", self.since_seconds)
            .known_number("seconds_left", left)
            .0
    }
}

impl EvidenceValues for FailoverEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        let refused: Vec<_> =
            self.refused.iter().map(|(node, why)| format!("{node} ({})", why.label())).collect();
        let values = Values::default()
            .list("why", self.reasons.iter().map(|reason| reason.label()))
            .list("candidates", &self.candidates)
            .known_list("refused", &refused);
        let values = match self.changes {
            Some(ChangeCount { low, about, high, at_least }) => values
                .number("changes_at_risk", about as f64)
                .number("changes_at_risk_min", low as f64)
                .known_count("changes_at_risk_max", (!at_least).then_some(high)),
            None => values,
        };
        values
            .known_number("seconds", self.behind.map(|behind| tenths(behind.as_secs_f64())))
            .known_number("seconds_left", self.waits_for.map(|left| tenths(left.as_secs_f64())))
            .0
    }
}

impl EvidenceValues for EndpointEvidence {
    fn values(&self) -> Vec<(&'static str, Value)> {
        let values = Values::default()
            .text("endpoint", self.endpoint.label())
            .known_text("leads_to", self.leads_to.as_ref().map(EndpointTarget::label))
            .known_text("role", self.role.map(snapshot::Role::label));
        let values = match &self.primaries[..] {
            [] => values,
            [primary] => values.text("primary", primary),
            primaries => values.list("primary", primaries),
        };
        values.number("checks", f64::from(self.checks)).0
    }
}
