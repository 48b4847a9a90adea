//! Expectations: verdicts that the replay of a recording should give.

use std::fmt;

use serde::{Deserialize, Serialize};
use topology::{Availability, DeploymentView, FindingKind, LinkState, NodeView, ShardView};

use crate::recording::Recording;
use crate::replay::ReplayedRound;
use crate::time::wall_nanos;

/// A verdict that one round of a recording should give, or should not give.
///
/// In JSON it is an object with the name of the verdict and the names `at`, `shard` and `not`,
/// which are optional:
///
/// ```
/// use recording::{Expectation, Verdict};
///
/// let text = r#"{"finding":{"kind":"RedisDown","node":"b"},"not":true}"#;
/// let expectation: Expectation = serde_json::from_str(text).expect("an expectation");
/// assert_eq!(
///     expectation,
///     Expectation {
///         not: true,
///         ..Expectation::of(Verdict::Finding {
///             kind: "RedisDown".to_owned(),
///             node: Some("b".to_owned()),
///         })
///     }
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// Wall time at which the judged round closed, nanoseconds since the Unix epoch; `None` for the
    /// last round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// Label of the judged shard; `None` if the deployment is no cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    /// The verdict should not be given.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not: bool,
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// A verdict about a node, a shard or a deployment. Nodes are named by their labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// State of a node.
    NodeState {
        /// The node.
        node: String,
        /// The label: `up`, `down`, `unreachable` or `unknown`.
        state: String,
    },
    /// State of the replication link of a node.
    Link {
        /// The node.
        node: String,
        /// The label, for example `up` or `lost`; `None` if the node has no link.
        state: Option<String>,
    },
    /// A replica that gets no data from the primary.
    Orphan {
        /// The node.
        node: String,
    },
    /// The undisputed primary.
    Primary {
        /// The node; `None` if no node is named, disputed or not.
        node: Option<String>,
    },
    /// The statements about the primary contradict each other.
    Disputed(bool),
    /// The primary accepts writes; `None` if this is unknown.
    Writable(Option<bool>),
    /// Lost changes since the exporter started.
    LostWrites {
        /// The least number.
        from: u64,
        /// The largest number.
        to: u64,
    },
    /// Nodes that replicate in a circle, in ascending order; empty without a circle.
    Loop(Vec<String>),
    /// A finding of any severity.
    Finding {
        /// The kind, which is the name of the alert.
        kind: String,
        /// The node that it affects; `None` for a finding of any node, or of none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<String>,
    },
}

/// Result of the comparison of an expectation with a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// The expectation holds.
    Holds,
    /// The replay gives another verdict.
    Violated {
        /// The verdict of the replay.
        found: String,
    },
    /// The expectation cannot be compared, for example because there is no such node.
    Undefined {
        /// Reason.
        why: String,
    },
}

impl Expectation {
    /// Returns the expectation that the last round gives a verdict.
    pub fn of(verdict: Verdict) -> Self {
        Expectation { at: None, shard: None, not: false, verdict }
    }

    /// Compares the expectation with the state after a round.
    pub fn judge(&self, view: &DeploymentView) -> Judgement {
        match self.find(view) {
            Err(why) => Judgement::Undefined { why },
            Ok((given, _)) if given != self.not => Judgement::Holds,
            Ok((_, found)) => Judgement::Violated { found },
        }
    }

    /// Returns true if the expectation is about this round.
    fn is_about(&self, round: &ReplayedRound<'_>) -> bool {
        self.at.is_none_or(|at| at == wall_nanos(round.recorded.round.at))
    }

    /// Returns true if the verdict is given, and the verdict that is given.
    fn find(&self, view: &DeploymentView) -> Result<(bool, String), String> {
        match &self.verdict {
            Verdict::NodeState { node, state } => {
                known_label(state, &Availability::LABELS)?;
                let node = find_node(view, node)?;
                let found = node.availability().label();
                let reason = node.failure().map(|reason| format!(" ({})", reason.label()));
                Ok((found == state, format!("{found}{}", reason.unwrap_or_default())))
            }
            Verdict::Link { node, state } => {
                state.as_deref().map_or(Ok(()), |state| known_label(state, &LinkState::LABELS))?;
                let found = find_node(view, node)?.link.state.map(LinkState::label);
                Ok((found == state.as_deref(), found.unwrap_or("no link").to_owned()))
            }
            Verdict::Orphan { node } => {
                let orphan = find_node(view, node)?.orphan;
                let found = orphan.map(|reason| format!("orphan ({reason:?})"));
                Ok((orphan.is_some(), found.unwrap_or_else(|| "no orphan".to_owned())))
            }
            Verdict::Primary { node } => {
                if let Some(node) = node {
                    find_node(view, node)?;
                }
                let shard = self.shard(view)?;
                let name = shard.primary.map(|primary| view.name(primary.node));
                let is_given =
                    name == node.as_deref() && (name.is_none() || !shard.primary_disputed);
                let disputed = if shard.primary_disputed { " (disputed)" } else { "" };
                Ok((is_given, format!("{}{disputed}", name.unwrap_or("no primary"))))
            }
            Verdict::Disputed(disputed) => {
                let found = self.shard(view)?.primary_disputed;
                Ok((found == *disputed, format!("disputed: {found}")))
            }
            Verdict::Writable(writable) => {
                let found = self.shard(view)?.writable;
                Ok((found == *writable, format!("writable: {found:?}")))
            }
            Verdict::LostWrites { from, to } => {
                let found = self.shard(view)?.lost_writes.total;
                Ok(((*from..=*to).contains(&found), format!("{found} lost writes")))
            }
            Verdict::Loop(nodes) => {
                let looped = self.shard(view)?.replication_loop.iter();
                let mut found: Vec<_> = looped.map(|index| view.name(*index)).collect();
                found.sort_unstable();
                Ok((found == *nodes, format!("loop: {found:?}")))
            }
            Verdict::Finding { kind, node } => {
                let labels: Vec<_> = FindingKind::ALL.iter().map(|kind| kind.label()).collect();
                known_label(kind, &labels)?;
                let is_given = view.findings.iter().any(|finding| {
                    finding.kind.label() == kind
                        && (node.is_none() || finding.node == *node)
                        && (self.shard.is_none() || finding.shard == self.shard)
                });
                let found = if is_given { "present" } else { "absent" };
                Ok((is_given, format!("{kind} is {found}")))
            }
        }
    }

    fn shard<'a>(&self, view: &'a DeploymentView) -> Result<&'a ShardView, String> {
        let is_meant = |shard: &&ShardView| self.shard.is_none() || shard.shard == self.shard;
        let mut shards = view.shards.iter().filter(is_meant);
        match (shards.next(), shards.next()) {
            (Some(shard), None) => Ok(shard),
            (Some(_), Some(_)) => Err("there are several shards".to_owned()),
            (None, _) => Err(format!("there is no shard {:?}", self.shard)),
        }
    }
}

fn find_node<'a>(view: &'a DeploymentView, name: &str) -> Result<&'a NodeView, String> {
    let found = view.members().find(|(_, node)| node.node.name == name);
    found.map(|(_, node)| node).ok_or_else(|| format!("there is no node {name:?}"))
}

fn known_label(label: &str, labels: &[&str]) -> Result<(), String> {
    if labels.contains(&label) {
        return Ok(());
    }
    Err(format!("unknown value {label:?}, expected one of {}", labels.join(", ")))
}

impl Recording {
    /// Replays the recording once, and compares expectations with it.
    pub fn judge(&self, expectations: &[Expectation]) -> Vec<Judgement> {
        let missing = || Judgement::Undefined { why: "there is no such round".to_owned() };
        let mut judgements: Vec<_> = expectations.iter().map(|_| missing()).collect();
        let last = self.rounds.len().saturating_sub(1);
        for (number, round) in self.replay().enumerate() {
            for (expectation, judgement) in expectations.iter().zip(&mut judgements) {
                let is_about = match expectation.at {
                    Some(_) => expectation.is_about(&round),
                    None => number == last,
                };
                if is_about {
                    *judgement = expectation.judge(&round.result.view);
                }
            }
        }
        judgements
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Judgement::Holds => f.write_str("holds"),
            Judgement::Violated { found } => write!(f, "violated, found: {found}"),
            Judgement::Undefined { why } => write!(f, "cannot be compared: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_keep_their_value_in_json() {
        let verdicts = [
            Verdict::NodeState { node: "a".to_owned(), state: "up".to_owned() },
            Verdict::Link { node: "a".to_owned(), state: None },
            Verdict::Orphan { node: "a".to_owned() },
            Verdict::Primary { node: None },
            Verdict::Disputed(false),
            Verdict::Writable(None),
            Verdict::Writable(Some(true)),
            Verdict::LostWrites { from: 1, to: 2 },
            Verdict::Loop(vec!["a".to_owned()]),
            Verdict::Finding { kind: "RedisDown".to_owned(), node: None },
        ];
        for verdict in verdicts {
            let plain = Expectation::of(verdict);
            let named = Expectation {
                at: Some(u64::MAX),
                shard: Some("0".to_owned()),
                not: true,
                ..plain.clone()
            };
            for expectation in [plain, named] {
                let text = serde_json::to_string(&expectation).expect("JSON");
                assert_eq!(serde_json::from_str::<Expectation>(&text).expect(&text), expectation);
            }
        }
    }
}
