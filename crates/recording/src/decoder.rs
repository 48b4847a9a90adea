//! Reader of a recording, line by line.

use std::sync::Arc;
use std::time::Duration;

use snapshot::{Client, Reason};
use topology::{
    DiskSpace, EndpointCheckResult, EndpointServer, FailedContact, HostNames, Monotonic, NodeIndex,
    NodeReply, NodeVec, PollOutcome, ResolvedName, Round, SentinelMessage, SharedNode,
};

use crate::expectation::Expectation;
use crate::header::{self, Header};
use crate::lines::{
    AnswerLine, CheckLine, FORMAT, Line, NodeLine, ResolvedLine, RoundLine, SharedLine, VERSION,
    VersionLine,
};
use crate::reading::{Problem, ReadError};
use crate::recording::RecordedRound;
use crate::reply::StateReader;
use crate::time::wall;

/// Reader of a recording. It needs all lines in their order.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Number of lines read.
    lines: usize,
    has_round: bool,
    nodes: Vec<StateReader>,
    members: Arc<[String]>,
    host_names: Arc<HostNames>,
    resolved: Arc<[ResolvedName]>,
}

/// Content of a line.
#[derive(Debug, Clone)]
pub enum Item {
    /// The header, always in the first line.
    Header(Box<Header>),
    /// A round.
    Round(Box<RecordedRound>),
    /// A number of rounds are missing here: they were not written in time.
    Dropped(u64),
    /// A verdict that the replay should give.
    Expectation(Expectation),
    /// A line of a newer version that this one does not need.
    Unknown,
}

impl Decoder {
    /// Reads the next line.
    ///
    /// # Errors
    /// Fails if the line is malformed, if the first line is no header, or if the header has another
    /// version of the format.
    pub fn line(&mut self, text: &str) -> Result<Item, ReadError> {
        self.lines += 1;
        let item = if self.lines == 1 { header(text) } else { self.item(text) };
        item.map_err(|problem| problem.at(self.lines))
    }

    fn item(&mut self, text: &str) -> Result<Item, Problem> {
        let line: Line = serde_json::from_str(text).map_err(Problem::damaged)?;
        if line.header.is_some() {
            return Err(Problem {
                text: "a second header".to_owned(),
                advice: "several recordings are in this file; split it before each header",
            });
        }
        Ok(match line {
            Line { round: Some(round), .. } => Item::Round(Box::new(self.round(round)?)),
            Line { dropped: Some(rounds), .. } => Item::Dropped(rounds),
            Line { expect: Some(expectation), .. } => Item::Expectation(expectation),
            _ => Item::Unknown,
        })
    }

    fn round(&mut self, line: RoundLine) -> Result<RecordedRound, Problem> {
        if line.full {
            *self = Decoder { lines: self.lines, ..Decoder::default() };
        } else if !self.has_round {
            return Err(Problem::damaged("the round refers to an earlier one, which is missing"));
        }
        self.has_round = true;
        if let Some(members) = line.members {
            self.members = members.into();
        }
        if line.nodes.len() != self.members.len() {
            let (nodes, members) = (line.nodes.len(), self.members.len());
            return Err(Problem::damaged(format!("{nodes} outcomes for {members} members")));
        }
        if let Some(names) = line.host_names {
            self.host_names = Arc::new(names);
        }
        if let Some(names) = line.resolved {
            self.resolved = names.into_iter().map(resolved).collect();
        }
        let (mut outcomes, mut details, mut contacts, mut disks) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (index, mut node) in line.nodes.into_iter().enumerate() {
            details.push(node.detail.take().map(Arc::from));
            contacts.push(node.contact.take().map(|contact| FailedContact {
                since: monotonic(contact.since),
                refused: contact.refused,
            }));
            disks.push(node.disk.take().map(|disk| DiskSpace {
                free_bytes: disk.free_bytes,
                free_inodes: disk.free_inodes,
            }));
            outcomes.push(self.outcome(index, node)?);
        }
        let messages = line.messages.into_iter().map(|message| SentinelMessage {
            at: wall(message.at),
            sentinel: message.sentinel,
            channel: message.channel,
            payload: message.payload,
        });
        let round = Round {
            duration: Duration::from_nanos(line.duration),
            missed: line.missed,
            blind: line.blind,
            cut_off_for: line.cut_off_for.map(Duration::from_nanos),
            nodes_left: line.nodes_left,
            details: shortened(details),
            contacts: shortened(contacts),
            messages: messages.collect(),
            checks: line.checks.into_iter().map(check).collect::<Result<_, _>>()?,
            host_names: Arc::clone(&self.host_names),
            disks: shortened(disks),
            shared: line.shared.into_iter().map(shared).collect(),
            resolved: Arc::clone(&self.resolved),
            ..Round::new(wall(line.at), monotonic(line.now), outcomes)
        };
        Ok(RecordedRound { round, members: Arc::clone(&self.members) })
    }

    fn outcome(&mut self, index: usize, line: NodeLine) -> Result<PollOutcome, Problem> {
        Ok(match (line.answered, line.missed, line.failed) {
            (Some(answer), _, _) => PollOutcome::Answered(self.reply(index, answer)?),
            (None, Some(label), _) => PollOutcome::Missed(reason(&label)?),
            (None, None, Some(label)) => PollOutcome::Failed(reason(&label)?),
            (None, None, None) => PollOutcome::Pending,
        })
    }

    fn reply(&mut self, index: usize, line: AnswerLine) -> Result<NodeReply, Problem> {
        if self.nodes.len() <= index {
            self.nodes.resize_with(index + 1, StateReader::default);
        }
        let state = self.nodes[index].apply(line.state)?;
        Ok(NodeReply {
            requested: line.requested.map(monotonic),
            certificate_expiry: state.certificate_expiry,
            peer: state.peer,
            own_errors: line.own_errors,
            commands_read: line.commands_read,
            clients: line.clients.map(|lines| Client::parse_list(&lines.join("\n")).into()),
            ..NodeReply::new(state.snapshot, Duration::from_nanos(line.duration), wall(line.at))
        })
    }
}

fn header(text: &str) -> Result<Item, Problem> {
    let no_header = |problem: String| Problem {
        text: problem,
        advice: "give the path of a recording of Rolecall, from its first line on",
    };
    let version: VersionLine = serde_json::from_str(text)
        .map_err(|error| no_header(format!("not a header of a recording ({error})")))?;
    let version = version.header.ok_or_else(|| no_header("no header".to_owned()))?;
    if version.format != FORMAT {
        return Err(no_header(format!("the format is {:?}, not {FORMAT:?}", version.format)));
    }
    if version.version != VERSION {
        return Err(Problem {
            text: format!(
                "version {} of the format, this Rolecall reads version {VERSION}",
                version.version
            ),
            advice: "read the file with the version of Rolecall that wrote it",
        });
    }
    let line: Line = serde_json::from_str(text).map_err(Problem::damaged)?;
    let header = line.header.ok_or_else(|| no_header("no header".to_owned()))?;
    Ok(Item::Header(Box::new(Header::from_line(header)?)))
}

/// Returns one value for each node, or none if no node has one.
fn shortened<T>(values: Vec<Option<T>>) -> NodeVec<Option<T>> {
    if values.iter().all(Option::is_none) { NodeVec::default() } else { values.into() }
}

fn monotonic(nanos: u64) -> Monotonic {
    Monotonic::from_start(Duration::from_nanos(nanos))
}

fn reason(label: &str) -> Result<Reason, Problem> {
    Reason::from_label(label).ok_or_else(|| Problem::unknown("reason", label))
}

fn check(line: CheckLine) -> Result<EndpointCheckResult, Problem> {
    let outcome = match line.failed {
        Some(label) => Err(reason(&label)?),
        None => Ok(EndpointServer {
            run_id: line.run_id,
            role: line.role.as_deref().map(header::role).transpose()?,
            replid: line.replid,
        }),
    };
    Ok(EndpointCheckResult {
        endpoint: header::endpoint_kind(&line.endpoint)?,
        started: monotonic(line.started),
        ended: monotonic(line.ended),
        interval: Duration::from_nanos(line.interval),
        outcome,
    })
}

fn shared(line: SharedLine) -> SharedNode {
    SharedNode {
        node: NodeIndex::new(line.node),
        deployment: line.deployment,
        follows_there: line.follows_there,
    }
}

fn resolved(line: ResolvedLine) -> ResolvedName {
    ResolvedName {
        host: line.host,
        port: line.port,
        addresses: line.addresses.map(Arc::from),
        excess: 0,
        lookups: line.lookups,
        failures: line.failures,
    }
}
