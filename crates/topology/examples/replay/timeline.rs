//! Recorded timelines: samples of every node and Sentinel of a deployment, one object a line.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};
use snapshot::{MasterReport, NodeSnapshot, Reason, Role, SentinelEntry, SentinelReport};
use topology::{
    Deployment, DeploymentKind, Discovery, NodeNameTemplate, NodeReply, PollOutcome, Round,
    SentinelMessage,
};

/// A recording.
pub(crate) struct Timeline {
    rows: Vec<(f64, Map<String, Value>)>,
    messages: Vec<(f64, SentinelMessage)>,
    nodes: Vec<String>,
    sentinels: Vec<String>,
}

/// The name by which the recorded Sentinels know the master.
const MASTER: &str = "mymaster";

impl Timeline {
    /// Reads a recording, and the Sentinels' messages beside it, if there are any.
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

    /// The deployment that was recorded.
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

    /// The rounds of sampling it: each takes the first row at or after `phase` and a number of samples.
    pub(crate) fn rounds(&self, sample: Duration, phase: Duration) -> Vec<Round> {
        let mut rounds = Vec::new();
        let mut heard = 0;
        let mut wanted = phase.as_secs_f64();
        for (at, row) in &self.rows {
            if *at < wanted {
                continue;
            }
            while wanted <= *at {
                wanted += sample.as_secs_f64();
            }
            let messages: Vec<_> = self.messages[heard..]
                .iter()
                .take_while(|(then, _)| then <= at)
                .map(|(_, message)| message.clone())
                .collect();
            heard += messages.len();
            rounds.push(self.round(*at, row, messages));
        }
        rounds
    }

    fn round(&self, at: f64, row: &Map<String, Value>, messages: Vec<SentinelMessage>) -> Round {
        let elapsed = Duration::from_secs_f64(at);
        let nodes = self.nodes.iter().map(|node| outcome(row.get(node), elapsed));
        let sentinels = self.sentinels.iter().map(|sentinel| said(row.get(sentinel), elapsed));
        Round {
            messages,
            ..Round::new(
                SystemTime::UNIX_EPOCH + elapsed,
                elapsed,
                nodes.chain(sentinels).collect(),
            )
        }
    }
}

/// Sentinels are called `sentinel1`, or as their node with an s before it.
fn is_sentinel(name: &str, row: &Map<String, Value>) -> bool {
    name.starts_with("sentinel")
        || name.strip_prefix('s').is_some_and(|node| row.contains_key(node))
}

/// Where a node was, and another name of that place.
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

fn outcome(said: Option<&Value>, elapsed: Duration) -> PollOutcome {
    let Some(Value::Object(fields)) = said else { return PollOutcome::Missed(Reason::Timeout) };
    if let Some(error) = fields.get("error") {
        let error = error.to_string().to_lowercase();
        return if error.contains("refused") {
            PollOutcome::Failed(Reason::Refused)
        } else if error.contains("timeout") {
            PollOutcome::Missed(Reason::Timeout)
        } else {
            // The connection was lost; nothing was tried since.
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

/// What a Sentinel said of the master. Its replicas were recorded in part only.
fn said(said: Option<&Value>, elapsed: Duration) -> PollOutcome {
    let Some(Value::Object(fields)) = said else { return PollOutcome::Missed(Reason::Timeout) };
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
    }]);
    let mut snapshot = NodeSnapshot { sentinel: Some(report.into()), ..NodeSnapshot::default() };
    snapshot.replication.role = Some(Role::Sentinel);
    PollOutcome::Answered(NodeReply::new(
        snapshot,
        Duration::ZERO,
        SystemTime::UNIX_EPOCH + elapsed,
    ))
}

/// The Sentinels' messages beside a recording, in the order of their arrival; what several announced alike is there once for each.
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
