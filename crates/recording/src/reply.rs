//! State of a node as its replies report it: differences for the writer, snapshots for the reader.
//!
//! The state is a JSON object. Each of its names is a part: the reply to one command, or a property
//! of the connection. `FORMAT.md` lists the parts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use snapshot::{
    CONFIG_PARAMETERS, ClusterMap, CommandLatency, CommandStats, Config, ErrorStats,
    ExpectedLayout, Fields, MasterReport, NodeSnapshot, Quorum, Reply, SentinelEntry,
    SentinelReport, ServerError, SlowLog,
};

use crate::patch;
use crate::reading::Problem;
use crate::time::nanos;

/// State of a node in one answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodeState {
    pub(crate) snapshot: Arc<NodeSnapshot>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) certificate_expiry: Option<Duration>,
}

/// Returns the patch that turns one state of a node into another.
///
/// `master` is the name of the master of the deployment in the Sentinels. Other masters are left
/// out.
pub(crate) fn state_patch(
    before: &NodeState,
    after: &NodeState,
    master: &str,
) -> Map<String, Value> {
    let mut patch = Map::new();
    let (old, new) = (&*before.snapshot, &*after.snapshot);
    let info = info_patch(old, new);
    if !info.is_empty() {
        patch.insert("info".to_owned(), Value::Object(info));
    }
    add_part(&mut patch, "commands", old.commands.as_ref(), new.commands.as_ref(), commands);
    add_part(
        &mut patch,
        "latencies",
        old.latencies.as_ref(),
        new.latencies.as_ref(),
        |latencies| table(latencies.iter().map(|command| (&*command.name, command.values()))),
    );
    add_part(&mut patch, "cluster_info", old.cluster.as_ref(), new.cluster.as_ref(), |fields| {
        table(fields.iter().map(|(name, value)| (name, value.to_owned())))
    });
    add_part(&mut patch, "cluster_nodes", old.map.as_ref(), new.map.as_ref(), |map| {
        map.nodes.iter().map(|node| Value::from(node.line())).collect()
    });
    add_part(&mut patch, "config", old.config.as_ref(), new.config.as_ref(), config);
    let report = |report: &SentinelReport| sentinel(report, master);
    add_part(&mut patch, "sentinel", old.sentinel.as_ref(), new.sentinel.as_ref(), report);
    let value = |log: Option<SlowLog>| log.map_or(Value::Null, slow_log);
    add(&mut patch, "slow_log", &value(old.slowlog), &value(new.slowlog));
    let value = |peer: Option<SocketAddr>| peer.map_or(Value::Null, |peer| json!(peer.to_string()));
    add(&mut patch, "peer", &value(before.peer), &value(after.peer));
    let value =
        |expiry: Option<Duration>| expiry.map_or(Value::Null, |expiry| nanos(expiry).into());
    let expiries = [before.certificate_expiry, after.certificate_expiry].map(value);
    add(&mut patch, "certificate_expiry", &expiries[0], &expiries[1]);
    patch
}

fn add(patch: &mut Map<String, Value>, name: &str, before: &Value, after: &Value) {
    if let Some(difference) = patch::difference(before, after) {
        patch.insert(name.to_owned(), difference);
    }
}

/// Adds the difference between two values of a part that is shared while it does not change.
fn add_part<T>(
    patch: &mut Map<String, Value>,
    name: &str,
    before: Option<&Arc<T>>,
    after: Option<&Arc<T>>,
    value: impl Fn(&T) -> Value,
) {
    let is_shared = match (before, after) {
        (Some(before), Some(after)) => Arc::ptr_eq(before, after),
        (None, None) => true,
        _ => false,
    };
    if !is_shared {
        let [before, after] =
            [before, after].map(|part| part.map_or(Value::Null, |part| value(part)));
        add(patch, name, &before, &after);
    }
}

/// Returns the patch of INFO. Only the lines that differ are copied, since a reply has hundreds.
fn info_patch(before: &NodeSnapshot, after: &NodeSnapshot) -> Map<String, Value> {
    let mut patch = Map::new();
    let (old, new) = (repeated(&before.fields), repeated(&after.fields));
    for (name, value) in after.fields.lines().filter(|(name, _)| !new.contains_key(name)) {
        if before.fields.get(name) != Some(value) || old.contains_key(name) {
            patch.insert(name.to_owned(), value.into());
        }
    }
    for (name, values) in &new {
        if old.get(name) != Some(values) {
            patch.insert((*name).to_owned(), values.clone().into());
        }
    }
    for (name, _) in before.fields.lines().filter(|(name, _)| after.fields.get(name).is_none()) {
        patch.insert(name.to_owned(), Value::Null);
    }
    if before.errors != after.errors {
        let [before, after] = [before, after].map(error_table);
        if let Some(Value::Object(difference)) = patch::difference(&before, &after) {
            patch.extend(difference);
        }
    }
    patch
}

fn error_table(snapshot: &NodeSnapshot) -> Value {
    let lines = snapshot.errors.lines().into_iter();
    Value::Object(lines.map(|(name, value)| (name, value.into())).collect())
}

/// Returns the values of the names that have several lines: modules, for example.
fn repeated(fields: &Fields) -> BTreeMap<&str, Vec<&str>> {
    let names = fields.repeated_names();
    let mut repeated: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, value) in fields.lines().filter(|(name, _)| names.contains(name)) {
        repeated.entry(name).or_default().push(value);
    }
    repeated
}

fn table<'a>(lines: impl Iterator<Item = (&'a str, String)>) -> Value {
    Value::Object(lines.map(|(name, value)| (name.to_owned(), value.into())).collect())
}

fn commands(stats: &CommandStats) -> Value {
    table(stats.iter().map(|command| (command.name, command.values())))
}

/// Returns the parameters that Rolecall reads. None of them contains a secret.
fn config(config: &Config) -> Value {
    let known = config.iter().filter(|(name, _)| CONFIG_PARAMETERS.contains(name));
    table(known.map(|(name, value)| (name, value.to_owned())))
}

fn sentinel(report: &SentinelReport, master: &str) -> Value {
    let Some(report) = report.master(master) else { return json!({}) };
    let list = |entries: &Arc<[SentinelEntry]>| entries.iter().map(entry).collect::<Value>();
    let mut part = Map::from_iter([
        ("master".to_owned(), entry(&report.master)),
        ("lists_age".to_owned(), nanos(report.lists_age).into()),
    ]);
    let optional = [
        ("replicas", report.replicas.as_ref().map(list)),
        ("sentinels", report.sentinels.as_ref().map(list)),
        ("ckquorum", report.quorum.map(|quorum| quorum.text().into())),
    ];
    part.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    Value::Object(part)
}

fn entry(entry: &SentinelEntry) -> Value {
    table(entry.pairs().into_iter())
}

fn slow_log(log: SlowLog) -> Value {
    let mut part = Map::new();
    if let Some(length) = log.length {
        part.insert("length".to_owned(), length.into());
    }
    if let Some((id, duration)) = log.last {
        part.insert("last_id".to_owned(), id.into());
        part.insert("last_duration".to_owned(), nanos(duration).into());
    }
    Value::Object(part)
}

/// Reader of the states of one node.
#[derive(Debug, Default)]
pub(crate) struct StateReader {
    parts: Map<String, Value>,
    /// The last state. Parts that did not change are shared.
    state: NodeState,
    info_layout: ExpectedLayout,
}

impl StateReader {
    /// Applies a patch and returns the state.
    pub(crate) fn apply(&mut self, patch: Map<String, Value>) -> Result<NodeState, Problem> {
        let changed: Vec<String> = patch.keys().cloned().collect();
        patch::apply(&mut self.parts, patch);
        let mut snapshot = if changed.iter().any(|name| name == "info") {
            self.info()?
        } else {
            NodeSnapshot::clone(&self.state.snapshot)
        };
        let before = &self.state.snapshot;
        snapshot.commands.clone_from(&before.commands);
        snapshot.latencies.clone_from(&before.latencies);
        snapshot.cluster.clone_from(&before.cluster);
        snapshot.map.clone_from(&before.map);
        snapshot.config.clone_from(&before.config);
        snapshot.sentinel.clone_from(&before.sentinel);
        snapshot.slowlog = before.slowlog;
        for name in changed {
            self.read_part(&name, &mut snapshot)?;
        }
        self.state.snapshot = Arc::new(snapshot);
        Ok(self.state.clone())
    }

    /// Reads a part again that changed.
    fn read_part(&mut self, name: &str, snapshot: &mut NodeSnapshot) -> Result<(), Problem> {
        let part = self.parts.get(name);
        match name {
            "commands" => snapshot.commands = part.map(read_commands).transpose()?,
            "latencies" => snapshot.latencies = part.map(read_latencies).transpose()?,
            "cluster_info" => snapshot.cluster = part.map(read_fields).transpose()?,
            "cluster_nodes" => snapshot.map = part.map(read_map).transpose()?,
            "config" => snapshot.config = part.map(read_config).transpose()?,
            "sentinel" => snapshot.sentinel = part.map(read_sentinel).transpose()?,
            "slow_log" => snapshot.slowlog = part.map(read_slow_log).transpose()?,
            "peer" => self.state.peer = part.map(read_peer).transpose()?,
            "certificate_expiry" => {
                let expiry = part.map(number).transpose()?;
                self.state.certificate_expiry = expiry.map(Duration::from_nanos);
            }
            // INFO was read before; other parts are those of a newer version.
            _ => {}
        }
        Ok(())
    }

    /// Returns the snapshot of INFO alone.
    fn info(&mut self) -> Result<NodeSnapshot, Problem> {
        let Some(part) = self.parts.get("info") else { return Ok(NodeSnapshot::default()) };
        NodeSnapshot::from_expected_info(&text(part, "")?, &mut self.info_layout)
            .ok_or_else(|| Problem::damaged("INFO has no known field"))
    }
}

fn read_commands(part: &Value) -> Result<Arc<CommandStats>, Problem> {
    Ok(Arc::new(CommandStats::parse(&text(part, "cmdstat_")?)))
}

fn read_latencies(part: &Value) -> Result<Arc<Vec<CommandLatency>>, Problem> {
    Ok(Arc::new(CommandLatency::parse(&text(part, "latency_percentiles_usec_")?)))
}

fn read_fields(part: &Value) -> Result<Arc<Fields>, Problem> {
    Ok(Arc::new(Fields::parse(&text(part, "")?)))
}

fn read_map(part: &Value) -> Result<Arc<ClusterMap>, Problem> {
    let lines: Vec<_> = strings(part)?.collect::<Result<_, _>>()?;
    Ok(Arc::new(ClusterMap::parse(&lines.join("\n"))))
}

fn read_config(part: &Value) -> Result<Arc<Config>, Problem> {
    let words = pairs(part)?.flat_map(|(name, value)| [name, value]);
    let words = words.map(|word| Reply::Text(word.into())).collect();
    let mut config = Config::default();
    config.add(&Reply::Array(words));
    Ok(Arc::new(config))
}

fn read_peer(part: &Value) -> Result<SocketAddr, Problem> {
    string(part)?.parse().map_err(Problem::damaged)
}

/// Returns the lines `name:value` of a table, each with a prefix, and its headings.
fn text(table: &Value, prefix: &str) -> Result<String, Problem> {
    // Watched error codes are kept in addition to the limit, so they come last.
    let is_watched = |name: &str| {
        let code = name.strip_prefix("errorstat_");
        code.is_some_and(|code| ErrorStats::WATCHED.contains(&code))
    };
    let (watched, others): (Vec<_>, Vec<_>) =
        object(table)?.iter().partition(|(name, _)| is_watched(name));
    let mut words = Vec::new();
    for (name, value) in others.into_iter().chain(watched) {
        let values = match value {
            _ if name.starts_with('#') => {
                words.extend([name, "\r\n"]);
                continue;
            }
            Value::Array(_) => strings(value)?.collect::<Result<_, _>>()?,
            value => vec![string(value)?],
        };
        for value in values {
            words.extend([prefix, name, ":", value, "\r\n"]);
        }
    }
    Ok(words.concat())
}

fn read_sentinel(part: &Value) -> Result<Arc<SentinelReport>, Problem> {
    let part = object(part)?;
    let Some(master) = part.get("master") else { return Ok(Arc::default()) };
    let list = |name: &str| {
        let entries = part.get(name).map(|entries| match entries {
            Value::Array(entries) => entries.iter().map(sentinel_entry).collect(),
            other => Err(unexpected("a list", other)),
        });
        entries.transpose()
    };
    let quorum = part.get("ckquorum").map(string).transpose()?;
    let report = MasterReport {
        master: sentinel_entry(master)?,
        replicas: list("replicas")?,
        sentinels: list("sentinels")?,
        quorum: quorum.and_then(|text| {
            let error = || Quorum::parse(&Reply::Error(ServerError::new(text)));
            Quorum::parse(&Reply::Text(text.into())).or_else(error)
        }),
        lists_age: Duration::from_nanos(part.get("lists_age").map_or(Ok(0), number)?),
    };
    Ok(Arc::new(SentinelReport::new(vec![report])))
}

fn sentinel_entry(entry: &Value) -> Result<SentinelEntry, Problem> {
    SentinelEntry::from_pairs(pairs(entry)?)
        .ok_or_else(|| Problem::damaged("an entry of a Sentinel has no address"))
}

fn read_slow_log(part: &Value) -> Result<SlowLog, Problem> {
    let part = object(part)?;
    let last = part.get("last_id").zip(part.get("last_duration"));
    Ok(SlowLog {
        length: part.get("length").map(number).transpose()?,
        last: match last {
            Some((id, duration)) => Some((number(id)?, Duration::from_nanos(number(duration)?))),
            None => None,
        },
    })
}

fn unexpected(expected: &str, found: &Value) -> Problem {
    let found: String = found.to_string().chars().take(64).collect();
    Problem::damaged(format!("expected {expected}, found {found}"))
}

fn object(value: &Value) -> Result<&Map<String, Value>, Problem> {
    value.as_object().ok_or_else(|| unexpected("an object", value))
}

fn string(value: &Value) -> Result<&str, Problem> {
    value.as_str().ok_or_else(|| unexpected("a string", value))
}

fn number(value: &Value) -> Result<u64, Problem> {
    value.as_u64().ok_or_else(|| unexpected("a whole number", value))
}

fn strings(value: &Value) -> Result<impl Iterator<Item = Result<&str, Problem>>, Problem> {
    let items = value.as_array().ok_or_else(|| unexpected("a list", value))?;
    Ok(items.iter().map(string))
}

fn pairs(table: &Value) -> Result<impl Iterator<Item = (&str, &str)>, Problem> {
    let pairs: Vec<_> = object(table)?
        .iter()
        .map(|(name, value)| Ok((name.as_str(), string(value)?)))
        .collect::<Result<_, Problem>>()?;
    Ok(pairs.into_iter())
}
