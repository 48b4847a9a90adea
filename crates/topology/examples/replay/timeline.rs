//! Recorded timelines: samples of the nodes and Sentinels of a deployment, one JSON object per
//! line.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};
use snapshot::{MasterReport, NodeSnapshot, Reason, SentinelEntry, SentinelReport};
use topology::{
    Deployment, DeploymentKind, Discovery, Monotonic, NodeNameTemplate, NodeReply, PollOutcome,
    Round, SentinelMessage,
};

/// A recorded timeline.
pub(crate) struct Timeline {
    rows: Vec<(f64, Map<String, Value>)>,
    messages: Vec<(f64, SentinelMessage)>,
    nodes: Vec<String>,
    sentinels: Vec<String>,
}

/// Name of the master in the recorded Sentinels.
const MASTER: &str = "mymaster";

impl Timeline {
    /// Reads a recording, and the messages of the Sentinels next to it, if there are any.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let row = |(index, line): (usize, &str)| {
            let row = serde_json::from_str::<Map<String, Value>>(line)
                .map_err(|error| format!("line {}: {error}", index + 1))?;
            let at = row
                .get("t")
                .and_then(Value::as_f64)
                .ok_or_else(|| format!("line {}: no t", index + 1))?;
            Ok((at, row))
        };
        let rows = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
            .map(row)
            .collect::<Result<Vec<_>, String>>()?;
        let (_, first) = rows.first().ok_or("no rows")?;
        let names = first.keys().filter(|name| *name != "t").cloned();
        let (sentinels, nodes) = names.partition(|name| is_sentinel(name, first));
        Ok(Timeline { messages: messages(path), nodes, sentinels, rows })
    }

    /// Returns the recorded deployment.
    pub(crate) fn deployment(&self, sample: Duration) -> Deployment {
        let long = Duration::from_secs(3600);
        let mut deployment = Deployment::new(
            "replay",
            DeploymentKind::Sentinel,
            &[],
            sample,
            (sample * 3).max(Duration::from_secs(3)),
        );
        deployment.discovery = Some(Discovery {
            master: MASTER.to_owned(),
            names: NodeNameTemplate::default(),
            address_map: BTreeMap::new(),
            ghost_after: long,
            forget_after: long,
        });
        for name in &self.nodes {
            let (address, alias) = address(name);
            deployment.add(name, &address, None);
            if let Some(alias) = alias {
                deployment.alias(alias, &address);
            }
        }
        for name in &self.sentinels {
            deployment.add_sentinel(name, name, true);
        }
        deployment
    }

    /// Samples the recording. The round `n` is the first row at or after `phase + n * sample`.
    pub(crate) fn rounds(&self, sample: Duration, phase: Duration) -> Vec<Round> {
        let mut rounds = Vec::new();
        let mut delivered = 0;
        let mut due = phase.as_secs_f64();
        for (at, row) in &self.rows {
            if *at < due {
                continue;
            }
            while due <= *at {
                due += sample.as_secs_f64();
            }
            let messages: Vec<_> = self.messages[delivered..]
                .iter()
                .take_while(|(then, _)| then <= at)
                .map(|(_, message)| message.clone())
                .collect();
            delivered += messages.len();
            rounds.push(self.round(*at, row, messages));
        }
        rounds
    }

    fn round(&self, at: f64, row: &Map<String, Value>, messages: Vec<SentinelMessage>) -> Round {
        let elapsed = Duration::from_secs_f64(at);
        let nodes = self.nodes.iter().map(|node| outcome(row.get(node), elapsed));
        let sentinels =
            self.sentinels.iter().map(|sentinel| sentinel_outcome(row.get(sentinel), elapsed));
        Round {
            messages,
            ..Round::new(
                SystemTime::UNIX_EPOCH + elapsed,
                Monotonic::from_start(elapsed),
                nodes.chain(sentinels).collect(),
            )
        }
    }
}

/// Returns true for names of Sentinels: `sentinel1`, or the name of a node with the prefix `s`.
fn is_sentinel(name: &str, row: &Map<String, Value>) -> bool {
    name.starts_with("sentinel")
        || name.strip_prefix('s').is_some_and(|node| row.contains_key(node))
}

/// Returns the address of a node and its alias.
fn address(name: &str) -> (String, Option<String>) {
    if let Some(number) = name.strip_prefix("node").and_then(|number| number.parse::<u16>().ok()) {
        return (format!("127.0.0.1:{}", 17239 + number), None);
    }
    let host = match name.as_bytes() {
        [letter @ b'a'..=b'z'] => format!("10.99.0.{}", letter - b'a' + 1),
        _ => name.to_owned(),
    };
    (format!("{host}:17290"), Some(host))
}

fn outcome(sample: Option<&Value>, elapsed: Duration) -> PollOutcome {
    let Some(Value::Object(fields)) = sample else { return PollOutcome::Missed(Reason::Timeout) };
    if let Some(error) = fields.get("error") {
        let error = error.to_string().to_lowercase();
        return if error.contains("refused") {
            PollOutcome::Failed(Reason::Refused)
        } else if error.contains("timeout") {
            PollOutcome::Missed(Reason::Timeout)
        } else {
            // The connection was lost, and no attempt to reconnect has failed yet.
            PollOutcome::Missed(Reason::Closed)
        };
    }
    let lines: Vec<_> =
        fields.iter().map(|(name, value)| format!("{name}:{}\n", text(value))).collect();
    match NodeSnapshot::from_info(&lines.concat()) {
        Some(snapshot) => PollOutcome::Answered(NodeReply::new(
            snapshot,
            Duration::ZERO,
            SystemTime::UNIX_EPOCH + elapsed,
        )),
        None => PollOutcome::Missed(Reason::Protocol),
    }
}

/// Returns the report of a Sentinel about the master, without replicas: those were not recorded in
/// full.
fn sentinel_outcome(sample: Option<&Value>, elapsed: Duration) -> PollOutcome {
    let Some(Value::Object(fields)) = sample else { return PollOutcome::Missed(Reason::Timeout) };
    let values: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), text(value))).collect();
    let named = [("name", MASTER)]
        .into_iter()
        .chain(values.iter().map(|(name, value)| (*name, value.as_str())));
    let Some(master) = SentinelEntry::from_pairs(named) else {
        return PollOutcome::Missed(Reason::Protocol);
    };
    let report = SentinelReport::new(vec![MasterReport {
        master,
        replicas: None,
        sentinels: None,
        quorum: None,
        lists_age: Duration::ZERO,
    }]);
    let Some(snapshot) = NodeSnapshot::from_info("redis_mode:sentinel\n") else {
        return PollOutcome::Missed(Reason::Protocol);
    };
    let snapshot = NodeSnapshot { sentinel: Some(report.into()), ..snapshot };
    PollOutcome::Answered(NodeReply::new(
        snapshot,
        Duration::ZERO,
        SystemTime::UNIX_EPOCH + elapsed,
    ))
}

/// Returns the messages of all Sentinels next to a recording, in the order of their arrival.
fn messages(path: &Path) -> Vec<(f64, SentinelMessage)> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(stem) = name.split(".timeline").next() else { return Vec::new() };
    let mut messages = Vec::new();
    for sentinel in 1..=9 {
        let beside = path.with_file_name(format!("{stem}.sentinel{sentinel}.pubsub-events.txt"));
        let text = std::fs::read_to_string(beside).unwrap_or_default();
        for line in text.lines() {
            let mut words = line.splitn(3, ' ');
            let (Some(Ok(at)), Some(channel)) = (words.next().map(str::parse::<f64>), words.next())
            else {
                continue;
            };
            let payload = words.next().unwrap_or_default().to_owned();
            let at_time = SystemTime::UNIX_EPOCH + Duration::from_secs_f64(at);
            let message = SentinelMessage {
                at: at_time,
                sentinel: format!("sentinel{sentinel}"),
                channel: channel.to_owned(),
                payload,
            };
            messages.push((at, message));
        }
    }
    messages.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    messages
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
