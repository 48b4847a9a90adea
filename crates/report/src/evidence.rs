//! Evidence of findings as text, for pages and `diagnose`.

use topology::evidence::SentinelConfigEvidence;
use topology::{Evidence, Value};

use crate::format::bytes;
use crate::labels;

/// A value of the evidence as text.
pub(crate) struct EvidenceText {
    /// The key in JSON documents.
    pub(crate) key: &'static str,
    /// The name for readers.
    pub(crate) name: String,
    /// The value with its unit.
    pub(crate) text: String,
}

/// Keys that are INFO fields with an amount of data in bytes.
const FIELDS_IN_BYTES: [&str; 4] =
    ["used_memory", "maxmemory", "aof_buffer_length", "aof_current_size"];

/// Returns the evidence as text, in display order.
pub(crate) fn evidence_texts(evidence: &Evidence) -> Vec<EvidenceText> {
    let text = |(key, value): (&'static str, Value)| EvidenceText {
        key,
        name: name(evidence, key),
        text: label_text(evidence, key).unwrap_or_else(|| value_text(key, &value)),
    };
    // The text of the number contains its bounds, that of `monitored` the other two.
    let is_part = |key: &str| {
        key.ends_with("_min")
            || key.ends_with("_max")
            || matches!(key, "master_name" | "monitored_total")
    };
    evidence.values().into_iter().filter(|(key, _)| !is_part(key)).map(text).collect()
}

/// Returns the masters that Sentinels monitor instead of the configured one.
fn monitored(evidence: &SentinelConfigEvidence) -> String {
    let SentinelConfigEvidence { master_name, monitored, monitored_total, .. } = evidence;
    if monitored.is_empty() {
        return format!("no master, not {master_name}");
    }
    let more = match monitored_total.saturating_sub(monitored.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}, not {master_name}", monitored.join(", "))
}

fn name(evidence: &Evidence, key: &str) -> String {
    let name = match key {
        "by" => "primary evidence",
        "why" => "reason",
        "seconds" => return duration_name(evidence).to_owned(),
        "stale" => "stale masters",
        "unrelated" => "unrelated masters",
        "replaced" => "former primary",
        "from" => "source of the data",
        "taking_writes" => "stale masters that accept writes",
        "named" => "named masters",
        "master" => "upstream",
        "unmapped" => "address for address_map",
        "monitored" => "monitors",
        "usable" => "reachable Sentinels",
        "known" => "known Sentinels",
        "ok" => "masters that report ok",
        "checks" => "wrong checks",
        "eta_seconds" | "seconds_left" => "time left",
        "bytes" => "lag in bytes",
        "unreplicated_writes" => "lost changes",
        "refused" => "replicas that would not be promoted",
        "changes_at_risk" => "changes that would be lost",
        "diverging_writes" => "changes since the histories diverged",
        "unreplicated_bytes" => "unreplicated data",
        "demoted_seconds_ago" => "time since the demotion",
        "seconds_ago" => "time since the command",
        "per_second" => "refused writes per second",
        "aof_last_bgrewrite_status" | "slave_read_only" => key,
        key if FIELDS_IN_BYTES.contains(&key) => key,
        key => return key.replace('_', " "),
    };
    name.to_owned()
}

/// Returns the name of `seconds`.
const fn duration_name(evidence: &Evidence) -> &'static str {
    match evidence {
        Evidence::RedisReplicationLag(_) | Evidence::RedisFailoverNotReady(_) => "lag",
        Evidence::RedisDown(_)
        | Evidence::RedisSentinelDown(_)
        | Evidence::RedisUnreachable(_)
        | Evidence::RolecallCannotRead(_) => "no reply for",
        _ => "duration",
    }
}

/// Returns labels from closed sets in words; `None` for every other value.
fn label_text(evidence: &Evidence, key: &str) -> Option<String> {
    match (key, evidence) {
        ("why", Evidence::RedisNoPrimary(evidence)) => Some(labels::no_primary(evidence.reason)),
        ("why", Evidence::RedisReplicaOrphaned(evidence)) => Some(labels::orphan(evidence.reason)),
        ("why", Evidence::RedisWritesHitReplica(evidence)) => {
            Some(labels::misroute(evidence.reason))
        }
        ("why", Evidence::RedisClusterDown(evidence)) => {
            Some(labels::cluster_down_reporters(evidence.reported_by))
        }
        ("why", Evidence::RedisSentinelDisagreement(evidence)) => {
            Some(labels::disagreement(evidence.reason))
        }
        ("why", Evidence::RedisSentinelMisconfigured(evidence)) => {
            let errors = evidence.errors.iter().copied().map(labels::sentinel_config_error);
            Some(errors.collect::<Vec<_>>().join(", "))
        }
        ("monitored", Evidence::RedisSentinelMisconfigured(evidence)) => Some(monitored(evidence)),
        ("why", Evidence::RedisFailoverNotReady(evidence)) => {
            let reasons = evidence.reasons.iter().copied().map(labels::failover_blocker);
            Some(reasons.collect::<Vec<_>>().join(", "))
        }
        ("refused", Evidence::RedisFailoverNotReady(evidence)) => {
            let refused = evidence.refused.iter();
            let refused =
                refused.map(|(node, why)| format!("{node} ({})", labels::promotion_obstacle(*why)));
            Some(refused.collect::<Vec<_>>().join(", "))
        }
        ("changes_at_risk", Evidence::RedisFailoverNotReady(evidence)) => {
            evidence.changes.map(|changes| changes.to_string())
        }
        ("why", Evidence::RedisDatasetReplaced(evidence)) => {
            Some(labels::replacement(evidence.reason))
        }
        ("reasons", Evidence::RedisWritesBlocked(evidence)) => {
            let reasons = evidence.reasons.iter().copied().map(labels::refusal);
            Some(reasons.collect::<Vec<_>>().join(", "))
        }
        ("paused_by", Evidence::RedisWritesBlocked(evidence)) => {
            Some(labels::pause_cause(evidence.paused_by?))
        }
        ("why", Evidence::RedisSentinelCannotReach(evidence)) => {
            let reasons = evidence.reasons.iter().copied().map(labels::unreached);
            Some(reasons.collect::<Vec<_>>().join(", "))
        }
        (
            "state",
            Evidence::RedisReplicaLinkDown(evidence) | Evidence::RedisReplicaLinkStalled(evidence),
        ) => Some(labels::link_state(evidence.state)),
        ("unreplicated_writes", Evidence::RedisWritesLost(evidence)) => {
            Some(evidence.changes.to_string())
        }
        ("by", evidence) => {
            let primary = match evidence {
                Evidence::RedisPrimaryRestartedEmpty(evidence) => &evidence.primary,
                Evidence::RedisSplitBrain(evidence) => &evidence.primary,
                Evidence::RedisWritesLost(evidence) => &evidence.primary,
                _ => return None,
            };
            Some(labels::primary_evidence(primary.as_ref()?.evidence).to_owned())
        }
        _ => None,
    }
}

/// Returns a value with its unit, which follows from its key.
fn value_text(key: &str, value: &Value) -> String {
    let is_bytes =
        key.ends_with("bytes") || key == "rewrite_due_at" || FIELDS_IN_BYTES.contains(&key);
    match value {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an amount of data is never negative"
        )]
        Value::Number(number) if is_bytes => bytes(*number as u64),
        Value::Number(number) if key.contains("seconds") => format!("{number} s"),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::List(items) if items.is_empty() => "none".to_owned(),
        Value::List(items) => items.join(", "),
    }
}
